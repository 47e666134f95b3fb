//! What several components read out of core/v1 objects in the same way: readiness, tolerations, node affinity.
//!
//! upstream: component-helpers/scheduling/corev1, pkg/api/v1/pod.

pub mod node_affinity;
pub mod pod;
pub mod tolerations;
