//! Schemas of the arena as OpenAPI spells them.

use std::collections::BTreeSet;

use apimachinery::schema::{Field, Format, ListType, MapType, Node, NodeId, PatchStrategy, SchemaSet, Shape};
use serde_json::{Map, Value, json};

use super::descriptions;
use crate::schemas::Schemas;

/// What differs between the versions of OpenAPI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flavour {
    /// Version 2: `#/definitions/`, no alternatives.
    V2,
    /// Version 3: `#/components/schemas/`, alternatives.
    V3,
}

impl Flavour {
    /// A reference to a definition by its full name.
    pub(super) fn reference(self, name: &str) -> Value {
        match self {
            Self::V2 => json!({"$ref": format!("#/definitions/{name}")}),
            Self::V3 => json!({"$ref": format!("#/components/schemas/{name}")}),
        }
    }
}

/// Writes definitions.
pub(super) struct Writer<'a> {
    pub(super) schemas: &'a Schemas,
    pub(super) flavour: Flavour,
}

impl Writer<'_> {
    fn set(&self) -> &SchemaSet {
        &self.schemas.set
    }

    /// The definitions that these refer to, with themselves.
    pub(super) fn reachable(&self, roots: impl IntoIterator<Item = String>) -> BTreeSet<String> {
        let mut todo: Vec<String> = roots.into_iter().collect();
        let mut found = BTreeSet::new();
        while let Some(name) = todo.pop() {
            let Some(node) = self.set().by_name(&name) else { continue };
            if found.insert(name) {
                self.children(node, &mut todo);
            }
        }
        found
    }

    fn children(&self, id: NodeId, into: &mut Vec<String>) {
        let below: Vec<NodeId> = match self.set().node(id).shape {
            Shape::Object(fields) => self.set().fields(fields).iter().map(|field| field.node).collect(),
            Shape::List { items, .. } => vec![items],
            Shape::Map { values, .. } => vec![values],
            _ => Vec::new(),
        };
        for id in below {
            match self.set().node(id).name {
                Some(name) => into.push(self.set().text(name).to_owned()),
                None => self.children(id, into),
            }
        }
    }

    /// The definition of this full name.
    pub(super) fn definition(&self, name: &str) -> Option<Value> {
        let id = self.set().by_name(name)?;
        let node = self.set().node(id);
        let mut schema = self.body(node, name);
        if let Some(text) = descriptions::of(name) {
            schema.insert("description".into(), text.into());
        }
        let kinds: Vec<Value> = self
            .schemas
            .kinds()
            .filter(|(_, of)| *of == id)
            .map(|(kind, _)| json!({"group": kind.group, "version": kind.version, "kind": kind.kind}))
            .collect();
        if !kinds.is_empty() {
            schema.insert("x-kubernetes-group-version-kind".into(), kinds.into());
        }
        Some(Value::Object(schema))
    }

    fn use_of(&self, id: NodeId) -> Map<String, Value> {
        let node = self.set().node(id);
        match node.name {
            Some(name) => match self.flavour.reference(self.set().text(name)) {
                Value::Object(map) => map,
                _ => Map::new(),
            },
            None => self.body(node, ""),
        }
    }

    fn body(&self, node: &Node, name: &str) -> Map<String, Value> {
        let mut out = Map::new();
        match node.shape {
            Shape::Any { granular } => {
                // Free-form definitions are objects upstream, but for those that are any JSON at all.
                if !name.is_empty() && !name.contains(".apiextensions.v1.JSON") {
                    out.insert("type".into(), "object".into());
                }
                if granular {
                    out.insert("x-kubernetes-preserve-unknown-fields".into(), true.into());
                }
            }
            Shape::Object(fields) => {
                out.insert("type".into(), "object".into());
                let fields_of = self.set().fields(fields);
                if !fields_of.is_empty() {
                    let properties = fields_of.iter().map(|field| self.property(name, field));
                    out.insert("properties".into(), Value::Object(properties.collect()));
                }
                let required = fields_of.iter().filter(|field| field.required).map(|field| self.set().text(field.name));
                let required: Vec<&str> = required.collect();
                if !required.is_empty() {
                    out.insert("required".into(), required.into());
                }
                self.map_type(&mut out, fields.map_type);
                if fields.open {
                    out.insert("x-kubernetes-preserve-unknown-fields".into(), true.into());
                }
                if fields.embedded {
                    out.insert("x-kubernetes-embedded-resource".into(), true.into());
                }
            }
            Shape::Map { values, map_type } => {
                out.insert("type".into(), "object".into());
                out.insert("additionalProperties".into(), Value::Object(self.use_of(values)));
                self.map_type(&mut out, map_type);
            }
            Shape::List { items, list_type, keys } => {
                out.insert("type".into(), "array".into());
                out.insert("items".into(), Value::Object(self.use_of(items)));
                let (word, keys) = match list_type {
                    ListType::Atomic => ("atomic", Vec::new()),
                    ListType::Set => ("set", Vec::new()),
                    ListType::Map => ("map", self.set().keys(keys).collect()),
                };
                out.insert("x-kubernetes-list-type".into(), word.into());
                if !keys.is_empty() {
                    out.insert("x-kubernetes-list-map-keys".into(), keys.into());
                }
            }
            Shape::String if node.format == Format::Quantity => self.alternatives(&mut out, "", "string", "number"),
            Shape::IntOrString => self.alternatives(&mut out, "int-or-string", "integer", "string"),
            Shape::String => scalar(&mut out, "string", node.format),
            Shape::Integer => scalar(&mut out, "integer", node.format),
            Shape::Number => scalar(&mut out, "number", node.format),
            Shape::Boolean => scalar(&mut out, "boolean", node.format),
        }
        if let Some(values) = self.set().enumeration(node) {
            out.insert("enum".into(), values.to_vec().into());
        }
        if node.nullable && self.flavour == Flavour::V3 {
            out.insert("nullable".into(), true.into());
        }
        out
    }

    /// A value of two types; version 2 can only say string.
    fn alternatives(&self, out: &mut Map<String, Value>, format: &str, one: &str, other: &str) {
        match self.flavour {
            Flavour::V2 => drop(out.insert("type".into(), "string".into())),
            Flavour::V3 => drop(out.insert("oneOf".into(), json!([{"type": one}, {"type": other}]))),
        }
        if !format.is_empty() {
            out.insert("format".into(), format.into());
        }
    }

    fn map_type(&self, out: &mut Map<String, Value>, map_type: MapType) {
        if map_type == MapType::Atomic {
            out.insert("x-kubernetes-map-type".into(), "atomic".into());
        }
    }

    fn property(&self, owner: &str, field: &Field) -> (String, Value) {
        let name = self.set().text(field.name);
        let mut schema = self.use_of(field.node);
        let description = if owner.is_empty() { None } else { descriptions::of_field(owner, name) };
        let default = self.set().default(field);
        // A reference may have no neighbours in version 3.
        if self.flavour == Flavour::V3 && schema.contains_key("$ref") && (description.is_some() || default.is_some()) {
            schema = Map::from_iter([("allOf".to_owned(), json!([Value::Object(schema)]))]);
        }
        if let Some(text) = description {
            schema.insert("description".into(), text.into());
        }
        if let Some(value) = default {
            schema.insert("default".into(), value.clone());
        }
        let strategy = match field.patch_strategy {
            PatchStrategy::Default => "",
            PatchStrategy::Merge => "merge",
            PatchStrategy::Replace => "replace",
            PatchStrategy::RetainKeys => "retainKeys",
            PatchStrategy::MergeRetainKeys => "merge,retainKeys",
        };
        if !strategy.is_empty() {
            schema.insert("x-kubernetes-patch-strategy".into(), strategy.into());
        }
        if let Some(key) = field.merge_key {
            schema.insert("x-kubernetes-patch-merge-key".into(), self.set().text(key).into());
        }
        (name.to_owned(), Value::Object(schema))
    }
}

fn scalar(out: &mut Map<String, Value>, kind: &str, format: Format) {
    out.insert("type".into(), kind.into());
    let word = match format {
        Format::None | Format::Quantity => return,
        Format::Int32 => "int32",
        Format::Int64 => "int64",
        Format::Double => "double",
        Format::Byte => "byte",
        Format::DateTime | Format::MicroTime => "date-time",
    };
    out.insert("format".into(), word.into());
}
