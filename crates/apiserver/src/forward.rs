//! Forwarding a request to a backend, and what comes back: an answer, or a connection that changes protocol
//! (upstream: apimachinery/pkg/util/proxy/upgradeaware.go).
//!
//! On `101 Switching Protocols` bytes are passed both ways, unparsed: WebSocket and SPDY look the same from here.

use std::time::Duration;

use apimachinery::StatusError;
use component_base::Scope;
use futures::future::BoxFuture;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};

use crate::body::{self, Body};

/// Time for the backend to take the connection.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Headers that belong to one hop only (RFC 9110, 7.6.1).
const HOP_BY_HOP: [&str; 7] =
    ["connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer", "transfer-encoding"];

/// Headers with which a client proves itself to this server, and to no other.
const CREDENTIALS: [&str; 1] = ["authorization"];

/// A stream of bytes to a backend.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Io for T {}

/// Sends the request to the other end of `io`, as `path_and_query` on `host`; passes back what it answers.
pub fn forward<'a>(
    io: Box<dyn Io>,
    parts: Parts,
    body: Body,
    host: &'a str,
    path_and_query: &'a str,
    scope: &'a Scope,
) -> BoxFuture<'a, Result<Response<Body>, StatusError>> {
    Box::pin(async move {
        let (mut sender, connection) = http1::handshake(TokioIo::new(io)).await.map_err(|error| dialing(&error))?;
        scope.spawn("apiserver/backend", async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "connection to a backend");
            }
        });
        let request = backend_request(&parts, body, host, path_and_query)?;
        let response = sender.send_request(request).await.map_err(|error| dialing(&error))?;
        Ok(pass_back(response.map(body::boxed), parts, scope))
    })
}

/// The backend's answer as the client gets it; where it changes protocols, the two connections are joined.
pub fn pass_back(mut response: Response<Body>, mut asked: Parts, scope: &Scope) -> Response<Body> {
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        strip(response.headers_mut(), &HOP_BY_HOP);
        return response;
    }
    let front = hyper::upgrade::on(Request::from_parts(take_upgrade(&mut asked), ()));
    let back = hyper::upgrade::on(&mut response);
    scope.spawn("apiserver/tunnel", async move {
        match tokio::try_join!(front, back) {
            Ok((front, back)) => {
                // How a stream ends is between its ends.
                let _ = copy_bidirectional(&mut TokioIo::new(front), &mut TokioIo::new(back)).await;
            }
            Err(error) => tracing::debug!(%error, "change of protocol"),
        }
    });
    response.map(|_| body::empty())
}

/// Whether the client asks for another protocol.
pub fn is_upgrade(headers: &HeaderMap) -> bool {
    let connection = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    connection.flat_map(|value| value.split(',')).any(|word| word.trim().eq_ignore_ascii_case("upgrade"))
}

/// The error of a backend that cannot be reached.
pub fn dialing(error: &dyn std::fmt::Display) -> StatusError {
    StatusError::internal(format!("error dialing backend: {error}"))
}

/// The client's request as the backend gets it: without what is between the client and this server.
pub fn backend_request(
    parts: &Parts,
    body: Body,
    host: &str,
    path_and_query: &str,
) -> Result<Request<Body>, StatusError> {
    let upgrades = is_upgrade(&parts.headers);
    let mut request = Request::new(body);
    *request.method_mut() = parts.method.clone();
    *request.uri_mut() = path_and_query
        .parse()
        .map_err(|error| StatusError::bad_request(format!("the path to proxy is not valid: {error}")))?;
    let mut headers = parts.headers.clone();
    if !upgrades {
        strip(&mut headers, &HOP_BY_HOP);
        headers.remove(header::UPGRADE);
    }
    strip(&mut headers, &CREDENTIALS);
    let impersonation: Vec<HeaderName> =
        headers.keys().filter(|name| name.as_str().starts_with("impersonate-")).cloned().collect();
    for name in impersonation {
        headers.remove(name);
    }
    if let Ok(host) = HeaderValue::from_str(host) {
        headers.insert(header::HOST, host);
    }
    *request.headers_mut() = headers;
    Ok(request)
}

fn strip(headers: &mut HeaderMap, names: &[&str]) {
    for name in names {
        headers.remove(*name);
    }
}

/// The parts that carry the client's side of the upgrade.
fn take_upgrade(parts: &mut Parts) -> Parts {
    let (mut taken, ()) = Request::new(()).into_parts();
    std::mem::swap(&mut taken.extensions, &mut parts.extensions);
    taken
}
