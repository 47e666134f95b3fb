//! NodePorts: two pods cannot take the same port of a node (upstream: plugins/nodeports).

use crate::framework::{ClusterEvent, Cycle, Filter, Plugin, Rejection};
use crate::node_info::NodeInfo;
use crate::pod_info::PodInfo;

const NAME: &str = "NodePorts";

/// Filters by `hostPort`.
pub struct NodePorts;

fn conflict(pod: &PodInfo, other: &PodInfo) -> bool {
    pod.host_ports.iter().any(|port| other.host_ports.iter().any(|taken| port.conflicts_with(taken)))
}

impl Plugin for NodePorts {
    fn name(&self) -> &'static str {
        NAME
    }

    fn filter<'a>(&'a self, cycle: &'a Cycle<'a>) -> Filter<'a> {
        if cycle.pod.host_ports.is_empty() {
            return Filter::Skip;
        }
        Filter::each(move |node: &NodeInfo| {
            let unfit = || Rejection::resolvable(NAME, "node(s) didn't have free ports for the requested pod ports");
            if node.pods.iter().any(|other| conflict(cycle.pod, other)) { Err(unfit()) } else { Ok(()) }
        })
    }

    fn helped_by(&self, event: &ClusterEvent, pod: &PodInfo) -> bool {
        match event {
            ClusterEvent::NodeAdded(_) => true,
            ClusterEvent::BoundPodGone(gone) => conflict(pod, gone),
            _ => false,
        }
    }
}
