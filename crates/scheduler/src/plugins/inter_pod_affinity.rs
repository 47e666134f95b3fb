//! InterPodAffinity: pods that want to be near or far from each other (upstream: plugins/interpodaffinity).
//!
//! For each term the matching pods are counted once by topology value; a node is then judged by its own values alone.

use std::collections::HashMap;
use std::sync::Arc;

use crate::framework::{ClusterEvent, Cycle, Filter, MAX_NODE_SCORE, Normalize, Plugin, Rejection, Score};
use crate::node_info::NodeInfo;
use crate::pod_info::{AffinityTerm, PodInfo};

const NAME: &str = "InterPodAffinity";

/// Weight of an existing pod's required affinity to the incoming one (upstream: `hardPodAffinityWeight`).
const HARD_WEIGHT: i64 = 1;

/// Filters by required terms in both directions, ranks by preferred ones in both directions.
pub struct InterPodAffinity;

/// How much speaks for each (topology key, value).
type Counts = HashMap<(String, String), i64>;

fn count(counts: &mut Counts, node: &NodeInfo, term: &AffinityTerm, by: i64) {
    if let Some(value) = node.label(&term.topology_key) {
        *counts.entry((term.topology_key.clone(), value.to_owned())).or_default() += by;
    }
}

fn at(counts: &Counts, node: &NodeInfo, key: &str) -> i64 {
    let value = node.label(key).map(|value| (key.to_owned(), value.to_owned()));
    value.and_then(|place| counts.get(&place)).copied().unwrap_or(0)
}

struct Required<'a> {
    pod: &'a PodInfo,
    /// Places whose pods refuse this pod.
    refused: Counts,
    /// Places with pods that this pod must be near (matching every required term).
    near: Counts,
    /// Places with pods that this pod must not be near.
    far: Counts,
    /// Whether the pod itself would satisfy all of its terms: then the first of its kind may go anywhere.
    own_kind: bool,
}

impl<'a> Required<'a> {
    fn new(cycle: &Cycle<'a>) -> Self {
        let (pod, snapshot) = (cycle.pod, cycle.snapshot);
        let own_labels = snapshot.namespace_labels(&pod.key.namespace);
        let mut required = Self {
            pod,
            refused: Counts::new(),
            near: Counts::new(),
            far: Counts::new(),
            own_kind: pod.affinity.required.iter().all(|term| term.selects(pod, own_labels)),
        };
        let has_terms = !pod.affinity.required.is_empty() || !pod.affinity.required_anti.is_empty();
        for node in &snapshot.nodes {
            for other in &node.pods {
                for term in other.affinity.required_anti.iter().filter(|term| term.selects(pod, own_labels)) {
                    count(&mut required.refused, node, term, 1);
                }
                if has_terms {
                    required.count_wishes(node, other, cycle);
                }
            }
        }
        required
    }

    fn count_wishes(&mut self, node: &NodeInfo, other: &PodInfo, cycle: &Cycle<'_>) {
        let labels = cycle.snapshot.namespace_labels(&other.key.namespace);
        let terms = &self.pod.affinity;
        if !terms.required.is_empty() && terms.required.iter().all(|term| term.selects(other, labels)) {
            terms.required.iter().for_each(|term| count(&mut self.near, node, term, 1));
        }
        for term in terms.required_anti.iter().filter(|term| term.selects(other, labels)) {
            count(&mut self.far, node, term, 1);
        }
    }

    fn check(&self, node: &NodeInfo) -> Result<(), Rejection> {
        if !self.is_near(node) {
            return Err(Rejection::unresolvable(NAME, "node(s) didn't match pod affinity rules"));
        }
        if self.pod.affinity.required_anti.iter().any(|term| at(&self.far, node, &term.topology_key) > 0) {
            return Err(Rejection::resolvable(NAME, "node(s) didn't match pod anti-affinity rules"));
        }
        let refused = |((key, value), count): (&(String, String), &i64)| *count > 0 && node.label(key) == Some(value);
        if self.refused.iter().any(refused) {
            return Err(Rejection::resolvable(NAME, "node(s) didn't satisfy existing pods anti-affinity rules"));
        }
        Ok(())
    }

    fn is_near(&self, node: &NodeInfo) -> bool {
        let terms = &self.pod.affinity.required;
        if !terms.iter().all(|term| node.label(&term.topology_key).is_some()) {
            return false;
        }
        let beside = terms.iter().all(|term| at(&self.near, node, &term.topology_key) > 0);
        beside || (self.near.is_empty() && self.own_kind)
    }
}

fn preferences(cycle: &Cycle<'_>) -> Counts {
    let (pod, snapshot) = (cycle.pod, cycle.snapshot);
    let own_labels = snapshot.namespace_labels(&pod.key.namespace);
    let mut counts = Counts::new();
    for node in &snapshot.nodes {
        for other in &node.pods {
            let labels = snapshot.namespace_labels(&other.key.namespace);
            let mut weigh = |terms: &[(i32, AffinityTerm)], sign: i64, subject: &PodInfo, labels| {
                for (weight, term) in terms.iter().filter(|(_, term)| term.selects(subject, labels)) {
                    count(&mut counts, node, term, sign * i64::from(*weight));
                }
            };
            weigh(&pod.affinity.preferred, 1, other, labels);
            weigh(&pod.affinity.preferred_anti, -1, other, labels);
            weigh(&other.affinity.preferred, 1, pod, own_labels);
            weigh(&other.affinity.preferred_anti, -1, pod, own_labels);
            for term in other.affinity.required.iter().filter(|term| term.selects(pod, own_labels)) {
                count(&mut counts, node, term, HARD_WEIGHT);
            }
        }
    }
    counts
}

/// Spreads the sums over 0..=100, the lowest at 0.
fn spread(scores: &mut [i64]) {
    let (Some(low), Some(high)) = (scores.iter().copied().min(), scores.iter().copied().max()) else { return };
    let range = high - low;
    scores.iter_mut().for_each(|score| *score = if range == 0 { 0 } else { MAX_NODE_SCORE * (*score - low) / range });
}

impl Plugin for InterPodAffinity {
    fn name(&self) -> &'static str {
        NAME
    }

    fn filter<'a>(&'a self, cycle: &'a Cycle<'a>) -> Filter<'a> {
        let required = Required::new(cycle);
        let wishes = &cycle.pod.affinity;
        if required.refused.is_empty() && wishes.required.is_empty() && wishes.required_anti.is_empty() {
            return Filter::Skip;
        }
        Filter::each(move |node| required.check(node))
    }

    fn score<'a>(&'a self, cycle: &'a Cycle<'a>, _feasible: &'a [Arc<NodeInfo>]) -> Score<'a> {
        let counts = preferences(cycle);
        if counts.is_empty() {
            return Score::Skip;
        }
        Score::each(Normalize::With(spread), move |node| {
            let here = |((key, value), _): &(&(String, String), &i64)| node.label(key) == Some(value);
            counts.iter().filter(here).map(|(_, weight)| *weight).sum()
        })
    }

    fn helped_by(&self, event: &ClusterEvent, pod: &PodInfo) -> bool {
        match event {
            ClusterEvent::PodBound(_) => !pod.affinity.required.is_empty(),
            ClusterEvent::BoundPodUpdated { old, new } => old.labels() != new.labels(),
            ClusterEvent::BoundPodGone(gone) => {
                !gone.affinity.required_anti.is_empty() || !pod.affinity.required_anti.is_empty()
            }
            ClusterEvent::NamespaceChanged => true,
            _ => event.new_node().is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::Snapshot;
    use crate::testing::{node, pod, snapshot};
    use serde_json::{Value, json};

    fn term(app: &str) -> Value {
        json!({"labelSelector": {"matchLabels": {"app": app}}, "topologyKey": "kubernetes.io/hostname"})
    }

    fn required(sort: &str, app: &str) -> Value {
        json!({sort: {"requiredDuringSchedulingIgnoredDuringExecution": [term(app)]}})
    }

    fn possible(cluster: &Snapshot, wanted: Value) -> Vec<String> {
        let pod = pod(wanted);
        let cycle = Cycle { pod: &pod, snapshot: cluster };
        let names = cluster.nodes.iter().filter(|node| match InterPodAffinity.filter(&cycle) {
            Filter::Skip => true,
            Filter::RejectAll(_) => false,
            Filter::Each(check) => check(node).is_ok(),
        });
        names.map(|node| node.name().to_owned()).collect()
    }

    fn cluster() -> Snapshot {
        let db = json!({"name": "db", "node": "a", "labels": {"app": "db"}, "affinity": required("podAntiAffinity", "noisy")});
        snapshot(&[node("a", "4"), node("b", "4")], vec![pod(db)])
    }

    #[test]
    fn required_terms_hold_in_both_directions() {
        let cluster = cluster();
        assert_eq!(possible(&cluster, json!({"affinity": required("podAffinity", "db")})), ["a"]);
        assert_eq!(possible(&cluster, json!({"affinity": required("podAntiAffinity", "db")})), ["b"]);
        assert_eq!(possible(&cluster, json!({"labels": {"app": "noisy"}})), ["b"], "the other pod refuses it");
        assert_eq!(possible(&cluster, json!({"affinity": required("podAffinity", "none")})), Vec::<String>::new());
        assert_eq!(
            possible(&cluster, json!({"labels": {"app": "web"}, "affinity": required("podAffinity", "web")})),
            ["a", "b"],
            "the first of its kind"
        );
    }

    #[test]
    fn preferred_anti_affinity_ranks_the_other_node_first() {
        let cluster = cluster();
        let wish = json!({"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution":
            [{"weight": 100, "podAffinityTerm": term("db")}]}});
        let pod = pod(json!({"affinity": wish}));
        let cycle = Cycle { pod: &pod, snapshot: &cluster };
        let Score::Each(score, normalize) = InterPodAffinity.score(&cycle, &cluster.nodes) else {
            panic!("an opinion")
        };
        let mut scores: Vec<i64> = cluster.nodes.iter().map(|node| score(node)).collect();
        normalize.apply(&mut scores);
        assert_eq!(scores, [0, 100]);
    }
}
