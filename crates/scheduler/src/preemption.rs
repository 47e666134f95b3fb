//! Which pods must go so that a more important one fits.
//!
//! upstream: pkg/scheduler/framework/preemption/preemption.go, plugins/defaultpreemption/default_preemption.go

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use client::{ObjectKey, labels};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::jiff::Timestamp;

use crate::cache::Snapshot;
use crate::decide::{Diagnosis, Filters};
use crate::framework::{Cycle, Framework, Rejection};
use crate::node_info::NodeInfo;
use crate::pod_info::PodInfo;

const NAME: &str = "DefaultPreemption";
/// So many possible nodes are compared at most.
const MAX_CANDIDATES: usize = 100;

/// The outcome of looking for room.
#[derive(Debug)]
pub enum Preemption {
    /// These pods go, and the preemptor is nominated to the node.
    Victims {
        /// The node.
        node: String,
        /// Who goes.
        victims: Vec<Arc<PodInfo>>,
    },
    /// Nothing helps; upstream's words for the event.
    NotHelpful(String),
}

struct Candidate {
    node: String,
    victims: Vec<Arc<PodInfo>>,
    violations: usize,
}

/// Looks for the node where the least important pods would have to go for `pod` to fit.
pub fn plan(
    framework: &Framework,
    pod: &PodInfo,
    snapshot: &Snapshot,
    diagnosis: &Diagnosis,
    budgets: &[Arc<PodDisruptionBudget>],
) -> Preemption {
    if let Err(reason) = is_eligible(pod, snapshot) {
        return Preemption::NotHelpful(reason.to_owned());
    }
    let mut failed = Diagnosis { nodes: snapshot.nodes.len(), ..Diagnosis::default() };
    let mut candidates = Vec::new();
    for node in &snapshot.nodes {
        let resolvable = diagnosis.rejections.get(node.name()).is_some_and(|one| one.resolvable);
        let outcome = if resolvable {
            victims_on(framework, pod, snapshot, node, budgets)
        } else {
            Err(Rejection::unresolvable(NAME, "Preemption is not helpful for scheduling"))
        };
        match outcome {
            Ok(candidate) => candidates.push(candidate),
            Err(rejection) => {
                failed.rejections.insert(node.name().to_owned(), rejection);
            }
        }
        if candidates.len() >= MAX_CANDIDATES {
            break;
        }
    }
    match candidates.into_iter().min_by_key(cost) {
        Some(best) => Preemption::Victims { node: best.node, victims: best.victims },
        None => Preemption::NotHelpful(failed.message()),
    }
}

fn is_eligible(pod: &PodInfo, snapshot: &Snapshot) -> Result<(), &'static str> {
    let policy = pod.pod.spec.as_ref().and_then(|spec| spec.preemption_policy.as_deref());
    if policy == Some("Never") {
        return Err("not eligible due to preemptionPolicy=Never.");
    }
    let leaving =
        |other: &Arc<PodInfo>| other.priority < pod.priority && other.pod.metadata.deletion_timestamp.is_some();
    let nominated = pod.nominated_node().and_then(|name| snapshot.node(name));
    if nominated.is_some_and(|node| node.pods.iter().any(leaving)) {
        return Err("not eligible due to a terminating pod on the nominated node.");
    }
    Ok(())
}

/// The fewest, least important pods whose removal makes room on a node.
fn victims_on(
    framework: &Framework,
    pod: &PodInfo,
    snapshot: &Snapshot,
    node: &NodeInfo,
    budgets: &[Arc<PodDisruptionBudget>],
) -> Result<Candidate, Rejection> {
    let mut lower: Vec<_> = node.pods.iter().filter(|other| other.priority < pod.priority).cloned().collect();
    if lower.is_empty() {
        return Err(Rejection::unresolvable(NAME, "No preemption victims found for incoming pod"));
    }
    let mut emptied = node.clone();
    lower.iter().for_each(|other| drop(emptied.remove_pod(&other.uid)));
    let fits = |node: &NodeInfo| {
        let imagined = snapshot.with_node(node.clone());
        let cycle = Cycle { pod, snapshot: &imagined };
        Filters::prepare(framework, &cycle).and_then(|filters| filters.check(node))
    };
    fits(&emptied)?;
    // The most important are spared first; of those, first the ones whose budget allows no disruption.
    lower.sort_by_key(|other| importance(other));
    let (violating, others) = by_budget(lower, budgets);
    let mut victims = Vec::new();
    let mut violations = 0;
    for (group, violates) in [(violating, true), (others, false)] {
        for other in group {
            let mut spared = emptied.clone();
            spared.add_pod(other.clone());
            if fits(&spared).is_ok() {
                emptied = spared;
            } else {
                violations += usize::from(violates);
                victims.push(other);
            }
        }
    }
    victims.sort_by_key(|other| importance(other));
    Ok(Candidate { node: node.name().to_owned(), victims, violations })
}

/// Sorts the more important (higher priority, longer running) first.
fn importance(pod: &PodInfo) -> (Reverse<i32>, Timestamp) {
    (Reverse(pod.priority), started(pod))
}

fn started(pod: &PodInfo) -> Timestamp {
    let at = pod.pod.status.as_ref().and_then(|status| status.start_time.as_ref());
    at.map_or(Timestamp::MAX, |at| at.0)
}

/// Parts pods into those that would exceed a budget and the rest.
fn by_budget(pods: Vec<Arc<PodInfo>>, budgets: &[Arc<PodDisruptionBudget>]) -> (Vec<Arc<PodInfo>>, Vec<Arc<PodInfo>>) {
    let mut left: HashMap<ObjectKey, i32> = HashMap::new();
    pods.into_iter().partition(|pod| {
        let mut violates = false;
        for budget in budgets.iter().filter(|budget| protects(budget, pod)) {
            let status = budget.status.as_ref();
            let done = status.and_then(|status| status.disrupted_pods.as_ref());
            if done.is_some_and(|done| done.contains_key(&pod.key.name)) {
                continue;
            }
            let allowed = status.and_then(|status| status.disruptions_allowed).unwrap_or(0);
            let left = left.entry(ObjectKey::of(&**budget)).or_insert(allowed);
            *left -= 1;
            violates |= *left < 0;
        }
        violates
    })
}

fn protects(budget: &PodDisruptionBudget, pod: &PodInfo) -> bool {
    let selector = budget.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    budget.metadata.namespace.as_deref() == Some(&pod.key.namespace)
        && selector.is_some_and(|selector| !labels::is_empty(selector) && labels::matches(selector, pod.labels()))
}

/// Fewest broken budgets, then the lowest highest priority, the lowest sum, the fewest, the youngest.
fn cost(candidate: &Candidate) -> (usize, i32, i64, usize, Reverse<Timestamp>) {
    let victims = &candidate.victims;
    let highest = victims.iter().map(|pod| pod.priority).max().unwrap_or(i32::MIN);
    let sum = victims.iter().map(|pod| i64::from(pod.priority) + i64::from(i32::MAX) + 1).sum();
    let oldest = victims.iter().filter(|pod| pod.priority == highest).map(|pod| started(pod)).min();
    (candidate.violations, highest, sum, victims.len(), Reverse(oldest.unwrap_or(Timestamp::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::{Decision, Nominated, decide};
    use crate::plugins::default_framework;
    use crate::testing::{NoVolumes, node, pod, snapshot};
    use serde_json::{Value, json};

    fn planned(bound: Vec<Value>, wanted: Value, budgets: &[Value]) -> String {
        let framework = default_framework(Box::new(NoVolumes));
        let nodes = [node("a", "2"), node("b", "2")];
        let cluster = snapshot(&nodes, bound.into_iter().map(pod).collect());
        let pod = pod(wanted);
        let cycle = Cycle { pod: &pod, snapshot: &cluster };
        let Decision::Unschedulable(diagnosis) = decide(&framework, &cycle, &Nominated::new(), &mut 0) else {
            return "it fits".into();
        };
        let read = |budget: &Value| Arc::new(serde_json::from_value(budget.clone()).expect("a budget"));
        let budgets: Vec<_> = budgets.iter().map(read).collect();
        match plan(&framework, &pod, &cluster, &diagnosis, &budgets) {
            Preemption::Victims { node, victims } => {
                let names: Vec<&str> = victims.iter().map(|pod| pod.key.name.as_str()).collect();
                format!("{node}: {}", names.join(" "))
            }
            Preemption::NotHelpful(reason) => reason,
        }
    }

    fn bound(name: &str, node: &str, cpu: &str, priority: i32) -> Value {
        json!({"name": name, "node": node, "cpu": cpu, "priority": priority, "labels": {"app": name}})
    }

    #[test]
    fn the_least_important_go_and_no_more_than_needed() {
        let full = || vec![bound("x", "a", "1", 5), bound("y", "a", "1", 1), bound("z", "b", "2", 5)];
        assert_eq!(planned(full(), json!({"cpu": "1", "priority": 10}), &[]), "a: y");
        assert_eq!(
            planned(full(), json!({"cpu": "1", "priority": 1}), &[]),
            "0/2 nodes are available: 2 No preemption victims found for incoming pod."
        );
        assert_eq!(
            planned(full(), json!({"cpu": "3", "priority": 10}), &[]),
            "0/2 nodes are available: 2 Preemption is not helpful for scheduling."
        );
        assert_eq!(
            planned(full(), json!({"cpu": "1", "priority": 10, "preemptionPolicy": "Never"}), &[]),
            "not eligible due to preemptionPolicy=Never."
        );
    }

    #[test]
    fn a_budget_is_broken_only_where_nothing_else_helps() {
        let full = vec![bound("x", "a", "2", 1), bound("y", "b", "2", 5)];
        let budget = json!({
            "metadata": {"name": "keep-x", "namespace": "default"},
            "spec": {"selector": {"matchLabels": {"app": "x"}}},
            "status": {"disruptionsAllowed": 0},
        });
        assert_eq!(planned(full, json!({"cpu": "1", "priority": 10}), &[budget]), "b: y");
    }
}
