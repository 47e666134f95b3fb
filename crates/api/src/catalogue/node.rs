//! The group `node.k8s.io`.

use crate::columns;
use crate::resource::{GroupVersion, Resource};
use crate::strategy;

const V1: GroupVersion = GroupVersion::new("node.k8s.io", "v1");

pub(super) fn rows() -> Vec<Resource> {
    vec![
        V1.cluster("RuntimeClass", "runtimeclasses")
            .columns(columns::runtime_classes())
            .strategy(strategy::RuntimeClass),
    ]
}
