//! TaintToleration: nodes push pods away that do not bear their taints (upstream: plugins/tainttoleration).

use std::sync::Arc;

use client::corev1::tolerations::{any_tolerates, first_untolerated};
use k8s_openapi::api::core::v1::Toleration;

use crate::framework::{ClusterEvent, Cycle, Filter, Normalize, Plugin, Rejection, Score};
use crate::node_info::NodeInfo;
use crate::pod_info::PodInfo;

const NAME: &str = "TaintToleration";

/// Filters by NoSchedule and NoExecute taints, ranks by PreferNoSchedule ones.
pub struct TaintToleration;

impl Plugin for TaintToleration {
    fn name(&self) -> &'static str {
        NAME
    }

    fn filter<'a>(&'a self, cycle: &'a Cycle<'a>) -> Filter<'a> {
        let tolerations = cycle.pod.tolerations();
        Filter::each(move |node| match first_untolerated(node.taints(), tolerations) {
            None => Ok(()),
            Some(_) => Err(Rejection::unresolvable(NAME, "node(s) had untolerated taint(s)")),
        })
    }

    fn score<'a>(&'a self, cycle: &'a Cycle<'a>, feasible: &'a [Arc<NodeInfo>]) -> Score<'a> {
        let is_soft = |effect: &str| effect == "PreferNoSchedule";
        if !feasible.iter().any(|node| node.taints().iter().any(|taint| is_soft(&taint.effect))) {
            return Score::Skip;
        }
        let given = |one: &&Toleration| one.effect.as_deref().is_none_or(|effect| effect.is_empty() || is_soft(effect));
        let tolerations: Vec<Toleration> = cycle.pod.tolerations().iter().filter(given).cloned().collect();
        Score::each(Normalize::ByMaxReversed, move |node| {
            let untolerated = |taint: &&k8s_openapi::api::core::v1::Taint| {
                is_soft(&taint.effect) && !any_tolerates(&tolerations, taint)
            };
            node.taints().iter().filter(untolerated).count() as i64
        })
    }

    fn helped_by(&self, event: &ClusterEvent, pod: &PodInfo) -> bool {
        event.new_node().is_some_and(|node| {
            let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
            first_untolerated(taints, pod.tolerations()).is_none()
        })
    }
}
