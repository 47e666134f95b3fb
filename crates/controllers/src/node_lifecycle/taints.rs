//! The taints that follow from a node's conditions. Pure.

use k8s_openapi::api::core::v1::{Node, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use super::health::condition;

/// (condition, its status, the taint's key)
const BY_CONDITION: [(&str, &str, &str); 6] = [
    ("Ready", "False", "node.kubernetes.io/not-ready"),
    ("Ready", "Unknown", "node.kubernetes.io/unreachable"),
    ("MemoryPressure", "True", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "True", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "True", "node.kubernetes.io/pid-pressure"),
    ("NetworkUnavailable", "True", "node.kubernetes.io/network-unavailable"),
];
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// The node's taints as they should be; `None` when they are. Taints of others stay as they are.
pub fn plan(node: &Node, now: Timestamp) -> Option<Vec<Taint>> {
    let current = node.spec.as_ref().and_then(|spec| spec.taints.clone()).unwrap_or_default();
    let wanted = wanted(node);
    let is_ours = |taint: &Taint| {
        let no_schedule = taint.effect == "NoSchedule";
        let by_condition = BY_CONDITION.iter().find(|(_, _, key)| *key == taint.key);
        match by_condition {
            Some(("Ready", _, _)) => no_schedule || taint.effect == "NoExecute",
            Some(_) => no_schedule,
            None => taint.key == UNSCHEDULABLE && no_schedule,
        }
    };
    let is_wanted = |taint: &Taint| wanted.iter().any(|(key, effect)| *key == taint.key && *effect == taint.effect);
    let mut planned: Vec<Taint> = current.iter().filter(|taint| !is_ours(taint) || is_wanted(taint)).cloned().collect();
    for (key, effect) in wanted {
        if !planned.iter().any(|taint| taint.key == key && taint.effect == effect) {
            let time_added = Some(Time(now)).filter(|_| effect == "NoExecute" || key == UNSCHEDULABLE);
            planned.push(Taint { key: key.into(), effect: effect.into(), time_added, value: None });
        }
    }
    (planned != current).then_some(planned)
}

fn wanted(node: &Node) -> Vec<(&'static str, &'static str)> {
    let mut wanted = Vec::new();
    for (type_, status, key) in BY_CONDITION {
        if condition(node, type_).is_some_and(|one| one.status == status) {
            wanted.push((key, "NoSchedule"));
            if type_ == "Ready" {
                wanted.push((key, "NoExecute"));
            }
        }
    }
    if node.spec.as_ref().and_then(|spec| spec.unschedulable).unwrap_or(false) {
        wanted.push((UNSCHEDULABLE, "NoSchedule"));
    }
    wanted
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn planned(ready: &str, unschedulable: bool, taints: Value) -> Option<Vec<String>> {
        let node: Node = serde_json::from_value(json!({
            "spec": {"taints": taints, "unschedulable": unschedulable},
            "status": {"conditions": [{"type": "Ready", "status": ready}]},
        }))
        .expect("a node");
        let short = |taint: Taint| format!("{}:{}", taint.key.trim_start_matches("node.kubernetes.io/"), taint.effect);
        plan(&node, Timestamp::UNIX_EPOCH).map(|taints| taints.into_iter().map(short).collect())
    }

    #[test]
    fn taints_follow_conditions_and_leave_those_of_others_alone() {
        let registered = json!([{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}, {"key": "mine", "effect": "NoSchedule"}]);
        let strings = |list: &[&str]| Some(list.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>());
        assert_eq!(planned("True", false, registered.clone()), strings(&["mine:NoSchedule"]));
        assert_eq!(planned("True", false, json!([])), None);
        assert_eq!(
            planned("Unknown", false, registered),
            strings(&["mine:NoSchedule", "unreachable:NoSchedule", "unreachable:NoExecute"])
        );
        assert_eq!(planned("True", true, json!([])), strings(&["unschedulable:NoSchedule"]));
    }
}
