//! Admission webhooks: MutatingAdmissionWebhook and ValidatingAdmissionWebhook
//! (upstream: apiserver/pkg/admission/plugin/webhook).
//!
//! ```text
//! hooks (as new as the store) > matched (rules, selectors, conditions) > review > client > answer
//! ```
//!
//! Configurations are parsed when they change. Mutating hooks are called one after another, each with what the one
//! before left; validating ones side by side. Configurations of webhooks and policies are never shown to webhooks, so
//! that a broken one can be mended; neither are questions about permissions.

use std::time::Duration;

use apimachinery::StatusError;

use super::metrics::{Called, Rejection};
use super::{Request, matching};

pub mod hooks;

mod matched;
mod review;
mod view;

mod call;
mod mutating;
mod validating;

pub use mutating::MutatingAdmissionWebhook;
pub use validating::ValidatingAdmissionWebhook;

use hooks::{FailurePolicy, Hook};

/// Whether no webhook gets to see the request (upstream: `IsExemptAdmissionConfigurationResource`,
/// `excludedAdmissionResources`).
fn is_exempt(request: &Request<'_>) -> bool {
    let group = request.row.gvk.group.as_str();
    matching::is_exempt(request.row) || matches!(group, "authentication.k8s.io" | "authorization.k8s.io")
}

/// Why a call did not let the request pass.
#[derive(Debug)]
enum CallError {
    /// The webhook could not be asked, or its answer was none; the code is for metrics.
    Failed { text: String, code: u16 },
    /// The webhook said no (upstream: `ErrWebhookRejection`).
    Refused(StatusError),
    /// The server itself failed, whatever the failure policy is.
    Internal(StatusError),
}

impl CallError {
    /// The failure of a hook, in upstream's words (`ErrCallingWebhook`).
    fn failed(hook: &str, code: u16, reason: impl std::fmt::Display) -> Self {
        Self::Failed { text: format!("failed calling webhook {hook:?}: {reason}"), code }
    }
}

/// A webhook that was asked: what its answer means for the request, and for the metrics.
struct Asked<'a> {
    hook: &'a Hook,
    /// `admit` or `validating`, as upstream's metrics have it.
    kind: &'static str,
    /// Which audit annotation says that the webhook failed and the request went on.
    failed_open: String,
}

impl Asked<'_> {
    /// Counts the outcome and applies the failure policy.
    fn settle<T>(
        &self,
        request: &Request<'_>,
        took: Duration,
        outcome: Result<T, CallError>,
    ) -> Result<(), StatusError> {
        let Asked { hook, kind, failed_open } = self;
        let metrics = &request.cx.server.admission.metrics;
        let ignored = hook.failure_policy == FailurePolicy::Ignore;
        let (code, rejection) = match &outcome {
            Ok(_) => (200, None),
            Err(CallError::Failed { code, .. }) => (*code, (!ignored).then_some(Rejection::Call)),
            Err(CallError::Refused(refusal)) => (refusal.code, Some(Rejection::No)),
            Err(CallError::Internal(_)) => (0, Some(Rejection::Server)),
        };
        let operation = request.operation;
        metrics.called(&Called { name: &hook.name, kind, operation, took, code, rejection });
        match outcome {
            Ok(_) => Ok(()),
            Err(CallError::Failed { text, .. }) if ignored => {
                tracing::warn!(webhook = hook.name, error = text, "failed calling webhook, failing open");
                metrics.failed_open(&hook.name, kind);
                request.annotate(failed_open, &hook.name);
                Ok(())
            }
            Err(CallError::Failed { text, .. }) => Err(StatusError::internal(text)),
            Err(CallError::Refused(refusal) | CallError::Internal(refusal)) => Err(refusal),
        }
    }
}
