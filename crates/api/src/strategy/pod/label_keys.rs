//! `matchLabelKeys` and `mismatchLabelKeys`: the values of the pod's own labels become requirements of its selectors
//! when it is made (upstream: pkg/registry/core/pod/strategy.go, `applyMatchLabelKeysAndMismatchLabelKeys`,
//! `mutateTopologySpreadConstraints`).

use apimachinery::Object;
use serde_json::{Map, Value, json};

use crate::json::{Read, Write};

const TERMS: [&str; 2] =
    ["requiredDuringSchedulingIgnoredDuringExecution", "preferredDuringSchedulingIgnoredDuringExecution"];

/// Merges the keys of all terms and constraints into their selectors.
pub(super) fn merge(pod: &mut Object) {
    let labels = pod.object("metadata").object("labels").clone();
    let Some(spec) = pod.object_at("spec") else { return };
    spec.items_mut("topologySpreadConstraints").for_each(|constraint| merge_into(constraint, &labels));
    let Some(affinity) = spec.object_at("affinity") else { return };
    for sort in ["podAffinity", "podAntiAffinity"] {
        let Some(affinity) = affinity.object_at(sort) else { continue };
        affinity.items_mut(TERMS[0]).for_each(|term| merge_into(term, &labels));
        for weighted in affinity.items_mut(TERMS[1]) {
            if let Some(term) = weighted.object_at("podAffinityTerm") {
                merge_into(term, &labels);
            }
        }
    }
}

fn merge_into(term: &mut Map<String, Value>, labels: &Map<String, Value>) {
    if !term.has("labelSelector") {
        return;
    }
    let mut requirements = Vec::new();
    for (field, operator) in [("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn")] {
        for key in term.texts(field) {
            if let Some(value) = labels.get(key) {
                requirements.push(json!({"key": key, "operator": operator, "values": [value]}));
            }
        }
    }
    if requirements.is_empty() {
        return;
    }
    if let Some(selector) = term.object_at("labelSelector") {
        selector.default_to("matchExpressions", Vec::<Value>::new());
        if let Some(list) = selector.get_mut("matchExpressions").and_then(Value::as_array_mut) {
            list.extend(requirements);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_become_requirements() {
        let term = json!({"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": "web"}}, "matchLabelKeys": ["hash", "none"], "mismatchLabelKeys": ["tenant"]});
        let mut pod = Object::from_value(json!({
            "metadata": {"labels": {"hash": "1", "tenant": "a"}},
            "spec": {"affinity": {"podAffinity": {TERMS[0]: [term]}}, "topologySpreadConstraints": [{"matchLabelKeys": ["hash"]}]},
        }))
        .expect("an object");
        merge(&mut pod);
        let selector = &pod.0["spec"]["affinity"]["podAffinity"][TERMS[0]][0]["labelSelector"];
        assert_eq!(
            selector["matchExpressions"],
            json!([
                {"key": "hash", "operator": "In", "values": ["1"]},
                {"key": "tenant", "operator": "NotIn", "values": ["a"]},
            ])
        );
        // Without a selector there is nothing to merge into.
        assert_eq!(pod.0["spec"]["topologySpreadConstraints"], json!([{"matchLabelKeys": ["hash"]}]));
    }
}
