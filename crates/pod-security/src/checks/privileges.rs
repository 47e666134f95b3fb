//! Privileged containers and the way to become one (upstream: policy/check_privileged.go,
//! policy/check_allowPrivilegeEscalation.go).

use apimachinery::json::Read;
use serde_json::Value;

use super::{Pod, Violation, containers_where, context, named, violation};

pub(super) fn privileged(pod: Pod<'_>) -> Option<Violation> {
    let bad = containers_where(pod, |container| context(container).flag("privileged"));
    let detail = || format!("{} must not set securityContext.privileged=true", named(&bad));
    (!bad.is_empty()).then(|| violation("privileged", detail()))
}

pub(super) fn escalation(pod: Pod<'_>) -> Option<Violation> {
    let bad = containers_where(pod, |container| {
        context(container).value("allowPrivilegeEscalation") != Some(&Value::Bool(false))
    });
    let detail = || format!("{} must set securityContext.allowPrivilegeEscalation=false", named(&bad));
    (!bad.is_empty()).then(|| violation("allowPrivilegeEscalation != false", detail()))
}
