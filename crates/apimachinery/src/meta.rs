//! What all kinds share in `metadata`: owner references, and the rules of create and update
//! (upstream: `apimachinery/pkg/api/validation/objectmeta.go`).

mod owner;

pub use owner::OwnerReference;

use serde_json::Value;

use crate::field::{self, Path};
use crate::labels;
use crate::object::{GroupVersionKind, Object};
use crate::validation;

/// The most bytes that all annotations may have together.
pub const TOTAL_ANNOTATION_SIZE_LIMIT: usize = 256 * 1024;

/// What an update that changes a fixed field is told.
pub const FIELD_IMMUTABLE: &str = "field is immutable";

/// The finalizer that orphans the dependents.
pub const FINALIZER_ORPHAN: &str = "orphan";

/// The finalizer that waits until the dependents are gone.
pub const FINALIZER_FOREGROUND: &str = "foregroundDeletion";

/// A rule for names; the flag says that the text is a prefix (`generateName`).
pub type NameRule = fn(&str, bool) -> Vec<String>;

/// Checks the metadata of a new object.
pub fn validate_object_meta(object: &Object, namespaced: bool, name_rule: NameRule, path: &Path) -> Vec<field::Error> {
    let mut errors = Vec::new();
    let mut check = |field: &str, wrong: Vec<String>, value: &str| {
        errors.extend(wrong.into_iter().map(|words| field::Error::invalid(&path.child(field), value, words)));
    };
    let (name, prefix, namespace) = (object.name(), object.meta_str("generateName"), object.namespace());
    if !prefix.is_empty() {
        check("generateName", name_rule(prefix, true), prefix);
    }
    if !name.is_empty() {
        check("name", name_rule(name, false), name);
    }
    if namespaced && !namespace.is_empty() {
        check("namespace", validation::name_is_dns_label(namespace, false), namespace);
    }
    if name.is_empty() {
        errors.push(field::Error::required(&path.child("name"), "name or generateName is required"));
    }
    if namespaced && namespace.is_empty() {
        errors.push(field::Error::required(&path.child("namespace"), ""));
    }
    if !namespaced && !namespace.is_empty() {
        errors.push(field::Error::forbidden(&path.child("namespace"), "not allowed on this type"));
    }
    if object.generation() < 0 {
        let words = "must be greater than or equal to 0";
        errors.push(field::Error::invalid(&path.child("generation"), object.generation(), words));
    }
    validate_shared(object, path, &mut errors);
    errors.extend(validate_finalizers(object, &path.child("finalizers")));
    errors
}

/// Checks the metadata of an update against what is stored.
pub fn validate_object_meta_update(object: &Object, old: &Object, path: &Path) -> Vec<field::Error> {
    let mut errors = Vec::new();
    if old.is_deleting() {
        let extra: Vec<&str> =
            object.finalizers().filter(|finalizer| !old.finalizers().any(|known| known == *finalizer)).collect();
        if !extra.is_empty() {
            let words = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers {}",
                go_strings(&extra)
            );
            errors.push(field::Error::forbidden(&path.child("finalizers"), words));
        }
    }
    if object.resource_version().is_empty() {
        errors.push(field::Error::invalid(&path.child("resourceVersion"), "", "must be specified for an update"));
    }
    if object.generation() < old.generation() {
        errors.push(field::Error::invalid(&path.child("generation"), object.generation(), "must not be decremented"));
    }
    let fixed = ["name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"];
    for name in fixed {
        let value = |object: &Object| object.metadata().and_then(|metadata| metadata.get(name)).cloned();
        let (new, old) = (value(object), value(old));
        let is_empty = |value: &Option<Value>| value.as_ref().is_none_or(|value| value.is_null() || value == "");
        if new != old && !(is_empty(&new) && is_empty(&old)) {
            let shown = new.unwrap_or(if name.ends_with("Timestamp") || name.ends_with("Seconds") {
                Value::Null
            } else {
                "".into()
            });
            errors.push(field::Error::invalid(&path.child(name), shown, FIELD_IMMUTABLE));
        }
    }
    validate_shared(object, path, &mut errors);
    errors
}

/// The rules that create and update share.
fn validate_shared(object: &Object, path: &Path, errors: &mut Vec<field::Error>) {
    let Some(metadata) = object.metadata() else { return };
    if let Some(labels) = metadata.get("labels").and_then(Value::as_object) {
        errors.extend(labels::validate_labels(labels, &path.child("labels")));
    }
    errors.extend(validate_annotations(object.annotations(), &path.child("annotations")));
    errors.extend(owner::validate(object, &path.child("ownerReferences")));
    errors.extend(validate_managed_fields(object, &path.child("managedFields")));
}

/// Checks keys and total size of annotations (upstream: `ValidateAnnotations`).
pub fn validate_annotations<'a>(
    annotations: impl Iterator<Item = (&'a str, &'a str)>,
    path: &Path,
) -> Vec<field::Error> {
    let (mut errors, mut size) = (Vec::new(), 0);
    for (key, value) in annotations {
        size += key.len() + value.len();
        // Upstream lets the case of an annotation's key pass.
        let wrong = validation::qualified_name(&key.to_lowercase());
        errors.extend(wrong.into_iter().map(|words| field::Error::invalid(path, key, words)));
    }
    if size > TOTAL_ANNOTATION_SIZE_LIMIT {
        errors.push(field::Error::too_long(path, TOTAL_ANNOTATION_SIZE_LIMIT));
    }
    errors
}

fn validate_finalizers(object: &Object, path: &Path) -> Vec<field::Error> {
    let mut errors = Vec::new();
    for finalizer in object.finalizers() {
        let wrong = validation::qualified_name(finalizer);
        errors.extend(wrong.into_iter().map(|words| field::Error::invalid(path, finalizer, words)));
    }
    let has = |name| object.finalizers().any(|finalizer| finalizer == name);
    if has(FINALIZER_ORPHAN) && has(FINALIZER_FOREGROUND) {
        let words = format!("finalizer {FINALIZER_ORPHAN} and {FINALIZER_FOREGROUND} cannot be both set");
        errors.push(field::Error::invalid(path, object.finalizers().collect::<Vec<_>>(), words));
    }
    errors
}

fn validate_managed_fields(object: &Object, path: &Path) -> Vec<field::Error> {
    let mut errors = Vec::new();
    let entries = object.metadata().and_then(|metadata| metadata.get("managedFields")).and_then(Value::as_array);
    for (index, entry) in entries.into_iter().flatten().enumerate() {
        let path = path.index(index);
        let text = |field: &str| entry.get(field).and_then(Value::as_str).unwrap_or_default();
        match text("operation") {
            "Apply" | "Update" => {}
            "" => errors.push(field::Error::required(&path.child("operation"), "must not be empty")),
            other => errors.push(field::Error::not_supported(&path.child("operation"), other, &["Apply", "Update"])),
        }
        if !matches!(text("fieldsType"), "" | "FieldsV1") {
            errors.push(field::Error::invalid(&path.child("fieldsType"), text("fieldsType"), "must be `FieldsV1`"));
        }
        errors.extend(validate_field_manager(text("manager"), &path.child("manager")));
        if text("subresource").len() > 256 {
            errors.push(field::Error::too_long(&path.child("subresource"), 256));
        }
    }
    errors
}

/// Checks the name of a field manager (upstream: `ValidateFieldManager`).
pub fn validate_field_manager(manager: &str, path: &Path) -> Vec<field::Error> {
    let mut errors = Vec::new();
    if manager.len() > 128 {
        errors.push(field::Error::too_long(path, 128));
    }
    if let Some((at, char)) = manager.char_indices().find(|(_, char)| char.is_control()) {
        let words = format!("invalid character U+{:04X} (at position {at})", u32::from(char));
        errors.push(field::Error::invalid(path, manager, words));
    }
    errors
}

/// A list of texts as Go prints it with `%#v`.
fn go_strings(list: &[&str]) -> String {
    let quoted: Vec<String> = list.iter().map(|text| format!("{text:?}")).collect();
    format!("[]string{{{}}}", quoted.join(", "))
}

/// Brings the type of an object into the words of an error.
fn spell_gvk(gvk: &GroupVersionKind) -> String {
    format!("{}/{}, Kind={}", gvk.group, gvk.version, gvk.kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(metadata: Value) -> Object {
        Object::from_value(json!({"metadata": metadata})).expect("an object")
    }

    fn create(metadata: Value) -> Vec<String> {
        let rule = validation::name_is_dns_subdomain;
        let errors = validate_object_meta(&object(metadata), true, rule, &Path::new("metadata"));
        errors.iter().map(|error| error.to_string().chars().take(140).collect()).collect()
    }

    #[test]
    fn new_objects_need_a_name_and_a_namespace() {
        assert_eq!(create(json!({"name": "a", "namespace": "b"})), Vec::<String>::new());
        let missing =
            ["metadata.name: Required value: name or generateName is required", "metadata.namespace: Required value"];
        assert_eq!(create(json!({})), missing);
        assert!(
            create(json!({"name": "A", "namespace": "b"}))[0]
                .starts_with("metadata.name: Invalid value: \"A\": a lowercase")
        );
        let rule = validation::name_is_dns_subdomain;
        let errors =
            validate_object_meta(&object(json!({"name": "a", "namespace": "b"})), false, rule, &Path::new("metadata"));
        assert_eq!(errors[0].to_string(), "metadata.namespace: Forbidden: not allowed on this type");
    }

    #[test]
    fn labels_annotations_finalizers_and_managers_are_checked() {
        let metadata = |extra: Value| {
            let mut metadata = json!({"name": "a", "namespace": "b"});
            crate::patch::merge::apply(&mut metadata, extra);
            metadata
        };
        let first = |extra: Value| create(metadata(extra)).into_iter().next().unwrap_or_default();
        assert!(
            first(json!({"labels": {"a b": "c"}})).starts_with("metadata.labels: Invalid value: \"a b\": name part")
        );
        assert!(
            first(json!({"labels": {"a": "-"}})).starts_with("metadata.labels: Invalid value: \"-\": a valid label")
        );
        assert_eq!(first(json!({"annotations": {"A.io/B": "any value"}})), "");
        let long = "x".repeat(256 * 1024);
        assert_eq!(
            first(json!({"annotations": {"a": long}})),
            "metadata.annotations: Too long: may not be more than 262144 bytes"
        );
        assert!(first(json!({"finalizers": ["a b"]})).starts_with("metadata.finalizers: Invalid value: \"a b\""));
        assert!(
            first(json!({"finalizers": ["orphan", "foregroundDeletion"]}))
                .ends_with("finalizer orphan and foregroundDeletion cannot be both set")
        );
        assert_eq!(first(json!({"managedFields": [{"operation": "Apply"}]})), "");
        assert_eq!(
            first(json!({"managedFields": [{}]})),
            "metadata.managedFields[0].operation: Required value: must not be empty"
        );
    }

    #[test]
    fn updates_cannot_change_what_is_fixed() {
        let old = json!({"name": "a", "namespace": "b", "uid": "1", "resourceVersion": "5", "generation": 2,
            "creationTimestamp": "2026-01-01T00:00:00Z", "deletionTimestamp": "2026-01-02T00:00:00Z"});
        let update = |extra: Value| {
            let mut metadata = old.clone();
            crate::patch::merge::apply(&mut metadata, extra);
            let errors = validate_object_meta_update(&object(metadata), &object(old.clone()), &Path::new("metadata"));
            errors.iter().map(|error| error.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(update(json!({})), Vec::<String>::new());
        assert_eq!(update(json!({"uid": "2"})), ["metadata.uid: Invalid value: \"2\": field is immutable"]);
        assert_eq!(
            update(json!({"deletionTimestamp": null})),
            ["metadata.deletionTimestamp: Invalid value: null: field is immutable"]
        );
        assert_eq!(
            update(json!({"resourceVersion": ""})),
            ["metadata.resourceVersion: Invalid value: \"\": must be specified for an update"]
        );
        assert_eq!(
            update(json!({"generation": 1})),
            ["metadata.generation: Invalid value: 1: must not be decremented"]
        );
        assert_eq!(
            update(json!({"finalizers": ["x/y"]})),
            [
                "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{\"x/y\"}"
            ]
        );
    }
}
