//! The kubelet's HTTPS endpoint (upstream: pkg/kubelet/server): who asks ([`auth`]), what for ([`route`]), and the
//! answers.

pub mod auth;
pub mod images;
pub mod logs;
pub mod route;
pub mod stats;
pub mod streams;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use component_base::Scope;
use component_base::metrics::Metrics;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use self::auth::Identity;
use self::route::Route;
use crate::context::Context;
use crate::kubelet::{KubeletError, Workers};

/// Most connections at a time.
const MAX_CONNECTIONS: usize = 1000;
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Pause after an accept that failed, as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Body of an answer.
pub type Body = BoxBody<Bytes, io::Error>;

/// Opens the endpoint and serves it in tasks of `scope`.
pub async fn serve(cx: &Arc<Context>, workers: &Arc<Workers>, scope: &Scope) -> Result<(), KubeletError> {
    let Some(tls) = cx.config.tls.clone() else { return Ok(()) };
    let address = SocketAddr::new(cx.config.node_ip, cx.config.port);
    let listener =
        TcpListener::bind(address).await.map_err(|err| KubeletError::Listen { port: cx.config.port, err })?;
    let server = Arc::new(Server { cx: cx.clone(), workers: workers.clone(), scope: scope.clone() });
    scope.spawn("kubelet-server", server.accept(listener, TlsAcceptor::from(tls)));
    Ok(())
}

/// The endpoint.
pub struct Server {
    cx: Arc<Context>,
    workers: Arc<Workers>,
    scope: Scope,
}

impl Server {
    async fn accept(self: Arc<Self>, listener: TcpListener, tls: TlsAcceptor) {
        let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let Ok(slot) = slots.clone().acquire_owned().await else { return };
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(err) => {
                    tracing::warn!(error = %err, "accepting a connection failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let (server, tls) = (self.clone(), tls.clone());
            self.scope.spawn("kubelet-connection", async move {
                let _slot = slot;
                if let Err(err) = server.connection(stream, tls).await {
                    tracing::debug!(error = err, "a connection to the kubelet ended early");
                }
            });
        }
    }

    async fn connection(self: Arc<Self>, stream: TcpStream, tls: TlsAcceptor) -> Result<(), String> {
        // Latency counts for terminals; failing to ask for it does not.
        let _ = stream.set_nodelay(true);
        let handshake = tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await;
        let stream = handshake.map_err(|err| err.to_string())?.map_err(|err| err.to_string())?;
        let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first().cloned());
        let identity = certificate.and_then(|certificate| auth::of_certificate(&certificate));
        let service = service_fn(move |request: Request<Incoming>| {
            let (server, identity) = (self.clone(), identity.clone());
            async move { Ok::<_, std::convert::Infallible>(server.answer(request, identity).await) }
        });
        auto::Builder::new(TokioExecutor::new())
            .serve_connection_with_upgrades(TokioIo::new(stream), service)
            .await
            .map_err(|err| err.to_string())
    }

    async fn answer(&self, request: Request<Incoming>, certificate: Option<Identity>) -> Response<Body> {
        let identity = match auth::authenticate(&self.cx.client, &request, certificate).await {
            Ok(Some(identity)) => identity,
            Ok(None) => return text(StatusCode::UNAUTHORIZED, "Unauthorized"),
            Err(err) => {
                tracing::warn!(error = %err, "authenticating a request failed");
                return text(StatusCode::UNAUTHORIZED, "Unauthorized");
            }
        };
        let route = match Route::of(request.method(), request.uri().path()) {
            Ok(route) => route,
            Err(status) => return text(status, status.canonical_reason().unwrap_or_default()),
        };
        let wanted = auth::Wanted::of(&request, &self.cx.config.node_name);
        match auth::authorize(&self.cx.client, &identity, &wanted).await {
            Ok(true) => {}
            Ok(false) => return text(StatusCode::FORBIDDEN, wanted.refusal(&identity)),
            Err(err) => {
                let message = format!("Authorization error ({wanted}): {err}");
                return text(StatusCode::INTERNAL_SERVER_ERROR, message);
            }
        }
        self.dispatch(route, request).await
    }

    async fn dispatch(&self, route: Route, request: Request<Incoming>) -> Response<Body> {
        match route {
            Route::Healthz => text(StatusCode::OK, "ok"),
            Route::Pods => json(&stats::pod_list(&self.workers)),
            Route::Metrics => text(StatusCode::OK, Metrics::global().encode()),
            Route::Summary => json(&stats::summary(&self.cx, &self.workers).await),
            Route::Logs(at) => logs::answer(&self.cx, &self.workers, &self.scope, &at, request.uri().query()),
            Route::Exec(at) => streams::exec(&self.cx, &self.workers, &self.scope, &at, request),
            Route::Attach(at) => streams::attach(&self.cx, &self.workers, &self.scope, &at, request),
            Route::Run(at) => streams::run(&self.cx, &self.workers, &at, request.uri().query()).await,
            Route::Images(action) => {
                images::answer(&self.cx.images, &self.workers, action, request.uri().query()).await
            }
            Route::PortForward { namespace, pod } => {
                streams::port_forward(&self.cx, &self.workers, &self.scope, &namespace, &pod, request)
            }
        }
    }
}

/// An answer in plain text.
pub(crate) fn text(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(whole(text.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

fn json<T: serde::Serialize>(value: &T) -> Response<Body> {
    match serde_json::to_vec(value) {
        Ok(bytes) => {
            let mut response = Response::new(whole(bytes.into()));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            response
        }
        Err(err) => text(StatusCode::INTERNAL_SERVER_ERROR, err.to_string()),
    }
}

fn whole(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed()
}

/// The values of a query, decoded.
pub(crate) fn query(query: Option<&str>) -> Vec<(String, String)> {
    let pairs = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).map(|(k, v)| (decode(k), decode(v))).collect()
}

/// Percent decoding, with `+` for a space.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        let hex = |byte: u8| (byte as char).to_digit(16).map(|digit| digit as u8);
        match (first, tail) {
            (b'+', _) => bytes.push(b' '),
            (b'%', [high, low, after @ ..]) if hex(*high).is_some() && hex(*low).is_some() => {
                bytes.push(hex(*high).unwrap_or(0) << 4 | hex(*low).unwrap_or(0));
                rest = after;
            }
            (byte, _) => bytes.push(*byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_decoded() {
        let pairs = query(Some("command=sh&command=-c&command=a%20b+c%2Fd&tty&x=%zz"));
        let shown: Vec<String> = pairs.iter().map(|(k, v)| format!("{k}={v}")).collect();
        assert_eq!(shown, ["command=sh", "command=-c", "command=a b c/d", "tty=", "x=%zz"]);
    }
}
