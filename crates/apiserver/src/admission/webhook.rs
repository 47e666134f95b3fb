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

use apimachinery::StatusError;

use super::{Request, matching};

pub mod hooks;

mod client;
mod matched;
mod review;
mod view;

mod call;
mod mutating;
mod validating;

pub use mutating::MutatingAdmissionWebhook;
pub use validating::ValidatingAdmissionWebhook;

/// Whether no webhook gets to see the request (upstream: `IsExemptAdmissionConfigurationResource`,
/// `excludedAdmissionResources`).
fn is_exempt(request: &Request<'_>) -> bool {
    let group = request.row.gvk.group.as_str();
    matching::is_exempt(request.row) || matches!(group, "authentication.k8s.io" | "authorization.k8s.io")
}

/// What came of a call.
#[derive(Debug)]
enum CallError {
    /// The webhook could not be asked, or its answer was none.
    Failed(String),
    /// The webhook said no; or the server itself does, whatever the failure policy is.
    Refused(StatusError),
}

impl CallError {
    /// The failure of a hook, in upstream's words (`ErrCallingWebhook`).
    fn failed(hook: &str, reason: impl std::fmt::Display) -> Self {
        Self::Failed(format!("failed calling webhook {hook:?}: {reason}"))
    }
}
