//! Defaults have the form and the values that the schema asks for
//! (upstream: apiextensions-apiserver/pkg/apiserver/schema/defaulting/validation.go).

use apimachinery::field::{Error, Path};
use serde_json::Value;

use crate::expressions::Compiler;
use crate::metadata;
use crate::schema::{Schema, SchemaOrBool};
use crate::values::{Patterns, Validator};

/// Judges the defaults of structural schemas.
pub(super) struct Judge<'j> {
    /// Whether fields that would be pruned are wrong.
    pub(super) pruned: bool,
    /// Who understands the rules that defaults have to obey.
    pub(super) compiler: Option<&'j dyn Compiler>,
}

impl Judge<'_> {
    /// What is wrong with the defaults of a schema.
    pub(super) fn root(&self, root: &Schema, path: &Path, errors: &mut Vec<Error>) {
        if !root.has(&|schema| schema.default.is_some()) {
            return;
        }
        let patterns = Patterns::of(root);
        self.walk(root, &Validator::new(&patterns), path, errors);
    }

    fn walk(&self, schema: &Schema, validator: &Validator<'_>, path: &Path, errors: &mut Vec<Error>) {
        if let Some(default) = &schema.default {
            self.one(schema, default, validator, &path.child("default"), errors);
        }
        if let Some(items) = schema.item() {
            self.walk(items, validator, &path.child("items"), errors);
        }
        for (name, property) in &schema.properties {
            self.walk(property, validator, &path.child("properties").key(name), errors);
        }
    }

    fn one(&self, schema: &Schema, default: &Value, validator: &Validator<'_>, path: &Path, errors: &mut Vec<Error>) {
        if self.pruned && has_unknown(schema, default) {
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
        if errors.len() == before {
            errors.extend(self.broken_rules(schema, default, path));
        }
    }

    /// What the rules of the schema have against its default: where it stays as it is, and where it is new.
    fn broken_rules(&self, schema: &Schema, default: &Value, path: &Path) -> Vec<Error> {
        let compiler = self.compiler.filter(|_| schema.has(&|schema| !schema.validations.is_empty()));
        let Some(rules) = compiler.and_then(|compiler| compiler.compile(schema)) else { return Vec::new() };
        let broken = rules.validate(path, default, Some(default));
        if broken.is_empty() { rules.validate(path, default, None) } else { broken }
    }
}

/// Whether no default has fields that would be pruned.
pub(super) fn are_pruned(root: &Schema) -> bool {
    !root.has(&|schema| schema.default.as_ref().is_some_and(|default| has_unknown(schema, default)))
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
