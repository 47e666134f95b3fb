//! A request on its way to an extension server, with path, query, body and upgrade as they came
//! (upstream: kube-aggregator/pkg/apiserver/handler_proxy.go, resolvers.go).

use std::sync::Arc;
use std::time::Duration;

use apimachinery::UserInfo;
use component_base::Scope;
use futures::future::BoxFuture;
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Body as _;
use serde_json::Value;

use super::{Remote, Spec};
use crate::body::{self, Body};
use crate::connections::{Address, Connections, SendError, collect};
use crate::forward::{backend_request, pass_back};
use crate::nonresource::text;
use crate::server::ApiServer;
use crate::service_resolver::authority;

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
    if let Err(cause) = remote.connections.tls() {
        return text(StatusCode::INTERNAL_SERVER_ERROR, format!("{cause}\n"));
    }
    let address = match remote.connections.address(server).await {
        Ok(address) => address,
        Err(error) => {
            tracing::debug!(error, service = remote.service.name, "resolve the server of a group");
            return text(StatusCode::SERVICE_UNAVAILABLE, "service unavailable\n".into());
        }
    };
    identify(&mut parts.headers, user);
    match send(&server.scope, &remote.connections, &address, &parts, body).await {
        Ok(response) if is_redirect(response.status()) => {
            let words = "the backend attempted to redirect this request, which is not permitted";
            text(StatusCode::BAD_GATEWAY, words.into())
        }
        Ok(response) => pass_back(response, parts, &server.scope),
        Err(error) => text(StatusCode::SERVICE_UNAVAILABLE, format!("error trying to reach service: {error}\n")),
    }
}

/// Sends the request; once more on a new connection where the kept one had ended and nothing is done twice
/// (upstream: net/http's `shouldRetryRequest`).
fn send<'a>(
    scope: &'a Scope,
    connections: &'a Connections,
    address: &'a Address,
    parts: &'a Parts,
    body: Body,
) -> BoxFuture<'a, Result<Response<Body>, String>> {
    Box::pin(async move {
        let host = authority(&address.0, address.1);
        let path = parts.uri.path_and_query().map_or("/", PathAndQuery::as_str);
        let request = |body: Body| backend_request(parts, body, &host, path).map_err(|error| error.message);
        let repeatable = matches!(parts.method, Method::GET | Method::HEAD) && body.is_end_stream();
        match connections.send(scope, address, request(body)?).await {
            Err(SendError { reused: true, .. }) if repeatable => {
                let sent = connections.send_anew(scope, address, request(body::empty())?).await;
                sent.map_err(|error| error.text)
            }
            sent => sent.map_err(|error| error.text),
        }
    })
}

fn is_redirect(code: StatusCode) -> bool {
    code.is_redirection() && code != StatusCode::NOT_MODIFIED
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

/// What a server says of itself.
pub(super) struct Found {
    /// Its `APIResourceList`.
    pub(super) resources: Value,
    /// The hash of its OpenAPI 3 document.
    pub(super) openapi_hash: Option<String>,
    /// What its OpenAPI 2 document says of the group version.
    pub(super) spec: Option<Spec>,
}

/// Asks the server for its group version's discovery document, as upstream's availability check does.
pub(super) fn check<'a>(server: &'a Arc<ApiServer>, remote: &'a Remote) -> BoxFuture<'a, Result<Found, String>> {
    Box::pin(async move {
        let address = remote.connections.address(server).await?;
        let path = format!("/apis/{}/{}", remote.group, remote.version);
        let url = format!("https://{}{path}", authority(&address.0, address.1));
        let question = Question { server, remote, address };
        match question.ask(&path, None).await {
            Some(Ok((code, _, resources))) if code.is_success() => {
                let (openapi_hash, spec) = (question.openapi_hash().await, question.spec().await);
                Ok(Found { resources, openapi_hash, spec })
            }
            Some(Ok((code, ..))) => {
                Err(format!("failing or missing response from {url}: bad status from {url}: {}", code.as_u16()))
            }
            Some(Err(error)) => Err(format!("failing or missing response from {url}: Get {url:?}: {error}")),
            None => {
                remote.connections.forget();
                Err(format!("timed out waiting for {url}"))
            }
        }
    })
}

/// A server that is asked what it serves.
struct Question<'a> {
    server: &'a Arc<ApiServer>,
    remote: &'a Remote,
    address: Address,
}

impl Question<'_> {
    /// The hash in the server's index of OpenAPI 3 documents. One that has none is there all the same.
    async fn openapi_hash(&self) -> Option<String> {
        let (_, _, index) = self.ask("/openapi/v3", None).await?.ok()?;
        let document = format!("apis/{}/{}", self.remote.group, self.remote.version);
        let url = index["paths"][document]["serverRelativeURL"].as_str()?;
        Some(url.split_once("hash=").map_or("", |(_, hash)| hash).to_owned())
    }

    /// What the server's OpenAPI 2 document says of the group version; what is known stays while it says nothing new
    /// (upstream: kube-aggregator/pkg/controllers/openapi/aggregator).
    async fn spec(&self) -> Option<Spec> {
        let known = self.remote.spec.clone();
        let etag = known.as_ref().map(|spec| spec.etag.as_str()).filter(|etag| !etag.is_empty());
        let Some(Ok((code, headers, document))) = self.ask("/openapi/v2", etag).await else { return known };
        if !code.is_success() || !document.is_object() {
            return if code == StatusCode::NOT_FOUND { None } else { known };
        }
        let etag = headers.get(header::ETAG).and_then(|etag| etag.to_str().ok()).unwrap_or_default().to_owned();
        let prefix = format!("/apis/{}/{}/", self.remote.group, self.remote.version);
        let filtered = api::openapi::v2_of_paths(&document, &prefix);
        match known.filter(|known| *known.document == filtered) {
            Some(known) => Some(Spec { etag, ..known }),
            None => Some(Spec { etag, document: Arc::new(filtered) }),
        }
    }

    /// The answer at a path, if it comes in time; nothing of a document that is known under this tag.
    async fn ask(&self, path: &str, known: Option<&str>) -> Option<Result<Answer, String>> {
        tokio::time::timeout(CHECK_TIMEOUT, self.answer(path, known)).await.ok()
    }

    async fn answer(&self, path: &str, known: Option<&str>) -> Result<Answer, String> {
        let mut request = Request::builder().method(Method::GET).uri(path).header(header::ACCEPT, "application/json");
        if let Some(etag) = known {
            request = request.header(header::IF_NONE_MATCH, etag);
        }
        let (mut parts, body) = request.body(body::empty()).map_err(|error| error.to_string())?.into_parts();
        identify(&mut parts.headers, &aggregator());
        let response = send(&self.server.scope, &self.remote.connections, &self.address, &parts, body).await?;
        let (head, body) = response.into_parts();
        let bytes = collect(body, MAX_DOCUMENT_BYTES).await?;
        Ok((head.status, head.headers, serde_json::from_slice(&bytes).unwrap_or_default()))
    }
}

/// Code, headers and JSON.
type Answer = (StatusCode, HeaderMap, Value);

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
