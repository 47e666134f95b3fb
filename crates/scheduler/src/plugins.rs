//! Upstream's default plugins, with upstream's default weights
//! (upstream: pkg/scheduler/apis/config/v1/default_plugins.go).

mod image_locality;
mod inter_pod_affinity;
mod node_affinity;
mod node_name;
mod node_ports;
mod node_resources_balanced;
mod node_resources_fit;
mod node_unschedulable;
mod pod_topology_spread;
mod taint_toleration;
mod volume_binding;

pub use volume_binding::Volumes;

use crate::framework::{Framework, Plugin, Registered};

/// The name under which gated pods wait.
pub const SCHEDULING_GATES: &str = "SchedulingGates";

/// Upstream's default profile.
pub fn default_framework(volumes: Box<dyn Volumes>) -> Framework {
    fn plugin(plugin: impl Plugin + 'static, weight: i64) -> Registered {
        Registered { plugin: Box::new(plugin), weight }
    }
    Framework::new(vec![
        plugin(node_unschedulable::NodeUnschedulable, 0),
        plugin(node_name::NodeName, 0),
        plugin(taint_toleration::TaintToleration, 3),
        plugin(node_affinity::NodeAffinity, 2),
        plugin(node_ports::NodePorts, 0),
        plugin(node_resources_fit::NodeResourcesFit, 1),
        plugin(volume_binding::VolumeBinding::new(volumes), 0),
        plugin(pod_topology_spread::PodTopologySpread, 2),
        plugin(inter_pod_affinity::InterPodAffinity, 2),
        plugin(node_resources_balanced::NodeResourcesBalancedAllocation, 1),
        plugin(image_locality::ImageLocality, 1),
    ])
}
