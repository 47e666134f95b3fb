//! Scopes: which of a namespace's objects a quota is about (upstream: `podMatchesScopeFunc`, `pvcMatchesScopeFunc`).

use apimachinery::Object;
use apimachinery::json::Read;
use serde_json::{Map, Value};

use crate::pods;

/// A scope with what must hold of it, `v1.ScopedResourceSelectorRequirement`.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Selector {
    /// As `PriorityClass`.
    pub scope_name: String,
    /// `In`, `NotIn`, `Exists` or `DoesNotExist`.
    pub operator: String,
    /// What `In` and `NotIn` compare with.
    #[serde(default)]
    pub values: Vec<String>,
}

/// The scopes of a quota, both the old list and the selector (upstream: `getScopeSelectorsFromQuota`).
pub fn selectors_of(quota: &Object) -> Vec<Selector> {
    let spec = quota.object("spec");
    let exists = |scope: &str| Selector { scope_name: scope.into(), operator: "Exists".into(), values: Vec::new() };
    let expression = |one: &Value| Selector {
        scope_name: one.text("scopeName").into(),
        operator: one.text("operator").into(),
        values: one.texts("values").map(str::to_owned).collect(),
    };
    let expressions = spec.object("scopeSelector").list("matchExpressions").iter().map(expression);
    spec.texts("scopes").map(exists).chain(expressions).collect()
}

impl Selector {
    /// Whether a pod is within the scope.
    pub(crate) fn matches_pod(&self, pod: &Map<String, Value>) -> bool {
        match self.scope_name.as_str() {
            "Terminating" => pods::is_terminating(pod),
            "NotTerminating" => !pods::is_terminating(pod),
            "BestEffort" => pods::is_best_effort(pod),
            "NotBestEffort" => !pods::is_best_effort(pod),
            "PriorityClass" => {
                let class = pod.object("spec").text("priorityClassName");
                self.holds((!class.is_empty()).then_some(class))
            }
            "CrossNamespacePodAffinity" => pods::has_affinity_across_namespaces(pod),
            _ => false,
        }
    }

    /// Whether a claim is within the scope.
    pub(crate) fn matches_claim(&self, claim: &Map<String, Value>) -> bool {
        if self.scope_name != "VolumeAttributesClass" {
            return false;
        }
        let (spec, status) = (claim.object("spec"), claim.object("status"));
        let classes = [
            spec.text("volumeAttributesClassName"),
            status.text("currentVolumeAttributesClassName"),
            status.object("modifyVolumeStatus").text("targetVolumeAttributesClassName"),
        ];
        let mut named = classes.into_iter().filter(|class| !class.is_empty()).peekable();
        if named.peek().is_none() {
            return self.holds(None);
        }
        named.any(|class| self.holds(Some(class)))
    }

    fn holds(&self, value: Option<&str>) -> bool {
        let listed = |value: &str| self.values.iter().any(|one| one == value);
        match self.operator.as_str() {
            "Exists" => value.is_some(),
            "DoesNotExist" => value.is_none(),
            "In" => value.is_some_and(listed),
            "NotIn" => !value.is_some_and(listed),
            _ => false,
        }
    }
}
