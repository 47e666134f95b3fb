//! The group `discovery.k8s.io`.

use crate::columns;
use crate::resource::{GroupVersion, Resource};
use crate::strategy;

const V1: GroupVersion = GroupVersion::new("discovery.k8s.io", "v1");

pub(super) fn rows() -> Vec<Resource> {
    vec![
        V1.namespaced("EndpointSlice", "endpointslices")
            .columns(columns::endpoint_slices())
            .strategy(strategy::EndpointSlice),
    ]
}
