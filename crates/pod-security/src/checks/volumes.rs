//! Volumes (upstream: policy/check_hostPathVolumes.go, policy/check_restrictedVolumes.go).

use std::collections::BTreeSet;

use apimachinery::json::Read;
use serde_json::Value;

use super::{Pod, Violation, plural, quoted, violation};

pub(super) fn host_path(pod: Pod<'_>) -> Option<Violation> {
    let volumes = pod.spec.list("volumes").iter().filter(|volume| volume.has("hostPath"));
    let bad: Vec<&str> = volumes.map(|volume| volume.text("name")).collect();
    let detail = || format!("{} {}", plural("volume", "volumes", bad.len()), quoted(&bad));
    (!bad.is_empty()).then(|| violation("hostPath volumes", detail()))
}

const ALLOWED: [&str; 9] = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
];
const KNOWN: [&str; 21] = [
    "hostPath",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "gitRepo",
    "nfs",
    "iscsi",
    "glusterfs",
    "rbd",
    "flexVolume",
    "cinder",
    "cephfs",
    "flocker",
    "fc",
    "azureFile",
    "vsphereVolume",
    "quobyte",
    "azureDisk",
    "photonPersistentDisk",
    "portworxVolume",
    "scaleIO",
    "storageos",
];

pub(super) fn restricted(pod: Pod<'_>) -> Option<Violation> {
    let is_allowed = |volume: &&Value| ALLOWED.iter().any(|source| volume.has(source));
    let others: Vec<&Value> = pod.spec.list("volumes").iter().filter(|volume| !is_allowed(volume)).collect();
    let kind = |volume: &&Value| KNOWN.into_iter().find(|source| volume.has(source)).unwrap_or("unknown");
    let kinds: BTreeSet<&str> = others.iter().map(kind).collect();
    let detail = || {
        format!(
            "{} {} {} {} {}",
            plural("volume", "volumes", others.len()),
            quoted(others.iter().map(|volume| volume.text("name"))),
            plural("uses", "use", others.len()),
            plural("restricted volume type", "restricted volume types", kinds.len()),
            quoted(&kinds)
        )
    };
    (!others.is_empty()).then(|| violation("restricted volume types", detail()))
}
