//! The group `flowcontrol.apiserver.k8s.io`.

use crate::columns;
use crate::resource::{GroupVersion, Resource};
use crate::strategy;

const V1: GroupVersion = GroupVersion::new("flowcontrol.apiserver.k8s.io", "v1");

pub(super) fn rows() -> Vec<Resource> {
    vec![
        V1.cluster("FlowSchema", "flowschemas")
            .columns(columns::flow_schemas())
            .strategy(strategy::FlowSchema)
            .status(),
        V1.cluster("PriorityLevelConfiguration", "prioritylevelconfigurations")
            .columns(columns::priority_levels())
            .strategy(strategy::PriorityLevel)
            .status(),
    ]
}
