//! Volumes, claims and storage classes.

use apimachinery::Object;

use super::text::{access_modes, or, scalar};
use super::{age, col, integer, name, string, wide};
use crate::json::Read;
use crate::resource::Column;

/// Columns of persistent volumes.
pub(crate) fn persistent_volumes() -> Vec<Column> {
    vec![
        name(),
        string("Capacity", |volume| scalar(volume.object("spec").object("capacity").value("storage"), "")),
        string("Access Modes", |volume| access_modes(volume.object("spec"), "accessModes")),
        string("Reclaim Policy", |volume| volume.object("spec").text("persistentVolumeReclaimPolicy").to_owned()),
        string("Status", |volume| phase(volume, volume.object("status").text("phase"))),
        string("Claim", |volume| {
            let claim = volume.object("spec").object("claimRef");
            if claim.is_empty() { String::new() } else { format!("{}/{}", claim.text("namespace"), claim.text("name")) }
        }),
        string("StorageClass", |volume| volume.object("spec").text("storageClassName").to_owned()),
        attributes_class(),
        string("Reason", |volume| volume.object("status").text("reason").to_owned()),
        age(),
        volume_mode(),
    ]
}

/// Columns of claims.
pub(crate) fn persistent_volume_claims() -> Vec<Column> {
    let bound = |claim: &Object| !claim.object("spec").text("volumeName").is_empty();
    vec![
        name(),
        string("Status", |claim| phase(claim, claim.object("status").text("phase"))),
        string("Volume", |claim| claim.object("spec").text("volumeName").to_owned()),
        string("Capacity", move |claim| {
            let capacity = claim.object("status").object("capacity");
            if bound(claim) { scalar(capacity.value("storage"), "") } else { String::new() }
        }),
        string("Access Modes", move |claim| {
            if bound(claim) { access_modes(claim.object("status"), "accessModes") } else { String::new() }
        }),
        string("StorageClass", |claim| claim.object("spec").text("storageClassName").to_owned()),
        attributes_class(),
        age(),
        volume_mode(),
    ]
}

fn phase(object: &Object, phase: &str) -> String {
    if object.is_deleting() { "Terminating".into() } else { phase.to_owned() }
}

fn attributes_class() -> Column {
    string("VolumeAttributesClass", |object| or(object.object("spec").text("volumeAttributesClassName"), "<unset>"))
}

fn volume_mode() -> Column {
    wide(string("VolumeMode", |object| or(object.object("spec").text("volumeMode"), "<unset>")))
}

/// Columns of storage classes.
pub(crate) fn storage_classes() -> Vec<Column> {
    let default = "storageclass.kubernetes.io/is-default-class";
    vec![
        Column {
            format: "name",
            ..string("Name", move |class| {
                let chosen = class.object("metadata").object("annotations").text(default) == "true";
                if chosen { format!("{} (default)", class.name()) } else { class.name().to_owned() }
            })
        },
        string("Provisioner", |class| class.text("provisioner").to_owned()),
        string("ReclaimPolicy", |class| or(class.text("reclaimPolicy"), "Delete")),
        string("VolumeBindingMode", |class| or(class.text("volumeBindingMode"), "Immediate")),
        string("AllowVolumeExpansion", |class| class.flag("allowVolumeExpansion").to_string()),
        age(),
    ]
}

/// Columns of volume attributes classes.
pub(crate) fn volume_attributes_classes() -> Vec<Column> {
    vec![name(), string("DriverName", |class| class.text("driverName").to_owned()), age()]
}

/// Columns of volume attachments.
pub(crate) fn volume_attachments() -> Vec<Column> {
    vec![
        name(),
        string("Attacher", |object| object.object("spec").text("attacher").to_owned()),
        string("PV", |object| object.object("spec").object("source").text("persistentVolumeName").to_owned()),
        string("Node", |object| object.object("spec").text("nodeName").to_owned()),
        col("Attached", "boolean", |object, _| object.object("status").flag("attached").into()),
        age(),
    ]
}

/// Columns of CSI nodes.
pub(crate) fn csi_nodes() -> Vec<Column> {
    vec![name(), integer("Drivers", |node| node.object("spec").list("drivers").len()), age()]
}

/// Columns of CSI drivers.
pub(crate) fn csi_drivers() -> Vec<Column> {
    let flag = |title: &str, field: &'static str| {
        col(title, "boolean", move |driver, _| driver.object("spec").flag(field).into())
    };
    vec![
        name(),
        flag("AttachRequired", "attachRequired"),
        flag("PodInfoOnMount", "podInfoOnMount"),
        flag("StorageCapacity", "storageCapacity"),
        string("TokenRequests", |driver| {
            let requests = driver.object("spec").list("tokenRequests").iter();
            let audiences: Vec<&str> = requests.map(|request| request.text("audience")).collect();
            or(&audiences.join(","), "<unset>")
        }),
        flag("RequiresRepublish", "requiresRepublish"),
        string("Modes", |driver| driver.object("spec").texts("volumeLifecycleModes").collect::<Vec<_>>().join(",")),
        age(),
    ]
}

/// Columns of storage capacities.
pub(crate) fn csi_storage_capacities() -> Vec<Column> {
    vec![
        name(),
        string("StorageClassName", |object| object.text("storageClassName").to_owned()),
        string("Capacity", |object| scalar(object.value("capacity"), "<unset>")),
        age(),
    ]
}
