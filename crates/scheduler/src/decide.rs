//! Which node a pod goes to: filter, rank, pick.
//!
//! upstream: pkg/scheduler/schedule_one.go (`schedulePod`), pkg/scheduler/framework/types.go (`FitError`)

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use crate::framework::{Cycle, Filter, Framework, Normalize, Rejection, Score};
use crate::node_info::NodeInfo;
use crate::pod_info::PodInfo;

/// With fewer nodes than this all of them are looked at (upstream: `minFeasibleNodesToFind`).
const MIN_FEASIBLE: usize = 100;

/// Pods that a preemption made room for, by node: others must leave that room.
pub type Nominated = HashMap<String, Vec<Arc<PodInfo>>>;

/// Why no node is possible.
#[derive(Clone, Debug, Default)]
pub struct Diagnosis {
    /// How many nodes there are.
    pub nodes: usize,
    /// Each node's rejection.
    pub rejections: BTreeMap<String, Rejection>,
    /// The rejection of all nodes at once.
    pub all: Option<Rejection>,
}

impl Diagnosis {
    /// The plugins that took part in turning the pod away.
    pub fn rejected_by(&self) -> Vec<&'static str> {
        let mut names: Vec<_> = self.rejections.values().chain(&self.all).map(|one| one.plugin).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Upstream's sentence: `0/1 nodes are available: 1 Insufficient cpu.`
    pub fn message(&self) -> String {
        let head = format!("0/{} nodes are available", self.nodes);
        if let Some(all) = &self.all {
            return format!("{head}: {}.", all.reasons.join(", "));
        }
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for reason in self.rejections.values().flat_map(|rejection| &rejection.reasons) {
            *counts.entry(reason).or_default() += 1;
        }
        let mut parts: Vec<String> = counts.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        parts.sort();
        if parts.is_empty() { format!("{head}.") } else { format!("{head}: {}.", parts.join(", ")) }
    }
}

/// What was decided.
#[derive(Debug)]
pub enum Decision {
    /// The pod goes to this node.
    Node(String),
    /// No node is possible.
    Unschedulable(Diagnosis),
}

/// The filters, prepared for one pod.
pub struct Filters<'a> {
    filters: Vec<Filter<'a>>,
}

impl<'a> Filters<'a> {
    /// Prepares every plugin; an error rejects all nodes.
    pub fn prepare(framework: &'a Framework, cycle: &'a Cycle<'a>) -> Result<Self, Rejection> {
        let mut filters = Vec::new();
        for registered in framework.plugins() {
            match registered.plugin.filter(cycle) {
                Filter::Skip => {}
                Filter::RejectAll(rejection) => return Err(rejection),
                each => filters.push(each),
            }
        }
        Ok(Self { filters })
    }

    /// The first objection against a node.
    pub fn check(&self, node: &NodeInfo) -> Result<(), Rejection> {
        self.filters.iter().try_for_each(|filter| match filter {
            Filter::Each(check) => check(node),
            Filter::Skip | Filter::RejectAll(_) => Ok(()),
        })
    }
}

/// Decides on one pod. `start` is where in the list of nodes to begin; it moves on, so that all nodes get their turn.
pub fn decide(framework: &Framework, cycle: &Cycle<'_>, nominated: &Nominated, start: &mut usize) -> Decision {
    let nodes = &cycle.snapshot.nodes;
    let mut diagnosis = Diagnosis { nodes: nodes.len(), ..Diagnosis::default() };
    let filters = match Filters::prepare(framework, cycle) {
        Ok(filters) => filters,
        Err(rejection) => {
            diagnosis.all = Some(rejection);
            return Decision::Unschedulable(diagnosis);
        }
    };
    // Room that a preemption made for this pod is looked at first.
    if let Some(node) = cycle.pod.nominated_node().and_then(|name| cycle.snapshot.node(name))
        && check_with_nominated(&filters, cycle.pod, node, nominated).is_ok()
    {
        return Decision::Node(node.name().to_owned());
    }
    let wanted = nodes_to_find(nodes.len());
    let mut feasible: Vec<Arc<NodeInfo>> = Vec::new();
    let mut looked_at = 0;
    for offset in 0..nodes.len() {
        let node = &nodes[(*start + offset) % nodes.len()];
        looked_at += 1;
        match check_with_nominated(&filters, cycle.pod, node, nominated) {
            Ok(()) => feasible.push(node.clone()),
            Err(rejection) => {
                diagnosis.rejections.insert(node.name().to_owned(), rejection);
            }
        }
        if feasible.len() >= wanted {
            break;
        }
    }
    *start = (*start + looked_at) % nodes.len().max(1);
    match pick(framework, cycle, &feasible) {
        Some(name) => Decision::Node(name),
        None => Decision::Unschedulable(diagnosis),
    }
}

/// A node must fit with the room nominated pods of the same or higher priority will take, and without it.
fn check_with_nominated(
    filters: &Filters<'_>,
    pod: &PodInfo,
    node: &NodeInfo,
    nominated: &Nominated,
) -> Result<(), Rejection> {
    let others = nominated.get(node.name()).into_iter().flatten();
    let ahead: Vec<_> = others.filter(|other| other.priority >= pod.priority && other.uid != pod.uid).collect();
    if !ahead.is_empty() {
        let mut filled = node.clone();
        ahead.into_iter().for_each(|other| filled.add_pod(other.clone()));
        filters.check(&filled)?;
    }
    filters.check(node)
}

/// How many possible nodes are enough (upstream: `numFeasibleNodesToFind`).
fn nodes_to_find(all: usize) -> usize {
    if all < MIN_FEASIBLE {
        return all;
    }
    let percentage = 50_usize.saturating_sub(all / 125).max(5);
    (all * percentage / 100).max(MIN_FEASIBLE)
}

/// The node with the highest sum of weighted scores.
fn pick(framework: &Framework, cycle: &Cycle<'_>, feasible: &[Arc<NodeInfo>]) -> Option<String> {
    if feasible.len() < 2 {
        return feasible.first().map(|node| node.name().to_owned());
    }
    let mut totals = vec![0_i64; feasible.len()];
    for registered in framework.plugins().iter().filter(|registered| registered.weight > 0) {
        let (scores, normalize): (Vec<i64>, Normalize) = match registered.plugin.score(cycle, feasible) {
            Score::Skip => continue,
            Score::Each(score, normalize) => (feasible.iter().map(|node| score(node)).collect(), normalize),
        };
        let mut scores = scores;
        normalize.apply(&mut scores);
        totals.iter_mut().zip(scores).for_each(|(total, score)| *total += score * registered.weight);
    }
    let best = totals.iter().copied().max()?;
    let equal: Vec<usize> = (0..totals.len()).filter(|at| totals[*at] == best).collect();
    // Any of the equal ones, by the pod's identity: spread as if at random, yet the same in a replay.
    let mut hasher = DefaultHasher::new();
    cycle.pod.uid.hash(&mut hasher);
    let at = equal[(hasher.finish() % equal.len() as u64) as usize];
    Some(feasible[at].name().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugins::default_framework;
    use crate::testing::{NoVolumes, node, node_from, pod, snapshot};
    use k8s_openapi::api::core::v1::Node;
    use serde_json::{Value, json};

    fn decided(nodes: &[Arc<Node>], bound: Vec<PodInfo>, wanted: Value) -> String {
        let cluster = snapshot(nodes, bound);
        let pod = pod(wanted);
        let framework = default_framework(Box::new(NoVolumes));
        let cycle = Cycle { pod: &pod, snapshot: &cluster };
        match decide(&framework, &cycle, &Nominated::new(), &mut 0) {
            Decision::Node(name) => name,
            Decision::Unschedulable(diagnosis) => diagnosis.message(),
        }
    }

    fn tainted(name: &str, key: &str) -> Arc<Node> {
        node_from(json!({
            "metadata": {"name": name},
            "spec": {"taints": [{"key": key, "effect": "NoSchedule"}]},
            "status": {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"}},
        }))
    }

    #[test]
    fn messages_read_as_upstreams() {
        let two = [node("a", "1"), tainted("b", "role")];
        for (nodes, wanted, expected) in [
            (&two[..1], json!({"cpu": "2"}), "0/1 nodes are available: 1 Insufficient cpu."),
            (
                &two[..],
                json!({"cpu": "2", "memory": "9Gi"}),
                "0/2 nodes are available: 1 Insufficient cpu, 1 Insufficient memory, 1 node(s) had untolerated taint(s).",
            ),
            (&[], json!({}), "0/0 nodes are available."),
            (
                &two[..1],
                json!({"nodeSelector": {"disk": "ssd"}}),
                "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.",
            ),
            (
                &two[..1],
                json!({"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]}),
                "0/1 nodes are available: persistentvolumeclaim \"data\" not found.",
            ),
        ] {
            assert_eq!(decided(nodes, vec![], wanted), expected);
        }
    }

    #[test]
    fn the_emptier_node_is_better() {
        let nodes = [node("a", "4"), node("b", "4")];
        let busy = pod(json!({"name": "busy", "node": "a", "cpu": "2", "memory": "4Gi"}));
        assert_eq!(decided(&nodes, vec![busy], json!({"cpu": "1", "memory": "1Gi"})), "b");
    }

    #[test]
    fn host_ports_conflict_by_address_and_protocol() {
        let nodes = [node("a", "4")];
        let port = |ip: &str, protocol: &str| json!([{"containerPort": 80, "hostPort": 80, "hostIP": ip, "protocol": protocol}]);
        let taken = || pod(json!({"name": "taken", "node": "a", "ports": port("127.0.0.1", "TCP")}));
        let full = "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports.";
        for (ip, protocol, expected) in
            [("127.0.0.1", "TCP", full), ("127.0.0.2", "TCP", "a"), ("127.0.0.1", "UDP", "a"), ("", "TCP", full)]
        {
            assert_eq!(
                decided(&nodes, vec![taken()], json!({"ports": port(ip, protocol)})),
                expected,
                "{ip} {protocol}"
            );
        }
    }

    #[test]
    fn a_cordoned_node_takes_nothing_new() {
        let cordoned = node_from(json!({
            "metadata": {"name": "a"},
            "spec": {"unschedulable": true},
            "status": {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"}},
        }));
        assert_eq!(decided(&[cordoned], vec![], json!({})), "0/1 nodes are available: 1 node(s) were unschedulable.");
    }

    #[test]
    fn room_for_a_nominated_pod_is_kept_from_lower_ones() {
        let cluster = snapshot(&[node("a", "2")], vec![]);
        let framework = default_framework(Box::new(NoVolumes));
        let high = Arc::new(pod(json!({"name": "high", "cpu": "2", "priority": 10})));
        let nominated = Nominated::from([("a".to_owned(), vec![high])]);
        for (priority, fits) in [(0, false), (20, true)] {
            let pod = pod(json!({"name": "other", "cpu": "1", "priority": priority}));
            let cycle = Cycle { pod: &pod, snapshot: &cluster };
            let decision = decide(&framework, &cycle, &nominated, &mut 0);
            assert_eq!(matches!(decision, Decision::Node(_)), fits, "priority {priority}");
        }
    }
}
