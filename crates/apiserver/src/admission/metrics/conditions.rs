//! What match conditions come to, under upstream's names (upstream: apiserver/pkg/admission/metrics).
//!
//! Whoever holds conditions keeps the handles of its series, so that a request looks up no labels.

use std::sync::OnceLock;
use std::time::Duration;

use component_base::metrics::{Counter, Family, Histogram, Metrics};
use prometheus_client::encoding::EncodeLabelSet;

use crate::admission::Operation;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfHolder {
    name: String,
    kind: &'static str,
    r#type: &'static str,
    operation: &'static str,
}

/// The families.
#[derive(Clone, Debug)]
pub(in crate::admission) struct ConditionMetrics {
    errors: Family<OfHolder, Counter>,
    exclusions: Family<OfHolder, Counter>,
    seconds: Family<OfHolder, Histogram, fn() -> Histogram>,
}

fn buckets() -> Histogram {
    Histogram::new([0.001, 0.005, 0.01, 0.025, 0.1, 0.2, 0.25])
}

impl Default for ConditionMetrics {
    fn default() -> Self {
        Self {
            errors: Family::default(),
            exclusions: Family::default(),
            seconds: Family::new_with_constructor(buckets),
        }
    }
}

impl ConditionMetrics {
    pub(super) fn register(self, metrics: &Metrics) -> Self {
        let register = |name: &str| format!("apiserver_admission_match_condition_{name}");
        let holder = "of resource containing the match condition and broken out for each kind containing matchConditions (webhook or policy), operation and admission type (validate or admit)";
        Self {
            errors: metrics.register(
                &register("evaluation_errors"),
                &format!("Admission match condition evaluation errors count, identified by name {holder}"),
                self.errors,
            ),
            exclusions: metrics.register(
                &register("exclusions"),
                &format!("Admission match condition evaluation exclusions count, identified by name {holder}"),
                self.exclusions,
            ),
            seconds: metrics.register(
                &register("evaluation_seconds"),
                "Admission match condition evaluation time in seconds, identified by name and broken out for each kind containing matchConditions (webhook or policy), operation and type (validate or admit)",
                self.seconds,
            ),
        }
    }
}

/// Who holds conditions: a webhook or a policy, with the handles that were needed so far.
#[derive(Debug, Default)]
pub(in crate::admission) struct Holder {
    name: String,
    kind: &'static str,
    r#type: &'static str,
    series: [OnceLock<Series>; 4],
}

/// The series of a holder and an operation.
#[derive(Debug)]
pub(in crate::admission) struct Series {
    errors: Counter,
    exclusions: Counter,
    seconds: Histogram,
}

impl Holder {
    /// A webhook; `type` is `admit` or `validating`.
    pub(in crate::admission) fn webhook(name: &str, r#type: &'static str) -> Self {
        Self { name: name.to_owned(), kind: "webhook", r#type, ..Self::default() }
    }

    /// A policy, of either kind.
    pub(in crate::admission) fn policy(name: &str) -> Self {
        Self { name: name.to_owned(), kind: "policy", r#type: "validate", ..Self::default() }
    }

    /// The series of an operation.
    pub(in crate::admission) fn series(&self, metrics: &ConditionMetrics, operation: Operation) -> &Series {
        self.series[operation as usize].get_or_init(|| {
            let (name, kind, r#type) = (self.name.clone(), self.kind, self.r#type);
            let labels = OfHolder { name, kind, r#type, operation: operation.name() };
            Series {
                errors: metrics.errors.get_or_create_owned(&labels),
                exclusions: metrics.exclusions.get_or_create_owned(&labels),
                seconds: metrics.seconds.get_or_create_owned(&labels),
            }
        })
    }
}

impl Series {
    /// A webhook was not called for its conditions.
    pub(in crate::admission) fn excluded(&self) {
        self.exclusions.inc();
    }

    /// All conditions were evaluated, or as many as it took; `errors` of them could not be.
    pub(in crate::admission) fn evaluated(&self, took: Duration, errors: u64) {
        self.errors.inc_by(errors);
        self.seconds.observe(took.as_secs_f64());
    }
}
