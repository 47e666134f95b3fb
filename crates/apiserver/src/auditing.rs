//! The hook of the handler chain for [`audit`]: what of a request and its answer is written down
//! (upstream: apiserver/pkg/endpoints/filters/{audit,audit_init,authn_audit}.go).

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use apimachinery::{Attributes, UserInfo};
use audit::{Begin, Stage, Trail};
use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use http::request::Parts;
use http::{Response, StatusCode};
use http_body::Frame;
use http_body_util::BodyExt;
use serde_json::Value;

use crate::authorizer::{Decision, Verdict};
use crate::body::{self, Body, BoxError};
use crate::registry::{Cx, decode};
use crate::request::RequestInfo;
use crate::server::ApiServer;

/// The header with a request's id, of the client's choice or ours; every answer carries it.
pub const AUDIT_ID: HeaderName = HeaderName::from_static("audit-id");

/// Longer ids are not the client's to choose (upstream: `maxUserAgentLength` has the same purpose).
const MAX_ID_BYTES: usize = 64;
const MAX_USER_AGENT_BYTES: usize = 1024;

/// Subresources whose requests last as long as their clients like.
const LASTING: [&str; 5] = ["attach", "exec", "log", "portforward", "proxy"];

/// Where a connection comes from; the transport puts it among a request's extensions.
#[derive(Clone, Copy, Debug)]
pub struct RemoteAddress(pub SocketAddr);

/// The id of a request.
#[derive(Clone, Debug)]
pub struct AuditId(pub String);

impl AuditId {
    /// As the client gives it, or a new one.
    pub fn of(headers: &HeaderMap) -> Self {
        let given = headers.get(AUDIT_ID).and_then(|value| value.to_str().ok());
        let given = given.filter(|id| !id.is_empty() && id.len() <= MAX_ID_BYTES);
        Self(given.map_or_else(|| uuid::Uuid::new_v4().to_string(), str::to_owned))
    }

    /// Puts it on the answer.
    pub fn mark(&self, response: &mut Response<Body>) {
        if let Ok(value) = HeaderValue::from_str(&self.0) {
            response.headers_mut().insert(AUDIT_ID, value);
        }
    }
}

/// Begins the trail of a request; `None` when nothing of it is written down.
pub fn begin(server: &ApiServer, parts: &mut Parts, asked: &Attributes<'_>) -> Option<Arc<Trail>> {
    let trail = server.config.audit.as_ref()?.begin(asked, arrival(parts))?;
    if trail.wants_response() {
        // What is written down is not compressed.
        parts.headers.remove(ACCEPT_ENCODING);
    }
    Some(trail)
}

/// Nobody is known to have asked.
pub fn unauthenticated(server: &ApiServer, parts: &Parts, info: &RequestInfo) {
    let Some(audit) = &server.config.audit else { return };
    let nobody = UserInfo::default();
    if let Some(trail) = audit.begin(&info.attributes(&nobody, None), arrival(parts)) {
        let status =
            serde_json::json!({ "status": "Failure", "message": "Authentication failed", "reason": "Unauthorized" });
        trail.reached(Stage::ResponseStarted, StatusCode::UNAUTHORIZED.as_u16(), Some(&status));
    }
}

fn arrival(parts: &Parts) -> Begin {
    let id = parts.extensions.get::<AuditId>().map(|id| id.0.clone());
    let agent = parts.headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let uri = parts.uri.path_and_query().map_or_else(|| parts.uri.path(), |path| path.as_str());
    Begin {
        audit_id: id.unwrap_or_default(),
        request_uri: uri.to_owned(),
        source_ips: source_ips(parts),
        user_agent: agent.chars().take(MAX_USER_AGENT_BYTES).collect(),
    }
}

/// Upstream: `utilnet.SourceIPs`.
fn source_ips(parts: &Parts) -> Vec<String> {
    let text = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut ips: Vec<String> = text("x-forwarded-for")
        .split(',')
        .filter_map(|ip| ip.trim().parse::<std::net::IpAddr>().ok())
        .map(|ip| ip.to_string())
        .collect();
    let remote = parts.extensions.get::<RemoteAddress>().map(|remote| remote.0.ip().to_canonical().to_string());
    for ip in [text("x-real-ip").to_owned(), remote.unwrap_or_default()] {
        if ip.parse::<std::net::IpAddr>().is_ok() && ips.last() != Some(&ip) {
            ips.push(ip);
        }
    }
    ips
}

/// Notes the judgement (upstream: filters/authorization.go).
pub fn judged(trail: &Trail, verdict: &Verdict) {
    let decision = if verdict.decision == Decision::Allow { "allow" } else { "forbid" };
    trail.annotate("authorization.k8s.io/decision", decision);
    trail.annotate("authorization.k8s.io/reason", &verdict.reason);
}

/// Notes what the request carries, and gives the body back.
pub async fn carried(cx: &Cx, body: Body) -> Result<Body, apimachinery::StatusError> {
    let writes = matches!(cx.info.verb.as_str(), "create" | "update" | "patch" | "delete" | "deletecollection");
    let Some(trail) = cx.trail.as_ref().filter(|trail| trail.wants_request() && writes && !lasts(&cx.info)) else {
        return Ok(body);
    };
    let bytes = body::read(body).await?;
    if !bytes.is_empty() {
        // A patch is of a type of its own, but it is JSON or YAML too.
        let object = decode::parse(cx, &bytes)
            .map(|(object, _)| object)
            .or_else(|_| apimachinery::codec::yaml::decode(&bytes).map(|parsed| parsed.value));
        if let Ok(object) = object {
            trail.request(object);
        }
    }
    Ok(body::full(bytes))
}

fn lasts(info: &RequestInfo) -> bool {
    info.verb == "watch" || LASTING.contains(&info.subresource.as_str())
}

/// Writes down what came of the request.
pub async fn answered(trail: Arc<Trail>, info: &RequestInfo, response: Response<Body>) -> Response<Body> {
    let code = response.status().as_u16();
    let failed = code >= 400;
    if lasts(info) && !failed {
        trail.reached(Stage::ResponseStarted, code, None);
        return response.map(|inner| body::boxed(Lasting { inner, trail, code }));
    }
    if !failed && !trail.wants_response() {
        trail.reached(Stage::ResponseComplete, code, None);
        return response;
    }
    let (parts, body) = response.into_parts();
    // Our own answer: it lies in memory.
    let bytes = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let object = object_in(&parts.headers, &bytes);
    if let (true, Some(object)) = (trail.wants_response(), &object) {
        trail.response(object.clone());
    }
    trail.reached(Stage::ResponseComplete, code, object.as_ref().filter(|_| failed));
    Response::from_parts(parts, body::full(bytes))
}

fn object_in(headers: &HeaderMap, bytes: &Bytes) -> Option<Value> {
    match headers.get(CONTENT_TYPE)?.to_str().ok()?.split(';').next()? {
        "application/json" => serde_json::from_slice(bytes).ok(),
        "application/yaml" => apimachinery::codec::yaml::decode(bytes).ok().map(|parsed| parsed.value),
        protobuf::MEDIA_TYPE => protobuf::decode(bytes).ok(),
        _ => None,
    }
}

/// The body of an answer that lasts: when it ends, however it ends, the request is complete.
struct Lasting {
    inner: Body,
    trail: Arc<Trail>,
    code: u16,
}

impl http_body::Body for Lasting {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Pin::new(&mut self.inner).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for Lasting {
    fn drop(&mut self) {
        self.trail.reached(Stage::ResponseComplete, self.code, None);
    }
}
