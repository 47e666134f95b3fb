//! What changes of a pod while the scheduler waits for it: gates go, and the nodes it may run on become fewer
//! (upstream: `validateOnlyDeletedSchedulingGates`, `validateNodeSelectorMutation`, `validateNodeAffinityMutation`).

use apimachinery::field::{Error, Path};
use serde_json::{Map, Value};

use crate::check::Errors;
use crate::json::{Read, Write};

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";

/// Gates are only taken away.
pub(super) fn gates(errors: &mut Errors, new: &Map<String, Value>, old: &Map<String, Value>, path: &Path) {
    let known: Vec<&str> = old.list("schedulingGates").iter().map(|gate| gate.text("name")).collect();
    for (index, gate) in new.list("schedulingGates").iter().enumerate() {
        let name = gate.text("name");
        if !known.contains(&name) {
            let detail = format!("only deletion is allowed, but found new scheduling gate '{name}'");
            errors.push(Error::forbidden(&path.child("schedulingGates").index(index), detail));
        }
    }
}

/// Selectors of nodes only grow; nothing holds where there was none.
pub(super) fn narrowed(errors: &mut Errors, new: &Map<String, Value>, old: &Map<String, Value>, path: &Path) {
    let (selector, was) = (new.object("nodeSelector"), old.object("nodeSelector"));
    if was.iter().any(|(key, value)| selector.get(key) != Some(value)) {
        let detail = "only additions to spec.nodeSelector are allowed (no mutations or deletions)";
        errors.push(Error::invalid(&path.child("nodeSelector"), Value::Object(selector.clone()), detail));
    }
    let terms = |spec: &'_ Map<String, Value>| {
        let affinity = spec.object("affinity").object("nodeAffinity");
        affinity.object(REQUIRED).list("nodeSelectorTerms").to_vec()
    };
    let (new, old) = (terms(new), terms(old));
    let path = path.child("affinity").child("nodeAffinity").child(REQUIRED).child("nodeSelectorTerms");
    if !old.is_empty() && new.len() != old.len() {
        let detail = "no additions/deletions to non-empty NodeSelectorTerms list are allowed";
        errors.push(Error::invalid(&path, new, detail));
        return;
    }
    for (index, (new, old)) in new.iter().zip(&old).enumerate() {
        if !only_grows(new, old) {
            let detail = "only additions are allowed (no mutations or deletions)";
            errors.push(Error::invalid(&path.index(index), new.clone(), detail));
        }
    }
}

fn only_grows(new: &Value, old: &Value) -> bool {
    let lists = ["matchExpressions", "matchFields"];
    if lists.iter().all(|list| old.list(list).is_empty()) {
        // An empty term selects nothing; it would select something then.
        return lists.iter().all(|list| new.list(list).is_empty());
    }
    lists.iter().all(|list| new.list(list).starts_with(old.list(list)))
}

/// Makes what a gated pod may change in `spec` what `new` has.
pub(super) fn take(spec: &mut Map<String, Value>, new: &Map<String, Value>) {
    super::take(spec, new, "nodeSelector");
    if new.object("affinity").has("nodeAffinity") {
        spec.object_made("affinity");
    }
    if let Some(affinity) = spec.object_at("affinity") {
        super::take(affinity, new.object("affinity"), "nodeAffinity");
    }
    if spec.object("affinity").is_empty() {
        super::take(spec, new, "affinity");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use apimachinery::Object;
    use serde_json::json;

    #[test]
    fn a_gated_pod_becomes_narrower() {
        let pod = |gates: &[&str], nodes: Value, terms: Value| {
            let gates: Vec<Value> = gates.iter().map(|name| json!({"name": name})).collect();
            let mut spec = json!({"schedulingGates": gates, "nodeSelector": nodes});
            if !terms.is_null() {
                spec["affinity"] = json!({"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": terms}}});
            }
            Object::from_value(json!({"spec": spec})).expect("an object")
        };
        let one = |key: &str| json!({"matchExpressions": [{"key": key, "operator": "Exists"}]});
        let two = json!({"matchExpressions": [{"key": "a", "operator": "Exists"}, {"key": "b", "operator": "Exists"}]});
        let old = pod(&["x", "y"], json!({"disk": "ssd"}), json!([one("a")]));
        let terms = "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms";
        for (new, old, expected) in [
            (pod(&["x"], json!({"disk": "ssd"}), json!([one("a")])), &old, String::new()),
            (pod(&[], json!({"disk": "ssd", "gpu": "yes"}), json!([two])), &old, String::new()),
            (pod(&["x", "z"], json!({"disk": "ssd"}), json!([one("a")])), &old, "spec.schedulingGates[1]".into()),
            (pod(&["x"], json!({"disk": "hdd"}), json!([one("a")])), &old, "spec.nodeSelector".into()),
            (pod(&["x"], json!({"disk": "ssd"}), json!([one("b")])), &old, format!("{terms}[0]")),
            (pod(&["x"], json!({"disk": "ssd"}), json!([one("a"), one("b")])), &old, terms.into()),
            (pod(&["x"], json!({}), json!([one("a")])), &pod(&["x"], json!({}), Value::Null), String::new()),
            (pod(&[], json!({"gpu": "yes"}), Value::Null), &pod(&[], json!({}), Value::Null), "spec".into()),
        ] {
            let found = super::super::validate(&new, old);
            let fields: Vec<String> = found.iter().map(|error| error.field.to_string()).collect();
            assert_eq!(fields.join(" "), expected, "{:?}", new.0["spec"]);
        }
    }
}
