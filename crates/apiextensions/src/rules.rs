//! [`DefinitionRules`]: when a CustomResourceDefinition is a good one
//! (upstream: apiextensions-apiserver/pkg/registry/customresourcedefinition/strategy.go,
//! pkg/apis/apiextensions/validation/validation.go).

mod approval;
mod conversion;
mod defaults;
mod options;
mod schemas;
mod spec;
mod structural;
mod versions;

use std::sync::Arc;

use api::resource::{Generation, Strategy, WriteContext};
use apimachinery::Object;
use apimachinery::field::{Error, Path};
use serde_json::{Value, json};

use crate::conditions::{self, Condition};
use crate::definition::Definition;
use crate::expressions::Compiler;
use crate::schema::Schema;
use crate::values::is_known_format;

pub use approval::condition as approval_condition;
pub use structural::violations;

use options::Options;

/// The finalizer that holds a definition until its objects are gone.
pub const CLEANUP_FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";

/// The strategy of CustomResourceDefinitions.
#[derive(Clone)]
pub struct DefinitionRules {
    compiler: Option<Arc<dyn Compiler>>,
}

impl Strategy for DefinitionRules {
    fn default(&self, object: &mut Object) {
        set_defaults(object);
    }

    fn prepare_for_create(&self, _cx: &WriteContext<'_>, object: &mut Object) {
        let stored: Vec<String> = storage_version(object).into_iter().map(str::to_owned).collect();
        let names = json!({ "plural": "", "kind": "" });
        let status = json!({ "conditions": [], "acceptedNames": names, "storedVersions": stored });
        object.0.insert("status".into(), status);
    }

    fn prepare_for_update(&self, cx: &WriteContext<'_>, object: &mut Object, _old: &Object) {
        if !cx.subresource.is_empty() {
            return;
        }
        let Some(version) = storage_version(object).map(str::to_owned) else { return };
        let status = object.0.entry("status").or_insert_with(|| json!({}));
        let Some(status) = status.as_object_mut() else { return };
        let stored = status.entry("storedVersions").or_insert_with(|| json!([]));
        if let Some(stored) = stored.as_array_mut().filter(|stored| !stored.contains(&json!(version))) {
            stored.push(version.into());
        }
    }

    fn validate(&self, object: &Object) -> Vec<Error> {
        self.judge(object, None)
    }

    fn validate_update(&self, object: &Object, old: &Object) -> Vec<Error> {
        self.judge(object, Some(old))
    }

    fn judges_updates_alone(&self) -> bool {
        true
    }

    fn status_keeps_metadata(&self) -> bool {
        true
    }

    fn validate_status_update(&self, object: &Object, _old: &Object) -> Vec<Error> {
        match Definition::parse(object) {
            Ok(definition) => {
                spec::validate_names(&definition.status.accepted_names, &Path::new("status").child("acceptedNames"))
            }
            Err(error) => vec![unreadable(&error)],
        }
    }

    fn allow_unconditional_update(&self) -> bool {
        false
    }

    fn generation(&self) -> Generation {
        Generation::Spec
    }

    /// Upstream: pkg/registry/customresourcedefinition/etcd.go, `Delete`.
    fn prepare_for_delete(&self, object: &mut Object, now: jiff::Timestamp) {
        if object.is_deleting() {
            return;
        }
        if !object.finalizers().any(|finalizer| finalizer == CLEANUP_FINALIZER) {
            let finalizers = object.metadata_mut().entry("finalizers").or_insert_with(|| json!([]));
            if let Some(finalizers) = finalizers.as_array_mut() {
                finalizers.push(CLEANUP_FINALIZER.into());
            }
        }
        let words = "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon";
        let condition = Condition::new("Terminating", true, "InstanceDeletionPending", words);
        conditions::set(object, &condition, now);
    }

    fn warnings(&self, object: &Object) -> Vec<String> {
        let Ok(definition) = Definition::parse(object) else { return Vec::new() };
        let mut warnings = Vec::new();
        for schema in definition.spec.versions.iter().filter_map(|version| version.root()) {
            warn(schema, &mut warnings);
        }
        warnings
    }
}

impl DefinitionRules {
    /// The rules; `compiler` understands the expressions in schemas.
    pub fn new(compiler: Option<Arc<dyn Compiler>>) -> Self {
        Self { compiler }
    }

    fn judge(&self, object: &Object, old: Option<&Object>) -> Vec<Error> {
        let definition = match Definition::parse(object) {
            Ok(definition) => definition,
            Err(error) => return vec![unreadable(&error)],
        };
        let before = old.and_then(|old| Definition::parse(old).ok());
        let mut errors = Vec::new();
        let expected = definition.spec.name();
        if old.is_none() && object.name() != expected {
            let words = r#"must be spec.names.plural+"."+spec.group"#;
            errors.push(Error::invalid(&Path::new("metadata").child("name"), object.name(), words));
        }
        let options = match (&before, old) {
            (Some(before), Some(old)) => Options::of(before, old),
            _ => Options::default(),
        };
        spec::validate(&definition.spec, &options, before.as_ref(), self.compiler.as_deref(), &mut errors);
        let status = Path::new("status");
        errors.extend(spec::validate_names(&definition.status.accepted_names, &status.child("acceptedNames")));
        spec::validate_stored_versions(&definition, &status.child("storedVersions"), &mut errors);
        errors.extend(approval::validate(object, old));
        if definition.spec.preserve_unknown_fields && !before.is_some_and(|old| old.spec.preserve_unknown_fields) {
            let words = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in \
                         spec.versions[*].schema instead";
            errors.push(Error::invalid(&Path::new("spec").child("preserveUnknownFields"), true, words));
        }
        errors
    }
}

/// Structure is judged when the definition is decoded, so that what cannot be read here is inside a schema.
fn unreadable(error: &serde_json::Error) -> Error {
    Error::invalid(&Path::new("spec"), "", format!("the definition cannot be read: {error}"))
}

/// Upstream: pkg/apis/apiextensions/v1/defaults.go.
fn set_defaults(object: &mut Object) {
    let stored = storage_version(object).map(str::to_owned);
    let Some(spec) = object.0.get_mut("spec").and_then(Value::as_object_mut) else { return };
    if let Some(names) = spec.get_mut("names").and_then(Value::as_object_mut) {
        let kind = names.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned();
        let missing = |value: Option<&Value>| value.is_none_or(|value| value == "");
        if missing(names.get("singular")) && !kind.is_empty() {
            names.insert("singular".into(), kind.to_lowercase().into());
        }
        if missing(names.get("listKind")) && !kind.is_empty() {
            names.insert("listKind".into(), format!("{kind}List").into());
        }
    }
    let conversion = spec.entry("conversion").or_insert_with(|| json!({ "strategy": "None" }));
    let service = conversion.pointer_mut("/webhook/clientConfig/service").and_then(Value::as_object_mut);
    if let Some(service) = service {
        service.entry("port").or_insert_with(|| 443.into());
    }
    if let Some(status) = object.0.get_mut("status").and_then(Value::as_object_mut) {
        let empty = status.get("storedVersions").and_then(Value::as_array).is_none_or(Vec::is_empty);
        if let Some(version) = stored.filter(|_| empty) {
            status.insert("storedVersions".into(), json!([version]));
        }
    }
}

fn storage_version(object: &Object) -> Option<&str> {
    let versions = object.at(&["spec", "versions"])?.as_array()?;
    versions.iter().find(|version| version["storage"] == true)?["name"].as_str()
}

fn warn(schema: &Schema, warnings: &mut Vec<String>) {
    let mut add = |text: String| {
        if !warnings.contains(&text) {
            warnings.push(text);
        }
    };
    if !is_known_format(schema) {
        add(format!("unrecognized format {:?}", schema.format));
    }
    let items = schema.item().map(|items| items.kind.as_str());
    if let Some(kind @ ("object" | "array")) = items.filter(|_| schema.list_type() == "set") {
        add(format!(
            "x-kubernetes-list-type: set for items of type {kind:?} is not supported by server-side apply or CEL \
             validation rules"
        ));
    }
    schema.children().for_each(|child| warn(child, warnings));
}

#[cfg(test)]
mod tests;
