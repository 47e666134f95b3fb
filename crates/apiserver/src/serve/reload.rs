//! Certificates that are replaced while the server runs
//! (upstream: apiserver/pkg/server/dynamiccertificates).
//!
//! Connections that stand keep the certificate they began with; new ones get the new one. Files
//! that cannot be used leave the last ones in use.

use std::fmt::Display;
use std::io;
use std::path::PathBuf;

use component_base::Scope;
use component_base::file_watch::FileWatch;
use futures::FutureExt;
use futures::future::select_all;

use super::{ServerConfig, TlsConfig};

/// Why changes cannot be followed.
#[derive(Debug, thiserror::Error)]
#[error("follow changes of {}", path.display())]
pub struct ReloadError {
    /// The file.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub err: io::Error,
}

/// Reads the certificates anew with `load` whenever one of the files holds something else.
pub fn reload_on_change<E: Display + Send + 'static>(
    tls: &TlsConfig,
    files: &[PathBuf],
    load: impl Fn() -> Result<ServerConfig, E> + Send + 'static,
    scope: &Scope,
) -> Result<(), ReloadError> {
    let follow = |path: &PathBuf| FileWatch::new(path).map_err(|err| ReloadError { path: path.clone(), err });
    let mut watches = files.iter().map(follow).collect::<Result<Vec<_>, _>>()?;
    let tls = tls.clone();
    scope.spawn("apiserver/certificates", async move {
        while changed(&mut watches).await.is_ok() {
            match load() {
                Ok(config) => {
                    tls.store(config.into());
                    tracing::info!("the serving certificates were read anew");
                }
                // Maybe only half is there yet: the other half is the next change.
                Err(error) => tracing::warn!(%error, "the changed certificates cannot be used"),
            }
        }
    });
    Ok(())
}

/// Returns when one of the files has changed. Which it was does not matter: everything is read anew.
async fn changed(watches: &mut [FileWatch]) -> io::Result<()> {
    if watches.is_empty() {
        return std::future::pending().await;
    }
    let (changed, ..) = select_all(watches.iter_mut().map(|watch| watch.changed().boxed())).await;
    changed.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::time::Duration;

    use arc_swap::ArcSwap;
    use rcgen::generate_simple_self_signed;

    use crate::serve::tls_config;

    #[tokio::test]
    async fn a_file_that_is_renamed_into_place_is_read_anew() {
        let dir = tempfile::tempdir().expect("a directory");
        let made = generate_simple_self_signed(vec!["a".into()]).expect("a certificate");
        let (cert, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let (file, new) = (dir.path().join("tls.crt"), dir.path().join("tls.crt.new"));
        std::fs::write(&file, &cert).expect("written");
        let first = Arc::new(tls_config(&cert, &key, &cert).expect("TLS"));
        let tls = Arc::new(ArcSwap::new(first.clone()));
        let (looked, mut looks) = tokio::sync::mpsc::unbounded_channel();
        let read = file.clone();
        let load = move || {
            let text = std::fs::read_to_string(&read).unwrap_or_default();
            let _ = looked.send(text.clone());
            tls_config(&text, &key, &text)
        };
        let scope = Scope::root();
        reload_on_change(&tls, std::slice::from_ref(&file), load, &scope).expect("followed");

        let patience = Duration::from_secs(30);
        // What others write beside it, and the same once more, is no news: the next look finds something else.
        std::fs::write(dir.path().join("kubeconfig"), "others").expect("written");
        std::fs::write(&new, &cert).expect("written");
        std::fs::rename(&new, &file).expect("renamed");
        std::fs::write(&new, "no certificate").expect("written");
        std::fs::rename(&new, &file).expect("renamed");
        let first_look = tokio::time::timeout(patience, looks.recv()).await.expect("in time");
        assert_eq!(first_look.as_deref(), Some("no certificate"));
        assert!(Arc::ptr_eq(&tls.load_full(), &first), "what cannot be used is not used");
        std::fs::write(&new, &cert).expect("written");
        std::fs::rename(&new, &file).expect("renamed");
        let second_look = tokio::time::timeout(patience, looks.recv()).await.expect("in time");
        assert_eq!(second_look.as_deref(), Some(cert.as_str()));
        assert!(scope.shutdown(patience).await);
        assert!(!Arc::ptr_eq(&tls.load_full(), &first));
    }
}
