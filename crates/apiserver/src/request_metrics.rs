//! Counters and durations of requests, under upstream's names (upstream: endpoints/metrics/metrics.go).
//!
//! Only what exists becomes a label, so that nobody fills the memory by asking for names.

use std::time::Duration;

use api::Resource;
use component_base::metrics::{Counter, Family, Gauge, Histogram, Metrics};
use http::{HeaderMap, Response, header};
use http_body::Body as _;
use prometheus_client::encoding::EncodeLabelSet;

use crate::body::{self, Body};
use crate::flow::is_long_running;
use crate::request::RequestInfo;

/// What all series of a request have in common.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Labels {
    verb: &'static str,
    group: String,
    version: String,
    resource: String,
    subresource: String,
    scope: &'static str,
    component: &'static str,
}

/// The labels of `apiserver_request_total` and `apiserver_request_terminations_total`.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct WithCode {
    verb: &'static str,
    group: String,
    version: String,
    resource: String,
    subresource: String,
    scope: &'static str,
    component: &'static str,
    code: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Sort {
    request_kind: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Watched {
    group: String,
    version: String,
    resource: String,
}

type Histograms = Family<Labels, Histogram, fn() -> Histogram>;

/// See the module.
#[derive(Clone, Debug)]
pub struct RequestMetrics {
    total: Family<WithCode, Counter>,
    terminations: Family<WithCode, Counter>,
    seconds: Histograms,
    sizes: Histograms,
    long_running: Family<Labels, Gauge>,
    dropped: Family<Sort, Counter>,
    reading: Gauge,
    mutating: Gauge,
    watch_events: Family<Watched, Counter>,
}

/// Non-resource paths that have series of their own.
const PATHS: [&str; 8] =
    ["/healthz", "/livez", "/readyz", "/metrics", "/version", "/openapi/v2", "/openapi/v3", "/apis"];

fn seconds() -> Histogram {
    Histogram::new([
        0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0,
        30.0, 45.0, 60.0,
    ])
}

fn sizes() -> Histogram {
    Histogram::new([1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9])
}

/// A request as its series name it.
#[derive(Clone, Debug)]
pub(crate) struct Asked(Labels);

impl Asked {
    /// Reads it off before anything is done.
    pub(crate) fn new(info: &RequestInfo, row: Option<&Resource>, headers: &HeaderMap) -> Self {
        let subresource = match row {
            Some(row) if has_subresource(row, &info.subresource) => info.subresource.clone(),
            Some(_) => String::new(),
            None if info.is_resource => String::new(),
            None => {
                PATHS.iter().find(|path| info.path.starts_with(*path)).map_or_else(String::new, |path| (*path).into())
            }
        };
        let word = |text: &str| if row.is_some() { text.to_owned() } else { String::new() };
        Self(Labels {
            verb: verb(info, headers),
            group: word(&info.group),
            version: word(&info.version),
            resource: word(&info.resource),
            subresource,
            scope: scope(info),
            component: "apiserver",
        })
    }
}

fn has_subresource(row: &Resource, name: &str) -> bool {
    match name {
        "status" => row.subresources.status,
        "scale" => row.subresources.scale.is_some(),
        name => row.subresources.special(name).is_some(),
    }
}

/// Upstream: `cleanVerb`, `CanonicalVerb`.
fn verb(info: &RequestInfo, headers: &HeaderMap) -> &'static str {
    if info.is_resource && matches!(info.subresource.as_str(), "exec" | "attach" | "portforward" | "proxy") {
        return "CONNECT";
    }
    let is_apply = || {
        let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        media_type.is_some_and(|text| text.starts_with("application/apply-patch"))
    };
    match info.verb.as_str() {
        "get" => "GET",
        "list" => "LIST",
        "watch" => "WATCH",
        "create" | "post" => "POST",
        "update" | "put" => "PUT",
        "patch" if is_apply() => "APPLY",
        "patch" => "PATCH",
        "delete" => "DELETE",
        "deletecollection" => "DELETECOLLECTION",
        "head" => "HEAD",
        _ => "OTHER",
    }
}

/// Upstream: `CleanScope`.
fn scope(info: &RequestInfo) -> &'static str {
    match info {
        RequestInfo { is_resource: false, .. } => "",
        info if !info.name.is_empty() || info.verb == "create" => "resource",
        info if !info.namespace.is_empty() => "namespace",
        _ => "cluster",
    }
}

/// A request that is served now.
#[derive(Debug)]
pub(crate) struct InFlight(Gauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl RequestMetrics {
    /// Registers the metrics.
    pub fn register(metrics: &Metrics) -> Self {
        let inflight: Family<Sort, Gauge> = metrics.register(
            "apiserver_current_inflight_requests",
            "Maximal number of currently used inflight request limit of this apiserver per request kind in last second.",
            Family::default(),
        );
        let of = |request_kind| inflight.get_or_create(&Sort { request_kind }).clone();
        let histogram =
            |name, help, make: fn() -> Histogram| metrics.register(name, help, Family::new_with_constructor(make));
        Self {
            total: metrics.register(
                "apiserver_request",
                "Counter of apiserver requests broken out for each verb, group, version, resource, scope, component, and HTTP response code.",
                Family::default(),
            ),
            terminations: metrics.register(
                "apiserver_request_terminations",
                "Number of requests which apiserver terminated in self-defense.",
                Family::default(),
            ),
            seconds: histogram(
                "apiserver_request_duration_seconds",
                "Response latency distribution in seconds for each verb, group, version, resource, subresource, scope and component.",
                seconds,
            ),
            sizes: histogram(
                "apiserver_response_sizes",
                "Response size distribution in bytes for each group, version, verb, resource, subresource, scope and component.",
                sizes,
            ),
            long_running: metrics.register(
                "apiserver_longrunning_requests",
                "Gauge of all active long-running apiserver requests broken out by verb, group, version, resource, scope and component.",
                Family::default(),
            ),
            dropped: metrics.register(
                "apiserver_dropped_requests",
                "Number of requests dropped with 'Try again later' response",
                Family::default(),
            ),
            reading: of("readOnly"),
            mutating: of("mutating"),
            watch_events: metrics.register(
                "apiserver_watch_events",
                "Number of events sent in watch clients",
                Family::default(),
            ),
        }
    }

    /// Counts a request while it is served.
    pub(crate) fn in_flight(&self, info: &RequestInfo) -> InFlight {
        let gauge = if info.is_read_only() { &self.reading } else { &self.mutating };
        gauge.inc();
        InFlight(gauge.clone())
    }

    /// The counter of events of a kind.
    pub(crate) fn watch_events(&self, row: &Resource) -> Counter {
        let gvk = &row.gvk;
        let labels = Watched { group: gvk.group.clone(), version: gvk.version.clone(), resource: row.plural.clone() };
        self.watch_events.get_or_create(&labels).clone()
    }

    /// Notes an answered request; what lasts is counted until its answer ends.
    pub(crate) fn answered(
        &self,
        Asked(labels): Asked,
        info: &RequestInfo,
        response: Response<Body>,
        took: Duration,
    ) -> Response<Body> {
        let code = response.status().as_u16();
        self.total.get_or_create(&with_code(&labels, code)).inc();
        match code {
            429 => {
                let request_kind = if info.is_read_only() { "readOnly" } else { "mutating" };
                self.dropped.get_or_create(&Sort { request_kind }).inc();
                self.terminations.get_or_create(&with_code(&labels, code)).inc();
            }
            504 => drop(self.terminations.get_or_create(&with_code(&labels, code)).inc()),
            _ => {}
        }
        if is_long_running(info) {
            let gauge = self.long_running.get_or_create(&labels).clone();
            gauge.inc();
            return response.map(|inner| body::holding(inner, InFlight(gauge)));
        }
        if matches!(labels.verb, "GET" | "LIST")
            && let Some(size) = response.body().size_hint().exact()
        {
            self.sizes.get_or_create(&labels).observe(size as f64);
        }
        self.seconds.get_or_create(&labels).observe(took.as_secs_f64());
        response
    }
}

fn with_code(labels: &Labels, code: u16) -> WithCode {
    let Labels { verb, group, version, resource, subresource, scope, component } = labels.clone();
    WithCode { verb, group, version, resource, subresource, scope, component, code }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_and_scopes_are_upstreams() {
        for (verb_word, subresource, namespace, name, expected) in [
            ("get", "", "a", "x", "GET resource"),
            ("list", "", "a", "", "LIST namespace"),
            ("watch", "", "", "", "WATCH cluster"),
            ("create", "", "a", "", "POST resource"),
            ("update", "status", "a", "x", "PUT resource"),
            ("get", "exec", "a", "x", "CONNECT resource"),
            ("deletecollection", "", "a", "", "DELETECOLLECTION namespace"),
            ("brew", "", "", "", "OTHER cluster"),
        ] {
            let info = RequestInfo {
                is_resource: true,
                verb: verb_word.into(),
                subresource: subresource.into(),
                namespace: namespace.into(),
                name: name.into(),
                ..RequestInfo::default()
            };
            assert_eq!(format!("{} {}", verb(&info, &HeaderMap::new()), scope(&info)), expected);
        }
    }
}
