//! Namespaces (upstream: pkg/registry/core/namespace/strategy.go).

use apimachinery::Object;
use apimachinery::field::{self, Path};
use serde_json::{Value, json};

use crate::check::{self, Errors, names};
use crate::json::{Read, Write};
use crate::resource::{Generation, Strategy, WriteContext};

/// The strategy of namespaces.
pub(crate) struct Namespace;

/// While this finalizer is in the spec, the namespace controller still has content to delete.
const FINALIZER: &str = "kubernetes";

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
        for finalizer in object.object("spec").texts("finalizers").filter(|name| *name != FINALIZER) {
            check::named(&mut errors, names::qualified_name, finalizer, &Path::new("spec").child("finalizers"));
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
