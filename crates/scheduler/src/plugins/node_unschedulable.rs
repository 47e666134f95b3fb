//! NodeUnschedulable: cordoned nodes take no new pods (upstream: plugins/nodeunschedulable).

use client::corev1::tolerations::any_tolerates;
use k8s_openapi::api::core::v1::{Node, Taint};

use crate::framework::{ClusterEvent, Cycle, Filter, Plugin, Rejection};
use crate::pod_info::PodInfo;

const NAME: &str = "NodeUnschedulable";

/// Keeps pods off nodes with `spec.unschedulable`, but those that tolerate the taint of that name.
pub struct NodeUnschedulable;

fn is_cordoned(node: &Node) -> bool {
    node.spec.as_ref().and_then(|spec| spec.unschedulable).unwrap_or(false)
}

fn tolerates_cordon(pod: &PodInfo) -> bool {
    let taint =
        Taint { key: "node.kubernetes.io/unschedulable".into(), effect: "NoSchedule".into(), ..Taint::default() };
    any_tolerates(pod.tolerations(), &taint)
}

impl Plugin for NodeUnschedulable {
    fn name(&self) -> &'static str {
        NAME
    }

    fn filter<'a>(&'a self, cycle: &'a Cycle<'a>) -> Filter<'a> {
        if tolerates_cordon(cycle.pod) {
            return Filter::Skip;
        }
        Filter::each(|node| {
            let unfit = || Rejection::unresolvable(NAME, "node(s) were unschedulable");
            if node.node.as_ref().is_some_and(|node| is_cordoned(node)) { Err(unfit()) } else { Ok(()) }
        })
    }

    fn helped_by(&self, event: &ClusterEvent, pod: &PodInfo) -> bool {
        event.new_node().is_some_and(|node| !is_cordoned(node) || tolerates_cordon(pod))
    }
}
