//! The group `apiextensions.k8s.io`.

use crate::columns;
use crate::resource::{GroupVersion, Resource};
use crate::strategy;

const V1: GroupVersion = GroupVersion::new("apiextensions.k8s.io", "v1");

pub(super) fn rows() -> Vec<Resource> {
    vec![
        V1.cluster("CustomResourceDefinition", "customresourcedefinitions")
            .columns(columns::custom_resource_definitions())
            .strategy(strategy::Structure)
            .short(&["crd", "crds"])
            .category("api-extensions")
            .status(),
    ]
}
