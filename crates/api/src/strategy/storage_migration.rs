//! Migrations of stored versions (upstream: pkg/apis/storagemigration/validation/validation.go).

use apimachinery::Object;
use apimachinery::field::{self, Error, Path};
use serde_json::Value;

use crate::check::{self, Errors, names};
use crate::json::Read;
use crate::resource::{Generation, Strategy};

/// The strategy of migrations of stored versions.
pub(crate) struct StorageVersionMigration;

impl Strategy for StorageVersionMigration {
    fn validate(&self, object: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        let (of, path) = (object.object("spec").object("resource"), Path::new("spec").child("resource"));
        let mut part = |field: &str, rule: check::Rule| {
            let wrong = rule(of.text(field));
            if !wrong.is_empty() {
                errors.push(Error::invalid(&path.child(field), of.text(field), wrong.join(",")));
            }
        };
        if !of.text("resource").is_empty() {
            part("resource", names::dns1035_label);
        }
        if !of.text("group").is_empty() {
            part("group", names::dns1123_subdomain);
        }
        if of.text("resource").is_empty() {
            errors.push(Error::required(&path.child("resource"), "resource is required to be set"));
        }
        errors
    }

    fn validate_update(&self, object: &Object, old: &Object) -> Vec<field::Error> {
        check::same_spec(object, old)
    }

    fn status_keeps_metadata(&self) -> bool {
        true
    }

    /// A migration succeeds or fails, once.
    fn validate_status_update(&self, object: &Object, old: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        let (new, was, path) = (object.object("status"), old.object("status"), Path::new("status"));
        let (version, before) = (new.text("resourceVersion"), was.text("resourceVersion"));
        let at = path.child("resourceVersion");
        if !version.is_empty() && !is_version(version) {
            let detail = format!("resource version is not well formed: {version}");
            errors.push(Error::invalid(&at, version, detail));
        }
        let at_conditions = path.child("conditions");
        check::conditions(&mut errors, new.list("conditions"), &at_conditions);
        if !before.is_empty() && version != before {
            errors.push(Error::invalid(&at, version, check::IMMUTABLE));
        }
        let shown = || new.value("conditions").cloned().unwrap_or(Value::Null);
        let holds = |kind: &str| check::holds(new.list("conditions"), kind);
        if holds("Succeeded") && holds("Failed") {
            let detail = "Both success and failed conditions cannot be true at the same time";
            errors.push(Error::invalid(&at_conditions, shown(), detail));
        }
        for (kind, word) in [("Succeeded", "Success"), ("Failed", "Failed")] {
            if check::holds(was.list("conditions"), kind) && !holds(kind) {
                let detail = format!("{word} condition cannot be set to false once it is true");
                errors.push(Error::invalid(&at_conditions, shown(), detail));
            }
        }
        errors
    }

    fn generation(&self) -> Generation {
        Generation::Never
    }

    fn allow_unconditional_update(&self) -> bool {
        false
    }
}

/// A number without leading zeros (upstream: apimachinery/pkg/util/resourceversion).
fn is_version(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0')
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn migration(resource: Value, status: Value) -> Object {
        Object::from_value(json!({"spec": {"resource": resource}, "status": status})).expect("an object")
    }

    fn lines(errors: &[Error]) -> Vec<String> {
        errors.iter().map(|error| format!("{}: {}", error.field, error.detail)).collect()
    }

    #[test]
    fn a_migration_names_a_resource() {
        let check = |resource: Value| lines(&StorageVersionMigration.validate(&migration(resource, json!({}))));
        assert!(check(json!({"group": "apps", "resource": "deployments"})).is_empty());
        assert_eq!(check(json!({})), ["spec.resource.resource: resource is required to be set"]);
        assert_eq!(check(json!({"group": "A", "resource": "1"})).len(), 2);
    }

    #[test]
    fn a_migration_ends_once() {
        let condition = |kind: &str, status: &str| json!({"type": kind, "status": status, "reason": "R", "lastTransitionTime": "2026-01-01T00:00:00Z"});
        let status = |conditions: Value| {
            migration(json!({"resource": "pods"}), json!({"resourceVersion": "7", "conditions": conditions}))
        };
        let update = |new: &Object, old: &Object| lines(&StorageVersionMigration.validate_status_update(new, old));
        let done = status(json!([condition("Succeeded", "True")]));
        assert!(update(&done, &status(json!([]))).is_empty());
        assert_eq!(
            update(&status(json!([condition("Succeeded", "False")])), &done),
            ["status.conditions: Success condition cannot be set to false once it is true"]
        );
        assert_eq!(
            update(&status(json!([condition("Succeeded", "True"), condition("Failed", "True")])), &done),
            ["status.conditions: Both success and failed conditions cannot be true at the same time"]
        );
        let moved = migration(
            json!({"resource": "pods"}),
            json!({"resourceVersion": "08", "conditions": [condition("Succeeded", "True")]}),
        );
        assert_eq!(
            update(&moved, &done),
            [
                "status.resourceVersion: resource version is not well formed: 08",
                "status.resourceVersion: field is immutable"
            ]
        );
    }
}
