//! The group `storage.k8s.io`.

use crate::columns;
use crate::resource::{GroupVersion, Resource};
use crate::strategy;

const V1: GroupVersion = GroupVersion::new("storage.k8s.io", "v1");

pub(super) fn rows() -> Vec<Resource> {
    vec![
        V1.cluster("CSIDriver", "csidrivers").columns(columns::csi_drivers()).strategy(strategy::CsiDriver),
        V1.cluster("CSINode", "csinodes").columns(columns::csi_nodes()).strategy(strategy::CsiNode),
        V1.namespaced("CSIStorageCapacity", "csistoragecapacities")
            .columns(columns::csi_storage_capacities())
            .strategy(strategy::CsiStorageCapacity),
        V1.cluster("StorageClass", "storageclasses")
            .columns(columns::storage_classes())
            .strategy(strategy::StorageClass)
            .short(&["sc"]),
        V1.cluster("VolumeAttachment", "volumeattachments")
            .columns(columns::volume_attachments())
            .strategy(strategy::VolumeAttachment)
            .status(),
        V1.cluster("VolumeAttributesClass", "volumeattributesclasses")
            .columns(columns::volume_attributes_classes())
            .strategy(strategy::VolumeAttributesClass)
            .short(&["vac"]),
    ]
}
