//! The sockets of the API: one of our own, and those that whoever started us handed down.

use std::net::{SocketAddr, TcpListener as StdListener};
use std::os::fd::{FromRawFd, RawFd};

use anyhow::Context;
use tokio::net::TcpListener;

/// Where handed-down sockets begin (systemd's socket activation, `sd_listen_fds(3)`).
const FIRST_FD: RawFd = cluster::init::LISTENER_FD;

/// Binds `address` and takes over the inherited sockets.
pub async fn all(address: SocketAddr) -> anyhow::Result<Vec<TcpListener>> {
    let mut listeners = inherited()?;
    let own = TcpListener::bind(address).await;
    listeners.push(own.with_context(|| format!("listen on {address}; choose another with --https-listen-port"))?);
    Ok(listeners)
}

fn inherited() -> anyhow::Result<Vec<TcpListener>> {
    let count: RawFd = std::env::var("LISTEN_FDS").ok().and_then(|count| count.parse().ok()).unwrap_or(0);
    (FIRST_FD..FIRST_FD.saturating_add(count.clamp(0, 16)))
        .map(|fd| {
            // SAFETY: the convention gives these descriptors to us, and nothing else in the process knows them.
            let listener = unsafe {
                // Children must not hold the socket.
                libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC);
                StdListener::from_raw_fd(fd)
            };
            listener.set_nonblocking(true).with_context(|| format!("use inherited descriptor {fd} as a socket"))?;
            Ok(TcpListener::from_std(listener)?)
        })
        .collect()
}
