//! What a StatefulSet does next. Pure.
//!
//! In order, unless the set asks for all at once: the next pod comes when the one before is available, and the last goes
//! first. upstream: pkg/controller/statefulset/stateful_set_control.go

use std::collections::BTreeMap;
use std::sync::Arc;

use client::corev1::pod::{is_available, is_ready, is_terminal, phase};
use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;

use super::identity::{first_ordinal, ordinal_of, revision_of};

/// One step.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// This ordinal gets its pod, of the current or (`updated`) the newest revision.
    Create {
        /// The ordinal.
        ordinal: i32,
        /// Of which revision.
        updated: bool,
    },
    /// This pod goes; when it ended by itself, it comes again.
    Delete(Arc<Pod>),
}

/// The revisions by name.
#[derive(Clone, Copy, Debug)]
pub struct Revisions<'a> {
    /// What all pods were made from when the last update was complete.
    pub current: &'a str,
    /// What the template is now.
    pub update: &'a str,
}

fn desired(set: &StatefulSet) -> i32 {
    set.spec.replicas.unwrap_or(1)
}

fn in_order(set: &StatefulSet) -> bool {
    set.spec.pod_management_policy.as_deref() != Some("Parallel")
}

fn strategy(set: &StatefulSet) -> &str {
    let strategy = set.spec.update_strategy.as_ref().and_then(|strategy| strategy.type_.as_deref());
    strategy.unwrap_or("RollingUpdate")
}

fn partition(set: &StatefulSet) -> i32 {
    let rolling = set.spec.update_strategy.as_ref().and_then(|strategy| strategy.rolling_update.as_ref());
    rolling.and_then(|rolling| rolling.partition).unwrap_or(0)
}

/// Whether an ordinal's new pod is of the newest revision.
fn is_updated_ordinal(set: &StatefulSet, ordinal: i32, revisions: Revisions<'_>) -> bool {
    let kept = match (strategy(set), partition(set)) {
        ("RollingUpdate", 0) => set.status.as_ref().and_then(|status| status.current_replicas).unwrap_or(0),
        ("RollingUpdate", partition) => partition,
        _ => 0,
    };
    revisions.current == revisions.update || ordinal >= first_ordinal(set) + kept
}

fn is_leaving(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

fn is_healthy(set: &StatefulSet, pod: &Pod, now: Timestamp) -> bool {
    let seconds = set.spec.min_ready_seconds.unwrap_or(0);
    phase(pod) == "Running" && !is_leaving(pod) && is_available(pod, seconds, now)
}

/// Plans the next steps over the set's pods.
pub fn plan(set: &StatefulSet, pods: &[Arc<Pod>], revisions: Revisions<'_>, now: Timestamp) -> Vec<Action> {
    let first = first_ordinal(set);
    let range = first..first + desired(set);
    let mut by_ordinal: BTreeMap<i32, Arc<Pod>> = BTreeMap::new();
    let mut condemned: BTreeMap<i32, Arc<Pod>> = BTreeMap::new();
    for pod in pods {
        match ordinal_of(set, pod) {
            Some(ordinal) if range.contains(&ordinal) => drop(by_ordinal.insert(ordinal, pod.clone())),
            Some(ordinal) => drop(condemned.insert(ordinal, pod.clone())),
            None => {}
        }
    }
    let ordered = in_order(set);
    let mut actions = Vec::new();
    for ordinal in range {
        match by_ordinal.get(&ordinal) {
            None => actions.push(Action::Create { ordinal, updated: is_updated_ordinal(set, ordinal, revisions) }),
            Some(pod) if is_terminal(pod) && !is_leaving(pod) => actions.push(Action::Delete(pod.clone())),
            Some(pod) if ordered && !is_healthy(set, pod, now) => return actions,
            Some(_) => continue,
        }
        if ordered {
            return actions;
        }
    }
    for pod in condemned.into_values().rev() {
        if !is_leaving(&pod) {
            actions.push(Action::Delete(pod));
        }
        // The next one goes when this one has gone.
        if ordered {
            return actions;
        }
    }
    if strategy(set) == "RollingUpdate" {
        actions.extend(next_update(set, &by_ordinal, revisions, now));
    }
    actions
}

/// From the last ordinal down to the partition: the first old pod goes, unless a later one still comes up.
fn next_update(
    set: &StatefulSet,
    pods: &BTreeMap<i32, Arc<Pod>>,
    revisions: Revisions<'_>,
    now: Timestamp,
) -> Option<Action> {
    let lowest = first_ordinal(set) + partition(set);
    for (_, pod) in pods.range(lowest..).rev() {
        if revision_of(pod) != revisions.update && !is_leaving(pod) {
            return Some(Action::Delete(pod.clone()));
        }
        if !is_healthy(set, pod, now) {
            return None;
        }
    }
    None
}

/// The status over the set's pods.
pub fn status(
    set: &StatefulSet,
    pods: &[Arc<Pod>],
    revisions: Revisions<'_>,
    collisions: Option<i32>,
    now: Timestamp,
) -> StatefulSetStatus {
    let count = |test: &dyn Fn(&Pod) -> bool| pods.iter().filter(|pod| test(pod)).count() as i32;
    let number = |count: i32| Some(count).filter(|count| *count != 0);
    let current = |pod: &Pod| !is_leaving(pod) && revision_of(pod) == revisions.current;
    let updated = |pod: &Pod| !is_leaving(pod) && revision_of(pod) == revisions.update;
    let ready = count(&|pod| phase(pod) == "Running" && is_ready(pod));
    let available = count(&|pod| is_healthy(set, pod, now));
    let all = pods.len() as i32;
    // The update is complete: what is newest becomes the current.
    let complete = count(&updated) == all && ready == all && all == desired(set) && strategy(set) == "RollingUpdate";
    let (current_name, current_count) =
        if complete { (revisions.update, count(&updated)) } else { (revisions.current, count(&current)) };
    StatefulSetStatus {
        replicas: all,
        ready_replicas: number(ready),
        available_replicas: Some(available),
        current_replicas: number(current_count),
        updated_replicas: number(count(&updated)),
        current_revision: Some(current_name.to_owned()),
        update_revision: Some(revisions.update.to_owned()),
        observed_generation: set.metadata.generation,
        collision_count: Some(collisions.unwrap_or(0)),
        conditions: set.status.as_ref().and_then(|status| status.conditions.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::REVISION_HASH;
    use serde_json::{Value, json};

    fn set(more: Value) -> StatefulSet {
        let mut spec =
            json!({"replicas": 3, "selector": {}, "serviceName": "db", "template": {"spec": {"containers": []}}});
        more.as_object().into_iter().flatten().for_each(|(key, value)| spec[key] = value.clone());
        serde_json::from_value(json!({"metadata": {"name": "db", "generation": 1}, "spec": spec})).expect("a set")
    }

    fn pod(ordinal: i32, revision: &str, ready: bool) -> Arc<Pod> {
        let value = json!({"metadata": {"name": format!("db-{ordinal}"), "labels": {REVISION_HASH: revision}},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]}});
        Arc::new(serde_json::from_value(value).expect("a pod"))
    }

    fn planned(more: Value, pods: &[Arc<Pod>]) -> Vec<String> {
        let revisions = Revisions { current: "old", update: "new" };
        let write = |action: Action| match action {
            Action::Create { ordinal, updated } => format!("+{ordinal}{}", if updated { " new" } else { "" }),
            Action::Delete(pod) => format!("-{}", pod.metadata.name.clone().unwrap_or_default()),
        };
        plan(&set(more), pods, revisions, Timestamp::UNIX_EPOCH).into_iter().map(write).collect()
    }

    #[test]
    fn one_after_the_other_or_all_at_once() {
        let none: Vec<String> = vec![];
        assert_eq!(planned(json!({}), &[]), ["+0 new"]);
        assert_eq!(planned(json!({}), &[pod(0, "new", false)]), none);
        assert_eq!(planned(json!({}), &[pod(0, "new", true)]), ["+1 new"]);
        assert_eq!(planned(json!({"podManagementPolicy": "Parallel"}), &[pod(1, "new", false)]), ["+0 new", "+2 new"]);
        assert_eq!(planned(json!({"ordinals": {"start": 5}, "replicas": 1}), &[]), ["+5 new"]);
    }

    #[test]
    fn the_last_goes_first() {
        let pods: Vec<_> = (0..3).map(|ordinal| pod(ordinal, "new", true)).collect();
        assert_eq!(planned(json!({"replicas": 1}), &pods), ["-db-2"]);
        assert_eq!(planned(json!({"replicas": 1, "podManagementPolicy": "Parallel"}), &pods), ["-db-2", "-db-1"]);
    }

    #[test]
    fn updates_go_down_to_the_partition_one_at_a_time() {
        let none: Vec<String> = vec![];
        let old: Vec<_> = (0..3).map(|ordinal| pod(ordinal, "old", true)).collect();
        assert_eq!(planned(json!({}), &old), ["-db-2"]);
        assert_eq!(planned(json!({"updateStrategy": {"type": "OnDelete"}}), &old), none);
        let half = [old[0].clone(), old[1].clone(), pod(2, "new", true)];
        assert_eq!(planned(json!({}), &half), ["-db-1"]);
        let partition = json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}});
        assert_eq!(planned(partition.clone(), &half), none);
        assert_eq!(planned(partition, &half[..1]), ["+1"], "below the partition the current revision comes again");
    }
}
