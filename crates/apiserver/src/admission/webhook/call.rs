//! One call of one webhook (upstream: `callHook`, `callAttrMutatingHook`).

use apimachinery::StatusError;

use super::CallError;
use super::hooks::Hook;
use super::review::{self, Answer, ReviewVersion};
use super::view::View;
use crate::admission::Request;
use crate::webhook_client::HookError;

/// What an answer that is none counts as.
pub(super) const UNAVAILABLE: u16 = 503;

/// Asks a webhook; an answer that refuses is an error.
pub(super) async fn call(hook: &Hook, request: &Request<'_>, view: &View, mutates: bool) -> Result<Answer, CallError> {
    if request.dry_run && hook.side_effects {
        let text = format!("admission webhook {:?} does not support dry run", hook.name);
        return Err(CallError::Internal(StatusError::bad_request(text)));
    }
    let Some(version) = ReviewVersion::of(&hook.versions) else {
        let known = "webhook does not accept known AdmissionReview versions (v1, v1beta1)";
        return Err(CallError::failed(&hook.name, 400, format!("could not create admission objects: {known}")));
    };
    let uid = uuid::Uuid::new_v4().to_string();
    let question = review::question(version, &uid, request, view).to_string();
    let answered = hook.client.post(&request.cx.server, question.into(), hook.timeout).await;
    let answered = answered.map_err(|error| match &error {
        HookError::Client(_) => CallError::failed(&hook.name, error.code(), &error),
        HookError::Call { text, .. } => {
            CallError::failed(&hook.name, error.code(), format!("failed to call webhook: {text}"))
        }
    })?;
    let answer = review::answer(version, &uid, mutates, &answered).map_err(|reason| {
        CallError::failed(&hook.name, UNAVAILABLE, format!("received invalid webhook response: {reason}"))
    })?;
    for (key, value) in &answer.audit_annotations {
        request.annotate(&format!("{}/{key}", hook.name), value);
    }
    for warning in &answer.warnings {
        request.cx.warn(warning.as_str());
    }
    if answer.allowed {
        return Ok(answer);
    }
    Err(CallError::Refused(review::refusal(&hook.name, answer.result.as_ref())))
}
