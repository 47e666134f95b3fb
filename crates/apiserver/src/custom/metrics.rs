//! What came of conversions by webhooks, under upstream's names
//! (upstream: apiextensions-apiserver/pkg/apiserver/conversion/metrics.go).

use std::time::Duration;

use component_base::metrics::{Counter, Family, Histogram, Metrics};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::histogram::exponential_buckets;

use super::webhook::ConversionError;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Outcome {
    result: &'static str,
    failure_type: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfDefinition {
    crd_name: String,
    from_version: String,
    to_version: String,
    succeeded: &'static str,
}

type Seconds<L> = Family<L, Histogram, fn() -> Histogram>;

/// See the module.
#[derive(Debug)]
pub(super) struct ConversionMetrics {
    requests: Family<Outcome, Counter>,
    seconds: Seconds<Outcome>,
    definitions: Seconds<OfDefinition>,
}

/// A conversion that a webhook was asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    /// The definition, as `things.example.com`.
    pub(super) definition: &'a str,
    /// The version of the first object.
    pub(super) from: &'a str,
    /// The version asked for.
    pub(super) to: &'a str,
}

fn of_requests() -> Histogram {
    Histogram::new([0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 45.0, 60.0])
}

fn of_definitions() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 15))
}

impl ConversionMetrics {
    pub(super) fn register(metrics: &Metrics) -> Self {
        Self {
            requests: metrics.register(
                "apiserver_conversion_webhook_request",
                "Counter for conversion webhook requests with success/failure and failure error type",
                Family::default(),
            ),
            seconds: metrics.register(
                "apiserver_conversion_webhook_duration_seconds",
                "Conversion webhook request latency",
                Family::new_with_constructor(of_requests as fn() -> Histogram),
            ),
            definitions: metrics.register(
                "apiserver_crd_conversion_webhook_duration_seconds",
                "CRD webhook conversion duration in seconds",
                Family::new_with_constructor(of_definitions as fn() -> Histogram),
            ),
        }
    }

    /// Notes what came of a request.
    pub(super) fn observe<T>(&self, asked: Asked<'_>, outcome: &Result<T, ConversionError>, took: Duration) {
        let failure_type = match outcome {
            Ok(_) => "",
            // Nobody was asked.
            Err(ConversionError::Versions) => return,
            Err(ConversionError::Call { .. }) => "conversion_webhook_call_failure",
            Err(ConversionError::Answer { .. }) => "conversion_webhook_malformed_response_failure",
            Err(ConversionError::Number { .. }) => "conversion_webhook_partial_response_failure",
            Err(ConversionError::Object { .. }) => "conversion_webhook_invalid_converted_object_failure",
        };
        let (result, succeeded) = if outcome.is_ok() { ("success", "true") } else { ("failure", "false") };
        let labels = Outcome { result, failure_type };
        self.requests.get_or_create(&labels).inc();
        self.seconds.get_or_create(&labels).observe(took.as_secs_f64());
        let labels = OfDefinition {
            crd_name: asked.definition.to_owned(),
            from_version: asked.from.to_owned(),
            to_version: asked.to.to_owned(),
            succeeded,
        };
        self.definitions.get_or_create(&labels).observe(took.as_secs_f64());
    }
}
