//! HTTPS: sockets to the service, HTTP/1.1 and HTTP/2, client certificates where a client shows one.
//!
//! Guarantees: an identity is only ever taken from what TLS has verified or from the request's own credentials; at
//! shutdown no new request is taken, running ones are finished within a deadline. Limits: connections, time for the
//! handshake and for the headers, concurrent streams.

mod extended_connect;
mod reload;

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use apimachinery::UserInfo;
use arc_swap::ArcSwap;
use component_base::Scope;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{self, ProtocolVersion, RootCertStore, ServerConfig, SupportedCipherSuite};

use crate::auditing::RemoteAddress;
use crate::authenticator::PeerCertificates;
use crate::body::{self, Body};
use crate::service::ApiService;

pub use reload::{ReloadError, reload_on_change};

/// The most connections at a time.
const MAX_CONNECTIONS: usize = 4096;

/// Time for a TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Time for the head of a request, the idle time before it included (upstream: `IdleTimeout`).
const IDLE_TIMEOUT: Duration = Duration::from_secs(90);

/// How often an HTTP/2 client is asked whether it is still there, and how long it has to answer: a peer that vanished
/// would keep its watches for ever.
const PING_EVERY: Duration = Duration::from_secs(60);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// Streams on one HTTP/2 connection (upstream: `--http2-max-streams-per-connection`, 1000 for kubelets' many watches).
const MAX_STREAMS: u32 = 1000;

/// Streams that a client has reset and this server has not yet seen, before the connection ends (rapid reset,
/// CVE-2023-44487).
const MAX_PENDING_RESETS: usize = 20;
/// Streams that this server had to reset on one connection, before it ends.
const MAX_OWN_RESETS: usize = 1024;
/// The headers of one request together.
const MAX_HEADER_BYTES: u32 = 64 * 1024;
/// What a client may send ahead on one stream, and on all together (upstream: secure_serving.go).
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// Time for running requests at shutdown.
const DRAIN: Duration = Duration::from_secs(10);

/// The TLS side of the server, replaceable while it runs: new connections take the new one.
pub type TlsConfig = Arc<ArcSwap<ServerConfig>>;

/// Why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The text holds no PEM of the sort that is needed.
    #[error("read the {what}: {cause}")]
    Pem {
        /// Which text.
        what: &'static str,
        /// What is wrong with it.
        cause: rustls_pki_types::pem::Error,
    },
    /// The certificate and the key do not serve.
    #[error("set up TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// The CA for client certificates does not serve.
    #[error("set up the verification of client certificates: {0}")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

/// A TLS configuration that serves `cert_pem` and verifies client certificates, where shown, against `client_ca_pem`.
pub fn tls_config(cert_pem: &str, key_pem: &str, client_ca_pem: &str) -> Result<ServerConfig, TlsError> {
    let chain = certificates("serving certificate", cert_pem)?;
    let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes())
        .map_err(|cause| TlsError::Pem { what: "serving key", cause })?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates("client CA", client_ca_pem)? {
        roots.add(certificate)?;
    }
    let provider = Arc::new(provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .allow_unauthenticated()
        .build()?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)?;
    config.ignore_client_order = true;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// The cipher suites in the order that upstream's TLS takes them: AES with 128 bits is as good as any, and the fastest
/// (upstream: Go's crypto/tls `defaultCipherSuitesTLS13`).
fn provider() -> CryptoProvider {
    let mut provider = ring::default_provider();
    let is_fast =
        |suite: &SupportedCipherSuite| suite.suite().as_str().is_some_and(|name| name.contains("AES_128_GCM"));
    let is_old = |suite: &SupportedCipherSuite| suite.version().version == ProtocolVersion::TLSv1_2;
    provider.cipher_suites.sort_by_key(|suite| (is_old(suite), !is_fast(suite)));
    provider
}

/// The certificates in a PEM text.
pub fn certificates(what: &'static str, pem: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    certificates.map_err(|cause| TlsError::Pem { what, cause })
}

/// Serves on all listeners until the scope is cancelled, then drains. Returns at once.
pub fn serve(service: &ApiService, listeners: Vec<TcpListener>, tls: &TlsConfig, scope: &Scope) {
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1().timer(TokioTimer::new()).header_read_timeout(IDLE_TIMEOUT);
    http.http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .max_local_error_reset_streams(MAX_OWN_RESETS)
        .max_header_list_size(MAX_HEADER_BYTES)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .enable_connect_protocol()
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIMEOUT);
    let front = Front {
        service: service.clone(),
        tls: tls.clone(),
        http: Arc::new(http),
        slots: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
    };
    for listener in listeners {
        let (front, tasks) = (front.clone(), scope.clone());
        scope.spawn_draining("apiserver/accept", accept(front, listener, tasks));
    }
}

/// What every connection needs.
#[derive(Clone)]
struct Front {
    service: ApiService,
    tls: TlsConfig,
    http: Arc<auto::Builder<TokioExecutor>>,
    slots: Arc<Semaphore>,
}

async fn accept(front: Front, listener: TcpListener, scope: Scope) {
    let graceful = GracefulShutdown::new();
    loop {
        let next = async {
            let slot = front.slots.clone().acquire_owned().await;
            (slot, listener.accept().await)
        };
        tokio::select! {
            () = scope.cancelled() => break,
            (slot, accepted) = next => match (slot, accepted) {
                (Ok(slot), Ok((stream, _))) => {
                    let watcher = graceful.watcher();
                    scope.spawn_draining("apiserver/connection", connection(front.clone(), stream, slot, watcher));
                }
                (_, Err(error)) => pause_after(&error).await,
                (Err(_), _) => break,
            },
        }
    }
    drop(listener);
    // A connection that does not end by then is cut.
    let _ = tokio::time::timeout(DRAIN, graceful.shutdown()).await;
}

/// Out of file descriptors, say: trying again at once would only burn the processor.
async fn pause_after(error: &io::Error) {
    tracing::warn!(%error, "accept a connection");
    tokio::time::sleep(Duration::from_millis(100)).await;
}

async fn connection(front: Front, stream: TcpStream, _slot: OwnedSemaphorePermit, watcher: Watcher) {
    let _ = stream.set_nodelay(true);
    let remote = stream.peer_addr().ok().map(RemoteAddress);
    let handshake = TlsAcceptor::from(front.tls.load_full()).accept(stream);
    let stream = match tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%error, "TLS handshake"),
        Err(_) => return tracing::debug!("TLS handshake took too long"),
    };
    let shown = stream.get_ref().1.peer_certificates();
    let peer = shown
        .map(|chain| PeerCertificates::new(chain.iter().map(|certificate| certificate.clone().into_owned()).collect()));
    // A stream keeps the room of its call for as long as it lasts: a watch should not keep that of every verb.
    let service = service_fn(move |request| Box::pin(answer(front.service.clone(), request, peer.clone(), remote)));
    let connection = front.http.serve_connection_with_upgrades(TokioIo::new(stream), service);
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%error, "serve a connection");
    }
}

async fn answer(
    service: ApiService,
    mut request: Request<Incoming>,
    peer: Option<PeerCertificates>,
    remote: Option<RemoteAddress>,
) -> Result<Response<Body>, Infallible> {
    let extensions = request.extensions_mut();
    // Nothing a socket carries becomes an extension; this only says so once more.
    extensions.remove::<UserInfo>();
    if let Some(peer) = peer {
        extensions.insert(peer);
    }
    if let Some(remote) = remote {
        extensions.insert(remote);
    }
    let is_tunnel = extended_connect::enter(&mut request);
    let response = service.answer(request.map(body::boxed)).await;
    Ok(if is_tunnel { extended_connect::leave(response) } else { response })
}
