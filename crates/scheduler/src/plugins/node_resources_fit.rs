//! NodeResourcesFit: what a pod asks for must be free; emptier nodes are better (LeastAllocated)
//! (upstream: plugins/noderesources/{fit,least_allocated}.go).

use std::sync::Arc;

use crate::framework::{ClusterEvent, Cycle, Filter, MAX_NODE_SCORE, Normalize, Plugin, Rejection, Score};
use crate::node_info::NodeInfo;
use crate::pod_info::PodInfo;
use crate::resources::Resources;

const NAME: &str = "NodeResourcesFit";

/// Filters by requests, ranks by what stays free of CPU and memory.
pub struct NodeResourcesFit;

/// What of a pod's requests is missing on a node, as upstream words it.
fn missing(wanted: &Resources, node: &NodeInfo) -> (Vec<String>, bool) {
    let (total, used) = (&node.allocatable, &node.requested);
    let mut reasons = Vec::new();
    let mut resolvable = true;
    if node.pods.len() as i64 + 1 > total.pods {
        reasons.push("Too many pods".to_owned());
    }
    let mut check = |name: &str, wanted: i64, total: i64, used: i64| {
        if wanted > 0 && wanted > total - used {
            reasons.push(format!("Insufficient {name}"));
            resolvable &= wanted <= total;
        }
    };
    check("cpu", wanted.milli_cpu, total.milli_cpu, used.milli_cpu);
    check("memory", wanted.memory, total.memory, used.memory);
    check("ephemeral-storage", wanted.ephemeral_storage, total.ephemeral_storage, used.ephemeral_storage);
    for (name, amount) in &wanted.others {
        let of = |amounts: &Resources| amounts.others.get(name).copied().unwrap_or(0);
        check(name, *amount, of(total), of(used));
    }
    (reasons, resolvable)
}

impl Plugin for NodeResourcesFit {
    fn name(&self) -> &'static str {
        NAME
    }

    fn filter<'a>(&'a self, cycle: &'a Cycle<'a>) -> Filter<'a> {
        Filter::each(move |node| match missing(&cycle.pod.requests, node) {
            (reasons, _) if reasons.is_empty() => Ok(()),
            (reasons, resolvable) => Err(Rejection { plugin: NAME, reasons, resolvable }),
        })
    }

    fn score<'a>(&'a self, cycle: &'a Cycle<'a>, _feasible: &'a [Arc<NodeInfo>]) -> Score<'a> {
        let pod = &cycle.pod.scored;
        Score::each(Normalize::None, move |node| {
            let free = |total: i64, used: i64| {
                if total == 0 { None } else { Some((total - used).max(0) * MAX_NODE_SCORE / total) }
            };
            let cpu = free(node.allocatable.milli_cpu, node.scored.milli_cpu + pod.milli_cpu);
            let memory = free(node.allocatable.memory, node.scored.memory + pod.memory);
            let known: Vec<i64> = [cpu, memory].into_iter().flatten().collect();
            if known.is_empty() { 0 } else { known.iter().sum::<i64>() / known.len() as i64 }
        })
    }

    fn helped_by(&self, event: &ClusterEvent, pod: &PodInfo) -> bool {
        match event {
            ClusterEvent::BoundPodGone(_) => true,
            ClusterEvent::BoundPodUpdated { old, new } => old.requests != new.requests,
            ClusterEvent::NodeAdded(node) | ClusterEvent::NodeUpdated { new: node, .. } => {
                let mut empty = NodeInfo::default();
                empty.set_node(node.clone());
                missing(&pod.requests, &empty).0.is_empty()
            }
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
    fn what_is_missing() {
        let cluster = snapshot(&[node("a", "2")], vec![pod(json!({"name": "web", "node": "a", "cpu": "1500m"}))]);
        let check = |wanted: serde_json::Value| missing(&pod(wanted).requests, &cluster.nodes[0]);
        assert_eq!(check(json!({"cpu": "500m"})), (vec![], true));
        assert_eq!(check(json!({"cpu": "1"})), (vec!["Insufficient cpu".to_owned()], true));
        assert_eq!(
            check(json!({"cpu": "3", "memory": "9Gi"})),
            (vec!["Insufficient cpu".to_owned(), "Insufficient memory".to_owned()], false),
            "more than the node has: no preemption helps"
        );
    }
}
