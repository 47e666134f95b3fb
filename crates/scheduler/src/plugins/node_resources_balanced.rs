//! NodeResourcesBalancedAllocation: a node is better when CPU and memory fill evenly
//! (upstream: plugins/noderesources/balanced_allocation.go).

use std::sync::Arc;

use crate::framework::{Cycle, MAX_NODE_SCORE, Normalize, Plugin, Score};
use crate::node_info::NodeInfo;
use crate::resources::Resources;

const NAME: &str = "NodeResourcesBalancedAllocation";

/// Ranks by how evenly the pod would leave the node filled.
pub struct NodeResourcesBalancedAllocation;

/// Half the distance of the two filled fractions: the standard deviation of two values.
fn imbalance(total: &Resources, cpu: i64, memory: i64) -> f64 {
    let fraction = |used: i64, total: i64| if total == 0 { 0.0 } else { (used as f64 / total as f64).min(1.0) };
    (fraction(cpu, total.milli_cpu) - fraction(memory, total.memory)).abs() / 2.0
}

impl Plugin for NodeResourcesBalancedAllocation {
    fn name(&self) -> &'static str {
        NAME
    }

    fn score<'a>(&'a self, cycle: &'a Cycle<'a>, _feasible: &'a [Arc<NodeInfo>]) -> Score<'a> {
        let pod = &cycle.pod.requests;
        // A pod that asks for nothing moves no balance (upstream skips best-effort pods).
        if pod.milli_cpu == 0 && pod.memory == 0 {
            return Score::Skip;
        }
        Score::each(Normalize::None, move |node| {
            let used = &node.requested;
            let after = imbalance(&node.allocatable, used.milli_cpu + pod.milli_cpu, used.memory + pod.memory);
            ((1.0 - after) * MAX_NODE_SCORE as f64) as i64
        })
    }
}
