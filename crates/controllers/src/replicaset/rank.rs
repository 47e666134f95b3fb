//! Which pods go first when there are too many (upstream: pkg/controller/controller_utils.go `ActivePodsWithRanks`).

use std::cmp::{Ordering, Reverse};
use std::collections::HashMap;
use std::sync::Arc;

use client::corev1::pod::{condition, is_ready, node_name, phase};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// `pods` with those to delete first at the front. `related` are the pods that share the workload's owner: of pods
/// on one node, the more of them there are the sooner one goes.
pub fn rank(mut pods: Vec<Arc<Pod>>, related: &[Arc<Pod>], now: Timestamp) -> Vec<Arc<Pod>> {
    let mut on_node: HashMap<&str, usize> = HashMap::new();
    for pod in related {
        if let Some(node) = node_name(pod) {
            *on_node.entry(node).or_default() += 1;
        }
    }
    let crowd = |pod: &Pod| node_name(pod).and_then(|node| on_node.get(node)).copied().unwrap_or(0);
    pods.sort_by(|a, b| compare(a, b, crowd(a), crowd(b), now));
    pods
}

fn compare(a: &Pod, b: &Pod, crowd_a: usize, crowd_b: usize, now: Timestamp) -> Ordering {
    let key = |pod: &Pod, crowd| (node_name(pod).is_some(), phase_order(pod), is_ready(pod), cost(pod), Reverse(crowd));
    key(a, crowd_a)
        .cmp(&key(b, crowd_b))
        .then_with(|| younger_first(ready_since(a), ready_since(b), now))
        .then_with(|| restarts(b).cmp(&restarts(a)))
        .then_with(|| younger_first(created(a), created(b), now))
        .then_with(|| a.metadata.uid.cmp(&b.metadata.uid))
}

fn phase_order(pod: &Pod) -> u8 {
    match phase(pod) {
        "Running" => 2,
        "Unknown" => 1,
        _ => 0,
    }
}

fn cost(pod: &Pod) -> i32 {
    let annotation = pod.metadata.annotations.as_ref().and_then(|annotations| annotations.get(DELETION_COST));
    annotation.and_then(|cost| cost.parse().ok()).unwrap_or(0)
}

fn restarts(pod: &Pod) -> i32 {
    let statuses = pod.status.iter().flat_map(|status| {
        status.container_statuses.iter().flatten().chain(status.init_container_statuses.iter().flatten())
    });
    statuses.map(|status| status.restart_count).max().unwrap_or(0)
}

fn ready_since(pod: &Pod) -> Option<&Time> {
    condition(pod, "Ready").filter(|ready| ready.status == "True")?.last_transition_time.as_ref()
}

fn created(pod: &Pod) -> Option<&Time> {
    pod.metadata.creation_timestamp.as_ref()
}

/// Ages are compared by their order of magnitude, so that not always the very youngest goes.
fn younger_first(a: Option<&Time>, b: Option<&Time>, now: Timestamp) -> Ordering {
    let magnitude = |at: Option<&Time>| {
        let seconds = at.map_or(0, |at| now.duration_since(at.0).as_secs());
        if seconds <= 0 { 0 } else { seconds.unsigned_abs().ilog2() + 1 }
    };
    magnitude(a).cmp(&magnitude(b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(name: &str, node: Option<&str>, phase: &str, ready: bool, annotations: Value) -> Arc<Pod> {
        let value = json!({
            "metadata": {"name": name, "uid": name, "annotations": annotations},
            "spec": {"nodeName": node, "containers": []},
            "status": {"phase": phase, "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]},
        });
        Arc::new(serde_json::from_value(value).expect("a pod"))
    }

    #[test]
    fn the_least_useful_first() {
        let pods = vec![
            pod("dear", Some("a"), "Running", true, json!({DELETION_COST: "10"})),
            pod("alone", Some("b"), "Running", true, json!({})),
            pod("crowded", Some("a"), "Running", true, json!({})),
            pod("unready", Some("a"), "Running", false, json!({})),
            pod("pending", Some("a"), "Pending", false, json!({})),
            pod("unassigned", None, "Pending", false, json!({})),
        ];
        let ranked = rank(pods.clone(), &pods, Timestamp::UNIX_EPOCH);
        let names: Vec<&str> = ranked.iter().filter_map(|pod| pod.metadata.name.as_deref()).collect();
        assert_eq!(names, ["unassigned", "pending", "unready", "crowded", "alone", "dear"]);
    }
}
