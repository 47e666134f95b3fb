//! Counters and durations of requests, under upstream's names (upstream: endpoints/metrics/metrics.go).

use std::time::Duration;

use component_base::metrics::{Counter, Family, Histogram, Metrics};
use prometheus_client::encoding::EncodeLabelSet;

use crate::request::RequestInfo;

/// The labels of `apiserver_request_total`.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Requested {
    verb: String,
    group: String,
    version: String,
    resource: String,
    subresource: String,
    code: u16,
}

/// The labels of `apiserver_request_duration_seconds`.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Served {
    verb: String,
    group: String,
    resource: String,
    subresource: String,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct RequestMetrics {
    total: Family<Requested, Counter>,
    seconds: Family<Served, Histogram, fn() -> Histogram>,
}

fn buckets() -> Histogram {
    Histogram::new([0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.5, 2.0, 5.0, 10.0, 30.0, 60.0])
}

impl RequestMetrics {
    /// Registers the metrics.
    pub fn register(metrics: &Metrics) -> Self {
        let seconds: Family<Served, Histogram, fn() -> Histogram> = Family::new_with_constructor(buckets);
        Self {
            total: metrics.register(
                "apiserver_request",
                "Counter of apiserver requests broken out for each verb, resource and code",
                Family::default(),
            ),
            seconds: metrics.register(
                "apiserver_request_duration_seconds",
                "Response latency distribution in seconds",
                seconds,
            ),
        }
    }

    /// Notes one answered request.
    pub fn observe(&self, info: &RequestInfo, known: bool, code: u16, took: Duration) {
        // Only what exists becomes a label, so that nobody fills the memory by asking for names.
        let word = |text: &str| if known { text.to_owned() } else { String::new() };
        let verb = if info.is_resource { info.verb.to_ascii_uppercase() } else { "OTHER".into() };
        let requested = Requested {
            verb: verb.clone(),
            group: word(&info.group),
            version: word(&info.version),
            resource: word(&info.resource),
            subresource: word(&info.subresource),
            code,
        };
        self.total.get_or_create(&requested).inc();
        if info.verb != "watch" {
            let served = Served {
                verb,
                group: requested.group,
                resource: requested.resource,
                subresource: requested.subresource,
            };
            self.seconds.get_or_create(&served).observe(took.as_secs_f64());
        }
    }
}
