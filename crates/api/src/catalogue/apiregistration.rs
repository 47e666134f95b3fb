//! The group `apiregistration.k8s.io`.

use crate::columns;
use crate::resource::{GroupVersion, Resource};
use crate::strategy;

const V1: GroupVersion = GroupVersion::new("apiregistration.k8s.io", "v1");

pub(super) fn rows() -> Vec<Resource> {
    vec![
        V1.cluster("APIService", "apiservices")
            .columns(columns::api_services())
            .strategy(strategy::PathNamed)
            .category("api-extensions")
            .status(),
    ]
}
