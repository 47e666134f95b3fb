//! NodeName: a pod that names its node goes nowhere else (upstream: plugins/nodename).

use crate::framework::{ClusterEvent, Cycle, Filter, Plugin, Rejection};
use crate::pod_info::PodInfo;

const NAME: &str = "NodeName";

/// Holds a pod to the node of `spec.nodeName`.
pub struct NodeName;

impl Plugin for NodeName {
    fn name(&self) -> &'static str {
        NAME
    }

    fn filter<'a>(&'a self, cycle: &'a Cycle<'a>) -> Filter<'a> {
        let Some(wanted) = client::corev1::pod::node_name(&cycle.pod.pod) else { return Filter::Skip };
        Filter::each(move |node| {
            let unfit = || Rejection::unresolvable(NAME, "node(s) didn't match the requested node name");
            if node.name() == wanted { Ok(()) } else { Err(unfit()) }
        })
    }

    fn helped_by(&self, event: &ClusterEvent, pod: &PodInfo) -> bool {
        let wanted = client::corev1::pod::node_name(&pod.pod);
        matches!(event, ClusterEvent::NodeAdded(node) if node.metadata.name.as_deref() == wanted)
    }
}
