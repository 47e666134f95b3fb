//! Who is served now: API Priority and Fairness, or the plain limits where it is turned off
//! (upstream: apiserver/pkg/server/filters/priority-and-fairness.go, maxinflight.go).
//!
//! A request holds its [`Place`] until it is answered, a watch until its first events are sent; streams to kubelets and
//! the like hold none. The server's own requests are exempt by their group, so that none ever waits for itself.

use std::sync::Arc;
use std::time::Duration;

use apimachinery::{Attributes, StatusError, UserInfo};
use flow_control::control::Work;
use flow_control::watches::Watching;
use flow_control::{Asker, FlowControl, Seat};
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use tokio::sync::OwnedSemaphorePermit;

use crate::body::{self, Body};
use crate::config::Config;
use crate::limits::Limits;
use crate::registry::Registry;
use crate::request::{Query, RequestInfo};
use crate::request_metrics::{InFlight, RequestMetrics};

pub(crate) mod controller;

const FLOW_SCHEMA_UID: HeaderName = HeaderName::from_static("x-kubernetes-pf-flowschema-uid");
const PRIORITY_LEVEL_UID: HeaderName = HeaderName::from_static("x-kubernetes-pf-prioritylevel-uid");

/// What clients are told who come too often.
const TOO_MANY: &str = "Too many requests, please try again later.";

/// No request waits longer (upstream: `getRequestWaitContext`).
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Subresources whose requests last as long as their clients like (upstream: `BasicLongRunningRequestCheck`).
const LONG_RUNNING: [&str; 5] = ["attach", "exec", "log", "portforward", "proxy"];

/// Whether a request lasts as long as its client likes.
pub(crate) fn is_long_running(info: &RequestInfo) -> bool {
    matches!(info.verb.as_str(), "watch" | "proxy")
        || (info.is_resource && LONG_RUNNING.contains(&info.subresource.as_str()))
}

/// Lets requests in.
#[derive(Debug)]
pub(crate) struct Gate {
    sort: Sort,
    wait_limit: Duration,
}

#[derive(Debug)]
enum Sort {
    Fair(Arc<FlowControl>),
    Plain(Limits),
}

/// A request's place among those that are served.
#[derive(Debug, Default)]
pub(crate) struct Place {
    seat: Option<Seat>,
    permit: Option<OwnedSemaphorePermit>,
    in_flight: Option<InFlight>,
    watching: Option<Watching>,
    uids: Option<(HeaderValue, HeaderValue)>,
    /// There was none: the client may come again after so many seconds.
    refused: Option<u64>,
}

/// A request as flow control shows it while it is there.
#[derive(Debug)]
struct Admitted {
    user: Arc<UserInfo>,
    info: Arc<RequestInfo>,
}

impl Asker for Admitted {
    fn attributes(&self) -> Attributes<'_> {
        self.info.attributes(&self.user, None)
    }
}

impl Gate {
    pub(crate) fn new(
        config: &Config,
        metrics: &component_base::metrics::Metrics,
        scope: &component_base::Scope,
    ) -> Self {
        let (reads, writes) = (config.max_requests_inflight, config.max_mutating_requests_inflight);
        let sort = if config.enable_priority_and_fairness {
            let total = u32::try_from(reads.saturating_add(writes)).unwrap_or(u32::MAX);
            Sort::Fair(Arc::new(FlowControl::new(total, metrics, scope)))
        } else {
            Sort::Plain(Limits::new(reads, writes))
        };
        // A quarter of the time that a request has.
        Self { sort, wait_limit: (config.request_timeout / 4).min(LONGEST_WAIT) }
    }

    /// Flow control, where it is on.
    pub(crate) fn flow_control(&self) -> Option<&Arc<FlowControl>> {
        match &self.sort {
            Sort::Fair(control) => Some(control),
            Sort::Plain(_) => None,
        }
    }

    /// Waits for a place. What the answer owes to it is noted in `place`, be there one or not.
    pub(crate) async fn admit(
        &self,
        place: &mut Place,
        asked: &Attributes<'_>,
        (info, query): (&Arc<RequestInfo>, &Query),
        user: &Arc<UserInfo>,
        (registry, metrics): (&Registry, &RequestMetrics),
    ) -> Result<(), StatusError> {
        if is_long_running(info) && info.verb != "watch" {
            return Ok(());
        }
        match &self.sort {
            Sort::Plain(limits) => match limits.admit(asked.user, info) {
                Ok(permit) => place.permit = permit,
                Err(retry_after_s) => return Err(place.refuse(retry_after_s)),
            },
            Sort::Fair(control) => {
                let Some(request) = control.classify(asked, work(info, query, registry)) else { return Ok(()) };
                let request = request.by(Arc::new(Admitted { user: user.clone(), info: info.clone() }));
                place.uids = Some(request.uids());
                match request.seat(self.wait_limit).await {
                    Ok(seat) => place.seat = Some(seat),
                    Err(refused) => return Err(place.refuse(refused.retry_after_s)),
                }
                place.watching = (info.verb == "watch").then(|| control.watches().register(asked));
            }
        }
        place.in_flight = Some(metrics.in_flight(info));
        Ok(())
    }
}

impl Place {
    fn refuse(&mut self, retry_after_s: u64) -> StatusError {
        self.refused = Some(retry_after_s);
        StatusError::too_many_requests(TOO_MANY, u32::try_from(retry_after_s).unwrap_or(u32::MAX))
    }

    /// Gives the place back. A watch stays known to those who count watchers until its answer ends.
    pub(crate) fn leave(self, mut response: Response<Body>) -> Response<Body> {
        if let Some(seconds) = self.refused {
            response = too_many(seconds);
        }
        if let Some((schema, level)) = self.uids {
            response.headers_mut().insert(FLOW_SCHEMA_UID, schema);
            response.headers_mut().insert(PRIORITY_LEVEL_UID, level);
        }
        match self.watching {
            Some(watching) => response.map(|inner| body::holding(inner, watching)),
            None => response,
        }
    }
}

/// Plain text, as upstream's `http.Error` writes it.
fn too_many(retry_after_s: u64) -> Response<Body> {
    let mut response = Response::new(body::full(format!("{TOO_MANY}\n")));
    *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
    let headers = response.headers_mut();
    headers.insert(header::RETRY_AFTER, HeaderValue::from(retry_after_s));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// What the request will do, as far as it decides its seats.
fn work(info: &RequestInfo, query: &Query, registry: &Registry) -> Work {
    if !info.is_resource {
        return Work::Small;
    }
    match info.verb.as_str() {
        "list" => list(info, query, registry),
        "watch" if sends_state(query) => list(info, query, registry),
        "create" | "update" | "patch" | "delete" | "deletecollection" => {
            // Nobody watches tokens.
            if info.resource == "serviceaccounts" && info.subresource == "token" { Work::Small } else { Work::Write }
        }
        _ => Work::Small,
    }
}

/// Whether a watch begins with what is there.
fn sends_state(query: &Query) -> bool {
    query.is_true("sendInitialEvents") || matches!(query.get("resourceVersion"), None | Some("0"))
}

fn list(info: &RequestInfo, query: &Query, registry: &Registry) -> Work {
    // One that names its object reads one; one of a kind that is not stored here costs others.
    if !info.name.is_empty() {
        return Work::Small;
    }
    let Ok(row) = registry.row(&info.group, &info.version, &info.resource) else { return Work::Small };
    let stats = registry.store().stats(&row.key_prefix());
    let limit = query.get("limit").and_then(|limit| limit.parse().ok()).filter(|limit| *limit > 0);
    Work::List { objects: stats.objects, bytes: stats.bytes, limit }
}
