//! Root (upstream: policy/check_runAsNonRoot.go, policy/check_runAsUser.go).

use apimachinery::json::Read;
use serde_json::Value;

use super::{Pod, Violation, containers_where, context, named, setters, violation};

pub(super) fn non_root(pod: Pod<'_>) -> Option<Violation> {
    const REASON: &str = "runAsNonRoot != true";
    let of_pod = pod.spec.object("securityContext").value("runAsNonRoot").and_then(Value::as_bool);
    let stated = |value: bool| {
        move |container: &&serde_json::Map<String, Value>| {
            context(container).value("runAsNonRoot").and_then(Value::as_bool) == Some(value)
        }
    };
    let explicit = containers_where(pod, stated(false));
    if of_pod == Some(false) || !explicit.is_empty() {
        let who = setters(of_pod == Some(false), &explicit);
        return Some(violation(REASON, format!("{who} must not set securityContext.runAsNonRoot=false")));
    }
    if of_pod == Some(true) {
        return None;
    }
    let silent = containers_where(pod, |container| !context(container).has("runAsNonRoot"));
    let detail = || format!("pod or {} must set securityContext.runAsNonRoot=true", named(&silent));
    (!silent.is_empty()).then(|| violation(REASON, detail()))
}

pub(super) fn not_zero(pod: Pod<'_>) -> Option<Violation> {
    let of_pod = pod.spec.object("securityContext").int("runAsUser") == Some(0);
    let bad = containers_where(pod, |container| context(container).int("runAsUser") == Some(0));
    let detail = || format!("{} must not set runAsUser=0", setters(of_pod, &bad));
    (of_pod || !bad.is_empty()).then(|| violation("runAsUser=0", detail()))
}
