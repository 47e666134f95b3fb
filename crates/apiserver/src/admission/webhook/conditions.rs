//! [`Conditions`]: `matchConditions`, which must all hold for a webhook to be called
//! (upstream: apiserver/pkg/admission/plugin/webhook/matchconditions/matcher.go).

use std::sync::Arc;

use serde_json::Value;

use super::hooks::FailurePolicy;
use super::view::View;
use crate::admission::Request;

/// The compiled conditions of a webhook.
pub trait Conditions: std::fmt::Debug + Send + Sync {
    /// Whether all hold; the words of what went wrong when that cannot be said and the policy is to fail.
    fn hold(&self, request: &Request<'_>, view: &View) -> Result<bool, String>;
}

/// Compiles conditions; none where there are none.
pub(super) fn compile(conditions: &[Value], policy: FailurePolicy) -> Option<Arc<dyn Conditions>> {
    if conditions.is_empty() { None } else { Some(Arc::new(Undecided(policy))) }
}

/// Conditions that cannot be evaluated: by the failure policy the webhook is passed over or the request fails.
#[derive(Debug)]
struct Undecided(FailurePolicy);

impl Conditions for Undecided {
    fn hold(&self, _request: &Request<'_>, _view: &View) -> Result<bool, String> {
        match self.0 {
            FailurePolicy::Ignore => Ok(false),
            FailurePolicy::Fail => Err("this server does not evaluate match conditions".into()),
        }
    }
}
