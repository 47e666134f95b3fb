//! Which requests a webhook is called for, and what it gets to see of them
//! (upstream: webhook/generic/webhook.go `ShouldCallHook`).

use apimachinery::StatusError;

use super::hooks::Hook;
use super::view::View;
use crate::admission::Request;
use crate::admission::policy::conditions::Judgement;

/// What a webhook gets to see of the request, if it is called.
pub(super) async fn matched(hook: &Hook, request: &Request<'_>) -> Result<Option<View>, StatusError> {
    let criteria = hook.criteria.as_ref().map_err(StatusError::internal)?;
    let Some(matched) = criteria.matches(request).await? else { return Ok(None) };
    match hook.conditions.judge(request, &matched).await {
        Judgement::Matches => Ok(Some(View::new(request, &matched.row))),
        Judgement::Excluded(_) => {
            hook.conditions.series(request).excluded();
            Ok(None)
        }
        Judgement::Failed(cause) => Err(request.forbidden(cause)),
    }
}

/// The namespace that the request is about: its own, and of a Namespace the Namespace itself.
pub(super) fn namespace_of<'r>(request: &'r Request<'_>) -> &'r str {
    if request.is_resource("", "namespaces") { &request.name } else { request.namespace }
}
