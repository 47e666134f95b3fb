//! A request on its way to an extension server, with path, query, body and upgrade as they came
//! (upstream: kube-aggregator/pkg/apiserver/handler_proxy.go, resolvers.go).

use std::sync::Arc;
use std::time::Duration;

use apimachinery::{StatusError, UserInfo};
use bytes::BytesMut;
use futures::future::BoxFuture;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use rustls_pki_types::ServerName;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{Remote, ServiceReference};
use crate::body::{self, Body};
use crate::forward::{CONNECT_TIMEOUT, Io, forward};
use crate::nonresource::text;
use crate::registry::Registry;
use crate::server::ApiServer;

/// Time for the answer of a check (upstream: `Timeout: 5 * time.Second`).
const CHECK_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest discovery document that is read.
const MAX_DOCUMENT_BYTES: usize = 4 * 1024 * 1024;

/// Forwards a request to the server that answers it, as the user it comes from.
pub(crate) async fn answer(
    server: &Arc<ApiServer>,
    remote: &Remote,
    user: &UserInfo,
    mut parts: Parts,
    body: Body,
) -> Response<Body> {
    if !remote.available {
        return text(StatusCode::SERVICE_UNAVAILABLE, "service unavailable\n".into());
    }
    if let Err(cause) = &remote.tls {
        return text(StatusCode::INTERNAL_SERVER_ERROR, format!("{cause}\n"));
    }
    let address = match resolve(&server.registry, &remote.service).await {
        Ok(address) => address,
        Err(error) => {
            tracing::debug!(%error, service = remote.service.name, "resolve the server of a group");
            return text(StatusCode::SERVICE_UNAVAILABLE, "service unavailable\n".into());
        }
    };
    let io = match connect(remote.clone(), address.clone()).await {
        Ok(io) => io,
        Err(error) => return unreachable(&error),
    };
    identify(&mut parts.headers, user);
    let path = parts.uri.path_and_query().map_or_else(|| "/".to_owned(), |path| path.as_str().to_owned());
    match forward(io, parts, body, &address, &path, &server.scope).await {
        Ok(response) if is_redirect(response.status()) => {
            let words = "the backend attempted to redirect this request, which is not permitted";
            text(StatusCode::BAD_GATEWAY, words.into())
        }
        Ok(response) => response,
        Err(error) => unreachable(&error.message),
    }
}

fn is_redirect(code: StatusCode) -> bool {
    code.is_redirection() && code != StatusCode::NOT_MODIFIED
}

fn unreachable(error: &str) -> Response<Body> {
    text(StatusCode::SERVICE_UNAVAILABLE, format!("error trying to reach service: {error}\n"))
}

/// Says who asks, in place of whatever the client may have said (upstream: transport.SetAuthProxyHeaders).
fn identify(headers: &mut HeaderMap, user: &UserInfo) {
    let claims: Vec<HeaderName> =
        headers.keys().filter(|name| name.as_str().starts_with("x-remote-")).cloned().collect();
    for name in claims {
        headers.remove(name);
    }
    let mut say = |name: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
            headers.append(name, value);
        }
    };
    say(HeaderName::from_static("x-remote-user"), &user.username);
    if !user.uid.is_empty() {
        say(HeaderName::from_static("x-remote-uid"), &user.uid);
    }
    for group in &user.groups {
        say(HeaderName::from_static("x-remote-group"), group);
    }
    for (key, values) in &user.extra {
        let Ok(name) = HeaderName::try_from(format!("x-remote-extra-{}", escape(key))) else { continue };
        for value in values {
            say(name.clone(), value);
        }
    }
}

/// What a header name cannot hold is percent-encoded (upstream: `headerKeyEscape`).
fn escape(key: &str) -> String {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&'*+-.^_`|~".contains(&byte);
    let mut out = String::with_capacity(key.len());
    for byte in key.bytes() {
        if legal(byte) {
            out.push(char::from(byte.to_ascii_lowercase()));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// Where the Service is reached: `host:port` (upstream: `ResolveCluster`).
pub(super) fn resolve<'a>(
    registry: &'a Registry,
    service: &'a ServiceReference,
) -> BoxFuture<'a, Result<String, StatusError>> {
    Box::pin(async move {
        let row = registry.row("", "v1", "services")?;
        let found = registry.find(&row, &service.namespace, &service.name).await?;
        let found = found.ok_or_else(|| row.not_found(&service.name))?;
        if found.str_at(&["spec", "type"]) == Some("ExternalName") {
            let host = found.str_at(&["spec", "externalName"]).unwrap_or_default();
            return Ok(format!("{host}:{}", service.port));
        }
        let address = found.str_at(&["spec", "clusterIP"]).unwrap_or_default();
        if address.is_empty() || address == "None" {
            return Err(StatusError::unavailable("cannot route to service with ClusterIP \"None\""));
        }
        let ports = found.at(&["spec", "ports"]).and_then(Value::as_array);
        if !ports.into_iter().flatten().any(|port| port["port"] == service.port) {
            let words = format!("no service port {} found for service {:?}", service.port, service.name);
            return Err(StatusError::unavailable(words));
        }
        if address.contains(':') {
            Ok(format!("[{address}]:{}", service.port))
        } else {
            Ok(format!("{address}:{}", service.port))
        }
    })
}

fn connect(remote: Remote, address: String) -> BoxFuture<'static, Result<Box<dyn Io>, String>> {
    Box::pin(async move {
        let tls = remote.tls?;
        let ServiceReference { namespace, name, .. } = &remote.service;
        let server_name = ServerName::try_from(format!("{name}.{namespace}.svc")).map_err(|error| error.to_string())?;
        let target = address.clone();
        let connect = async move {
            let stream = TcpStream::connect(target).await?;
            stream.set_nodelay(true)?;
            TlsConnector::from(tls).connect(server_name, stream).await
        };
        match tokio::time::timeout(CONNECT_TIMEOUT, connect).await {
            Ok(Ok(stream)) => Ok(Box::new(stream) as Box<dyn Io>),
            Ok(Err(error)) => Err(format!("dial tcp {address}: {error}")),
            Err(_) => Err(format!("dial tcp {address}: i/o timeout")),
        }
    })
}

/// What a server says of itself.
pub(super) struct Found {
    /// Its `APIResourceList`.
    pub(super) resources: Value,
    /// The hash of its OpenAPI 3 document.
    pub(super) openapi_hash: Option<String>,
}

/// Asks the server for its group version's discovery document, as upstream's availability check does.
pub(super) fn check<'a>(server: &'a Arc<ApiServer>, remote: &'a Remote) -> BoxFuture<'a, Result<Found, String>> {
    Box::pin(async move {
        let address = resolve(&server.registry, &remote.service).await.map_err(|error| error.message)?;
        let question = Question { server: server.clone(), remote: remote.clone(), address };
        let path = format!("/apis/{}/{}", remote.group, remote.version);
        let url = format!("https://{}{path}", question.address);
        match question.ask(path).await {
            Some(Ok((code, resources))) if code.is_success() => {
                Ok(Found { resources, openapi_hash: question.openapi_hash().await })
            }
            Some(Ok((code, _))) => {
                Err(format!("failing or missing response from {url}: bad status from {url}: {}", code.as_u16()))
            }
            Some(Err(error)) => Err(format!("failing or missing response from {url}: Get {url:?}: {error}")),
            None => Err(format!("timed out waiting for {url}")),
        }
    })
}

/// A server that is asked what it serves.
#[derive(Clone)]
struct Question {
    server: Arc<ApiServer>,
    remote: Remote,
    address: String,
}

impl Question {
    /// The hash in the server's index of OpenAPI 3 documents. One that has none is there all the same.
    async fn openapi_hash(&self) -> Option<String> {
        let (_, index) = self.ask("/openapi/v3".into()).await?.ok()?;
        let document = format!("apis/{}/{}", self.remote.group, self.remote.version);
        let url = index["paths"][document]["serverRelativeURL"].as_str()?;
        Some(url.split_once("hash=").map_or("", |(_, hash)| hash).to_owned())
    }

    /// The answer at a path, if it comes in time.
    async fn ask(&self, path: String) -> Option<Result<(StatusCode, Value), String>> {
        tokio::time::timeout(CHECK_TIMEOUT, self.clone().answer(path)).await.ok()
    }

    fn answer(self, path: String) -> BoxFuture<'static, Result<(StatusCode, Value), String>> {
        Box::pin(async move {
            let io = connect(self.remote, self.address.clone()).await?;
            let request = Request::builder().method(Method::GET).uri(&path).header("accept", "application/json");
            let (mut parts, body) = request.body(body::empty()).map_err(|error| error.to_string())?.into_parts();
            identify(&mut parts.headers, &aggregator());
            let answered = forward(io, parts, body, &self.address, &path, &self.server.scope).await;
            let response = answered.map_err(|error| error.message)?;
            let code = response.status();
            let mut body = response.into_body();
            let mut bytes = BytesMut::new();
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|error| error.to_string())?;
                let Ok(data) = frame.into_data() else { continue };
                if bytes.len() + data.len() > MAX_DOCUMENT_BYTES {
                    return Err("the answer is too long".into());
                }
                bytes.extend_from_slice(&data);
            }
            Ok((code, serde_json::from_slice(&bytes).unwrap_or_default()))
        })
    }
}

/// Who asks when nobody does (upstream: `system:kube-aggregator`).
fn aggregator() -> UserInfo {
    let groups = vec!["system:masters".into()];
    UserInfo { username: "system:kube-aggregator".into(), groups, ..UserInfo::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_is_said_by_the_server_alone() {
        let mut headers = HeaderMap::new();
        headers.insert("x-remote-user", HeaderValue::from_static("root"));
        headers.insert("x-remote-group", HeaderValue::from_static("system:masters"));
        headers.insert("x-remote-extra-a", HeaderValue::from_static("b"));
        let mut user = UserInfo { uid: "1".into(), ..UserInfo::new("jo", ["dev"]) };
        user.extra.insert("example.org/Scopes".into(), vec!["x".into(), "y".into()]);
        identify(&mut headers, &user);
        let mut lines: Vec<String> =
            headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().expect("text"))).collect();
        lines.sort();
        let expected = [
            "x-remote-extra-example.org%2Fscopes: x",
            "x-remote-extra-example.org%2Fscopes: y",
            "x-remote-group: dev",
            "x-remote-group: system:authenticated",
            "x-remote-uid: 1",
            "x-remote-user: jo",
        ];
        assert_eq!(lines, expected.map(str::to_lowercase));
    }
}
