//! What lies on the disk is sealed, what is read is plain, and keys can be replaced.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use component_base::Scope;
use encryption::{EncryptedStore, EncryptionConfiguration, Keyring, Opening};
use store::suite::put;
use store::{Embedded, Expect, Finish, Finished, Options, RangeRequest, Revision, Store};

const ONE: &str = "{aescbc: {keys: [{name: one, secret: MDEyMzQ1Njc4OWFiY2RlZg==}]}}";
const TWO: &str = "{secretbox: {keys: [{name: two, secret: MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=}]}}";

/// Serves what was written.
#[derive(Debug)]
struct Plain;

impl Finish for Plain {
    fn finish(&self, _key: &str, written: &Bytes, _revision: Revision) -> Finished {
        Finished { value: written.clone(), attributes: store::Pairs::default() }
    }
}

pub fn config(providers: &[&str]) -> EncryptionConfiguration {
    let text = format!(
        "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources: [{{resources: [secrets], providers: [{}]}}]",
        providers.join(", ")
    );
    EncryptionConfiguration::parse(&text).expect("a configuration")
}

pub fn open(directory: &Path, config: &EncryptionConfiguration, scope: &Scope) -> (EncryptedStore, Arc<Keyring>) {
    let keyring = Arc::new(Keyring::new(config).expect("keys"));
    let options = Options::new(Arc::new(Opening::new(Plain, keyring.clone())));
    let engine: Arc<dyn Store> = Embedded::open(directory, options, scope).expect("opened");
    (EncryptedStore::new(engine, keyring.clone()), keyring)
}

/// Whether the text is anywhere in the files of a directory.
pub fn is_on_disk(directory: &Path, text: &str) -> bool {
    std::fs::read_dir(directory).expect("listed").flatten().any(|entry| {
        let bytes = std::fs::read(entry.path()).unwrap_or_default();
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    })
}

async fn value(store: &dyn Store, key: &str) -> Vec<u8> {
    store.get(key).await.expect("read").expect("there").finished.value.to_vec()
}

async fn close(scope: Scope, store: EncryptedStore) {
    drop(store);
    assert!(scope.shutdown(std::time::Duration::from_secs(30)).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_are_sealed_on_the_disk_alone_and_keys_can_change() {
    let directory = tempfile::tempdir().expect("a directory");
    let (secret, other) = ("/registry/core/secrets/shop/a", "/registry/core/configmaps/shop/a");

    let scope = Scope::root();
    let (store, keyring) = open(directory.path(), &config(&[ONE, "{identity: {}}"]), &scope);
    let written = put(&store, secret, Expect::Absent, "very-secret-words").await;
    put(&store, other, Expect::Absent, "open-words").await;
    assert_eq!(value(&store, secret).await, b"very-secret-words");
    assert!(!is_on_disk(directory.path(), "very-secret-words") && is_on_disk(directory.path(), "open-words"));
    assert!(!keyring.is_stale(secret));
    keyring.replace(&config(&[TWO, ONE])).expect("replaced");
    assert!(store.is_stale(secret), "another key would seal it now");
    put(&store, secret, Expect::At(written.modified), "very-secret-words").await;
    assert!(!store.is_stale(secret));
    close(scope, store).await;

    let scope = Scope::root();
    let (store, _) = open(directory.path(), &config(&[TWO]), &scope);
    assert_eq!(value(&store, secret).await, b"very-secret-words", "the first key is no longer needed");
    close(scope, store).await;

    let scope = Scope::root();
    let (store, _) = open(directory.path(), &config(&[ONE]), &scope);
    assert_eq!(value(&store, secret).await, b"", "without its key it has no value, but it is there");
    let range = RangeRequest { prefix: "/registry/core/secrets/".into(), ..RangeRequest::default() };
    assert_eq!(store.range(&range).await.expect("read").entries.len(), 1);
    close(scope, store).await;
}
