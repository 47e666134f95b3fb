//! Pods' network namespaces, and work inside them.

use std::io;
use std::path::{Path, PathBuf};

use tokio::net::TcpSocket;
use tokio::task::spawn_blocking;

pub use netlink::netns::{create, delete, is_namespace};

/// Runs `work` on a thread of its own inside the namespace at `path` and waits for it.
///
/// The work should open sockets or read `/proc/net` and be quick: what it opens belongs to the namespace and can be
/// used outside, so connecting and waiting are better done there.
pub async fn in_netns<T, F>(path: impl Into<PathBuf>, work: F) -> io::Result<T>
where
    T: Send + 'static,
    F: FnOnce() -> io::Result<T> + Send + 'static,
{
    let path = path.into();
    spawn_blocking(move || netlink::netns::run(&path, work)).await.map_err(io::Error::other)?
}

/// A TCP socket of the namespace at `path`, not connected yet. Port-forward connects it to 127.0.0.1 of the pod.
pub async fn tcp_socket(path: &Path) -> io::Result<TcpSocket> {
    in_netns(path, TcpSocket::new_v4).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[tokio::test]
    async fn a_socket_belongs_to_the_namespace_it_was_made_in() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("pod");
        create(&path).expect("a new namespace");
        let listener = in_netns(&path, || {
            let mut socket = netlink::Socket::route().map_err(io::Error::other)?;
            let mut changes = netlink::route::Changes::new();
            changes.set_up("lo");
            changes.apply(&mut socket).map_err(io::Error::other)?;
            TcpListener::bind("127.0.0.1:0")
        });
        let listener = listener.await.expect("loopback is up");
        let address = listener.local_addr().expect("it is bound");
        let inside = tcp_socket(&path).await.expect("the namespace is there");
        inside.connect(address).await.expect("the listener is in the same namespace");
        tokio::net::TcpStream::connect(address).await.expect_err("nothing listens out here");
        delete(&path).expect("it was made here");
    }
}
