//! The group `storage.k8s.io`.

use crate::resource::{GroupVersion, Resource};

const V1: GroupVersion = GroupVersion::new("storage.k8s.io", "v1");

pub(super) fn rows() -> Vec<Resource> {
    vec![
        V1.cluster("CSIDriver", "csidrivers"),
        V1.cluster("CSINode", "csinodes"),
        V1.namespaced("CSIStorageCapacity", "csistoragecapacities"),
        V1.cluster("StorageClass", "storageclasses").short(&["sc"]),
        V1.cluster("VolumeAttachment", "volumeattachments").status(),
        V1.cluster("VolumeAttributesClass", "volumeattributesclasses").short(&["vac"]),
    ]
}
