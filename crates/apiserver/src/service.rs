//! The handler chain: one request from bytes to bytes, on one page.
//!
//! ```text
//! parse -> authenticate -> audit -> impersonate -> flow control -> authorize -> route -> verb | discovery | special handler
//!       -> answer
//! ```

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use apimachinery::{StatusError, UserInfo};
use audit::Trail;
use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use http::request::Parts;
use http::{HeaderName, Request, Response};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::auditing::{self, AuditId};
use crate::authentication::impersonate::{self, impersonate};
use crate::authenticator::PeerCertificates;
use crate::authorizer::{self, Decision};
use crate::body::{self, Body, BoxError};
use crate::flow::Place;
use crate::handler::Call;
use crate::registry::{Cx, create, delete, delete_collection, get, list, patch, scale, update, watch};
use crate::request::{Query, RequestInfo};
use crate::request_guard::RequestGuard;
use crate::request_metrics::Asked;
use crate::server::ApiServer;
use crate::{aggregation, custom, negotiate, nonresource, status};

/// The server as a tower service; cheap to clone.
#[derive(Clone, Debug)]
pub struct ApiService {
    server: Arc<ApiServer>,
}

impl ApiService {
    pub(crate) fn new(server: Arc<ApiServer>) -> Self {
        Self { server }
    }

    /// Answers one request.
    pub async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let (mut parts, body) = request.into_parts();
        let id = AuditId::of(&parts.headers);
        parts.extensions.insert(id.clone());
        let query = Query::parse(parts.uri.query());
        let info = Arc::new(RequestInfo::parse(&parts, &query));
        let began = Instant::now();
        let row = self.server.registry.rows().find(&info.group, &info.version, &info.resource).cloned();
        let asked = Asked::new(&info, row.as_deref(), &parts.headers);
        let accept = parts.headers.get(http::header::ACCEPT).cloned();
        let (mut trail, mut place) = (None, Place::default());
        let guard = RequestGuard::new(&self.server, &info, &query, &parts.method);
        let work = chain(&self.server, parts, body, info.clone(), query, row, (&mut trail, &mut place));
        // The heap has room for what all verbs together may have to remember; whoever waits for the answer has not.
        let answered = guard.run(Box::pin(work)).await;
        let in_format = |error| status::response_in(&error, accept.map(error_format).unwrap_or_default());
        let mut response = place.leave(answered.unwrap_or_else(in_format));
        if let Some(trail) = trail {
            response = auditing::answered(trail, &info, response).await;
        }
        id.mark(&mut response);
        self.server.request_metrics.answered(asked, &info, response, began.elapsed())
    }
}

impl<B> tower::Service<Request<B>> for ApiService
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = std::convert::Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move { Ok(service.answer(request.map(body::boxed)).await) })
    }
}

async fn chain(
    server: &Arc<ApiServer>,
    mut parts: Parts,
    body: Body,
    mut info: Arc<RequestInfo>,
    query: Query,
    row: Option<Arc<api::Resource>>,
    (trail, place): (&mut Option<Arc<Trail>>, &mut Place),
) -> Result<Response<Body>, StatusError> {
    let authenticated = authenticate(server, &parts).await;
    let mut user = authenticated.inspect_err(|_| auditing::unauthenticated(server, &parts, &info))?;
    let selectors = info.selectors(&query);
    let asked = info.attributes(&user, selectors.as_ref());
    *trail = auditing::begin(server, &mut parts, &asked);
    if let Some(other) = impersonate(&parts.headers, &asked, &*server.authorizer).await? {
        if let Some(trail) = trail {
            trail.impersonated(&other.user, &other.constraint);
        }
        user = Arc::new(other.user);
    }
    let asked = info.attributes(&user, selectors.as_ref());
    server.gate.admit(place, &asked, (&info, &query), &user, (&server.registry, &server.request_metrics)).await?;
    let verdict = server.authorizer.judge(&asked).await;
    if let Some(trail) = trail {
        auditing::judged(trail, &verdict);
    }
    if verdict.decision != Decision::Allow {
        return Err(authorizer::forbidden(&asked, &verdict.reason));
    }
    forget_credentials(&mut parts.headers);
    if row.is_none()
        && let Some(remote) = server.aggregator.route(&info.path, &server.registry.rows())
    {
        return Ok(aggregation::proxy::answer(server, &remote, &user, parts, body).await);
    }
    if !info.is_resource {
        return nonresource::answer(server, &parts, &info, &query).await;
    }
    let row = row.ok_or_else(StatusError::unknown_path)?;
    check_scope(&row, &info)?;
    if !row.is_namespaced() && !info.namespace.is_empty() {
        // A namespace's own path names it twice; it lives in none.
        Arc::make_mut(&mut info).namespace.clear();
    }
    let cx = Cx {
        server: server.clone(),
        headers: parts.headers.clone(),
        now: component_base::now(),
        warnings: Mutex::default(),
        info,
        row,
        query,
        user,
        trail: trail.clone(),
    };
    let body = auditing::carried(&cx, body).await?;
    if let Some(handler) = server.handlers.find(&cx.info.group, &cx.info.resource, &cx.info.subresource) {
        return handler.clone().handle(Call { cx, parts, body }).await;
    }
    for warning in cx.row.custom.iter().flat_map(|custom| custom.warnings()) {
        cx.warn(warning);
    }
    let answered = verb(&cx, body).await;
    if custom::is_definitions(&cx.row) && !cx.info.is_read_only() {
        // Who writes a definition finds its kind served.
        server.definitions.settled().await;
    }
    // Warnings travel with refusals too.
    let mut response =
        answered.unwrap_or_else(|error| status::response_in(&error, negotiate::error_format(&cx.headers)));
    add_warnings(&cx, &mut response);
    Ok(response)
}

/// The format of an error, by the `Accept` header of a request that is gone.
fn error_format(accept: HeaderValue) -> negotiate::Format {
    negotiate::error_format(&http::HeaderMap::from_iter([(http::header::ACCEPT, accept)]))
}

/// Namespaced kinds are listed and watched across namespaces but named and written within one; kinds of the cluster
/// are in no namespace (`/api/v1/namespaces/x` itself reads as namespace and name).
fn check_scope(row: &api::Resource, info: &RequestInfo) -> Result<(), StatusError> {
    let is_namespaces = row.plural == "namespaces" && row.gvk.group.is_empty();
    match (row.is_namespaced(), info.namespace.is_empty()) {
        (true, true) if matches!(info.verb.as_str(), "list" | "watch") => Ok(()),
        (true, true) if info.name.is_empty() => Err(method_not_allowed()),
        (true, true) => Err(StatusError::unknown_path()),
        (false, false) if is_namespaces && info.namespace == info.name => Ok(()),
        (false, false) => Err(StatusError::unknown_path()),
        _ => Ok(()),
    }
}

/// Who asks: the in-process transport says so, everybody else proves it.
///
/// Authenticators live in `authentication*` behind [`Authenticator`](crate::authenticator::Authenticator).
async fn authenticate(server: &ApiServer, parts: &Parts) -> Result<Arc<UserInfo>, StatusError> {
    if let Some(user) = parts.extensions.get::<UserInfo>() {
        return Ok(Arc::new(user.clone()));
    }
    let peer = parts.extensions.get::<PeerCertificates>();
    let known = server.authenticator.authenticate(parts, peer).await?;
    Ok(Arc::new(known.unwrap_or_else(UserInfo::anonymous)))
}

/// Whom the request was shown to come from is known by now; what showed it goes no further, least of all through a
/// proxy (upstream: filters/authentication.go, impersonation.go).
fn forget_credentials(headers: &mut HeaderMap) {
    headers.remove(AUTHORIZATION);
    let impersonating: Vec<HeaderName> =
        headers.keys().filter(|name| impersonate::is_header(name.as_str())).cloned().collect();
    for name in impersonating {
        headers.remove(name);
    }
}

/// The one table of verbs.
async fn verb(cx: &Cx, body: Body) -> Result<Response<Body>, StatusError> {
    let (verb, subresource) = (cx.info.verb.as_str(), cx.info.subresource.as_str());
    let (exists, offered) = match subresource {
        "" => (true, cx.row.verbs.has(verb)),
        "status" => (cx.row.subresources.status, matches!(verb, "get" | "update" | "patch")),
        "scale" => (cx.row.subresources.scale.is_some(), matches!(verb, "get" | "update" | "patch")),
        part => match cx.row.subresources.special(part).filter(|special| special.body == cx.row.gvk) {
            Some(special) => (true, special.verbs.contains(&verb)),
            None => (false, false),
        },
    };
    if !exists {
        return Err(StatusError::unknown_path());
    }
    if !offered {
        return Err(method_not_allowed());
    }
    if subresource == "scale" {
        let bytes = body::read(body).await?;
        return scale::answer(cx, &bytes).await;
    }
    match verb {
        "get" => get::get(cx).await,
        "list" => list::list(cx).await,
        "watch" => watch::watch(cx).await,
        "create" if !cx.info.name.is_empty() => Err(method_not_allowed()),
        "create" => create::create(cx, &body::read(body).await?).await,
        "update" => update::update(cx, &body::read(body).await?).await,
        "patch" => patch::patch(cx, &body::read(body).await?).await,
        "delete" => delete::delete(cx, &body::read(body).await?).await,
        "deletecollection" => delete_collection::delete_collection(cx, &body::read(body).await?).await,
        _ => Err(method_not_allowed()),
    }
}

/// The 405 of a path that knows other methods only (upstream: the router's own answer).
fn method_not_allowed() -> StatusError {
    StatusError::new(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
}

/// Warnings travel as `Warning: 299 - "text"` (RFC 7234; upstream: apiserver/pkg/warning).
pub(crate) fn add_warnings(cx: &Cx, response: &mut Response<Body>) {
    for text in cx.warnings.lock().iter() {
        let quoted: String = text.chars().filter(|letter| !letter.is_control()).collect();
        let quoted = quoted.replace('\\', "\\\\").replace('"', "\\\"");
        if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{quoted}\"")) {
            response.headers_mut().append(HeaderName::from_static("warning"), value);
        }
    }
}
