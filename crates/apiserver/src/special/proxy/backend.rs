//! The way to a backend: where the proxies lead, and where they do not.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};

use apimachinery::StatusError;
use rustls_pki_types::ServerName;
use tokio::net::{TcpStream, lookup_host};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use webhook::Trust;

use crate::forward::{CONNECT_TIMEOUT, Io, dialing};
use crate::registry::Cx;

/// Whether a proxy may lead to an address: who may write one into an object must not reach through the server what
/// listens beside it for itself alone (upstream: pkg/proxy/util `IsProxyableIP`, `IsProxyableHostname`).
fn is_allowed(cx: &Cx, ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    if ip.is_loopback() {
        return cx.server.config.allow_local_loopback;
    }
    match ip {
        // Among multicast addresses those of the link (224.0.0.0/24), as Go's `IsLinkLocalMulticast`.
        IpAddr::V4(ip) => !ip.is_link_local() && ip.octets()[..3] != [224, 0, 0],
        // fe80::/10, and multicast within an interface (ff01) or a link (ff02).
        IpAddr::V6(ip) => !ip.is_unicast_link_local() && !matches!(ip.segments()[0] & 0xff0f, 0xff01 | 0xff02),
    }
}

/// The 400 for an address that is none, or is not allowed.
pub(super) fn not_allowed() -> StatusError {
    StatusError::bad_request("address not allowed")
}

/// A connection to the backend, over TLS where the path says so. Whom it is made with is not checked: the certificates
/// of what runs in a cluster are its users' own affair (upstream: controlplane/apiserver `CreateProxyTransport`).
pub(super) async fn connect(
    cx: &Cx,
    scheme: &str,
    (host, port): (String, u16),
) -> Result<(Box<dyn Io>, String), StatusError> {
    let authority = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let dial = async {
        let addresses: Vec<SocketAddr> = lookup_host((host.as_str(), port)).await?.collect();
        if !addresses.iter().all(|address| is_allowed(cx, address.ip())) {
            return Ok(None);
        }
        let stream = TcpStream::connect(&*addresses).await?;
        if scheme != "https" {
            return Ok::<Option<Box<dyn Io>>, std::io::Error>(Some(Box::new(stream)));
        }
        let name = ServerName::try_from(host.clone()).map_err(std::io::Error::other)?;
        let stream = TlsConnector::from(anybody()?).connect(name, stream).await?;
        Ok(Some(Box::new(stream)))
    };
    match tokio::time::timeout(CONNECT_TIMEOUT, dial).await {
        Ok(Ok(Some(stream))) => Ok((stream, authority)),
        Ok(Ok(None)) => Err(not_allowed()),
        Ok(Err(error)) => Err(unreachable(&authority, &error)),
        Err(_) => Err(unreachable(&authority, &"i/o timeout")),
    }
}

/// The TLS side that takes every certificate and shows none; made when it is needed first.
fn anybody() -> std::io::Result<Arc<ClientConfig>> {
    static ANYBODY: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    if let Some(made) = ANYBODY.get() {
        return Ok(made.clone());
    }
    let trust = Trust { insecure: true, ..Trust::default() };
    let mut tls = trust.config().map_err(std::io::Error::other)?;
    // Only HTTP/1.1 changes protocols.
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(ANYBODY.get_or_init(|| Arc::new(tls)).clone())
}

/// Upstream: `NewServiceUnavailable` of proxy handlers for a backend that does not answer.
fn unreachable(authority: &str, error: &dyn std::fmt::Display) -> StatusError {
    let mut unavailable = dialing(&format!("dial tcp {authority}: {error}"));
    unavailable.code = 503;
    unavailable.reason = "ServiceUnavailable";
    unavailable
}
