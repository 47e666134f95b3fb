//! Which pods to create and delete, and what the status says. Pure.
//!
//! upstream: pkg/controller/daemon/{daemon_controller,update}.go

use std::collections::BTreeMap;
use std::sync::Arc;

use client::corev1::pod::{is_available, is_ready, is_terminal};
use k8s_openapi::api::apps::v1::{DaemonSet, DaemonSetStatus};
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use super::nodes::{Verdict, node_of, verdict};
use crate::history::REVISION_HASH;
use crate::int_or_percent::{Round, scaled};

/// What to do.
#[derive(Debug, Default, PartialEq)]
pub struct Plan {
    /// Nodes that get a pod.
    pub create: Vec<String>,
    /// Pods that go.
    pub delete: Vec<Arc<Pod>>,
    /// Pods among `delete` that ended by themselves.
    pub ended: Vec<Arc<Pod>>,
}

/// A node with the set's pods on it.
struct Place<'a> {
    name: String,
    node: Option<&'a Arc<Node>>,
    verdict: Verdict,
    pods: Vec<Arc<Pod>>,
}

fn places<'a>(set: &DaemonSet, nodes: &'a [Arc<Node>], pods: &[Arc<Pod>]) -> Vec<Place<'a>> {
    let mut on: BTreeMap<String, Vec<Arc<Pod>>> = BTreeMap::new();
    for pod in pods {
        if let Some(node) = node_of(pod) {
            on.entry(node).or_default().push(pod.clone());
        }
    }
    let known = nodes.iter().map(|node| {
        let name = node.name_any();
        let pods = on.remove(&name).unwrap_or_default();
        Place { verdict: verdict(set, node), node: Some(node), name, pods }
    });
    let mut places: Vec<Place<'a>> = known.collect();
    let nowhere = Verdict { should_run: false, may_continue: false };
    places.extend(on.into_iter().map(|(name, pods)| Place { name, node: None, verdict: nowhere, pods }));
    places
}

/// Plans the pods: one on each node that should have one, and the step of a rolling update that may be taken now.
pub fn plan(set: &DaemonSet, nodes: &[Arc<Node>], pods: &[Arc<Pod>], hash: &str, now: Timestamp) -> Plan {
    let places = places(set, nodes, pods);
    let mut plan = Plan::default();
    for place in &places {
        place_pods(place, hash, &mut plan);
    }
    if is_rolling(set) {
        roll(set, &places, hash, now, &mut plan);
    }
    plan
}

fn place_pods(place: &Place<'_>, hash: &str, plan: &mut Plan) {
    if !place.verdict.may_continue {
        // Pods of a node that is gone are left to the pod garbage collector.
        let leave = place.pods.iter().filter(|pod| place.node.is_some() && !is_leaving(pod));
        plan.delete.extend(leave.cloned());
        return;
    }
    let (ended, alive): (Vec<_>, Vec<_>) = place.pods.iter().cloned().partition(|pod| is_terminal(pod));
    for pod in ended.into_iter().filter(|pod| !is_leaving(pod)) {
        plan.delete.push(pod.clone());
        plan.ended.push(pod);
    }
    if alive.is_empty() {
        if place.verdict.should_run && place.pods.iter().all(|pod| !is_terminal(pod)) {
            plan.create.push(place.name.clone());
        }
        return;
    }
    // One of each revision may be there while a surge replaces it; of the same revision only the oldest stays.
    let mut staying: Vec<Arc<Pod>> = alive.into_iter().filter(|pod| !is_leaving(pod)).collect();
    staying.sort_by_key(|pod| (pod.metadata.creation_timestamp.as_ref().map(|time| time.0), pod.name_any()));
    let (new, old): (Vec<_>, Vec<_>) = staying.into_iter().partition(|pod| is_of(pod, hash));
    plan.delete.extend(new.into_iter().skip(1));
    plan.delete.extend(old.into_iter().skip(1));
}

fn is_leaving(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

fn is_of(pod: &Pod, hash: &str) -> bool {
    pod.labels().get(REVISION_HASH).map(String::as_str) == Some(hash)
}

fn is_rolling(set: &DaemonSet) -> bool {
    let strategy = set.spec.update_strategy.as_ref().and_then(|strategy| strategy.type_.as_deref());
    strategy.unwrap_or("RollingUpdate") == "RollingUpdate"
}

/// (how many nodes may have an extra pod, how many may have no available one)
fn bounds(set: &DaemonSet, desired: i32) -> (i32, i32) {
    let rolling = set.spec.update_strategy.as_ref().and_then(|strategy| strategy.rolling_update.as_ref());
    let number = |value: Option<&_>, default| value.map_or(Some(default), |value| scaled(value, desired, Round::Up));
    let surge = number(rolling.and_then(|one| one.max_surge.as_ref()), 0).unwrap_or(0);
    let unavailable = number(rolling.and_then(|one| one.max_unavailable.as_ref()), 1).unwrap_or(1);
    (surge, if surge == 0 { unavailable.max(1) } else { unavailable })
}

fn roll(set: &DaemonSet, places: &[Place<'_>], hash: &str, now: Timestamp, plan: &mut Plan) {
    let running: Vec<&Place<'_>> = places.iter().filter(|place| place.verdict.should_run).collect();
    let (surge, unavailable) = bounds(set, running.len() as i32);
    let seconds = set.spec.min_ready_seconds.unwrap_or(0);
    let works = |pod: &Arc<Pod>| is_available(pod, seconds, now) && !is_leaving(pod);
    let mut missing = running.iter().filter(|place| !place.pods.iter().any(works)).count() as i32;
    let mut extra = 0;
    let mut candidates: Vec<(&Place<'_>, Arc<Pod>)> = Vec::new();
    for place in &running {
        let alive = || place.pods.iter().filter(|pod| !is_terminal(pod) && !is_leaving(pod));
        let old = alive().find(|pod| !is_of(pod, hash));
        let new = alive().find(|pod| is_of(pod, hash));
        match (old, new) {
            // The replacement works: the old one has done its duty.
            (Some(old), Some(new)) if works(new) => plan.delete.push(old.clone()),
            (Some(_), Some(_)) => extra += 1,
            // An old pod that does not work costs nothing.
            (Some(old), None) if !works(old) && surge == 0 => plan.delete.push(old.clone()),
            (Some(old), None) => candidates.push((place, old.clone())),
            _ => {}
        }
    }
    for (place, old) in candidates {
        if surge > 0 {
            if extra < surge {
                extra += 1;
                plan.create.push(place.name.clone());
            }
        } else if missing < unavailable {
            missing += 1;
            plan.delete.push(old);
        }
    }
    plan.delete.sort_by_key(|pod| pod.metadata.uid.clone());
    plan.delete.dedup_by(|a, b| a.metadata.uid == b.metadata.uid);
}

/// The status over all nodes.
pub fn status(set: &DaemonSet, nodes: &[Arc<Node>], pods: &[Arc<Pod>], hash: &str, now: Timestamp) -> DaemonSetStatus {
    let old = set.status.clone().unwrap_or_default();
    let seconds = set.spec.min_ready_seconds.unwrap_or(0);
    let (mut desired, mut current, mut misscheduled, mut ready, mut available, mut updated) = (0, 0, 0, 0, 0, 0);
    for place in places(set, nodes, pods).iter().filter(|place| place.node.is_some()) {
        let alive: Vec<_> = place.pods.iter().filter(|pod| !is_terminal(pod)).collect();
        if !place.verdict.should_run {
            misscheduled += i32::from(!alive.is_empty());
            continue;
        }
        desired += 1;
        current += i32::from(!alive.is_empty());
        ready += i32::from(alive.iter().any(|pod| is_ready(pod)));
        available += i32::from(alive.iter().any(|pod| is_available(pod, seconds, now)));
        updated += i32::from(alive.iter().any(|pod| is_of(pod, hash)));
    }
    let count = |number: i32| (number != 0).then_some(number);
    DaemonSetStatus {
        desired_number_scheduled: desired,
        current_number_scheduled: current,
        number_misscheduled: misscheduled,
        number_ready: ready,
        number_available: count(available),
        number_unavailable: count(desired - available),
        updated_number_scheduled: count(updated),
        observed_generation: set.metadata.generation,
        collision_count: old.collision_count,
        conditions: old.conditions,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn set(strategy: Value) -> DaemonSet {
        let value = json!({"metadata": {"name": "agent", "generation": 2}, "spec": {"selector": {}, "updateStrategy": strategy,
            "template": {"spec": {"containers": []}}}});
        serde_json::from_value(value).expect("a set")
    }

    fn nodes(names: &[&str]) -> Vec<Arc<Node>> {
        let node = |name: &&str| Arc::new(serde_json::from_value(json!({"metadata": {"name": name}})).expect("a node"));
        names.iter().map(node).collect()
    }

    fn pod(name: &str, node: &str, hash: &str, ready: bool) -> Arc<Pod> {
        let value = json!({"metadata": {"name": name, "uid": name, "labels": {REVISION_HASH: hash}}, "spec": {"nodeName": node, "containers": []},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]}});
        Arc::new(serde_json::from_value(value).expect("a pod"))
    }

    fn planned(strategy: Value, names: &[&str], pods: &[Arc<Pod>]) -> (Vec<String>, Vec<String>) {
        let plan = plan(&set(strategy), &nodes(names), pods, "new", Timestamp::UNIX_EPOCH);
        (plan.create, plan.delete.iter().map(|pod| pod.name_any()).collect())
    }

    fn strings(list: &[&str]) -> Vec<String> {
        list.iter().map(|one| (*one).to_owned()).collect()
    }

    #[test]
    fn one_on_each_node() {
        let pods = [pod("a1", "a", "new", true), pod("a2", "a", "new", true)];
        assert_eq!(planned(json!({}), &["a", "b"], &pods), (strings(&["b"]), strings(&["a2"])));
        assert_eq!(planned(json!({}), &["b"], &pods), (strings(&["b"]), vec![]), "pods of a lost node are not ours");
    }

    #[test]
    fn updates_take_one_node_at_a_time_and_broken_pods_at_once() {
        let old = [pod("a", "a", "old", true), pod("b", "b", "old", true)];
        assert_eq!(planned(json!({"type": "OnDelete"}), &["a", "b"], &old), (vec![], vec![]));
        assert_eq!(planned(json!({}), &["a", "b"], &old), (vec![], strings(&["a"])));
        let half = [pod("a", "a", "new", false), pod("b", "b", "old", true)];
        assert_eq!(planned(json!({}), &["a", "b"], &half), (vec![], vec![]));
        let broken = [pod("a", "a", "old", false), pod("b", "b", "old", true)];
        assert_eq!(planned(json!({}), &["a", "b"], &broken), (vec![], strings(&["a"])));
    }

    #[test]
    fn a_surge_makes_the_new_pod_first() {
        let surge = json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}});
        let old = [pod("a", "a", "old", true), pod("b", "b", "old", true)];
        assert_eq!(planned(surge.clone(), &["a", "b"], &old), (strings(&["a"]), vec![]));
        let both = [pod("a", "a", "old", true), pod("a2", "a", "new", true), pod("b", "b", "old", true)];
        assert_eq!(planned(surge, &["a", "b"], &both), (strings(&["b"]), strings(&["a"])));
    }

    #[test]
    fn the_status_counts_nodes() {
        let pods = [pod("a", "a", "new", true), pod("b", "b", "old", false)];
        let status = status(&set(json!({})), &nodes(&["a", "b", "c"]), &pods, "new", Timestamp::UNIX_EPOCH);
        assert_eq!((status.desired_number_scheduled, status.current_number_scheduled, status.number_ready), (3, 2, 1));
        assert_eq!((status.updated_number_scheduled, status.number_unavailable), (Some(1), Some(2)));
    }
}
