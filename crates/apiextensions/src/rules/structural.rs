//! Structural schemas: the type of every value is said once, outside of alternatives
//! (upstream: apiextensions-apiserver/pkg/apiserver/schema/validation.go).

use apimachinery::field::{Error, Path};
use regex::Regex;

use crate::schema::{Schema, SchemaOrBool};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Item,
    Field,
}

/// What keeps a schema from being structural, in words (for the condition `NonStructuralSchema`).
pub fn violations(root: &Schema) -> Vec<Error> {
    validate(root, &Path::default())
}

/// What keeps a schema from being structural.
pub(super) fn validate(root: &Schema, path: &Path) -> Vec<Error> {
    let mut errors = Vec::new();
    invariants(root, Level::Root, path, &mut errors);
    completeness(root, root, path, path, &mut errors);
    errors.sort_by_key(ToString::to_string);
    errors
}

fn invariants(schema: &Schema, level: Level, path: &Path, errors: &mut Vec<Error>) {
    if schema.kind == "array" && schema.items.is_none() {
        errors.push(Error::required(&path.child("items"), "must be specified"));
    }
    if let Some(items) = schema.item() {
        invariants(items, Level::Item, &path.child("items"), errors);
    }
    for (name, property) in &schema.properties {
        invariants(property, Level::Field, &path.child("properties").key(name), errors);
    }
    if let Some(additional) = schema.additional_properties.as_deref() {
        let below = path.child("additionalProperties");
        if level == Level::Root {
            errors.push(Error::forbidden(&below, "must not be used at the root"));
        }
        if schema.embedded_resource {
            errors.push(Error::forbidden(&below, "must not be used if x-kubernetes-embedded-resource is set"));
        }
        if let SchemaOrBool::Schema(additional) = additional {
            invariants(additional, Level::Field, &below, errors);
        }
    }
    extensions(schema, path, errors);
    let any_of = is_int_or_string(&schema.any_of);
    let first_all_of = schema.all_of.first().is_some_and(|first| is_int_or_string(&first.any_of));
    values(schema, any_of, first_all_of, path, errors);
    types(schema, level, path, errors);
    whole_object(schema, level, path, errors);
}

fn extensions(schema: &Schema, path: &Path, errors: &mut Vec<Error>) {
    let words = "must be false if x-kubernetes-int-or-string is true";
    for (field, there) in [
        ("x-kubernetes-preserve-unknown-fields", schema.preserves()),
        ("x-kubernetes-embedded-resource", schema.embedded_resource),
    ] {
        if schema.int_or_string && there {
            errors.push(Error::invalid(&path.child(field), true, words));
        }
    }
}

fn types(schema: &Schema, level: Level, path: &Path, errors: &mut Vec<Error>) {
    let (path, kind) = (path.child("type"), schema.kind.as_str());
    if schema.embedded_resource && kind != "object" {
        let words = "must be object if x-kubernetes-embedded-resource is true";
        errors.push(match kind {
            "" => Error::required(&path, words),
            other => Error::invalid(&path, other, words),
        });
    } else if kind.is_empty() && !schema.int_or_string && !schema.preserves() {
        let words = match level {
            Level::Root => "must not be empty at the root",
            Level::Item => "must not be empty for specified array items",
            Level::Field => "must not be empty for specified object fields",
        };
        errors.push(Error::required(&path, words));
    }
    if level == Level::Root && !kind.is_empty() && kind != "object" {
        errors.push(Error::invalid(&path, kind, "must be object at the root"));
    }
}

/// apiVersion, kind and metadata have the form they always have.
fn whole_object(schema: &Schema, level: Level, path: &Path, errors: &mut Vec<Error>) {
    let is_whole = level == Level::Root || schema.embedded_resource;
    let properties = path.child("properties");
    for name in ["kind", "apiVersion"].iter().filter(|_| is_whole) {
        if let Some(property) = schema.properties.get(*name).filter(|property| property.kind != "string") {
            let path = properties.key(name).child("type");
            errors.push(Error::invalid(&path, property.kind.as_str(), "must be string"));
        }
    }
    if let Some(metadata) = schema.properties.get("metadata") {
        let path = properties.key("metadata");
        if is_whole && metadata.kind != "object" {
            errors.push(Error::invalid(&path.child("type"), metadata.kind.as_str(), "must be object"));
        }
        if level == Level::Root && !only_names(metadata) {
            let words =
                "must not specify anything other than name and generateName, but metadata is implicitly specified";
            errors.push(Error::forbidden(&path, words));
        }
    }
    if schema.embedded_resource && !schema.preserves() && schema.properties.is_empty() {
        let words =
            "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields";
        errors.push(Error::required(&properties, words));
    }
}

/// Whether a schema of metadata says something about the names alone.
fn only_names(metadata: &Schema) -> bool {
    let names = metadata.properties.keys().all(|name| matches!(name.as_str(), "name" | "generateName"));
    let bare = Schema {
        properties: metadata.properties.clone(),
        kind: metadata.kind.clone(),
        default: metadata.default.clone(),
        ..Schema::default()
    };
    names && bare == *metadata
}

/// `[{type: integer}, {type: string}]`: the one place where alternatives may say types.
fn is_int_or_string(any_of: &[Schema]) -> bool {
    let only = |schema: &Schema, kind: &str| *schema == Schema { kind: kind.to_owned(), ..Schema::default() };
    matches!(any_of, [a, b] if only(a, "integer") && only(b, "string"))
}

fn values(schema: &Schema, skip_any_of: bool, skip_first_all_of: bool, path: &Path, errors: &mut Vec<Error>) {
    if !skip_any_of {
        for (index, one) in schema.any_of.iter().enumerate() {
            nested(one, false, &path.child("anyOf").index(index), errors);
        }
    }
    for (index, one) in schema.all_of.iter().enumerate() {
        nested(one, skip_first_all_of && index == 0, &path.child("allOf").index(index), errors);
    }
    for (index, one) in schema.one_of.iter().enumerate() {
        nested(one, false, &path.child("oneOf").index(index), errors);
    }
    if let Some(not) = &schema.not {
        nested(not, false, &path.child("not"), errors);
    }
    if let Err(error) = Regex::new(&schema.pattern) {
        let words = format!("must be a valid regular expression, but isn't: {error}");
        errors.push(Error::invalid(&path.child("pattern"), schema.pattern.as_str(), words));
    }
}

/// A schema inside an alternative only narrows values.
fn nested(schema: &Schema, skip_any_of: bool, path: &Path, errors: &mut Vec<Error>) {
    values(schema, skip_any_of, false, path, errors);
    if let Some(items) = schema.item() {
        nested(items, false, &path.child("items"), errors);
    }
    for (name, property) in &schema.properties {
        nested(property, false, &path.child("properties").key(name), errors);
    }
    for (field, there, words) in [
        ("type", !schema.kind.is_empty(), "must be empty to be structural"),
        ("additionalProperties", schema.additional_properties.is_some(), "must be undefined to be structural"),
        ("default", schema.default.is_some(), "must be undefined to be structural"),
        ("title", !schema.title.is_empty(), "must be empty to be structural"),
        ("description", !schema.description.is_empty(), "must be empty to be structural"),
        ("nullable", schema.nullable, "must be false to be structural"),
        ("x-kubernetes-preserve-unknown-fields", schema.preserves(), "must be false to be structural"),
        ("x-kubernetes-embedded-resource", schema.embedded_resource, "must be false to be structural"),
        ("x-kubernetes-int-or-string", schema.int_or_string, "must be false to be structural"),
        ("x-kubernetes-list-map-keys", !schema.list_map_keys.is_empty(), "must be empty to be structural"),
        ("x-kubernetes-list-type", schema.list_type.is_some(), "must be undefined to be structural"),
        ("x-kubernetes-map-type", schema.map_type.is_some(), "must be undefined to be structural"),
        ("x-kubernetes-validations", !schema.validations.is_empty(), "must be empty to be structural"),
    ] {
        if there {
            errors.push(Error::forbidden(&path.child(field), words));
        }
    }
    if schema.properties.contains_key("metadata") {
        let path = path.child("properties").key("metadata");
        errors.push(Error::forbidden(&path, "must not be specified in a nested context"));
    }
}

/// What alternatives narrow is there outside of them, too.
fn completeness(values: &Schema, schema: &Schema, path: &Path, values_path: &Path, errors: &mut Vec<Error>) {
    if let Some(not) = &values.not {
        nested_completeness(not, schema, path, &values_path.child("not"), errors);
    }
    for (field, list) in [("allOf", &values.all_of), ("anyOf", &values.any_of), ("oneOf", &values.one_of)] {
        for (index, one) in list.iter().enumerate() {
            nested_completeness(one, schema, path, &values_path.child(field).index(index), errors);
        }
    }
}

fn nested_completeness(values: &Schema, schema: &Schema, path: &Path, values_path: &Path, errors: &mut Vec<Error>) {
    completeness(values, schema, path, values_path, errors);
    let missing =
        |path: &Path, values_path: &Path| Error::required(path, format!("because it is defined in {values_path}"));
    if let Some(items) = values.item() {
        let (path, values_path) = (path.child("items"), values_path.child("items"));
        match schema.item() {
            Some(schema) => nested_completeness(items, schema, &path, &values_path, errors),
            None => errors.push(missing(&path, &values_path)),
        }
    }
    for (name, property) in &values.properties {
        let (path, values_path) = (path.child("properties").key(name), values_path.child("properties").key(name));
        match schema.properties.get(name) {
            Some(schema) => nested_completeness(property, schema, &path, &values_path, errors),
            None => errors.push(missing(&path, &values_path)),
        }
    }
}
