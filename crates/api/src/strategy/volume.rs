//! Persistent volumes and claims (upstream: `SetDefaults_PersistentVolume*`, `ValidatePersistentVolume*`).

mod data_source;

use apimachinery::Object;
use apimachinery::field::{self, Error, Path};
use serde_json::{Map, Value, json};

use super::pod::{
    default_volume_source, in_whole_bytes, node_selector, not_below_zero, quantity_of, validate_volume_source,
};
use crate::check::{self, Errors, names, old_labels};
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
        if let Some(spec) = object.object_at("spec") {
            data_source::prepare(spec, &Map::new());
        }
    }

    fn prepare_for_update(&self, _cx: &WriteContext<'_>, object: &mut Object, old: &Object) {
        if let Some(spec) = object.object_at("spec") {
            data_source::prepare(spec, old.object("spec"));
        }
    }

    fn warnings(&self, object: &Object) -> Vec<String> {
        volume_warnings(object)
    }

    fn validate(&self, object: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        let (spec, path) = (object.object("spec"), Path::new("spec"));
        access_modes(&mut errors, spec, "", &path);
        capacity(&mut errors, spec.object("capacity"), &path.child("capacity"));
        let policies = ["Delete", "Recycle", "Retain"];
        check::one_of(&mut errors, spec, "persistentVolumeReclaimPolicy", &policies, &path);
        check::one_of(&mut errors, spec, "volumeMode", &["Block", "Filesystem"], &path);
        let affinity = spec.object("nodeAffinity");
        if spec.has("nodeAffinity") {
            node_selector(&mut errors, affinity.object("required"), &path.child("nodeAffinity").child("required"));
        }
        volume_source(&mut errors, spec, &path);
        if !spec.text("storageClassName").is_empty() {
            let class = spec.text("storageClassName");
            check::named(&mut errors, names::dns1123_subdomain, class, &path.child("storageClassName"));
        }
        if spec.has("volumeAttributesClassName") {
            let (class, at) = (spec.text("volumeAttributesClassName"), path.child("volumeAttributesClassName"));
            if class.is_empty() {
                errors.push(Error::required(&at, "an empty string is disallowed"));
            } else {
                check::named(&mut errors, names::dns1123_subdomain, class, &at);
            }
            if !spec.has("csi") {
                let detail = "has to be specified when using volumeAttributesClassName";
                errors.push(Error::required(&path.child("csi"), detail));
            }
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
        let (mut new_source, old_source) = (source(object), source(old));
        // A secret for growing may come later.
        if !old_source.object("csi").has("controllerExpandSecretRef")
            && old_source.has("csi")
            && let Some(csi) = new_source.object_at("csi")
        {
            csi.remove("controllerExpandSecretRef");
        }
        if new_source != old_source {
            let detail = "spec.persistentvolumesource is immutable after creation";
            errors.push(Error::forbidden(&Path::new("spec").child("persistentvolumesource"), detail));
        }
        let mode = |object: &Object| object.at(&["spec", "volumeMode"]).cloned();
        check::immutable(&mut errors, mode(object).as_ref(), mode(old).as_ref(), &Path::new("volumeMode"));
        let (new, old) = (object.object("spec"), old.object("spec"));
        if old.has("nodeAffinity") {
            let path = Path::new("nodeAffinity");
            check::immutable(&mut errors, new.value("nodeAffinity"), old.value("nodeAffinity"), &path);
        }
        if old.has("volumeAttributesClassName") && !new.has("volumeAttributesClassName") {
            let path = Path::new("spec").child("volumeAttributesClassName");
            errors.push(Error::forbidden(&path, "update from non-nil value to nil is forbidden"));
        }
        errors
    }

    fn generation(&self) -> Generation {
        Generation::Never
    }
}

const OLD_CLASS: (&str, &str) =
    ("volume.beta.kubernetes.io/storage-class", "deprecated since v1.8; use \"storageClassName\" attribute instead");

/// What a volume says and hardly means (upstream: pkg/api/persistentvolume/util.go).
fn volume_warnings(object: &Object) -> Vec<String> {
    const OLD_MOUNT: (&str, &str) =
        ("volume.beta.kubernetes.io/mount-options", "deprecated since v1.31; use \"mountOptions\" attribute instead");
    const OLD_SOURCES: [(&str, &str, &str); 6] = [
        ("cephfs", "cephfs", "deprecated in v1.28, non-functional in v1.31+"),
        ("photonPersistentDisk", "photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
        ("scaleIO", "scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
        ("storageos", "storageOS", "deprecated in v1.22, non-functional in v1.25+"),
        ("glusterfs", "glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
        ("rbd", "rbd", "deprecated in v1.28, non-functional in v1.31+"),
    ];
    let mut found = Vec::new();
    let (annotations, spec) = (object.object("metadata").object("annotations"), object.object("spec"));
    for (key, words) in [OLD_CLASS, OLD_MOUNT].iter().filter(|(key, _)| annotations.has(key)) {
        found.push(format!("metadata.annotations[{key}]: {words}"));
    }
    if spec.text("persistentVolumeReclaimPolicy") == "Recycle" {
        let words = "The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic \
                     provisioning.";
        found.push(format!("spec.persistentVolumeReclaimPolicy: {words}"));
    }
    let path = Path::new("spec").child("nodeAffinity").child("required").child("nodeSelectorTerms");
    let terms = spec.object("nodeAffinity").object("required").list("nodeSelectorTerms");
    for (index, term) in terms.iter().enumerate() {
        old_labels::of_term(&mut found, term.fields(), false, &path.index(index));
    }
    for (_, name, words) in OLD_SOURCES.iter().filter(|(field, ..)| spec.has(field)) {
        found.push(format!("spec.{name}: {words}"));
    }
    found
}

/// Words about a claim's spec, which may be within something else
/// (upstream: `GetWarningsForPersistentVolumeClaimSpec`).
pub(super) fn claim_warnings(found: &mut Vec<String>, spec: &Map<String, Value>, path: &Path) {
    for part in ["requests", "limits"] {
        let path = path.child("resources").child(part);
        in_whole_bytes(found, spec.object("resources").object(part), &path);
    }
}

/// One and only one way to the data.
fn volume_source(errors: &mut Errors, spec: &Map<String, Value>, path: &Path) {
    let mut sources = spec.iter().filter(|(name, value)| !NOT_SOURCES.contains(&name.as_str()) && !value.is_null());
    match sources.next() {
        None => errors.push(Error::required(path, "must specify a volume type")),
        Some((name, source)) => validate_volume_source(errors, name, source.fields(), &path.child(name)),
    }
    for (name, _) in sources {
        errors.push(Error::forbidden(&path.child(name), "may not specify more than 1 volume type"));
    }
}

/// A volume within an attachment: the way to its data, and nothing that volumes of their own have
/// (upstream: `ValidatePersistentVolumeSpec` with `validateInlinePersistentVolumeSpec`).
pub(super) fn inline_volume(errors: &mut Errors, spec: &Map<String, Value>, path: &Path) {
    let unknown = [
        "claimRef",
        "capacity",
        "persistentVolumeReclaimPolicy",
        "nodeAffinity",
        "storageClassName",
        "volumeMode",
        "volumeAttributesClassName",
    ];
    for field in unknown.iter().filter(|field| spec.has(field)) {
        errors.push(Error::forbidden(&path.child(field), "may not be specified in the context of inline volumes"));
    }
    if !spec.has("csi") {
        errors.push(Error::required(&path.child("csi"), "has to be specified in the context of inline volumes"));
    }
    access_modes(errors, spec, "", path);
    volume_source(errors, spec, path);
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

    fn warnings(&self, object: &Object) -> Vec<String> {
        let (key, words) = OLD_CLASS;
        let is_old = object.object("metadata").object("annotations").has(key);
        let mut found: Vec<String> =
            is_old.then(|| format!("metadata.annotations[{key}]: {words}")).into_iter().collect();
        claim_warnings(&mut found, object.object("spec"), &Path::new("spec"));
        found
    }

    fn validate(&self, object: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        claim_spec(&mut errors, object.object("spec"), &Path::new("spec"));
        errors
    }

    fn validate_update(&self, object: &Object, old: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        if fixed(object, old) != written_today(old) {
            let detail = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
            errors.push(Error::forbidden(&Path::new("spec"), detail));
        }
        let storage = |object: &Object| object.at(&["spec", "resources", "requests", "storage"]).map(check::quantity);
        let had = old.at(&["status", "capacity", "storage"]).map(check::quantity);
        if storage(object) < storage(old) && storage(object) <= had {
            let path = Path::new("spec").child("resources").child("requests").child("storage");
            errors.push(Error::forbidden(&path, "field can not be less than status.capacity"));
        }
        let mode = |object: &Object| object.at(&["spec", "volumeMode"]).cloned();
        check::immutable(&mut errors, mode(object).as_ref(), mode(old).as_ref(), &Path::new("volumeMode"));
        let class = "volumeAttributesClassName";
        let (new, was) = (object.object("spec").value(class), old.object("spec").value(class));
        if new != was && old.object("status").has("currentVolumeAttributesClassName") {
            let words = match new.and_then(Value::as_str) {
                None => Some("update to nil"),
                Some("") => Some("update to empty string"),
                Some(_) => None,
            };
            if let Some(words) = words {
                let detail = format!("{words} is forbidden when status.currentVolumeAttributesClassName is not nil");
                errors.push(Error::forbidden(&Path::new("spec").child(class), detail));
            }
        }
        errors
    }

    fn validate_status_update(&self, object: &Object, _old: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        let (status, path) = (object.object("status"), Path::new("status"));
        for (name, amount) in status.object("capacity") {
            not_below_zero(&mut errors, amount, &path.child("capacity").key(name));
        }
        let at = path.child("allocatedResourceStatuses");
        for (name, state) in status.object("allocatedResourceStatuses") {
            claim_resource(&mut errors, name, &at);
            if !state.as_str().is_some_and(|state| RESIZE_STATES.contains(&state)) {
                errors.push(Error::not_supported(&at, name.as_str(), RESIZE_STATES));
            }
        }
        let at = path.child("allocatedResources");
        for (name, amount) in status.object("allocatedResources") {
            claim_resource(&mut errors, name, &at);
            quantity_of(&mut errors, "storage", amount, &at.key(name));
        }
        errors
    }

    fn generation(&self) -> Generation {
        Generation::Never
    }
}

/// How far growing is (upstream: `resizeStatusSet`).
const RESIZE_STATES: &[&str] = &[
    "ControllerResizeInProgress",
    "ControllerResizeInfeasible",
    "NodeResizeInProgress",
    "NodeResizeInfeasible",
    "NodeResizePending",
];

/// Of what Kubernetes names itself, a claim has storage alone.
fn claim_resource(errors: &mut Errors, name: &str, path: &Path) {
    let wrong = names::qualified_name(name);
    let is_native = !name.contains('/') || name.starts_with("kubernetes.io/") || name.contains(".kubernetes.io/");
    if wrong.is_empty() && is_native && name != "storage" {
        errors.push(Error::not_supported(path, name, &["storage"]));
    }
    errors.extend(wrong.into_iter().map(|sentence| Error::invalid(path, name, sentence)));
}

/// A spec with its amounts in one spelling.
pub(super) fn comparable(spec: &Map<String, Value>) -> Map<String, Value> {
    let mut spec = spec.clone();
    for list in ["requests", "limits"] {
        let amounts = spec.object_at("resources").and_then(|resources| resources.object_at(list));
        for amount in amounts.into_iter().flat_map(Map::values_mut) {
            *amount = check::quantity(amount).to_string().into();
        }
    }
    spec
}

/// The spec of a stored claim, in the form that it would have today.
fn written_today(old: &Object) -> Map<String, Value> {
    let mut spec = comparable(old.object("spec"));
    data_source::agree(&mut spec);
    spec
}

/// The new spec of a claim without what may change (upstream: `ValidatePersistentVolumeClaimUpdate`): its volume and
/// its class once, its size and its attributes while it is bound.
fn fixed(object: &Object, old: &Object) -> Map<String, Value> {
    const ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";
    let (mut spec, was) = (comparable(object.object("spec")), written_today(old));
    let mut keep = |name: &str| match was.get(name) {
        Some(value) => spec.insert(name.to_owned(), value.clone()),
        None => spec.remove(name),
    };
    if was.text("volumeName").is_empty() {
        keep("volumeName");
    }
    let annotation = old.object("metadata").object("annotations").get(ANNOTATION).and_then(Value::as_str);
    let class = object.object("spec").value("storageClassName").and_then(Value::as_str);
    if !was.has("storageClassName") && class.is_some() && annotation.is_none_or(|old| class == Some(old)) {
        keep("storageClassName");
    }
    if object.object("status").text("phase") == "Bound" {
        keep("volumeAttributesClassName");
        let size = was.object("resources").object("requests").get("storage").cloned();
        let requests = spec.object_at("resources").and_then(|resources| resources.object_at("requests"));
        if let (Some(requests), Some(size)) = (requests, size) {
            requests.insert("storage".into(), size);
        }
    }
    spec
}

/// What a volume holds: storage, and more than nothing.
fn capacity(errors: &mut Errors, capacity: &Map<String, Value>, path: &Path) {
    if capacity.is_empty() {
        errors.push(Error::required(path, ""));
    }
    if capacity.len() != 1 || !capacity.contains_key("storage") {
        errors.push(Error::not_supported(path, Value::Object(capacity.clone()), &["storage"]));
    }
    for (name, amount) in capacity {
        let path = path.key(name);
        not_below_zero(errors, amount, &path);
        positive(errors, amount, &path);
    }
}

/// Upstream: `ValidatePositiveQuantityValue`.
fn positive(errors: &mut Errors, amount: &Value, path: &Path) {
    let quantity = check::quantity(amount);
    if quantity.is_zero() || quantity.is_negative() {
        errors.push(Error::invalid(path, quantity.to_string(), "must be greater than zero"));
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

/// Rules of a claim's spec, also within templates (upstream: `ValidatePersistentVolumeClaimSpec`).
pub(super) fn claim_spec(errors: &mut Errors, spec: &Map<String, Value>, path: &Path) {
    access_modes(errors, spec, "at least 1 access mode is required", path);
    check::label_selector(errors, spec, "selector", path);
    let storage_path = path.child("resources").key("storage");
    match spec.object("resources").object("requests").get("storage") {
        None => errors.push(Error::required(&storage_path, "")),
        Some(storage) => positive(errors, storage, &storage_path),
    }
    check::optional_name(errors, names::dns1123_subdomain, spec, "storageClassName", path);
    check::one_of(errors, spec, "volumeMode", &["Block", "Filesystem"], path);
    data_source::validate(errors, spec, path);
    check::optional_name(errors, names::dns1123_subdomain, spec, "volumeAttributesClassName", path);
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
    let others = spec.texts("accessModes").any(|mode| mode != "ReadWriteOncePod" && ACCESS_MODES.contains(&mode));
    if alone && others {
        let detail = "may not use ReadWriteOncePod with other access modes";
        errors.push(Error::forbidden(&path, detail));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn object(value: Value) -> Object {
        Object::from_value(value).expect("an object")
    }

    fn check(errors: Vec<Error>, expected: &Expect) {
        expected.assert_eq(&errors.iter().map(|error| format!("{error}\n")).collect::<String>());
    }

    fn claim(phase: &str, spec: Value) -> Object {
        let mut all = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "2Gi"}}});
        for (name, value) in spec.fields() {
            all[name] = value.clone();
        }
        object(
            json!({"metadata": {"name": "data"}, "spec": all, "status": {"phase": phase, "capacity": {"storage": "1Gi"}}}),
        )
    }

    #[test]
    fn volumes_are_checked() {
        check(
            PersistentVolume.validate(&object(json!({"spec": {
                "accessModes": ["ReadWriteOncePod", "ReadOnlyMany", "Odd"], "capacity": {"storage": "0", "cpu": "1"},
                "hostPath": {"path": "/x"}, "volumeAttributesClassName": "",
            }}))),
            &expect![[r#"
                spec.accessModes: Unsupported value: "Odd": supported values: "ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"
                spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes
                spec.capacity: Unsupported value: {"cpu":"1","storage":"0"}: supported values: "storage"
                spec.capacity[storage]: Invalid value: "0": must be greater than zero
                spec.volumeAttributesClassName: Required value: an empty string is disallowed
                spec.csi: Required value: has to be specified when using volumeAttributesClassName
            "#]],
        );
        let volume = |affinity: Value, secret: Value| {
            object(json!({"spec": {
                "nodeAffinity": affinity, "csi": {"driver": "d", "volumeHandle": "h", "controllerExpandSecretRef": secret},
            }}))
        };
        let secret = json!({"name": "s"});
        check(
            PersistentVolume.validate_update(
                &volume(json!(null), secret.clone()),
                &object(json!({"spec": {"csi": {"driver": "d", "volumeHandle": "h"}}})),
            ),
            &expect![[""]],
        );
        check(
            PersistentVolume
                .validate_update(&volume(json!({"a": 1}), json!({"name": "t"})), &volume(json!({"b": 1}), secret)),
            &expect![[r#"
                spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation
                nodeAffinity: Invalid value: {"a":1}: field is immutable
            "#]],
        );
    }

    #[test]
    fn a_claim_changes_in_few_ways() {
        let sized = |phase: &str, size: &str| claim(phase, json!({"resources": {"requests": {"storage": size}}}));
        let update = |new: &Object, old: &Object| {
            let errors = PersistentVolumeClaim.validate_update(new, old);
            errors.iter().map(|error| error.field.clone()).collect::<Vec<_>>().join(" ")
        };
        let old = claim("Bound", json!({}));
        let storage = "spec.resources.requests.storage";
        for (new, old, expected) in [
            (sized("Bound", "3Gi"), &old, ""),
            (sized("Bound", "2048Mi"), &old, ""),
            (sized("Bound", "1536Mi"), &old, ""),
            (sized("Bound", "1Gi"), &old, storage),
            (sized("Pending", "3Gi"), &claim("Pending", json!({})), "spec"),
            (claim("Bound", json!({"volumeName": "disk"})), &old, ""),
            (claim("Bound", json!({"volumeName": "other"})), &claim("Bound", json!({"volumeName": "disk"})), "spec"),
            (claim("Pending", json!({"storageClassName": "fast"})), &claim("Pending", json!({})), ""),
            (
                claim("Pending", json!({"storageClassName": "b"})),
                &claim("Pending", json!({"storageClassName": "a"})),
                "spec",
            ),
            (claim("Bound", json!({"volumeAttributesClassName": "gold"})), &old, ""),
            (
                claim("Bound", json!({"volumeMode": "Block"})),
                &claim("Bound", json!({"volumeMode": "Filesystem"})),
                "spec volumeMode",
            ),
            (claim("Bound", json!({"accessModes": ["ReadWriteMany"]})), &old, "spec"),
        ] {
            assert_eq!(update(&new, old), expected, "{:?}", new.0["spec"]);
        }
    }

    #[test]
    fn claims_and_their_status_are_checked() {
        check(
            PersistentVolumeClaim.validate(&claim(
                "Pending",
                json!({
                    "resources": {"requests": {"storage": "-1"}}, "volumeAttributesClassName": "A",
                    "dataSource": {"kind": "PersistentVolumeClaim", "name": "a"},
                    "dataSourceRef": {"kind": "PersistentVolumeClaim", "name": "a", "namespace": "other"},
                }),
            )),
            &expect![[r#"
                spec.resources[storage]: Invalid value: "-1": must be greater than zero
                spec: Invalid value: "spec.dataSource": may not be specified when dataSourceRef.namespace is specified
                spec.volumeAttributesClassName: Invalid value: "A": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
            "#]],
        );
        let mut claim = claim("Bound", json!({}));
        claim.0["status"]["allocatedResourceStatuses"] = json!({"storage": "Growing", "cpu": "NodeResizePending"});
        claim.0["status"]["allocatedResources"] = json!({"storage": "-1", "example.com/x": "1"});
        check(
            PersistentVolumeClaim.validate_status_update(&claim, &claim),
            &expect![[r#"
            status.allocatedResourceStatuses: Unsupported value: "cpu": supported values: "storage"
            status.allocatedResourceStatuses: Unsupported value: "storage": supported values: "ControllerResizeInProgress", "ControllerResizeInfeasible", "NodeResizeInProgress", "NodeResizeInfeasible", "NodeResizePending"
            status.allocatedResources[storage]: Invalid value: "-1": must be greater than or equal to 0
        "#]],
        );
    }
}
