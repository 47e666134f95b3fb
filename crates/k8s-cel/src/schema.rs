//! [`Decl`]: a structural schema as expressions see it (upstream: apiserver/pkg/cel/common/schemas.go).
//!
//! It says which fields there are and of which type, how values are read from JSON, and how large they can become in
//! one request, which is what the cost estimate needs.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value as Json;

use crate::escaping::escape;
use crate::types::{Opaque, Type};

/// The largest request (upstream: `celconfig.MaxRequestSizeBytes`).
pub(crate) const MAX_REQUEST_SIZE: u64 = 3 * 1024 * 1024;

/// A schema node.
#[derive(Debug)]
pub struct Decl {
    pub(crate) shape: Shape,
    /// The greatest size: characters, items or entries.
    pub(crate) max_elements: u64,
    /// The fewest bytes a value takes in JSON.
    pub(crate) min_size: u64,
}

/// What a node's values are.
#[derive(Debug)]
pub(crate) enum Shape {
    /// An integer or a string.
    IntOrString,
    Bool,
    Int,
    Double,
    String,
    /// Base64 in JSON.
    Bytes,
    /// `1h30m` in JSON.
    Duration,
    /// `2006-01-02` in JSON.
    Date,
    /// RFC 3339 in JSON.
    DateTime,
    /// Something that is small, but not known before: an attribute of a device.
    Any,
    /// An amount: what a device has of something.
    Quantity,
    List {
        items: Arc<Decl>,
        identity: Identity,
    },
    Map {
        values: Arc<Decl>,
    },
    Object {
        name: String,
        fields: BTreeMap<Box<str>, Field>,
    },
}

/// How items of a list are told apart.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Identity {
    /// By their place.
    Atomic,
    /// By their value.
    Set,
    /// By these fields.
    Keys(Vec<Box<str>>),
}

/// A field, by its escaped name.
#[derive(Debug)]
pub(crate) struct Field {
    /// The name in JSON.
    pub(crate) json: Box<str>,
    pub(crate) decl: Arc<Decl>,
}

fn text<'a>(schema: &'a Json, keyword: &str) -> &'a str {
    schema.get(keyword).and_then(Json::as_str).unwrap_or_default()
}

fn number(schema: &Json, keyword: &str) -> Option<u64> {
    let value = schema.get(keyword)?;
    value.as_u64().or_else(|| value.as_i64().map(|_| 0))
}

fn is_set(schema: &Json, keyword: &str) -> bool {
    schema.get(keyword) == Some(&Json::Bool(true))
}

/// Whether the schema is one of whole objects with apiVersion, kind and metadata.
pub(crate) fn is_embedded_resource(schema: &Json) -> bool {
    is_set(schema, "x-kubernetes-embedded-resource")
}

/// The schema of entries, where the schema is one of a map.
pub(crate) fn additional_properties(schema: &Json) -> Option<&Json> {
    schema.get("additionalProperties").filter(|values| values.is_object())
}

impl Decl {
    /// The node of a kind's OpenAPI schema, in which references are resolved; nothing is known of one without a type
    /// (upstream: common/schemas.go `SchemaDeclType`).
    pub(crate) fn of_kind(schema: &Json, name: &str) -> Option<Arc<Self>> {
        if text(schema, "type").is_empty() { None } else { Self::build(schema, true, name) }
    }

    /// The node of a structural schema; `None` where expressions cannot see its values. `is_root`: whether the values
    /// are whole objects.
    pub(crate) fn of_schema(schema: &Json, is_root: bool) -> Option<Arc<Self>> {
        Self::build(schema, is_root, "object")
    }

    fn build(schema: &Json, is_root: bool, name: &str) -> Option<Arc<Self>> {
        if is_set(schema, "x-kubernetes-int-or-string") {
            let max = number(schema, "maxLength").map_or(MAX_REQUEST_SIZE - 2, |length| length.saturating_mul(4));
            return Some(Self::scalar(Shape::IntOrString, max, 1));
        }
        match text(schema, "type") {
            "array" => Self::list(schema, name),
            "object" => Self::map_or_object(schema, is_root, name),
            "string" => Some(Self::string(schema)),
            "boolean" => Some(Self::scalar(Shape::Bool, 0, 4)),
            "number" => Some(Self::scalar(Shape::Double, 0, 1)),
            "integer" => Some(Self::scalar(Shape::Int, 0, 1)),
            _ if is_root => Self::map_or_object(schema, is_root, name),
            _ => None,
        }
    }

    pub(crate) fn scalar(shape: Shape, max_elements: u64, min_size: u64) -> Arc<Self> {
        Arc::new(Self { shape, max_elements, min_size })
    }

    fn string(schema: &Json) -> Arc<Self> {
        let length = number(schema, "maxLength");
        match text(schema, "format") {
            "byte" => Self::scalar(Shape::Bytes, length.unwrap_or(MAX_REQUEST_SIZE - 2), 2),
            "duration" => Self::scalar(Shape::Duration, 32, 3),
            "date" => Self::scalar(Shape::Date, 12, 12),
            "date-time" => Self::scalar(Shape::DateTime, 32, 21),
            _ => {
                let words = schema.get("enum").and_then(Json::as_array).filter(|words| !words.is_empty());
                let longest =
                    |words: &Vec<Json>| words.iter().filter_map(Json::as_str).map(str::len).max().unwrap_or(0);
                let max = match (length, words) {
                    (Some(length), _) => length.saturating_mul(4),
                    (None, Some(words)) => longest(words) as u64,
                    (None, None) => MAX_REQUEST_SIZE - 2,
                };
                Self::scalar(Shape::String, max, 2)
            }
        }
    }

    fn list(schema: &Json, name: &str) -> Option<Arc<Self>> {
        let item_schema = schema.get("items").filter(|items| items.is_object())?;
        let items = Self::build(item_schema, is_embedded_resource(item_schema), &format!("{name}.@idx"))?;
        let max = number(schema, "maxItems").unwrap_or((MAX_REQUEST_SIZE - 2) / (items.min_size + 1));
        let identity = match text(schema, "x-kubernetes-list-type") {
            "set" => Identity::Set,
            "map" => {
                let keys = schema.get("x-kubernetes-list-map-keys").and_then(Json::as_array);
                Identity::Keys(keys.into_iter().flatten().filter_map(Json::as_str).map(Box::from).collect())
            }
            _ => Identity::Atomic,
        };
        Some(Self::scalar(Shape::List { items, identity }, max, 2))
    }

    fn map_or_object(schema: &Json, is_root: bool, name: &str) -> Option<Arc<Self>> {
        if let Some(value_schema) = additional_properties(schema).filter(|_| !is_root) {
            let values = Self::build(value_schema, is_embedded_resource(value_schema), &format!("{name}.@elem"))?;
            let max = number(schema, "maxProperties").unwrap_or((MAX_REQUEST_SIZE - 2) / (values.min_size + 6));
            return Some(Self::scalar(Shape::Map { values }, max, 2));
        }
        let mut fields = BTreeMap::new();
        let mut min_size = 2;
        let required: Vec<&str> =
            schema.get("required").and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str).collect();
        for (property, property_schema) in schema.get("properties").and_then(Json::as_object).into_iter().flatten() {
            let embedded = is_embedded_resource(property_schema);
            let Some(decl) = Self::build(property_schema, embedded, &format!("{name}.{property}")) else { continue };
            if required.contains(&property.as_str()) && property_schema.get("default").is_none() {
                min_size += property.len() as u64 + decl.min_size + 4;
            }
            if let Some(escaped) = escape(property) {
                fields.insert(escaped.into(), Field { json: property.as_str().into(), decl });
            }
        }
        if is_root {
            add_type_and_metadata(&mut fields, name);
        }
        Some(Self::scalar(Shape::Object { name: name.to_owned(), fields }, 0, min_size))
    }

    /// The type of the node's values.
    pub(crate) fn ty(self: &Arc<Self>) -> Type {
        match &self.shape {
            Shape::IntOrString | Shape::Any => Type::Dyn,
            Shape::Quantity => Type::Opaque(Opaque::Quantity),
            Shape::Bool => Type::Bool,
            Shape::Int => Type::Int,
            Shape::Double => Type::Double,
            Shape::String => Type::String,
            Shape::Bytes => Type::Bytes,
            Shape::Duration => Type::Duration,
            Shape::Date | Shape::DateTime => Type::Timestamp,
            Shape::List { items, .. } => Type::list(items.ty()),
            Shape::Map { values } => Type::map(Type::String, values.ty()),
            Shape::Object { .. } => Type::Object(self.clone()),
        }
    }

    /// The field with an escaped name.
    pub(crate) fn field(&self, name: &str) -> Option<&Field> {
        match &self.shape {
            Shape::Object { fields, .. } => fields.get(name),
            _ => None,
        }
    }

    /// The items or values.
    pub(crate) fn elements(&self) -> Option<&Arc<Self>> {
        match &self.shape {
            Shape::List { items, .. } => Some(items),
            Shape::Map { values } => Some(values),
            _ => None,
        }
    }

    /// The name of an object's type in messages.
    pub(crate) fn object_name(&self) -> &str {
        match &self.shape {
            Shape::Object { name, .. } => name,
            _ => "object",
        }
    }

    /// Whether both are the same object type, found by two ways.
    pub(crate) fn is_same_object(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

/// Whole objects always have these (upstream: `WithTypeAndObjectMeta`).
fn add_type_and_metadata(fields: &mut BTreeMap<Box<str>, Field>, name: &str) {
    let string = || Decl::scalar(Shape::String, MAX_REQUEST_SIZE - 2, 2);
    let is_string = |field: Option<&Field>| field.is_some_and(|field| matches!(field.decl.shape, Shape::String));
    let has_metadata = fields
        .get("metadata")
        .is_some_and(|field| is_string(field.decl.field("name")) && is_string(field.decl.field("generateName")));
    if has_metadata && is_string(fields.get("kind")) && is_string(fields.get("apiVersion")) {
        return;
    }
    let field = |json: &str, decl: Arc<Decl>| (Box::from(json), Field { json: json.into(), decl });
    let metadata = [field("name", string()), field("generateName", string())].into();
    let metadata = Shape::Object { name: format!("{name}.metadata"), fields: metadata };
    fields.extend([
        field("kind", string()),
        field("apiVersion", string()),
        field("metadata", Decl::scalar(metadata, 0, 2)),
    ]);
}
