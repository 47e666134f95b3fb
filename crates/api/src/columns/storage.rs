//! Volumes, claims and storage classes.

use apimachinery::Object;

use super::text::{access_modes, join, or, scalar};
use super::{age, col, integer, name, string, wide};
use crate::json::Read;
use crate::resource::Column;

/// Columns of persistent volumes.
pub(crate) fn persistent_volumes() -> Vec<Column> {
    vec![
        name(),
        string("Capacity", |volume| scalar(volume.object("spec").object("capacity").value("storage"), "0")),
        string("Access Modes", |volume| access_modes(volume.object("spec"), "accessModes")),
        string("Reclaim Policy", |volume| volume.object("spec").text("persistentVolumeReclaimPolicy").to_owned()),
        string("Status", |volume| phase(volume, volume.object("status").text("phase"))),
        string("Claim", |volume| {
            let claim = volume.object("spec").object("claimRef");
            if claim.is_empty() { String::new() } else { format!("{}/{}", claim.text("namespace"), claim.text("name")) }
        }),
        storage_class(),
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
            if bound(claim) { scalar(capacity.value("storage"), "0") } else { String::new() }
        }),
        string("Access Modes", move |claim| {
            if bound(claim) { access_modes(claim.object("status"), "accessModes") } else { String::new() }
        }),
        storage_class(),
        attributes_class(),
        age(),
        volume_mode(),
    ]
}

fn phase(object: &Object, phase: &str) -> String {
    if object.is_deleting() { "Terminating".into() } else { phase.to_owned() }
}

/// The class of a volume or a claim; what the annotation of old says goes first.
fn storage_class() -> Column {
    string("StorageClass", |object| {
        let annotation =
            object.object("metadata").object("annotations").text("volume.beta.kubernetes.io/storage-class");
        or(annotation, object.object("spec").text("storageClassName"))
    })
}

fn attributes_class() -> Column {
    string("VolumeAttributesClass", |object| or(object.object("spec").text("volumeAttributesClassName"), "<unset>"))
}

fn volume_mode() -> Column {
    wide(string("VolumeMode", |object| or(object.object("spec").text("volumeMode"), "<unset>")))
}

/// Columns of storage classes.
pub(crate) fn storage_classes() -> Vec<Column> {
    let default = ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];
    vec![
        Column {
            format: "name",
            ..string("Name", move |class| {
                let annotations = class.object("metadata").object("annotations");
                let chosen = default.iter().any(|annotation| annotations.text(annotation) == "true");
                if chosen { format!("{} (default)", class.name()) } else { class.name().to_owned() }
            })
        },
        string("Provisioner", |class| class.text("provisioner").to_owned()),
        string("ReclaimPolicy", |class| or(class.text("reclaimPolicy"), "Delete")),
        string("VolumeBindingMode", |class| or(class.text("volumeBindingMode"), "Immediate")),
        string("AllowVolumeExpansion", |class| class.flag("allowVolumeExpansion")),
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
        Column { format: "name", ..string("Attacher", |object| object.object("spec").text("attacher").to_owned()) },
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
        string("Modes", |driver| join(driver.object("spec").texts("volumeLifecycleModes"))),
        age(),
    ]
}

/// Columns of storage capacities.
pub(crate) fn csi_storage_capacities() -> Vec<Column> {
    vec![
        name(),
        string("StorageClassName", |object| object.text("storageClassName").to_owned()),
        string("Capacity", |object| scalar(object.value("capacity"), "<unset>")),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::tests::row;
    use super::*;
    use serde_json::json;

    #[test]
    fn rows_of_volumes_and_claims() {
        let volume = json!({
            "metadata": {"name": "disk"}, "status": {"phase": "Bound"},
            "spec": {
                "capacity": {"storage": "4Gi"}, "accessModes": ["ReadOnlyMany", "ReadWriteOnce"], "volumeMode": "Block",
                "persistentVolumeReclaimPolicy": "Retain", "claimRef": {"namespace": "shop", "name": "data"},
                "storageClassName": "fast", "volumeAttributesClassName": "gold",
            },
        });
        assert_eq!(
            row(&persistent_volumes(), volume),
            "disk  4Gi  RWO,ROX  Retain  Bound  shop/data  fast  gold    <unknown> | Block"
        );
        let pending = json!({
            "metadata": {"name": "data", "annotations": {"volume.beta.kubernetes.io/storage-class": "old"}},
            "spec": {"storageClassName": "new"}, "status": {"phase": "Pending", "accessModes": ["ReadWriteMany"]},
        });
        assert_eq!(row(&persistent_volume_claims(), pending), "data  Pending        old  <unset>  <unknown> | <unset>");
        let going = json!({
            "metadata": {"name": "data", "deletionTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"volumeName": "disk", "volumeMode": "Filesystem"},
            "status": {"phase": "Bound", "accessModes": ["ReadWriteMany", "ReadWriteMany"]},
        });
        assert_eq!(
            row(&persistent_volume_claims(), going),
            "data  Terminating  disk  0  RWX    <unset>  <unknown> | Filesystem"
        );
    }

    #[test]
    fn rows_of_classes_and_drivers() {
        let class = json!({
            "metadata": {"name": "fast", "annotations": {"storageclass.beta.kubernetes.io/is-default-class": "true"}},
            "provisioner": "csi.example", "volumeBindingMode": "WaitForFirstConsumer",
        });
        let expected = "fast (default)  csi.example  Delete  WaitForFirstConsumer  false  <unknown> | ";
        assert_eq!(row(&storage_classes(), class), expected);
        let driver = json!({
            "metadata": {"name": "csi.example"},
            "spec": {"attachRequired": true, "tokenRequests": [{"audience": ""}, {"audience": "vault"}]},
        });
        let expected = "csi.example  true  false  false  ,vault  false  <none>  <unknown> | ";
        assert_eq!(row(&csi_drivers(), driver), expected);
        let capacity = json!({"metadata": {"name": "c"}, "storageClassName": "fast", "capacity": "1Gi"});
        assert_eq!(row(&csi_storage_capacities(), capacity), "c  fast  1Gi | ");
    }
}
