//! The group `resource.k8s.io`.

use crate::columns;
use crate::resource::{GroupVersion, Resource};
use crate::strategy;

const V1: GroupVersion = GroupVersion::new("resource.k8s.io", "v1");

pub(super) fn rows() -> Vec<Resource> {
    vec![
        V1.cluster("DeviceClass", "deviceclasses").columns(columns::named()).strategy(strategy::DeviceClass),
        V1.cluster("DeviceTaintRule", "devicetaintrules")
            .columns(columns::device_taint_rules())
            .strategy(strategy::DeviceTaintRule)
            .status(),
        V1.namespaced("ResourceClaim", "resourceclaims")
            .columns(columns::resource_claims())
            .strategy(strategy::ResourceClaim)
            .status(),
        V1.namespaced("ResourceClaimTemplate", "resourceclaimtemplates")
            .columns(columns::named())
            .strategy(strategy::ResourceClaimTemplate),
        V1.cluster("ResourceSlice", "resourceslices")
            .columns(columns::resource_slices())
            .strategy(strategy::ResourceSlice)
            .selectable(&["spec.nodeName", "spec.driver"]),
    ]
}
