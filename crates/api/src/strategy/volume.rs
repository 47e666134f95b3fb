//! Persistent volumes and claims (upstream: `SetDefaults_PersistentVolume*`, `ValidatePersistentVolume*`).

use apimachinery::Object;
use apimachinery::field::{self, Error, Path};
use serde_json::{Map, Value, json};

use super::pod::{default_volume_source, node_selector, not_below_zero, resource_list, validate_volume_source};
use crate::check::{self, Errors, names};
use crate::json::{Read, Write};
use crate::resource::{Generation, Strategy, WriteContext};

const ACCESS_MODES: &[&str] = &["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];

/// The fields of a volume's spec that are not its source.
const NOT_SOURCES: &[&str] = &[
    "accessModes",
    "capacity",
    "claimRef",
    "mountOptions",
    "nodeAffinity",
    "persistentVolumeReclaimPolicy",
    "storageClassName",
    "volumeAttributesClassName",
    "volumeMode",
];

/// The strategy of persistent volumes.
pub(crate) struct PersistentVolume;

impl Strategy for PersistentVolume {
    fn default(&self, object: &mut Object) {
        if let Some(status) = object.object_made("status") {
            status.default_text("phase", "Pending");
        }
        let Some(spec) = object.object_made("spec") else { return };
        spec.default_text("persistentVolumeReclaimPolicy", "Retain");
        spec.default_to("volumeMode", "Filesystem");
        let source = spec.keys().find(|name| !NOT_SOURCES.contains(&name.as_str())).cloned();
        if let Some(name) = source
            && let Some(source) = spec.object_at(&name)
        {
            default_volume_source(&name, source);
        }
    }

    fn prepare_for_create(&self, _cx: &WriteContext<'_>, object: &mut Object) {
        object.0.insert("status".into(), json!({"phase": "Pending"}));
    }

    fn validate(&self, object: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        let (spec, path) = (object.object("spec"), Path::new("spec"));
        access_modes(&mut errors, spec, "", &path);
        if spec.object("capacity").is_empty() {
            errors.push(Error::required(&path.child("capacity"), ""));
        }
        resource_list(&mut errors, spec.object("capacity"), &path.child("capacity"));
        let policies = ["Delete", "Recycle", "Retain"];
        check::one_of(&mut errors, spec, "persistentVolumeReclaimPolicy", &policies, &path);
        check::one_of(&mut errors, spec, "volumeMode", &["Block", "Filesystem"], &path);
        let affinity = spec.object("nodeAffinity");
        if spec.has("nodeAffinity") {
            node_selector(&mut errors, affinity.object("required"), &path.child("nodeAffinity").child("required"));
        }
        let mut sources = spec.iter().filter(|(name, value)| !NOT_SOURCES.contains(&name.as_str()) && !value.is_null());
        match sources.next() {
            None => errors.push(Error::required(&path, "must specify a volume type")),
            Some((name, source)) => validate_volume_source(&mut errors, name, source.fields(), &path.child(name)),
        }
        for (name, _) in sources {
            errors.push(Error::forbidden(&path.child(name), "may not specify more than 1 volume type"));
        }
        if !spec.text("storageClassName").is_empty() {
            let class = spec.text("storageClassName");
            check::named(&mut errors, names::dns1123_subdomain, class, &path.child("storageClassName"));
        }
        if spec.object("capacity").len() > 1
            || (!spec.object("capacity").is_empty() && !spec.object("capacity").contains_key("storage"))
        {
            errors.push(Error::not_supported(
                &path.child("capacity"),
                Value::Object(spec.object("capacity").clone()),
                &["storage"],
            ));
        }
        let recycled = spec.text("persistentVolumeReclaimPolicy") == "Recycle";
        if recycled && spec.object("hostPath").text("path") == "/" {
            let detail = "may not be 'recycle' for a hostPath mount of '/'";
            errors.push(Error::forbidden(&path.child("persistentVolumeReclaimPolicy"), detail));
        }
        if spec.has("local") && !spec.has("nodeAffinity") {
            errors.push(Error::required(&path.child("nodeAffinity"), "Local volume requires node affinity"));
        }
        errors
    }

    fn validate_update(&self, object: &Object, old: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        let source = |object: &Object| -> Map<String, Value> {
            let fields = object.object("spec").iter().filter(|(name, _)| !NOT_SOURCES.contains(&name.as_str()));
            fields.map(|(name, value)| (name.clone(), value.clone())).collect()
        };
        if source(object) != source(old) {
            let detail = "spec.persistentvolumesource is immutable after creation";
            errors.push(Error::forbidden(&Path::new("spec").child("persistentvolumesource"), detail));
        }
        let mode = |object: &Object| object.at(&["spec", "volumeMode"]).cloned();
        check::immutable(&mut errors, mode(object).as_ref(), mode(old).as_ref(), &Path::new("volumeMode"));
        errors
    }

    fn generation(&self) -> Generation {
        Generation::Never
    }
}

/// The strategy of claims.
pub(crate) struct PersistentVolumeClaim;

impl Strategy for PersistentVolumeClaim {
    fn default(&self, object: &mut Object) {
        default_claim(&mut object.0);
    }

    fn prepare_for_create(&self, _cx: &WriteContext<'_>, object: &mut Object) {
        object.0.insert("status".into(), json!({"phase": "Pending"}));
    }

    fn validate(&self, object: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        claim_spec(&mut errors, object.object("spec"), &Path::new("spec"));
        errors
    }

    fn validate_update(&self, object: &Object, old: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        let bound = !old.object("spec").text("volumeName").is_empty();
        let fixed = |object: &Object| {
            let mut spec = object.object("spec").clone();
            spec.remove("volumeAttributesClassName");
            if bound {
                if let Some(resources) = spec.object_at("resources") {
                    resources.remove("requests");
                }
            } else {
                // The binder writes these.
                spec.remove("volumeName");
                spec.remove("storageClassName");
            }
            spec
        };
        if fixed(object) != fixed(old) {
            let detail = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
            errors.push(Error::forbidden(&Path::new("spec"), detail));
        }
        let storage = |object: &Object| object.at(&["spec", "resources", "requests", "storage"]).map(check::quantity);
        if bound && storage(object) < storage(old) {
            let path = Path::new("spec").child("resources").child("requests").child("storage");
            errors.push(Error::forbidden(&path, "field can not be less than status.capacity"));
        }
        errors
    }

    fn generation(&self) -> Generation {
        Generation::Never
    }
}

/// The defaults of a claim, also within a StatefulSet.
pub(super) fn default_claim(claim: &mut Map<String, Value>) {
    if let Some(spec) = claim.object_made("spec") {
        spec.default_to("volumeMode", "Filesystem");
    }
    if let Some(status) = claim.object_made("status") {
        status.default_text("phase", "Pending");
    }
}

/// What a claim is filled from (upstream: `validateDataSource`, `validateDataSourceRef`).
fn data_source(errors: &mut Errors, spec: &Map<String, Value>, path: &Path) {
    for field in ["dataSource", "dataSourceRef"] {
        if !spec.has(field) {
            continue;
        }
        let (source, path) = (spec.object(field), path.child(field));
        check::required(errors, source, "name", &path);
        check::required(errors, source, "kind", &path);
        let group = source.text("apiGroup");
        if group.is_empty() && !source.text("kind").is_empty() && source.text("kind") != "PersistentVolumeClaim" {
            let kind = source.text("kind");
            errors.push(Error::invalid(
                &path,
                kind,
                "must be 'PersistentVolumeClaim' when referencing the default apiGroup",
            ));
        }
        if !group.is_empty() {
            check::named(errors, names::dns1123_subdomain, group, &path.child("apiGroup"));
        }
    }
    let (old, new) = (spec.object("dataSource"), spec.object("dataSourceRef"));
    let same = ["apiGroup", "kind", "name"].iter().all(|field| old.text(field) == new.text(field));
    if spec.has("dataSource") && spec.has("dataSourceRef") && new.text("namespace").is_empty() && !same {
        let detail = "must match dataSourceRef";
        errors.push(Error::invalid(&path.child("dataSource"), old.text("name"), detail));
    }
}

/// Rules of a claim's spec, also within templates (upstream: `ValidatePersistentVolumeClaimSpec`).
pub(super) fn claim_spec(errors: &mut Errors, spec: &Map<String, Value>, path: &Path) {
    access_modes(errors, spec, "at least 1 access mode is required", path);
    check::label_selector(errors, spec, "selector", path);
    if spec.has("storageClassName") && !spec.text("storageClassName").is_empty() {
        let class = spec.text("storageClassName");
        check::named(errors, names::dns1123_subdomain, class, &path.child("storageClassName"));
    }
    data_source(errors, spec, path);
    let storage_path = path.child("resources").key("storage");
    match spec.object("resources").object("requests").get("storage") {
        None => errors.push(Error::required(&storage_path, "")),
        Some(storage) => {
            not_below_zero(errors, storage, &storage_path);
            if check::quantity(storage).is_zero() {
                errors.push(Error::invalid(&storage_path, storage.clone(), "must be greater than zero"));
            }
        }
    }
    check::one_of(errors, spec, "volumeMode", &["Block", "Filesystem"], path);
}

fn access_modes(errors: &mut Errors, spec: &Map<String, Value>, missing: &str, path: &Path) {
    let path = path.child("accessModes");
    if spec.list("accessModes").is_empty() {
        errors.push(Error::required(&path, missing));
    }
    for mode in spec.texts("accessModes").filter(|mode| !ACCESS_MODES.contains(mode)) {
        errors.push(Error::not_supported(&path, mode, ACCESS_MODES));
    }
    let alone = spec.texts("accessModes").any(|mode| mode == "ReadWriteOncePod");
    if alone && spec.list("accessModes").len() > 1 {
        let detail = "may not use ReadWriteOncePod with other access modes";
        errors.push(Error::forbidden(&path, detail));
    }
}
