//! Defaults have the form and the values that the schema asks for
//! (upstream: apiextensions-apiserver/pkg/apiserver/schema/defaulting/validation.go).

use apimachinery::field::{Error, Path};
use serde_json::Value;

use crate::metadata;
use crate::schema::{Schema, SchemaOrBool};
use crate::values::{Patterns, Validator};

/// What is wrong with the defaults of a structural schema.
pub(super) fn validate(root: &Schema, pruned: bool, path: &Path, errors: &mut Vec<Error>) {
    if !root.has(&|schema| schema.default.is_some()) {
        return;
    }
    let patterns = Patterns::of(root);
    walk(root, pruned, &Validator::new(&patterns), path, errors);
}

/// Whether no default has fields that would be pruned.
pub(super) fn are_pruned(root: &Schema) -> bool {
    !root.has(&|schema| schema.default.as_ref().is_some_and(|default| has_unknown(schema, default)))
}

fn walk(schema: &Schema, pruned: bool, validator: &Validator<'_>, path: &Path, errors: &mut Vec<Error>) {
    if let Some(default) = &schema.default {
        one(schema, default, pruned, validator, &path.child("default"), errors);
    }
    if let Some(items) = schema.item() {
        walk(items, pruned, validator, &path.child("items"), errors);
    }
    for (name, property) in &schema.properties {
        walk(property, pruned, validator, &path.child("properties").key(name), errors);
    }
}

fn one(
    schema: &Schema,
    default: &Value,
    pruned: bool,
    validator: &Validator<'_>,
    path: &Path,
    errors: &mut Vec<Error>,
) {
    if pruned && has_unknown(schema, default) {
        errors.push(Error::invalid(path, default.clone(), "must not have unknown fields"));
    }
    let mut coerced = default.clone();
    if let Err(error) = metadata::coerce_default(schema, &mut coerced, path) {
        return errors.push(error);
    }
    let before = errors.len();
    metadata::validate_value(schema, default, path, errors);
    if errors.len() == before {
        errors.extend(validator.validate(schema, default, path));
    }
}

/// Whether pruning would take something away.
fn has_unknown(schema: &Schema, value: &Value) -> bool {
    match value {
        Value::Object(map) => map.iter().any(|(name, value)| {
            if schema.embedded_resource && matches!(name.as_str(), "apiVersion" | "kind" | "metadata") {
                return false;
            }
            match (schema.properties.get(name), schema.additional_properties.as_deref()) {
                (Some(child), _) | (None, Some(SchemaOrBool::Schema(child))) => has_unknown(child, value),
                (None, Some(SchemaOrBool::Bool(true))) => false,
                (None, _) => !schema.preserves(),
            }
        }),
        Value::Array(list) => schema.item().is_some_and(|items| list.iter().any(|value| has_unknown(items, value))),
        _ => false,
    }
}
