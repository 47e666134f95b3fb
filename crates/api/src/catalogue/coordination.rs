//! The group `coordination.k8s.io`.

use crate::resource::{GroupVersion, Resource};
use crate::strategy;

const V1: GroupVersion = GroupVersion::new("coordination.k8s.io", "v1");

pub(super) fn rows() -> Vec<Resource> {
    vec![V1.namespaced("Lease", "leases").strategy(strategy::Lease)]
}
