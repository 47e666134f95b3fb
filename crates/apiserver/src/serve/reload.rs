//! Certificates that are replaced while the server runs
//! (upstream: apiserver/pkg/server/dynamiccertificates).
//!
//! The kernel tells when a directory changes (inotify), so that a file that is renamed into place is seen as well as
//! one that is written. Connections that stand keep the certificate they began with; new ones get the new one. Files
//! that cannot be used leave the last ones in use.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};

use component_base::Scope;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;

use super::{ServerConfig, TlsConfig};

/// Why changes cannot be followed.
#[derive(Debug, thiserror::Error)]
#[error("follow changes of {}", path.display())]
pub struct ReloadError {
    /// The directory, or nothing for the facility itself.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub err: io::Error,
}

/// Reads the certificates anew with `load` whenever one of the files changes.
pub fn reload_on_change<E: Display + Send + 'static>(
    tls: &TlsConfig,
    files: &[PathBuf],
    load: impl Fn() -> Result<ServerConfig, E> + Send + 'static,
    scope: &Scope,
) -> Result<(), ReloadError> {
    let mut changes = follow(files)?;
    let tls = tls.clone();
    scope.spawn("apiserver/certificates", async move {
        while let Ok(()) = changed(&mut changes).await {
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

fn follow(files: &[PathBuf]) -> Result<Receiver, ReloadError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |err: io::Error| ReloadError { path, err }
    };
    let flags = CreateFlags::NONBLOCK | CreateFlags::CLOEXEC;
    let fd = inotify::init(flags).map_err(|err| failed(Path::new(""))(err.into()))?;
    let directories: BTreeSet<&Path> = files.iter().filter_map(|file| file.parent()).collect();
    for directory in directories {
        let news = WatchFlags::CLOSE_WRITE | WatchFlags::MOVED_TO | WatchFlags::ONLYDIR;
        inotify::add_watch(&fd, directory, news).map_err(|err| failed(directory)(err.into()))?;
    }
    // It is read as a pipe is.
    Receiver::from_owned_fd_unchecked(fd).map_err(failed(Path::new("")))
}

/// Returns when something has changed. What it was does not matter: everything is read anew.
async fn changed(changes: &mut Receiver) -> io::Result<()> {
    let mut events = [0; 4096];
    let _ = changes.read(&mut events).await?;
    while changes.try_read(&mut events).is_ok() {}
    Ok(())
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
        std::fs::write(&new, "no certificate").expect("written");
        std::fs::rename(&new, &file).expect("renamed");
        let until = async |looks: &mut tokio::sync::mpsc::UnboundedReceiver<String>, wanted: &str| {
            while looks.recv().await.expect("looks on") != wanted {}
        };
        tokio::time::timeout(patience, until(&mut looks, "no certificate")).await.expect("in time");
        assert!(Arc::ptr_eq(&tls.load_full(), &first), "what cannot be used is not used");
        std::fs::write(&new, &cert).expect("written");
        std::fs::rename(&new, &file).expect("renamed");
        tokio::time::timeout(patience, until(&mut looks, &cert)).await.expect("in time");
        assert!(scope.shutdown(patience).await);
        assert!(!Arc::ptr_eq(&tls.load_full(), &first));
    }
}
