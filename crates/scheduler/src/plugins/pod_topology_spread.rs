//! PodTopologySpread: pods of a kind evenly over zones, hosts, ... (upstream: plugins/podtopologyspread).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use client::corev1::node_affinity::required_matches;
use client::corev1::tolerations::first_untolerated;
use client::labels;
use k8s_openapi::api::core::v1::TopologySpreadConstraint;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

use crate::framework::{ClusterEvent, Cycle, Filter, MAX_NODE_SCORE, Normalize, Plugin, Rejection, Score};
use crate::node_info::NodeInfo;
use crate::pod_info::PodInfo;

const NAME: &str = "PodTopologySpread";
const HOSTNAME: &str = "kubernetes.io/hostname";
/// A node that lacks a label of the constraints: it gets the lowest score.
const IGNORED: i64 = -1;

/// Filters by `DoNotSchedule` constraints, ranks by `ScheduleAnyway` ones.
pub struct PodTopologySpread;

struct Constraint {
    key: String,
    max_skew: i64,
    min_domains: i64,
    selector: LabelSelector,
    honors_affinity: bool,
    honors_taints: bool,
}

impl Constraint {
    fn new(spec: &TopologySpreadConstraint, pod: &PodInfo) -> Self {
        let honors = |policy: &Option<String>, default| policy.as_deref().map_or(default, |policy| policy == "Honor");
        let mut selector = spec.label_selector.clone().unwrap_or_default();
        // The pod's own values of these keys join the selector.
        let same = spec.match_label_keys.iter().flatten().filter_map(|key| {
            let value = pod.labels().get(key)?.clone();
            Some(LabelSelectorRequirement { key: key.clone(), operator: "In".into(), values: Some(vec![value]) })
        });
        selector.match_expressions.get_or_insert_default().extend(same);
        Self {
            key: spec.topology_key.clone(),
            max_skew: spec.max_skew.into(),
            min_domains: spec.min_domains.unwrap_or(1).into(),
            selector,
            honors_affinity: honors(&spec.node_affinity_policy, true),
            honors_taints: honors(&spec.node_taints_policy, false),
        }
    }

    fn counts(&self, pod: &PodInfo, node: &NodeInfo) -> bool {
        let Some(inner) = &node.node else { return false };
        (!self.honors_affinity || required_matches(&pod.pod, inner))
            && (!self.honors_taints || first_untolerated(node.taints(), pod.tolerations()).is_none())
    }

    fn selects(&self, pod: &PodInfo, other: &PodInfo) -> bool {
        other.key.namespace == pod.key.namespace
            && other.pod.metadata.deletion_timestamp.is_none()
            && labels::matches(&self.selector, other.labels())
    }

    fn matching_on(&self, pod: &PodInfo, node: &NodeInfo) -> i64 {
        node.pods.iter().filter(|other| self.selects(pod, other)).count() as i64
    }
}

fn constraints(pod: &PodInfo, when_unsatisfiable: &str) -> Vec<Constraint> {
    let specs = pod.pod.spec.iter().flat_map(|spec| spec.topology_spread_constraints.iter().flatten());
    specs.filter(|one| one.when_unsatisfiable == when_unsatisfiable).map(|one| Constraint::new(one, pod)).collect()
}

fn has_all_keys(node: &NodeInfo, constraints: &[Constraint]) -> bool {
    constraints.iter().all(|constraint| node.label(&constraint.key).is_some())
}

/// The matching pods by topology value, over the nodes that take part.
fn domains(constraint: &Constraint, all: &[Constraint], cycle: &Cycle<'_>) -> HashMap<String, i64> {
    let mut counts = HashMap::new();
    for node in cycle.snapshot.nodes.iter().filter(|node| has_all_keys(node, all)) {
        if let Some(value) = node.label(&constraint.key).filter(|_| constraint.counts(cycle.pod, node)) {
            *counts.entry(value.to_owned()).or_default() += constraint.matching_on(cycle.pod, node);
        }
    }
    counts
}

/// `max` is at 0, what lies below rises; ignored nodes stay at 0 (upstream: `NormalizeScore`).
fn normalize(scores: &mut [i64]) {
    let known = || scores.iter().copied().filter(|score| *score != IGNORED);
    let (low, high) = (known().min().unwrap_or(0), known().max().unwrap_or(0));
    for score in scores.iter_mut() {
        *score = match *score {
            IGNORED => 0,
            _ if high == 0 => MAX_NODE_SCORE,
            raw => MAX_NODE_SCORE * (high + low - raw) / high,
        };
    }
}

impl Plugin for PodTopologySpread {
    fn name(&self) -> &'static str {
        NAME
    }

    fn filter<'a>(&'a self, cycle: &'a Cycle<'a>) -> Filter<'a> {
        let constraints = constraints(cycle.pod, "DoNotSchedule");
        if constraints.is_empty() {
            return Filter::Skip;
        }
        let counted: Vec<_> = constraints.iter().map(|one| domains(one, &constraints, cycle)).collect();
        Filter::each(move |node| {
            for (constraint, domains) in constraints.iter().zip(&counted) {
                let Some(value) = node.label(&constraint.key) else {
                    let reason = "node(s) didn't match pod topology spread constraints (missing required label)";
                    return Err(Rejection::unresolvable(NAME, reason));
                };
                let lowest = match domains.values().min() {
                    Some(lowest) if domains.len() as i64 >= constraint.min_domains => *lowest,
                    _ => 0,
                };
                let own = i64::from(labels::matches(&constraint.selector, cycle.pod.labels()));
                if domains.get(value).copied().unwrap_or(0) + own - lowest > constraint.max_skew {
                    let reason = "node(s) didn't match pod topology spread constraints";
                    return Err(Rejection::resolvable(NAME, reason));
                }
            }
            Ok(())
        })
    }

    fn score<'a>(&'a self, cycle: &'a Cycle<'a>, feasible: &'a [Arc<NodeInfo>]) -> Score<'a> {
        let constraints = constraints(cycle.pod, "ScheduleAnyway");
        if constraints.is_empty() {
            return Score::Skip;
        }
        let counted: Vec<_> = constraints.iter().map(|one| domains(one, &constraints, cycle)).collect();
        // A topology with more values counts more (upstream: `topologyNormalizingWeight`).
        let weigh = |constraint: &Constraint| {
            let usable = feasible.iter().filter(|node| has_all_keys(node, &constraints));
            let values: HashSet<&str> = usable.filter_map(|node| node.label(&constraint.key)).collect();
            ((values.len() + 2) as f64).ln()
        };
        let weights: Vec<f64> = constraints.iter().map(weigh).collect();
        Score::each(Normalize::With(normalize), move |node| {
            if !has_all_keys(node, &constraints) {
                return IGNORED;
            }
            let score = |(at, constraint): (usize, &Constraint)| {
                let count = if constraint.key == HOSTNAME {
                    constraint.matching_on(cycle.pod, node)
                } else {
                    node.label(&constraint.key).and_then(|value| counted[at].get(value)).copied().unwrap_or(0)
                };
                count as f64 * weights[at] + (constraint.max_skew - 1) as f64
            };
            constraints.iter().enumerate().map(score).sum::<f64>().round() as i64
        })
    }

    fn helped_by(&self, event: &ClusterEvent, pod: &PodInfo) -> bool {
        let near = |other: &PodInfo| other.key.namespace == pod.key.namespace;
        match event {
            ClusterEvent::PodBound(other) | ClusterEvent::BoundPodGone(other) => near(other),
            ClusterEvent::BoundPodUpdated { old, new } => near(new) && old.labels() != new.labels(),
            ClusterEvent::NodeAdded(_) | ClusterEvent::NodeUpdated { .. } | ClusterEvent::NodeDeleted(_) => true,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{node, pod, snapshot};
    use serde_json::json;

    #[test]
    fn skew_is_counted_against_the_emptiest_domain() {
        let on = |name: &str, node: &str| pod(json!({"name": name, "node": node, "labels": {"app": "web"}}));
        let cluster = snapshot(&[node("a", "4"), node("b", "4")], vec![on("one", "a")]);
        let web = pod(json!({"name": "next", "labels": {"app": "web"}, "topologySpreadConstraints": [{
            "maxSkew": 1, "topologyKey": HOSTNAME, "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": {"matchLabels": {"app": "web"}}}]}));
        let cycle = Cycle { pod: &web, snapshot: &cluster };
        let Filter::Each(check) = PodTopologySpread.filter(&cycle) else { panic!("it concerns the pod") };
        let fits: Vec<bool> = cluster.nodes.iter().map(|node| check(node).is_ok()).collect();
        assert_eq!(fits, [false, true]);
    }
}
