//! [`Connections`]: the way to one server over TLS, on connections that are kept for the next request
//! (upstream: client-go/transport/cache.go; HTTP/1.1 alone as in apiserver/pkg/util/webhook/client.go, so that requests
//! spread over the endpoints of a Service).
//!
//! A kept connection may have been closed by the other side a moment ago. A request that has not left is then sent on
//! another one; whether one that has left may be sent again, the caller knows ([`SendError::reused`]).

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use component_base::Scope;
use futures::future::BoxFuture;
use http::{Request, Response, StatusCode};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use webhook::Trust;

use crate::body::{self, Body};
use crate::server::ApiServer;
use crate::service_resolver::{ServicePort, authority, resolve};

/// So many idle connections are kept to a server (upstream: `idleConnsPerHost`).
const MAX_IDLE: usize = 25;

/// How long a connection may have been idle to be used once more (upstream: net/http's `IdleConnTimeout`).
const IDLE_TIMEOUT: Duration = Duration::from_secs(90);

/// Time for a connection and its TLS handshake (upstream: the dialer's 30 s).
const DIAL_TIMEOUT: Duration = Duration::from_secs(30);

type Sender = SendRequest<Body>;

/// Host and port to connect to.
pub(crate) type Address = (String, u16);

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Under a name or an address.
    Host { host: String, port: u16 },
    /// Behind a Service.
    Service(ServicePort),
}

impl Place {
    /// `host:port`, as URLs name it.
    pub(crate) fn authority(&self) -> String {
        match self {
            Self::Host { host, port } => authority(host, *port),
            Self::Service(service) => format!("{}:{}", service.server_name(), service.port),
        }
    }

    fn server_name(&self) -> Result<ServerName<'static>, String> {
        let name = match self {
            Self::Host { host, .. } => host.clone(),
            Self::Service(service) => service.server_name(),
        };
        ServerName::try_from(name).map_err(|error| error.to_string())
    }
}

/// Why a request brought no response.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub(crate) struct SendError {
    /// What went wrong, in Go's words.
    pub(crate) text: String,
    /// Whether it left on a connection that had been used before: the server may have closed that one idle.
    pub(crate) reused: bool,
}

impl From<String> for SendError {
    fn from(text: String) -> Self {
        Self { text, reused: false }
    }
}

/// See the module.
pub(crate) struct Connections {
    place: Place,
    trust: Trust,
    tls: OnceLock<Result<Arc<ClientConfig>, String>>,
    idle: Arc<Mutex<Vec<Idle>>>,
}

struct Idle {
    sender: Sender,
    address: Address,
    since: Instant,
}

impl Connections {
    pub(crate) fn new(place: Place, trust: Trust) -> Self {
        Self { place, trust, tls: OnceLock::new(), idle: Arc::default() }
    }

    /// Whether they lead there, and believe the same.
    pub(crate) fn lead_to(&self, place: &Place, trust: &Trust) -> bool {
        self.place == *place && self.trust == *trust
    }

    /// Where the server is reached now.
    pub(crate) fn address<'a>(&'a self, server: &'a ApiServer) -> BoxFuture<'a, Result<Address, String>> {
        match &self.place {
            Place::Host { host, port } => Box::pin(std::future::ready(Ok((host.clone(), *port)))),
            Place::Service(service) => resolve(&server.registry, service),
        }
    }

    /// Sends a request, its target a path, on a kept connection or on a new one.
    pub(crate) fn send<'a>(
        &'a self,
        scope: &'a Scope,
        address: &'a Address,
        request: Request<Body>,
    ) -> BoxFuture<'a, Result<Response<Body>, SendError>> {
        Box::pin(self.send_on_any(scope, address, request))
    }

    async fn send_on_any(
        &self,
        scope: &Scope,
        address: &Address,
        mut request: Request<Body>,
    ) -> Result<Response<Body>, SendError> {
        while let Some(mut sender) = self.take(address) {
            if sender.ready().await.is_err() {
                continue;
            }
            match sender.try_send_request(request).await {
                Ok(response) => return Ok(self.keep(sender, address, response)),
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(SendError { text: error.error().to_string(), reused: true }),
                },
            }
        }
        self.send_anew(scope, address, request).await
    }

    /// Sends a request on a new connection.
    pub(crate) fn send_anew<'a>(
        &'a self,
        scope: &'a Scope,
        address: &'a Address,
        request: Request<Body>,
    ) -> BoxFuture<'a, Result<Response<Body>, SendError>> {
        Box::pin(async move {
            let mut sender = self.connect(scope, address).await?;
            let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
            Ok(self.keep(sender, address, response))
        })
    }

    /// Lets go of the kept connections: nobody may be at their other ends.
    pub(crate) fn forget(&self) {
        self.idle.lock().clear();
    }

    /// The TLS side, read once.
    pub(crate) fn tls(&self) -> Result<Arc<ClientConfig>, String> {
        let read = || {
            let mut config =
                self.trust.config().map_err(|error| format!("unable to load root certificates: {error}"))?;
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
            Ok(Arc::new(config))
        };
        self.tls.get_or_init(read).clone()
    }

    /// The connection that was used last. Those to where the server no longer is go.
    fn take(&self, address: &Address) -> Option<Sender> {
        let mut idle = self.idle.lock();
        let serves =
            |kept: &Idle| !kept.sender.is_closed() && kept.address == *address && kept.since.elapsed() < IDLE_TIMEOUT;
        idle.retain(serves);
        idle.pop().map(|kept| kept.sender)
    }

    /// The response, whose connection is free again when its body has been read.
    fn keep(&self, sender: Sender, address: &Address, response: Response<Incoming>) -> Response<Body> {
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return response.map(body::boxed);
        }
        response
            .map(|body| body::boxed(Kept { body, sender: Some((sender, address.clone())), idle: self.idle.clone() }))
    }

    async fn connect(&self, scope: &Scope, (host, port): &Address) -> Result<Sender, String> {
        let tls = TlsConnector::from(self.tls()?);
        let name = self.place.server_name()?;
        let dialing = |error: std::io::Error| {
            let cause = match error.kind() {
                std::io::ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
                _ => error.to_string(),
            };
            format!("dial tcp {}: {cause}", authority(host, *port))
        };
        let connect = async {
            let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(dialing)?;
            stream.set_nodelay(true).map_err(dialing)?;
            let stream = tls.connect(name, stream).await;
            stream.map_err(|error| format!("tls: failed to verify certificate: x509: {error}"))
        };
        let stream = tokio::time::timeout(DIAL_TIMEOUT, connect).await;
        let stream = stream.map_err(|_| format!("dial tcp {}: i/o timeout", authority(host, *port)))??;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        scope.spawn("apiserver/connection-out", async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "connection to another server");
            }
        });
        Ok(sender)
    }
}

impl std::fmt::Debug for Connections {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connections").field("place", &self.place).finish_non_exhaustive()
    }
}

/// The bytes of a response, up to a limit.
pub(crate) async fn collect(mut body: Body, limit: usize) -> Result<Bytes, String> {
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| error.to_string())?;
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > limit {
            return Err("the answer is too long".into());
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes.freeze())
}

/// A body that gives its connection back once it has been read.
struct Kept {
    body: Incoming,
    sender: Option<(Sender, Address)>,
    idle: Arc<Mutex<Vec<Idle>>>,
}

impl Kept {
    fn give_back(&mut self) {
        let Some((sender, address)) = self.sender.take().filter(|(sender, _)| !sender.is_closed()) else { return };
        let mut idle = self.idle.lock();
        if idle.len() < MAX_IDLE {
            idle.push(Idle { sender, address, since: Instant::now() });
        }
    }
}

impl http_body::Body for Kept {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        match &polled {
            Poll::Ready(None) => self.give_back(),
            Poll::Ready(Some(Err(_))) => self.sender = None,
            Poll::Ready(Some(Ok(_))) | Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        // Who knows the length reads no further than that. One that is not read to its end takes its connection along.
        if http_body::Body::is_end_stream(&self.body) {
            self.give_back();
        }
    }
}
