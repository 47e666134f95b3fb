//! Where a container finds its volumes (upstream: `ValidateVolumeMounts`, `ValidateVolumeDevices`).

use std::collections::HashSet;

use apimachinery::field::{Error, Path};
use serde_json::{Map, Value};

use super::{Volumes, volume};
use crate::check::{self, Errors};
use crate::json::Read;

/// `volumeMounts` and `volumeDevices`.
pub(super) fn mounts(errors: &mut Errors, container: &Map<String, Value>, volumes: &Volumes<'_>, path: &Path) {
    let texts = |list: &str, field: &str| -> HashSet<String> {
        container.list(list).iter().map(|one| one.text(field).to_owned()).collect()
    };
    let devices = Taken { names: texts("volumeDevices", "name"), paths: texts("volumeDevices", "devicePath") };
    let mounted = Taken { names: texts("volumeMounts", "name"), paths: texts("volumeMounts", "mountPath") };
    let mut seen = HashSet::new();
    let privileged = container.object("securityContext").flag("privileged");
    for (index, one) in container.list("volumeMounts").iter().enumerate() {
        mount(errors, one, volumes, &devices, &mut seen, &path.child("volumeMounts").index(index));
        if one.text("mountPropagation") == "Bidirectional" && !privileged {
            let path = path.child("volumeMounts").index(index).child("mountPropagation");
            let detail = "Bidirectional mount propagation is available only to privileged containers";
            errors.push(Error::forbidden(&path, detail));
        }
    }
    let (mut names, mut paths) = (HashSet::new(), HashSet::new());
    for (index, device) in container.list("volumeDevices").iter().enumerate() {
        let path = path.child("volumeDevices").index(index);
        let (name, at) = (device.text("name"), device.text("devicePath"));
        if check::required(errors, device.fields(), "name", &path) {
            if !names.insert(name) {
                errors.push(Error::invalid(&path.child("name"), name, "must be unique"));
            }
            if !volumes.contains(name) {
                errors.push(Error::not_found(&path.child("name"), name));
            }
            if mounted.names.contains(name) {
                errors.push(Error::invalid(&path.child("name"), name, "must not already exist in volumeMounts"));
            }
        }
        let path = path.child("devicePath");
        if at.is_empty() {
            errors.push(Error::required(&path, ""));
        } else if !paths.insert(at) {
            errors.push(Error::invalid(&path, at, "must be unique"));
        } else if at.split('/').any(|step| step == "..") {
            errors.push(Error::invalid(&path, at, "can not contain backsteps ('..')"));
        } else if mounted.paths.contains(at) {
            errors.push(Error::invalid(&path, at, "must not already exist as a path in volumeMounts"));
        }
    }
}

/// Names and paths that the other list has.
struct Taken {
    names: HashSet<String>,
    paths: HashSet<String>,
}

fn mount<'a>(
    errors: &mut Errors,
    mount: &'a Value,
    volumes: &Volumes<'_>,
    devices: &Taken,
    seen: &mut HashSet<&'a str>,
    path: &Path,
) {
    let (name, at) = (mount.text("name"), mount.text("mountPath"));
    if check::required(errors, mount.fields(), "name", path) && !volumes.contains(name) {
        errors.push(Error::not_found(&path.child("name"), name));
    }
    if check::required(errors, mount.fields(), "mountPath", path) && !seen.insert(at) {
        errors.push(Error::invalid(&path.child("mountPath"), at, "must be unique"));
    }
    if devices.names.contains(name) {
        errors.push(Error::invalid(&path.child("name"), name, "must not already exist in volumeDevices"));
    }
    if devices.paths.contains(at) {
        let detail = "must not already exist as a path in volumeDevices";
        errors.push(Error::invalid(&path.child("mountPath"), at, detail));
    }
    for field in ["subPath", "subPathExpr"] {
        if !mount.text(field).is_empty() {
            volume::descending(errors, mount.text(field), &path.child(field));
        }
    }
    if !mount.text("subPath").is_empty() && !mount.text("subPathExpr").is_empty() {
        let detail = "subPathExpr and subPath are mutually exclusive";
        errors.push(Error::invalid(&path.child("subPathExpr"), mount.text("subPathExpr"), detail));
    }
    let propagations = ["Bidirectional", "HostToContainer", "None"];
    check::one_of(errors, mount.fields(), "mountPropagation", &propagations, path);
    let path = path.child("recursiveReadOnly");
    match mount.text("recursiveReadOnly") {
        "" | "Disabled" => {}
        "Enabled" | "IfPossible" => {
            if !mount.flag("readOnly") {
                errors.push(Error::forbidden(&path, "may only be specified when readOnly is true"));
            }
            if !matches!(mount.text("mountPropagation"), "" | "None") {
                let detail = "may only be specified when mountPropagation is None or not specified";
                errors.push(Error::forbidden(&path, detail));
            }
        }
        other => errors.push(Error::not_supported(&path, other, &["Disabled", "Enabled", "IfPossible"])),
    }
}
