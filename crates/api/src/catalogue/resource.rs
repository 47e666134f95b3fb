//! The group `resource.k8s.io`.

use crate::resource::{GroupVersion, Resource};

const V1: GroupVersion = GroupVersion::new("resource.k8s.io", "v1");

pub(super) fn rows() -> Vec<Resource> {
    vec![
        V1.cluster("DeviceClass", "deviceclasses"),
        V1.cluster("DeviceTaintRule", "devicetaintrules").status(),
        V1.namespaced("ResourceClaim", "resourceclaims").status(),
        V1.namespaced("ResourceClaimTemplate", "resourceclaimtemplates"),
        V1.cluster("ResourceSlice", "resourceslices").selectable(&["spec.nodeName", "spec.driver"]),
    ]
}
