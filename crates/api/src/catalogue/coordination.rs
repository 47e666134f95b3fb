//! The group `coordination.k8s.io`.

use crate::columns;
use crate::resource::{GroupVersion, Resource};
use crate::strategy;

const V1: GroupVersion = GroupVersion::new("coordination.k8s.io", "v1");

pub(super) fn rows() -> Vec<Resource> {
    vec![V1.namespaced("Lease", "leases").columns(columns::leases()).strategy(strategy::Lease)]
}
