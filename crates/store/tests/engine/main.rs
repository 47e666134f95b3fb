//! The embedded engine against the suite, a model, crashes, damaged files and bursts.

#![expect(clippy::disallowed_methods, reason = "a test ends with its runtime")]

mod burst;
mod crash;
mod damage;
mod model;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use component_base::Scope;
use store::suite::{self, Echo};
use store::{Embedded, Error, History, Options, Store};

/// Opens a store that serves echoes.
fn open(dir: &Path, scope: &Scope) -> Result<Arc<Embedded>, Error> {
    Embedded::open(dir, Options::new(Arc::new(Echo)), scope)
}

/// Opens a store whose logs, if it makes them, hold so many bytes.
fn open_with_logs(dir: &Path, scope: &Scope, log_bytes: u32) -> Result<Arc<Embedded>, Error> {
    Embedded::open(dir, Options { log_bytes, ..Options::new(Arc::new(Echo)) }, scope)
}

fn open_with(dir: &Path, scope: &Scope, history: History, log_bytes: u32) -> Arc<Embedded> {
    let options = Options { history, log_bytes, ..Options::new(Arc::new(Echo)) };
    Embedded::open(dir, options, scope).expect("a sound database")
}

async fn close(scope: Scope) {
    assert!(scope.shutdown(Duration::from_secs(30)).await, "every task of the store ends");
}

#[tokio::test]
async fn the_engine_on_a_disk_passes_the_suite() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let scope = Scope::root();
    let number = std::sync::atomic::AtomicUsize::new(0);
    suite::run(|| async {
        let number = number.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        open(&dir.path().join(number.to_string()), &scope).expect("a new database") as Arc<dyn Store>
    })
    .await;
    close(scope).await;
}

#[tokio::test]
async fn the_engine_in_memory_passes_the_suite() {
    suite::run(|| async { Embedded::in_memory(Arc::new(Echo)) as Arc<dyn Store> }).await;
}
