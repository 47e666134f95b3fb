//! The group `scheduling.k8s.io`.

use crate::columns;
use crate::resource::{GroupVersion, Resource};
use crate::strategy;

const V1: GroupVersion = GroupVersion::new("scheduling.k8s.io", "v1");

pub(super) fn rows() -> Vec<Resource> {
    vec![
        V1.cluster("PriorityClass", "priorityclasses")
            .columns(columns::priority_classes())
            .strategy(strategy::PriorityClass)
            .short(&["pc"]),
    ]
}
