//! The group `resource.k8s.io`.

use crate::resource::{GroupVersion, Resource};
use crate::strategy;

const V1: GroupVersion = GroupVersion::new("resource.k8s.io", "v1");

pub(super) fn rows() -> Vec<Resource> {
    vec![
        V1.cluster("DeviceClass", "deviceclasses").strategy(strategy::Structure),
        V1.cluster("DeviceTaintRule", "devicetaintrules").strategy(strategy::Structure).status(),
        V1.namespaced("ResourceClaim", "resourceclaims").strategy(strategy::Unversioned).status(),
        V1.namespaced("ResourceClaimTemplate", "resourceclaimtemplates").strategy(strategy::Unversioned),
        V1.cluster("ResourceSlice", "resourceslices")
            .strategy(strategy::Structure)
            .selectable(&["spec.nodeName", "spec.driver"]),
    ]
}
