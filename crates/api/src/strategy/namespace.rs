//! Namespaces (upstream: pkg/registry/core/namespace/strategy.go).

use apimachinery::Object;
use apimachinery::field::{self, Error, Path};
use serde_json::{Value, json};

use crate::check::{self, Errors, names};
use crate::json::{Read, Write};
use crate::resource::{Generation, Strategy, WriteContext};

/// The strategy of namespaces.
pub(crate) struct Namespace;

/// While this finalizer is in the spec, the namespace controller still has content to delete.
const FINALIZER: &str = "kubernetes";
/// Finalizers that need no domain (upstream: pkg/apis/core/helper `IsStandardFinalizerName`).
const STANDARD: &[&str] = &[FINALIZER, "orphan", "foregroundDeletion"];

impl Strategy for Namespace {
    fn default(&self, object: &mut Object) {
        let name = object.name().to_owned();
        if !name.is_empty()
            && let Some(labels) = object.metadata_mut().object_made("labels")
        {
            labels.insert("kubernetes.io/metadata.name".into(), name.into());
        }
        object.default_to("spec", json!({}));
        if let Some(status) = object.object_made("status") {
            status.default_text("phase", "Active");
        }
    }

    fn prepare_for_create(&self, _cx: &WriteContext<'_>, object: &mut Object) {
        object.0.insert("status".into(), json!({"phase": "Active"}));
        // A generated name is known only now.
        self.default(object);
        if let Some(spec) = object.object_made("spec") {
            spec.default_to("finalizers", Vec::<Value>::new());
            if let Some(list) = spec.get_mut("finalizers").and_then(Value::as_array_mut)
                && !list.iter().any(|name| name == FINALIZER)
            {
                list.push(FINALIZER.into());
            }
        }
    }

    fn prepare_for_update(&self, cx: &WriteContext<'_>, object: &mut Object, old: &Object) {
        if cx.subresource == "finalize" {
            if let Some(status) = old.value("status") {
                object.0.insert("status".into(), status.clone());
            }
        } else if let Some(spec) = old.value("spec") {
            object.0.insert("spec".into(), spec.clone());
        }
    }

    fn validate(&self, object: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        let path = Path::new("spec").child("finalizers");
        for finalizer in object.object("spec").texts("finalizers") {
            check::named(&mut errors, names::qualified_name, finalizer, &path);
            if !finalizer.contains('/') && !STANDARD.contains(&finalizer) {
                let detail = "name is neither a standard finalizer name nor is it fully qualified";
                errors.push(Error::invalid(&path, finalizer, detail));
            }
        }
        errors
    }

    /// A namespace is active until it is deleted, and ends from then on.
    fn validate_status_update(&self, object: &Object, _old: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        let (phase, path) = (object.object("status").text("phase"), Path::new("status").child("Phase"));
        let (right, words) = if object.is_deleting() {
            ("Terminating", "may only be 'Terminating' if `deletionTimestamp` is not empty")
        } else {
            ("Active", "may only be 'Active' if `deletionTimestamp` is empty")
        };
        if phase != right {
            errors.push(Error::invalid(&path, phase, words));
        }
        errors
    }

    fn name_errors(&self, name: &str, prefix: bool) -> Vec<String> {
        names::name_is_dns_label(name, prefix)
    }

    fn generation(&self) -> Generation {
        Generation::Never
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finalizers_and_phases_are_checked() {
        let finalized = |name: &str| {
            let object = Object::from_value(json!({"spec": {"finalizers": [name]}})).expect("an object");
            Namespace.validate(&object).iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
        };
        assert_eq!(finalized("kubernetes"), "");
        assert_eq!(finalized("example.com/mine"), "");
        assert_eq!(
            finalized("mine"),
            "spec.finalizers: Invalid value: \"mine\": name is neither a standard finalizer name nor is it fully qualified"
        );
        for (deleted, phase, right) in [
            (false, "Active", true),
            (false, "Terminating", false),
            (true, "Active", false),
            (true, "Terminating", true),
        ] {
            let metadata = if deleted { json!({"deletionTimestamp": "2026-01-01T00:00:00Z"}) } else { json!({}) };
            let object = json!({"metadata": metadata, "status": {"phase": phase}});
            let object = Object::from_value(object).expect("an object");
            assert_eq!(Namespace.validate_status_update(&object, &object).is_empty(), right, "{deleted} {phase}");
        }
    }
}
