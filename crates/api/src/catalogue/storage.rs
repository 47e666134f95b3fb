//! The group `storage.k8s.io`.

use crate::resource::{GroupVersion, Resource};
use crate::strategy;

const V1: GroupVersion = GroupVersion::new("storage.k8s.io", "v1");

pub(super) fn rows() -> Vec<Resource> {
    vec![
        V1.cluster("CSIDriver", "csidrivers").strategy(strategy::CsiDriver),
        V1.cluster("CSINode", "csinodes").strategy(strategy::Data),
        V1.namespaced("CSIStorageCapacity", "csistoragecapacities").strategy(strategy::Data),
        V1.cluster("StorageClass", "storageclasses").strategy(strategy::StorageClass).short(&["sc"]),
        V1.cluster("VolumeAttachment", "volumeattachments").strategy(strategy::Unversioned).status(),
        V1.cluster("VolumeAttributesClass", "volumeattributesclasses").strategy(strategy::Data).short(&["vac"]),
    ]
}
