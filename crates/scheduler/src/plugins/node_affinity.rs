//! NodeAffinity: node selectors, required and preferred (upstream: plugins/nodeaffinity).

use std::sync::Arc;

use client::corev1::node_affinity::{of, preferred_weight, required_matches};

use crate::framework::{ClusterEvent, Cycle, Filter, Normalize, Plugin, Rejection, Score};
use crate::node_info::NodeInfo;
use crate::pod_info::PodInfo;

const NAME: &str = "NodeAffinity";

/// Filters by `nodeSelector` and required terms, ranks by preferred ones.
pub struct NodeAffinity;

impl Plugin for NodeAffinity {
    fn name(&self) -> &'static str {
        NAME
    }

    fn filter<'a>(&'a self, cycle: &'a Cycle<'a>) -> Filter<'a> {
        let pod = &cycle.pod.pod;
        let selector = pod.spec.as_ref().and_then(|spec| spec.node_selector.as_ref());
        let required = of(pod).and_then(|one| one.required_during_scheduling_ignored_during_execution.as_ref());
        if selector.is_none_or(|selector| selector.is_empty()) && required.is_none() {
            return Filter::Skip;
        }
        Filter::each(move |node| {
            let unfit = || Rejection::unresolvable(NAME, "node(s) didn't match Pod's node affinity/selector");
            if node.node.as_ref().is_some_and(|node| required_matches(pod, node)) { Ok(()) } else { Err(unfit()) }
        })
    }

    fn score<'a>(&'a self, cycle: &'a Cycle<'a>, _feasible: &'a [Arc<NodeInfo>]) -> Score<'a> {
        let pod = &cycle.pod.pod;
        let preferred = of(pod).and_then(|one| one.preferred_during_scheduling_ignored_during_execution.as_ref());
        if preferred.is_none_or(Vec::is_empty) {
            return Score::Skip;
        }
        Score::each(Normalize::ByMax, move |node| node.node.as_ref().map_or(0, |node| preferred_weight(pod, node)))
    }

    fn helped_by(&self, event: &ClusterEvent, pod: &PodInfo) -> bool {
        event.new_node().is_some_and(|node| required_matches(&pod.pod, node))
    }
}
