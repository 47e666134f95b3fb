//! What a schema may say (upstream: validation.go, `ValidateCustomResourceDefinitionOpenAPISchema`).

use apimachinery::field::{Error, Path};

use super::options::Options;
use super::{defaults, structural, versions};
use crate::expressions::Compiler;
use crate::schema::{Items, Rule, Schema, SchemaOrBool};

/// The types there are.
pub(super) const TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];

/// What may stand at the root beside `/status`, whose schema is cut out of it, in Go's names.
const AT_ROOT: &str = "[Description Type Format Title Maximum ExclusiveMaximum Minimum ExclusiveMinimum MaxLength \
                       MinLength Pattern MaxItems MinItems UniqueItems MultipleOf Required Items Properties \
                       ExternalDocs Example XPreserveUnknownFields XValidations]";

const REASONS: [&str; 4] = ["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"];

/// Judges whole schemas.
pub(super) struct Judge<'o> {
    pub(super) options: &'o Options,
    pub(super) compiler: Option<&'o dyn Compiler>,
}

/// Where in a whole object a schema stands.
#[derive(Clone, Copy, Default)]
struct Place<'p> {
    /// Why defaults are not allowed here.
    no_defaults: Option<&'p str>,
    in_metadata: bool,
    is_root: bool,
}

impl Judge<'_> {
    pub(super) fn root(
        &self,
        root: &Schema,
        old: Option<&Schema>,
        has_status: bool,
        path: &Path,
        errors: &mut Vec<Error>,
    ) {
        let before = errors.len();
        if has_status {
            cut_out_status(root, path, errors);
        }
        if root.nullable {
            errors.push(Error::forbidden(&path.child("nullable"), "nullable cannot be true at the root"));
        }
        let mut is_structural = false;
        if self.options.structural {
            let wrong = structural::validate(root, path);
            is_structural = wrong.is_empty();
            errors.extend(wrong);
            if is_structural {
                let judge = defaults::Judge { pruned: self.options.pruned_defaults, compiler: self.compiler };
                judge.root(root, path, errors);
            }
        }
        self.schema(root, Place { is_root: true, ..Place::default() }, path, errors);
        if let Some(compiler) = self.compiler.filter(|_| is_structural && errors.len() == before) {
            errors.extend(compiler.check(root, path, old));
        }
    }

    fn schema(&self, schema: &Schema, place: Place<'_>, path: &Path, errors: &mut Vec<Error>) {
        self.keywords(schema, place, path, errors);
        if schema.unique_items {
            let words = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
            errors.push(Error::forbidden(&path.child("uniqueItems"), words));
        }
        if let Some(additional) = schema.additional_properties.as_deref() {
            let below = path.child("additionalProperties");
            if !schema.properties.is_empty() && !matches!(additional, SchemaOrBool::Bool(true)) {
                errors.push(Error::forbidden(&below, "additionalProperties and properties are mutual exclusive"));
            }
            if let SchemaOrBool::Schema(additional) = additional {
                let no_defaults = "inside additionalProperties applying to object metadata";
                let no_defaults = if place.in_metadata { Some(no_defaults) } else { place.no_defaults };
                self.schema(additional, Place { no_defaults, is_root: false, ..place }, &below, errors);
            }
        }
        for (name, property) in &schema.properties {
            let whole = place.is_root || schema.embedded_resource;
            let is_meta = whole && matches!(name.as_str(), "metadata" | "kind" | "apiVersion");
            let reason = format!("in top-level {name}");
            let below = Place {
                no_defaults: if is_meta && place.is_root { Some(reason.as_str()) } else { place.no_defaults },
                in_metadata: place.in_metadata || is_meta,
                is_root: false,
            };
            self.schema(property, below, &path.child("properties").key(name), errors);
        }
        let below = Place { is_root: false, ..place };
        if let Some(not) = &schema.not {
            self.schema(not, below, &path.child("not"), errors);
        }
        for (field, list) in [("allOf", &schema.all_of), ("oneOf", &schema.one_of), ("anyOf", &schema.any_of)] {
            for (index, schema) in list.iter().enumerate() {
                self.schema(schema, below, &path.child(field).index(index), errors);
            }
        }
        if let Some(items) = schema.item() {
            self.schema(items, below, &path.child("items"), errors);
        }
        self.extensions(schema, path, errors);
        for (index, rule) in schema.validations.iter().enumerate() {
            expression(schema, rule, &path.child("x-kubernetes-validations").index(index), errors);
        }
    }

    /// Upstream: `specStandardValidatorV3.validate`.
    fn keywords(&self, schema: &Schema, place: Place<'_>, path: &Path, errors: &mut Vec<Error>) {
        if self.options.valid_types && !schema.kind.is_empty() && !TYPES.contains(&schema.kind.as_str()) {
            errors.push(Error::not_supported(&path.child("type"), schema.kind.as_str(), &TYPES));
        }
        if let Some(reason) = place.no_defaults.filter(|_| schema.default.is_some()) {
            errors.push(Error::forbidden(&path.child("default"), format!("must not be set {reason}")));
        }
        for (field, there) in [
            ("id", !schema.id.is_empty()),
            ("additionalItems", schema.additional_items.is_some()),
            ("patternProperties", !schema.pattern_properties.is_empty()),
            ("definitions", !schema.definitions.is_empty()),
            ("dependencies", schema.dependencies.is_some()),
            ("$ref", schema.reference.is_some()),
        ] {
            if there {
                errors.push(Error::forbidden(&path.child(field), format!("{field} is not supported")));
            }
        }
        if schema.kind == "null" {
            let words = "type cannot be set to null, use nullable as an alternative";
            errors.push(Error::forbidden(&path.child("type"), words));
        }
        if matches!(schema.items.as_deref(), Some(Items::Many(_))) {
            errors.push(Error::forbidden(&path.child("items"), "items must be a schema object and not an array"));
        }
        if place.in_metadata && schema.embedded_resource {
            let words = "must not be used inside of resource meta";
            errors.push(Error::forbidden(&path.child("x-kubernetes-embedded-resource"), words));
        }
    }

    fn extensions(&self, schema: &Schema, path: &Path, errors: &mut Vec<Error>) {
        if schema.preserve_unknown_fields == Some(false) {
            let path = path.child("x-kubernetes-preserve-unknown-fields");
            errors.push(Error::invalid(&path, false, "must be true or undefined"));
        }
        let mut of_type = |wanted: &str, extension: &str| {
            let words = format!("must be {wanted} if {extension} is specified");
            if schema.kind.is_empty() {
                errors.push(Error::required(&path.child("type"), words));
            } else if schema.kind != wanted {
                errors.push(Error::invalid(&path.child("type"), schema.kind.as_str(), words));
            }
        };
        if schema.map_type.is_some() {
            of_type("object", "x-kubernetes-map-type");
        }
        if schema.list_type.is_some() {
            of_type("array", "x-kubernetes-list-type");
        }
        if !matches!(schema.map_type.as_deref(), None | Some("atomic" | "granular")) {
            let path = path.child("x-kubernetes-map-type");
            errors.push(Error::not_supported(&path, schema.map_type(), &["atomic", "granular"]));
        }
        if self.options.atomic_sets && schema.kind == "array" && has_granular_set(schema) {
            let kind = schema.item().map(|items| items.kind.as_str());
            let field = if kind == Some("array") { "x-kubernetes-list-type" } else { "x-kubernetes-map-type" };
            let value =
                schema.item().and_then(|items| items.list_type.clone()).map_or(serde_json::Value::Null, Into::into);
            let words = "must be atomic as item of a list with x-kubernetes-list-type=set";
            errors.push(Error::invalid(&path.child("items").child(field), value, words));
        }
        if !matches!(schema.list_type.as_deref(), None | Some("atomic" | "set" | "map")) {
            let path = path.child("x-kubernetes-list-type");
            errors.push(Error::not_supported(&path, schema.list_type(), &["atomic", "set", "map"]));
        }
        list_map(schema, path, errors);
        if self.options.map_list_keys {
            errors.extend(map_list_errors(schema, path));
        }
    }
}

/// With `/status` the schema of the status is cut out of the root: nothing may be said across the two.
fn cut_out_status(root: &Schema, path: &Path, errors: &mut Vec<Error>) {
    let forbidden = root.nullable
        || root.max_properties.is_some()
        || root.min_properties.is_some()
        || root.default.is_some()
        || !root.enumeration.is_empty()
        || !(root.all_of.is_empty() && root.one_of.is_empty() && root.any_of.is_empty())
        || root.not.is_some()
        || root.additional_properties.is_some()
        || root.embedded_resource
        || root.int_or_string
        || root.list_type.is_some()
        || root.map_type.is_some();
    if root.kind != "object" && !root.kind.is_empty() {
        let words =
            "only \"object\" is allowed as the type at the root of the schema if the status subresource is enabled";
        errors.push(Error::invalid(&path.child("type"), root.kind.as_str(), words));
    } else if forbidden {
        let words =
            format!("only {AT_ROOT} fields are allowed at the root of the schema if the status subresource is enabled");
        errors.push(Error::invalid(path, serde_json::to_value(root).unwrap_or_default(), words));
    }
}

/// Whether this is a set whose items have parts of their own.
pub(super) fn has_granular_set(schema: &Schema) -> bool {
    let Some(items) = schema.item().filter(|_| schema.list_type() == "set") else { return false };
    match items.kind.as_str() {
        "array" => !matches!(items.list_type(), "" | "atomic"),
        "object" => items.map_type() != "atomic",
        _ => false,
    }
}

fn list_map(schema: &Schema, path: &Path, errors: &mut Vec<Error>) {
    let (type_path, keys_path) = (path.child("x-kubernetes-list-type"), path.child("x-kubernetes-list-map-keys"));
    if !schema.list_map_keys.is_empty() && schema.list_type() != "map" {
        let words = "must be map if x-kubernetes-list-map-keys is non-empty";
        errors.push(match &schema.list_type {
            None => Error::required(&type_path, words),
            Some(other) => Error::invalid(&type_path, other.as_str(), words),
        });
    }
    if schema.list_type() != "map" {
        return;
    }
    if schema.list_map_keys.is_empty() {
        errors.push(Error::required(&keys_path, "must not be empty if x-kubernetes-list-type is map"));
    }
    let Some(items) = schema.item() else {
        let words = "must have a schema if x-kubernetes-list-type is map";
        return errors.push(Error::required(&path.child("items"), words));
    };
    if items.kind != "object" {
        let words = "must be object if parent array's x-kubernetes-list-type is map";
        return errors.push(Error::invalid(&path.child("items").child("type"), items.kind.as_str(), words));
    }
    for (index, key) in schema.list_map_keys.iter().enumerate() {
        match items.properties.get(key) {
            Some(property) if matches!(property.kind.as_str(), "array" | "object") => {
                let path = path.child("items").child("properties").key(key).child("type");
                let words = "must be a scalar type if parent array's x-kubernetes-list-type is map";
                errors.push(Error::invalid(&path, items.kind.as_str(), words));
            }
            Some(_) => {}
            None => {
                let words = "entries must all be names of item properties";
                errors.push(Error::invalid(&keys_path, schema.list_map_keys.clone(), words));
            }
        }
        if schema.list_map_keys[..index].contains(key) {
            let words = "must not contain duplicate entries";
            errors.push(Error::invalid(&keys_path, schema.list_map_keys.clone(), words));
        }
    }
}

/// Keys are always there, and items are never null (upstream: `validateMapListKeysMapSet`).
pub(super) fn map_list_errors(schema: &Schema, path: &Path) -> Vec<Error> {
    let mut errors = Vec::new();
    let (Some(items), kind @ ("set" | "map")) = (schema.item(), schema.list_type()) else { return errors };
    let path = path.child("items");
    if items.nullable {
        let words = format!("cannot be nullable when x-kubernetes-list-type is {kind}");
        errors.push(Error::forbidden(&path.child("nullable"), words));
    }
    let keys = schema.list_map_keys.iter().filter(|_| kind == "map");
    for (key, property) in keys.filter_map(|key| Some((key, items.properties.get(key)?))) {
        let path = path.child("properties").key(key);
        if !items.required.contains(key) && property.default.is_none() {
            let words =
                "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property";
            errors.push(Error::required(&path.child("default"), words));
        }
        if property.nullable {
            let words = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable";
            errors.push(Error::forbidden(&path.child("nullable"), words));
        }
    }
    errors
}

/// What can be said about a rule without understanding its expression.
fn expression(schema: &Schema, rule: &Rule, path: &Path, errors: &mut Vec<Error>) {
    let has_newlines = |text: &str| text.contains(['\n', '\r']);
    let (text, message) = (rule.rule.trim(), rule.message.trim());
    if text.is_empty() {
        errors.push(Error::required(&path.child("rule"), "rule is not specified"));
    } else if !rule.message.is_empty() && message.is_empty() {
        errors.push(Error::invalid(&path.child("message"), rule.message.as_str(), "must be non-empty if specified"));
    } else if has_newlines(message) {
        errors.push(Error::invalid(&path.child("message"), rule.message.as_str(), "must not contain line breaks"));
    } else if has_newlines(text) && message.is_empty() {
        let words = "message must be specified if rule contains line breaks";
        errors.push(Error::required(&path.child("message"), words));
    }
    if !rule.message_expression.is_empty() && rule.message_expression.trim().is_empty() {
        let words = "messageExpression must be non-empty if specified";
        errors.push(Error::required(&path.child("messageExpression"), words));
    }
    if let Some(reason) = rule.reason.as_deref().filter(|reason| !REASONS.contains(reason)) {
        errors.push(Error::not_supported(&path.child("reason"), reason, &REASONS));
    }
    if rule.field_path.is_empty() {
        return;
    }
    let (path, blamed) = (path.child("fieldPath"), rule.field_path.as_str());
    if blamed.trim().is_empty() {
        errors.push(Error::invalid(&path, blamed, "must be non-empty if specified"));
    }
    if has_newlines(blamed) {
        errors.push(Error::invalid(&path, blamed, "must not contain line breaks"));
    }
    // A path with brackets is resolved where expressions are understood.
    if !blamed.contains('[') && versions::lead(schema, blamed).is_err() {
        errors.push(Error::invalid(&path, blamed, "must be a valid path"));
    }
}
