//! PodTolerationRestriction: pods of a namespace get its tolerations, and no others than it allows
//! (upstream: plugin/pkg/admission/podtolerationrestriction/admission.go, pkg/util/tolerations). Off by default.

use apimachinery::json::{Read, Write};
use apimachinery::{Object, StatusError};
use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{ConfigError, Handles, Operation, Plugin, Request, config, matching};

const NAME: &str = "PodTolerationRestriction";

/// A namespace's own tolerations and those it allows, as JSON.
const DEFAULTS: &str = "scheduler.alpha.kubernetes.io/defaultTolerations";
const ALLOWED: &str = "scheduler.alpha.kubernetes.io/tolerationsWhitelist";

/// `podtolerationrestriction.admission.k8s.io/v1alpha1 Configuration`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Configuration {
    #[serde(default)]
    default: Vec<Value>,
    #[serde(default)]
    whitelist: Vec<Value>,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct PodTolerationRestriction {
    cluster: Configuration,
}

impl PodTolerationRestriction {
    /// As configured: what holds for namespaces that say nothing.
    pub fn new(given: Option<&Value>) -> Result<Self, ConfigError> {
        let versions = ["podtolerationrestriction.admission.k8s.io/v1alpha1"];
        Ok(Self { cluster: config::own(NAME, given, "Configuration", &versions)? })
    }
}

/// The tolerations in an annotation of the namespace; nothing where it has none.
fn annotated(namespace: &Object, key: &str) -> Result<Option<Vec<Value>>, StatusError> {
    let text = namespace.annotations().find(|(known, text)| *known == key && !text.is_empty()).map(|(_, text)| text);
    text.map(serde_json::from_str).transpose().map_err(|error| StatusError::internal(error.to_string()))
}

/// Whether `outer` tolerates all that `inner` does.
fn covers(outer: &Value, inner: &Value) -> bool {
    let any_key = outer.text("key").is_empty() && outer.text("operator") == "Exists";
    if outer.text("key") != inner.text("key") && !any_key {
        return false;
    }
    if !outer.text("effect").is_empty() && outer.text("effect") != inner.text("effect") {
        return false;
    }
    if outer.text("effect") == "NoExecute"
        && let Some(longest) = outer.int("tolerationSeconds")
        && inner.int("tolerationSeconds").is_none_or(|seconds| seconds > longest)
    {
        return false;
    }
    match outer.text("operator") {
        "Exists" => true,
        "" | "Equal" => matches!(inner.text("operator"), "" | "Equal") && outer.text("value") == inner.text("value"),
        _ => outer == inner,
    }
}

/// Both lists without what another toleration covers; of equal ones the first stays (upstream: `MergeTolerations`).
fn merge(all: &[Value]) -> Vec<Value> {
    let mut merged: Vec<Value> = Vec::new();
    for (index, one) in all.iter().enumerate() {
        let later = all[index + 1..].iter().any(|other| other != one && covers(other, one));
        if !later && !merged.iter().any(|before| covers(before, one)) {
            merged.push(one.clone());
        }
    }
    merged
}

#[async_trait]
impl Plugin for PodTolerationRestriction {
    fn name(&self) -> &'static str {
        NAME
    }

    fn handles(&self) -> Handles {
        Handles::NOTHING.admits(Handles::WRITES).validates(Handles::WRITES)
    }

    async fn admit(&self, request: &mut Request<'_>) -> Result<(), StatusError> {
        if !request.is_main("", "Pod") || !request.writes() {
            return Ok(());
        }
        let mut further = Vec::new();
        if request.operation == Operation::Create {
            let namespace = matching::namespace(request, request.namespace).await?;
            further = annotated(&namespace, DEFAULTS)?.unwrap_or_else(|| self.cluster.default.clone());
        }
        let Some(pod) = request.object.as_mut() else { return Ok(()) };
        if !quota::is_best_effort(&pod.0) {
            further.push(
                json!({"key": "node.kubernetes.io/memory-pressure", "operator": "Exists", "effect": "NoSchedule"}),
            );
        }
        if let Some(spec) = pod.object_at("spec").filter(|_| !further.is_empty()) {
            let all = [spec.list("tolerations"), &further[..]].concat();
            spec.insert("tolerations".into(), merge(&all).into());
        }
        Ok(())
    }

    async fn validate(&self, request: &Request<'_>) -> Result<(), StatusError> {
        let is_meant = request.is_main("", "Pod") && request.writes();
        let Some(pod) = request.object.as_ref().filter(|_| is_meant) else { return Ok(()) };
        let tolerations = pod.object("spec").list("tolerations");
        if tolerations.is_empty() {
            return Ok(());
        }
        let namespace = matching::namespace(request, request.namespace).await?;
        let (allowed, whose) = match annotated(&namespace, ALLOWED)? {
            Some(allowed) => (allowed, "namespace"),
            None => (self.cluster.whitelist.clone(), "cluster"),
        };
        if allowed.is_empty() || tolerations.iter().all(|one| allowed.iter().any(|outer| covers(outer, one))) {
            return Ok(());
        }
        Err(request.forbidden(format!(
            "pod tolerations (possibly merged with namespace default tolerations) conflict with its {whose} whitelist"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_toleration_covers_another() {
        let exists = json!({"operator": "Exists"});
        let equal = json!({"key": "a", "value": "b", "effect": "NoSchedule"});
        let long = json!({"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60});
        let short = json!({"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 30});
        for (outer, inner, expected) in [
            (&exists, &equal, true),
            (&equal, &exists, false),
            (&long, &short, true),
            (&short, &long, false),
            (&equal, &json!({"key": "a", "operator": "Equal", "value": "b", "effect": "NoSchedule"}), true),
            (&equal, &json!({"key": "a", "value": "c", "effect": "NoSchedule"}), false),
        ] {
            assert_eq!(covers(outer, inner), expected, "{outer} {inner}");
        }
        assert_eq!(merge(&[equal.clone(), short.clone(), equal.clone(), long.clone()]), [equal.clone(), long]);
        assert_eq!(merge(&[equal, exists.clone()]), [exists]);
    }
}
