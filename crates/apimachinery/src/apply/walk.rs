//! How apply looks at a value under its schema: as a leaf, as a map with owners inside, or as a list of items
//! with an identity (upstream: `structured-merge-diff/typed/helpers.go`).

use serde_json::{Map, Value};

use super::field_set::field_key;
use crate::schema::{Fields, Keys, ListType, MapType, NodeId, SchemaSet, Shape};

/// Where in the schema a value is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum At {
    /// At a node.
    Node(NodeId),
    /// Where the schema leaves the value free and maps are looked into.
    Deduced,
    /// Where the value is one whole.
    Atomic,
}

/// What a value is to apply.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Form {
    /// One whole: a scalar, `null`, an atomic list or map.
    Leaf,
    /// A struct.
    Fields(Fields),
    /// A map.
    Entries(At),
    /// A list whose items have an identity.
    Items(Items),
}

/// A list whose items have an identity.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Items {
    pub(super) node: NodeId,
    keys: Keys,
    is_set: bool,
}

/// The form of a value.
pub(super) fn form(schema: &SchemaSet, at: At, value: &Value) -> Form {
    let id = match at {
        At::Atomic => return Form::Leaf,
        At::Deduced if value.is_object() => return Form::Entries(At::Deduced),
        At::Deduced => return Form::Leaf,
        At::Node(id) => id,
    };
    match (schema.node(id).shape, value) {
        (Shape::Any { granular: true }, Value::Object(_)) => Form::Entries(At::Deduced),
        (Shape::Object(fields), Value::Object(_)) if fields.map_type == MapType::Granular => Form::Fields(fields),
        (Shape::Map { values, map_type: MapType::Granular }, Value::Object(_)) => Form::Entries(At::Node(values)),
        (Shape::List { items, list_type: ListType::Set, keys }, Value::Array(_)) => {
            Form::Items(Items { node: items, keys, is_set: true })
        }
        (Shape::List { items, list_type: ListType::Map, keys }, Value::Array(_)) => {
            Form::Items(Items { node: items, keys, is_set: false })
        }
        _ => Form::Leaf,
    }
}

impl Form {
    /// Where the entry `name` of a struct or map is, and whether the schema names it.
    pub(super) fn entry(self, schema: &SchemaSet, name: &str) -> (At, bool) {
        match self {
            Self::Fields(fields) => match schema.field(fields, name) {
                Some(field) => (At::Node(field.node), true),
                None if fields.open => (At::Deduced, false),
                None => (At::Atomic, false),
            },
            Self::Entries(at) => (at, false),
            Self::Leaf | Self::Items(_) => (At::Atomic, false),
        }
    }
}

impl Items {
    /// The step of an item: `k:{...}` or `v:...`; an error where the item has no identity.
    pub(super) fn step(self, schema: &SchemaSet, item: &Value) -> Result<String, &'static str> {
        if self.is_set {
            return match item {
                Value::Object(_) => Err("associative list without keys has an element that's a map type"),
                Value::Array(_) => Err("not supported: associative list with lists as elements"),
                Value::Null => Err("associative list without keys has an element that's an explicit null"),
                scalar => {
                    let mut step = String::from("v:");
                    push_scalar(&mut step, scalar);
                    Ok(step)
                }
            };
        }
        let Value::Object(item) = item else {
            return Err(if item.is_null() {
                "associative list with keys may not have a null element"
            } else {
                "associative list with keys may not have non-map elements"
            });
        };
        self.keyed_step(schema, item)
            .ok_or("associative list with keys has an element that omits all key fields (and doesn't have default values for any key fields)")
    }

    fn keyed_step(self, schema: &SchemaSet, item: &Map<String, Value>) -> Option<String> {
        let value = |name: &str| item.get(name).or_else(|| self.default(schema, name));
        let mut found: Vec<(&str, &Value)> =
            schema.keys(self.keys).filter_map(|name| Some((name, value(name)?))).collect();
        found.sort_unstable_by_key(|(name, _)| *name);
        let mut step = String::from("k:");
        for (index, (name, value)) in found.iter().enumerate() {
            step.push(if index == 0 { '{' } else { ',' });
            push_text(&mut step, name);
            step.push(':');
            push_scalar(&mut step, value);
        }
        step.push('}');
        (!found.is_empty()).then_some(step)
    }

    fn default<'s>(self, schema: &'s SchemaSet, name: &str) -> Option<&'s Value> {
        match schema.node(self.node).shape {
            Shape::Object(fields) => schema.default(schema.field(fields, name)?),
            _ => None,
        }
    }
}

/// A value as JSON; steps are made of short texts and numbers, for every item of every list of every write.
fn push_scalar(json: &mut String, value: &Value) {
    match value {
        Value::String(text) => push_text(json, text),
        other => json.push_str(&other.to_string()),
    }
}

fn push_text(json: &mut String, text: &str) {
    if text.bytes().any(|byte| byte < b' ' || byte == b'"' || byte == b'\\') {
        json.push_str(&Value::from(text).to_string());
        return;
    }
    json.push('"');
    json.push_str(text);
    json.push('"');
}

/// The entries of two maps side by side, each name once.
pub(super) fn zip<'v>(
    old: Option<&'v Map<String, Value>>,
    new: Option<&'v Map<String, Value>>,
) -> impl Iterator<Item = (&'v String, Option<&'v Value>, Option<&'v Value>)> {
    let in_new =
        new.into_iter().flatten().map(move |(name, value)| (name, old.and_then(|old| old.get(name)), Some(value)));
    let only_old = old.into_iter().flatten().filter(move |(name, _)| !new.is_some_and(|new| new.contains_key(*name)));
    in_new.chain(only_old.map(|(name, value)| (name, Some(value), None)))
}

/// `f:name`.
pub(super) fn field_step(name: &str) -> String {
    field_key(name)
}
