//! The patch that brings the API's status to ours without touching what others write.
//!
//! A strategic merge patch, as upstream's (pkg/util/pod/pod.go PatchPodStatus): conditions are merged by type, so a
//! readiness gate or the scheduler's condition written meanwhile stays; the UID in it refuses a pod of the same name.

use k8s_openapi::api::core::v1::PodStatus;
use serde_json::{Map, Value, json};

/// The conditions the kubelet writes.
const OURS: [&str; 5] = ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"];

/// The patch from `old` to `new`, or `None` when nothing differs.
pub fn status_patch(uid: &str, old: &PodStatus, new: &PodStatus) -> Option<Value> {
    let (old, new) = (object(old), object(new));
    let mut patch = Map::new();
    for (key, value) in &new {
        if old.get(key) == Some(value) {
            continue;
        }
        let change = match key.as_str() {
            "conditions" => conditions(old.get(key), value),
            "podIPs" | "hostIPs" => addresses(old.get(key), value),
            _ => Some(value.clone()),
        };
        if let Some(change) = change {
            patch.insert(key.clone(), change);
        }
    }
    for key in old.keys().filter(|key| !new.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    (!patch.is_empty()).then(|| json!({"metadata": {"uid": uid}, "status": patch}))
}

fn object(status: &PodStatus) -> Map<String, Value> {
    match serde_json::to_value(status) {
        Ok(Value::Object(map)) => map,
        _ => Map::new(),
    }
}

fn elements(list: Option<&Value>) -> &[Value] {
    list.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Our conditions that changed, with what they lost set to null.
fn conditions(old: Option<&Value>, new: &Value) -> Option<Value> {
    let mut changed = Vec::new();
    for condition in elements(Some(new)) {
        let kind = condition["type"].as_str().unwrap_or_default();
        let before = elements(old).iter().find(|before| before["type"] == condition["type"]);
        if !OURS.contains(&kind) || before == Some(condition) {
            continue;
        }
        let mut condition = condition.clone();
        if let (Some(fields), Some(before)) = (condition.as_object_mut(), before.and_then(Value::as_object)) {
            for key in before.keys() {
                fields.entry(key.clone()).or_insert(Value::Null);
            }
        }
        changed.push(condition);
    }
    (!changed.is_empty()).then_some(Value::Array(changed))
}

/// The addresses, with those that went marked as deleted (the list is merged by `ip`).
fn addresses(old: Option<&Value>, new: &Value) -> Option<Value> {
    let mut list = elements(Some(new)).to_vec();
    for gone in elements(old).iter().filter(|before| !elements(Some(new)).contains(before)) {
        list.push(json!({"$patch": "delete", "ip": gone["ip"]}));
    }
    Some(Value::Array(list))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(value: Value) -> PodStatus {
        serde_json::from_value(value).expect("a status")
    }

    #[test]
    fn only_what_differs_and_only_what_is_ours() {
        let old = status(json!({
            "phase": "Pending", "reason": "Old", "podIPs": [{"ip": "10.0.0.1"}],
            "conditions": [
                {"type": "Ready", "status": "False", "reason": "ContainersNotReady"},
                {"type": "Initialized", "status": "True"},
                {"type": "Theirs", "status": "False"},
            ],
        }));
        let new = status(json!({
            "phase": "Running", "podIPs": [{"ip": "10.0.0.2"}],
            "conditions": [
                {"type": "Ready", "status": "True"},
                {"type": "Initialized", "status": "True"},
                {"type": "Theirs", "status": "True"},
            ],
        }));
        let expected = json!({"metadata": {"uid": "u"}, "status": {
            "phase": "Running",
            "reason": null,
            "podIPs": [{"ip": "10.0.0.2"}, {"$patch": "delete", "ip": "10.0.0.1"}],
            "conditions": [{"type": "Ready", "status": "True", "reason": null}],
        }});
        assert_eq!(status_patch("u", &old, &new), Some(expected));
        assert_eq!(status_patch("u", &new, &new), None);
    }
}
