//! Volumes and their sources.

use std::collections::HashSet;

use apimachinery::field::{Error, Path};
use serde_json::{Map, Value};

use super::{Volumes, environment, not_below_zero};
use crate::check::{self, Errors, names};
use crate::json::Read;

/// The pod's volumes; answers the names to which mounts may refer.
pub(super) fn volumes<'a>(errors: &mut Errors, volumes: &'a [Value], path: &Path) -> Volumes<'a> {
    let mut known = HashSet::new();
    for (index, volume) in volumes.iter().enumerate() {
        let path = path.index(index);
        let before = errors.len();
        one_source(errors, volume.fields(), &["name"], &path);
        let name = volume.text("name");
        check::required_name(errors, names::dns1123_label, volume.fields(), "name", &path);
        if known.contains(name) {
            errors.push(Error::duplicate(&path.child("name"), name));
        }
        if errors.len() == before {
            known.insert(name);
        }
    }
    known
}

/// Exactly one source among the fields that are not in `others`.
fn one_source(errors: &mut Errors, volume: &Map<String, Value>, others: &[&str], path: &Path) {
    let mut sources = volume.iter().filter(|(name, source)| !others.contains(&name.as_str()) && !source.is_null());
    let Some((name, first)) = sources.next() else {
        errors.push(Error::required(path, "must specify a volume type"));
        return;
    };
    source(errors, name, first.fields(), &path.child(name));
    for (name, _) in sources {
        errors.push(Error::forbidden(&path.child(name), "may not specify more than 1 volume type"));
    }
}

/// A volume's source, of a pod or a persistent volume.
pub(crate) fn source(errors: &mut Errors, name: &str, source: &Map<String, Value>, path: &Path) {
    match name {
        "emptyDir" => {
            if let Some(size) = source.value("sizeLimit") {
                not_below_zero(errors, size, &path.child("sizeLimit"));
            }
        }
        "hostPath" => {
            if check::required(errors, source, "path", path) {
                no_backsteps(errors, source.text("path"), &path.child("path"));
            }
            let types =
                ["BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];
            check::one_of(errors, source, "type", &types, path);
        }
        "secret" => {
            check::required(errors, source, "secretName", path);
            files(errors, source, path);
        }
        "configMap" => {
            check::required(errors, source, "name", path);
            files(errors, source, path);
        }
        "downwardAPI" => downward(errors, source, path),
        "projected" => projected(errors, source, path),
        "nfs" => {
            check::required(errors, source, "server", path);
            if check::required(errors, source, "path", path) && !source.text("path").starts_with('/') {
                errors.push(Error::invalid(&path.child("path"), source.text("path"), "must be an absolute path"));
            }
        }
        "persistentVolumeClaim" => {
            check::required(errors, source, "claimName", path);
        }
        "csi" => {
            check::required(errors, source, "driver", path);
        }
        "local" => {
            if check::required(errors, source, "path", path) {
                no_backsteps(errors, source.text("path"), &path.child("path"));
            }
        }
        "iscsi" => {
            check::required(errors, source, "targetPortal", path);
            check::required(errors, source, "iqn", path);
        }
        "image" => {
            check::required(errors, source, "reference", path);
            check::one_of(errors, source, "pullPolicy", &["Always", "IfNotPresent", "Never"], path);
        }
        "ephemeral" => {
            let at = path.child("volumeClaimTemplate");
            if source.has("volumeClaimTemplate") {
                let spec = source.object("volumeClaimTemplate").object("spec");
                crate::strategy::volume::claim_spec(errors, spec, &at.child("spec"));
            } else {
                errors.push(Error::required(&at, ""));
            }
        }
        other => needed(errors, other, source, path),
    }
}

/// What the sources that need a value cannot do without.
const NEEDED: &[(&str, &[&str])] = &[
    ("awsElasticBlockStore", &["volumeID"]),
    ("azureDisk", &["diskName", "diskURI"]),
    ("azureFile", &["secretName", "shareName"]),
    ("cephfs", &["monitors"]),
    ("cinder", &["volumeID"]),
    ("flexVolume", &["driver"]),
    ("gcePersistentDisk", &["pdName"]),
    ("gitRepo", &["repository"]),
    ("glusterfs", &["endpoints", "path"]),
    ("photonPersistentDisk", &["pdID"]),
    ("portworxVolume", &["volumeID"]),
    ("quobyte", &["registry", "volume"]),
    ("rbd", &["monitors", "image"]),
    ("scaleIO", &["gateway", "system", "volumeName"]),
    ("vsphereVolume", &["volumePath"]),
];

fn needed(errors: &mut Errors, name: &str, source: &Map<String, Value>, path: &Path) {
    let fields = NEEDED.iter().find(|(kind, _)| *kind == name).map(|(_, fields)| *fields).unwrap_or_default();
    for field in fields {
        if source.text(field).is_empty() && source.list(field).is_empty() {
            errors.push(Error::required(&path.child(field), ""));
        }
    }
}

fn files(errors: &mut Errors, source: &Map<String, Value>, path: &Path) {
    mode(errors, source, "defaultMode", path);
    items(errors, source, path);
}

fn items(errors: &mut Errors, source: &Map<String, Value>, path: &Path) {
    for (index, item) in source.list("items").iter().enumerate() {
        let path = path.child("items").index(index);
        check::required(errors, item.fields(), "key", &path);
        if check::required(errors, item.fields(), "path", &path) {
            file_path(errors, item.text("path"), &path.child("path"));
        }
        mode(errors, item.fields(), "mode", &path);
    }
}

fn downward(errors: &mut Errors, source: &Map<String, Value>, path: &Path) {
    mode(errors, source, "defaultMode", path);
    for (index, item) in source.list("items").iter().enumerate() {
        let path = path.child("items").index(index);
        if check::required(errors, item.fields(), "path", &path) {
            file_path(errors, item.text("path"), &path.child("path"));
        }
        match (item.has("fieldRef"), item.has("resourceFieldRef")) {
            (true, true) => errors.push(Error::invalid(
                &path,
                "resource",
                "fieldRef and resourceFieldRef can not be specified simultaneously",
            )),
            (true, false) => environment::file_field(errors, item.object("fieldRef"), &path.child("fieldRef")),
            (false, true) => {
                let (reference, path) = (item.object("resourceFieldRef"), path.child("resourceFieldRef"));
                check::required(errors, reference, "containerName", &path);
                environment::container_resource(errors, reference, &path);
            }
            (false, false) => errors
                .push(Error::required(&path.child("fieldRef"), "one of fieldRef and resourceFieldRef is required")),
        }
        mode(errors, item.fields(), "mode", &path);
    }
}

fn projected(errors: &mut Errors, source: &Map<String, Value>, path: &Path) {
    mode(errors, source, "defaultMode", path);
    for (index, part) in source.list("sources").iter().enumerate() {
        let path = path.child("sources").index(index);
        let mut kinds = part.fields().iter().filter(|(_, value)| !value.is_null());
        if let Some((kind, value)) = kinds.next() {
            projection(errors, kind, value.fields(), &path.child(kind));
        }
        for (kind, _) in kinds {
            errors.push(Error::forbidden(&path.child(kind), "may not specify more than 1 volume type per source"));
        }
    }
}

fn projection(errors: &mut Errors, kind: &str, part: &Map<String, Value>, path: &Path) {
    match kind {
        "secret" | "configMap" => {
            check::required(errors, part, "name", path);
            items(errors, part, path);
        }
        "downwardAPI" => downward(errors, part, path),
        "serviceAccountToken" => {
            let seconds = part.int("expirationSeconds").unwrap_or_default();
            if seconds < 600 {
                let detail = "may not specify a duration less than 10 minutes";
                errors.push(Error::invalid(&path.child("expirationSeconds"), seconds, detail));
            } else if seconds > 1 << 32 {
                let detail = "may not specify a duration larger than 2^32 seconds";
                errors.push(Error::invalid(&path.child("expirationSeconds"), seconds, detail));
            }
            check::required(errors, part, "path", path);
        }
        "clusterTrustBundle" => {
            check::required(errors, part, "path", path);
            match (part.has("name"), part.has("signerName")) {
                (true, true) => errors.push(Error::invalid_whole(path, "only one of name and signerName may be used")),
                (false, false) => errors.push(Error::required(path, "either name or signerName must be specified")),
                _ => {}
            }
        }
        "podCertificate" => {
            check::required(errors, part, "signerName", path);
            check::required(errors, part, "keyType", path);
        }
        _ => {}
    }
}

fn mode(errors: &mut Errors, of: &Map<String, Value>, name: &str, path: &Path) {
    if let Some(mode) = of.int(name)
        && !(0..=0o777).contains(&mode)
    {
        let detail = "must be a number between 0 and 0777 (octal), both inclusive";
        errors.push(Error::invalid(&path.child(name), mode, detail));
    }
}

/// A path of a file in a volume, which the volume's own files may not clash with.
fn file_path(errors: &mut Errors, value: &str, path: &Path) {
    descending(errors, value, path);
    if value.starts_with("..") && !value.starts_with("../") {
        errors.push(Error::invalid(path, value, "must not start with '..'"));
    }
}

/// A relative path that does not climb.
pub(super) fn descending(errors: &mut Errors, value: &str, path: &Path) {
    if value.starts_with('/') {
        errors.push(Error::invalid(path, value, "must be a relative path"));
    }
    no_backsteps(errors, value, path);
}

fn no_backsteps(errors: &mut Errors, value: &str, path: &Path) {
    if value.split('/').any(|step| step == "..") {
        errors.push(Error::invalid(path, value, "must not contain '..'"));
    }
}
