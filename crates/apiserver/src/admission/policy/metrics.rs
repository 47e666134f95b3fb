//! What came of policies, under upstream's names
//! (upstream: policy/{validating,mutating}/metrics/metrics.go).

use std::time::Duration;

use component_base::metrics::{Counter, Family, Histogram, Metrics};
use prometheus_client::encoding::EncodeLabelSet;

/// The labels of both metrics.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Checked {
    policy: String,
    policy_binding: String,
    error_type: &'static str,
    enforcement_action: &'static str,
}

type Seconds = Family<Checked, Histogram, fn() -> Histogram>;

/// Counters and durations of one kind of policy.
#[derive(Clone, Debug)]
struct Pair {
    total: Family<Checked, Counter>,
    seconds: Seconds,
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct PolicyMetrics {
    validating: Pair,
    mutating: Pair,
}

/// Which kind of policy a check was of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Checks {
    Validating,
    Mutating,
}

fn buckets() -> Histogram {
    Histogram::new([0.0000005, 0.001, 0.01, 0.1, 1.0])
}

impl PolicyMetrics {
    pub(super) fn register(metrics: &Metrics) -> Self {
        let pair = |kind: &str, words: &str| {
            let seconds: Seconds = Family::new_with_constructor(buckets);
            Pair {
                total: metrics.register(
                    &format!("apiserver_{kind}_admission_policy_check"),
                    &format!("{words} admission policy check total, labeled by policy and further identified by binding and enforcement action taken"),
                    Family::default(),
                ),
                seconds: metrics.register(
                    &format!("apiserver_{kind}_admission_policy_check_duration_seconds"),
                    &format!("{words} admission latency for individual validation expressions in seconds, labeled by policy and further including binding and enforcement action taken"),
                    seconds,
                ),
            }
        };
        Self { validating: pair("validating", "Validation"), mutating: pair("mutating", "Mutation") }
    }

    /// Notes one check.
    pub(super) fn observe(
        &self,
        checks: Checks,
        policy: &str,
        binding: &str,
        failed: bool,
        action: &'static str,
        took: Duration,
    ) {
        let pair = if checks == Checks::Validating { &self.validating } else { &self.mutating };
        let labels = Checked {
            policy: policy.to_owned(),
            policy_binding: binding.to_owned(),
            error_type: if failed { "invalid_error" } else { "no_error" },
            enforcement_action: action,
        };
        pair.total.get_or_create(&labels).inc();
        pair.seconds.get_or_create(&labels).observe(took.as_secs_f64());
    }
}
