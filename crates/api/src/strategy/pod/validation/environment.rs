//! Environment variables and where they come from.

use apimachinery::field::{Error, Path};
use serde_json::{Map, Value};

use crate::check::{self, Errors, names};
use crate::json::Read;

/// The fields of the pod that a variable may name.
const POD_FIELDS: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

/// The fields of the pod that a file may hold.
const FILE_FIELDS: &[&str] =
    &["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];

const SOURCES: &[&str] = &["fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef"];

/// `env`.
pub(super) fn variables(errors: &mut Errors, variables: &[Value], path: &Path) {
    for (index, variable) in variables.iter().enumerate() {
        let path = path.index(index);
        check::required_name(errors, names::env_var_name, variable.fields(), "name", &path);
        if let Some(source) = variable.value("valueFrom") {
            let path = path.child("valueFrom");
            if !variable.text("value").is_empty() {
                errors.push(Error::invalid(&path, "", "may not be specified when `value` is not empty"));
            }
            value_from(errors, source.fields(), &path);
        }
    }
}

fn value_from(errors: &mut Errors, source: &Map<String, Value>, path: &Path) {
    match SOURCES.iter().filter(|name| source.has(name)).count() {
        0 => {
            let detail = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`";
            errors.push(Error::invalid(path, "", detail));
        }
        1 => {}
        _ => errors.push(Error::invalid(path, "", "may not have more than one field specified at a time")),
    }
    if source.has("fieldRef") {
        pod_field(errors, source.object("fieldRef"), POD_FIELDS, &path.child("fieldRef"));
    }
    if source.has("resourceFieldRef") {
        container_resource(errors, source.object("resourceFieldRef"), &path.child("resourceFieldRef"));
    }
    for field in ["configMapKeyRef", "secretKeyRef"] {
        if source.has(field) {
            let (path, reference) = (path.child(field), source.object(field));
            check::required(errors, reference, "name", &path);
            check::required_name(errors, names::config_map_key, reference, "key", &path);
        }
    }
    if source.has("fileKeyRef") {
        for field in ["volumeName", "path", "key"] {
            check::required(errors, source.object("fileKeyRef"), field, &path.child("fileKeyRef"));
        }
    }
}

/// A field of the pod for a file of a downward API volume.
pub(super) fn file_field(errors: &mut Errors, reference: &Map<String, Value>, path: &Path) {
    pod_field(errors, reference, FILE_FIELDS, path);
}

fn pod_field(errors: &mut Errors, reference: &Map<String, Value>, allowed: &[&str], path: &Path) {
    check::required(errors, reference, "apiVersion", path);
    if !check::required(errors, reference, "fieldPath", path) {
        return;
    }
    let (field, path) = (reference.text("fieldPath"), path.child("fieldPath"));
    match subscript(field) {
        Some(("metadata.annotations", key)) => check::named(errors, names::qualified_name, &key.to_lowercase(), &path),
        Some(("metadata.labels", key)) => check::named(errors, names::qualified_name, key, &path),
        Some(_) => errors.push(Error::invalid(&path, field, "does not support subscript")),
        None if allowed.contains(&field) => {}
        None if FILE_FIELDS.contains(&field) || POD_FIELDS.contains(&field) => {
            errors.push(Error::not_supported(&path, field, allowed));
        }
        None => {
            let detail = format!("error converting fieldPath: field label not supported: {field}");
            errors.push(Error::invalid(&path, field, detail));
        }
    }
}

/// `metadata.labels['app']` taken apart.
fn subscript(field: &str) -> Option<(&str, &str)> {
    field.strip_suffix("']")?.split_once("['")
}

/// A resource of a container.
pub(super) fn container_resource(errors: &mut Errors, reference: &Map<String, Value>, path: &Path) {
    if !check::required(errors, reference, "resource", path) {
        return;
    }
    let resource = reference.text("resource");
    let known = resource
        .strip_prefix("limits.")
        .or_else(|| resource.strip_prefix("requests."))
        .is_some_and(|name| matches!(name, "cpu" | "memory" | "ephemeral-storage") || name.starts_with("hugepages-"));
    if !known {
        let all = [
            "limits.cpu",
            "limits.ephemeral-storage",
            "limits.memory",
            "requests.cpu",
            "requests.ephemeral-storage",
            "requests.memory",
        ];
        errors.push(Error::not_supported(&path.child("resource"), resource, &all));
    }
}

/// `envFrom`.
pub(super) fn sources(errors: &mut Errors, sources: &[Value], path: &Path) {
    for (index, source) in sources.iter().enumerate() {
        let path = path.index(index);
        if !source.text("prefix").is_empty() {
            check::named(errors, names::env_var_name, source.text("prefix"), &path.child("prefix"));
        }
        let kinds = ["configMapRef", "secretRef"];
        match kinds.iter().filter(|name| source.has(name)).count() {
            0 => errors.push(Error::invalid(&path, "", "must specify one of: `configMapRef` or `secretRef`")),
            1 => {}
            _ => errors.push(Error::invalid(&path, "", "may not have more than one field specified at a time")),
        }
        for kind in kinds.iter().filter(|kind| source.has(kind)) {
            check::required(errors, source.object(kind), "name", &path.child(kind));
        }
    }
}
