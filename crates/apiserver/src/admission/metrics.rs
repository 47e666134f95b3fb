//! What admission costs and what came of it, under upstream's names (upstream: apiserver/pkg/admission/metrics).

use std::sync::OnceLock;
use std::time::Duration;

use component_base::metrics::{Counter, Family, Histogram, Metrics};
use prometheus_client::encoding::EncodeLabelSet;

use super::Operation;

mod conditions;

pub(super) use conditions::{ConditionMetrics, Holder, Series};

/// One of the two halves of admission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Plugins complete the object.
    Admit,
    /// Plugins judge it.
    Validate,
}

impl Step {
    pub(super) const ALL: [Self; 2] = [Self::Admit, Self::Validate];

    fn name(self) -> &'static str {
        match self {
            Self::Admit => "admit",
            Self::Validate => "validate",
        }
    }
}

/// Why a webhook has a request refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rejection {
    /// It said no.
    No,
    /// It could not be asked.
    Call,
    /// The server itself failed.
    Server,
}

impl Rejection {
    fn name(self) -> &'static str {
        match self {
            Self::No => "no_error",
            Self::Call => "calling_webhook_error",
            Self::Server => "apiserver_internal_error",
        }
    }
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfStep {
    r#type: &'static str,
    operation: &'static str,
    rejected: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfController {
    name: &'static str,
    r#type: &'static str,
    operation: &'static str,
    rejected: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfWebhook {
    name: String,
    r#type: &'static str,
    operation: &'static str,
    rejected: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfAnswer {
    name: String,
    r#type: &'static str,
    operation: &'static str,
    code: u16,
    rejected: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfRejection {
    name: String,
    r#type: &'static str,
    operation: &'static str,
    error_type: &'static str,
    rejection_code: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfFailure {
    name: String,
    r#type: &'static str,
}

type Seconds<L> = Family<L, Histogram, fn() -> Histogram>;

/// Two series, of what passed and of what was rejected; each is looked up once, when it gets its first value.
pub(super) struct Latency {
    find: Box<dyn Fn(&'static str) -> Histogram + Send + Sync>,
    found: [OnceLock<Histogram>; 2],
}

impl Latency {
    fn new(find: impl Fn(&'static str) -> Histogram + Send + Sync + 'static) -> Self {
        Self { find: Box::new(find), found: Default::default() }
    }

    pub(super) fn observe(&self, rejected: bool, took: Duration) {
        let found = &self.found[usize::from(rejected)];
        found.get_or_init(|| (self.find)(spelled(rejected))).observe(took.as_secs_f64());
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct AdmissionMetrics {
    steps: Seconds<OfStep>,
    controllers: Seconds<OfController>,
    webhooks: Seconds<OfWebhook>,
    answers: Family<OfAnswer, Counter>,
    rejections: Family<OfRejection, Counter>,
    failures: Family<OfFailure, Counter>,
    /// Those of match conditions.
    pub(super) conditions: ConditionMetrics,
}

/// How the call of a webhook ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Called<'a> {
    pub(super) name: &'a str,
    /// `admit` of those that mutate, `validating` of those that judge.
    pub(super) kind: &'static str,
    pub(super) operation: Operation,
    pub(super) took: Duration,
    pub(super) code: u16,
    pub(super) rejection: Option<Rejection>,
}

/// Codes beyond this count as this, so that a webhook cannot make ever more series.
const LARGEST_CODE: u16 = 600;

fn short() -> Histogram {
    Histogram::new([0.005, 0.025, 0.1, 0.5, 1.0, 2.5])
}

fn long() -> Histogram {
    Histogram::new([0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 10.0, 25.0])
}

fn spelled(truth: bool) -> &'static str {
    if truth { "true" } else { "false" }
}

impl Default for AdmissionMetrics {
    /// Metrics that nobody reads.
    fn default() -> Self {
        Self {
            steps: Family::new_with_constructor(short),
            controllers: Family::new_with_constructor(short),
            webhooks: Family::new_with_constructor(long),
            answers: Family::default(),
            rejections: Family::default(),
            failures: Family::default(),
            conditions: ConditionMetrics::default(),
        }
    }
}

impl AdmissionMetrics {
    /// Metrics that are written at `/metrics`.
    pub(super) fn register(metrics: &Metrics) -> Self {
        let made = Self::default();
        let name = |name: &str| format!("apiserver_admission_{name}");
        let latency = |what: &str| format!("{what} latency histogram in seconds");
        Self {
            steps: metrics.register(
                &name("step_admission_duration_seconds"),
                &format!("{}, broken out for each operation and API resource and step type (validate or admit)", latency("Admission sub-step")),
                made.steps,
            ),
            controllers: metrics.register(
                &name("controller_admission_duration_seconds"),
                &format!("{}, identified by name and broken out for each operation and API resource and type (validate or admit)", latency("Admission controller")),
                made.controllers,
            ),
            webhooks: metrics.register(
                &name("webhook_admission_duration_seconds"),
                &format!("{}, identified by name and broken out for each operation and API resource and type (validate or admit)", latency("Admission webhook")),
                made.webhooks,
            ),
            answers: metrics.register(
                &name("webhook_request"),
                "Admission webhook request total, identified by name and broken out for each admission type (validating or admit) and operation",
                made.answers,
            ),
            rejections: metrics.register(
                &name("webhook_rejection_count"),
                "Admission webhook rejection count, identified by name and broken out for each admission type (validating or admit) and operation",
                made.rejections,
            ),
            failures: metrics.register(
                &name("webhook_fail_open_count"),
                "Admission webhook fail open count, identified by name and broken out for each admission type (validating or admit)",
                made.failures,
            ),
            conditions: made.conditions.register(metrics),
        }
    }

    /// How long all plugins take.
    pub(super) fn step(&self, step: Step, operation: Operation) -> Latency {
        let (family, r#type, operation) = (self.steps.clone(), step.name(), operation.name());
        Latency::new(move |rejected| family.get_or_create(&OfStep { r#type, operation, rejected }).clone())
    }

    /// How long one plugin takes.
    pub(super) fn controller(&self, name: &'static str, step: Step, operation: Operation) -> Latency {
        let (family, r#type, operation) = (self.controllers.clone(), step.name(), operation.name());
        Latency::new(move |rejected| family.get_or_create(&OfController { name, r#type, operation, rejected }).clone())
    }

    /// A webhook was called.
    pub(super) fn called(&self, called: &Called<'_>) {
        let (r#type, operation) = (called.kind, called.operation.name());
        let (rejected, code) = (spelled(called.rejection.is_some()), called.code.min(LARGEST_CODE));
        let name = || called.name.to_owned();
        self.answers.get_or_create(&OfAnswer { name: name(), r#type, operation, code, rejected }).inc();
        let labels = OfWebhook { name: name(), r#type, operation, rejected };
        self.webhooks.get_or_create(&labels).observe(called.took.as_secs_f64());
        if let Some(rejection) = called.rejection {
            let error_type = rejection.name();
            let labels = OfRejection { name: name(), r#type, operation, error_type, rejection_code: code };
            self.rejections.get_or_create(&labels).inc();
        }
    }

    /// A webhook could not be asked, and the request goes on.
    pub(super) fn failed_open(&self, name: &str, kind: &'static str) {
        self.failures.get_or_create(&OfFailure { name: name.to_owned(), r#type: kind }).inc();
    }
}
