//! Reads OpenAPI schemas, of CRDs and of published definitions, into a [`Builder`].

use serde_json::{Map, Value};

use super::{Builder, FieldSpec, Format, ListType, MapType, NodeId, PatchStrategy, Shape, Spec};

/// What is wrong with an OpenAPI schema.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenApiError {
    /// A schema is no JSON object.
    #[error("{0}: a schema must be an object")]
    NotAnObject(String),
    /// A reference that does not name a definition.
    #[error("{0}: {1:?} is not a reference to a definition")]
    BadReference(String, String),
    /// A type that does not exist.
    #[error("{0}: unknown type {1:?}")]
    UnknownType(String, String),
    /// A definition that is nothing but another's name.
    #[error("{0}: a definition must have a body of its own")]
    Alias(String),
    /// Nested deeper than any sensible schema.
    #[error("{0}: nested too deeply")]
    TooDeep(String),
}

/// Deeper schemas are refused: they could not be walked safely.
const MAX_DEPTH: usize = 100;

impl Builder {
    /// Adds every definition of an OpenAPI document (`definitions`, `components.schemas` or `$defs`).
    pub fn add_definitions(&mut self, definitions: &Map<String, Value>) -> Result<(), OpenApiError> {
        for (name, schema) in definitions {
            let id = self.declare(name);
            let body = self.openapi(name, schema, 0)?;
            if body != id && self.undefined.contains_key(&body) {
                return Err(OpenApiError::Alias(name.clone()));
            }
            self.adopt(id, body);
        }
        Ok(())
    }

    /// Adds one schema as a node without a name.
    pub fn add_schema(&mut self, schema: &Value) -> Result<NodeId, OpenApiError> {
        self.openapi("", schema, 0)
    }

    /// Makes the declared definition `id` a copy of the node `from`.
    fn adopt(&mut self, id: NodeId, from: NodeId) {
        let node = self.set.nodes[from.0 as usize].clone();
        let name = self.set.nodes[id.0 as usize].name;
        self.set.nodes[id.0 as usize] = super::Node { name, ..node };
        if from.0 as usize + 1 == self.set.nodes.len() && !self.scalars.values().any(|scalar| *scalar == from) {
            self.set.nodes.pop();
        }
        self.undefined.remove(&id);
    }

    fn openapi(&mut self, at: &str, schema: &Value, depth: usize) -> Result<NodeId, OpenApiError> {
        let schema = schema.as_object().ok_or_else(|| OpenApiError::NotAnObject(at.to_owned()))?;
        if depth > MAX_DEPTH {
            return Err(OpenApiError::TooDeep(at.to_owned()));
        }
        if let Some(reference) = reference(schema) {
            let (_, name) = reference
                .rsplit_once('/')
                .ok_or_else(|| OpenApiError::BadReference(at.to_owned(), reference.to_owned()))?;
            return Ok(self.declare(name));
        }
        let open = flag(schema, "x-kubernetes-preserve-unknown-fields");
        let id = match type_name(schema) {
            _ if flag(schema, "x-kubernetes-int-or-string") => scalar(self, Shape::IntOrString, Format::None),
            Some("object") => self.openapi_object(at, schema, open, depth)?,
            Some("array") => self.openapi_list(at, schema, depth)?,
            Some("string") => scalar(self, Shape::String, string_format(at, schema)),
            Some("integer") => scalar(self, Shape::Integer, format(schema)),
            Some("number") => scalar(self, Shape::Number, Format::Double),
            Some("boolean") => scalar(self, Shape::Boolean, Format::None),
            Some(other) => return Err(OpenApiError::UnknownType(at.to_owned(), other.to_owned())),
            None if schema.contains_key("properties") || schema.contains_key("additionalProperties") => {
                self.openapi_object(at, schema, open, depth)?
            }
            None => match alternatives(schema).as_slice() {
                ["string", "integer"] | ["integer", "string"] => scalar(self, Shape::IntOrString, Format::None),
                ["string", "number"] | ["number", "string"] => scalar(self, Shape::String, Format::Quantity),
                _ => self.add(Spec::Any { granular: open }),
            },
        };
        let nullable = flag(schema, "nullable");
        let enumeration = schema.get("enum").and_then(Value::as_array).cloned();
        Ok(self.narrow(id, nullable, enumeration))
    }

    fn openapi_object(
        &mut self,
        at: &str,
        schema: &Map<String, Value>,
        open: bool,
        depth: usize,
    ) -> Result<NodeId, OpenApiError> {
        let map_type = match schema.get("x-kubernetes-map-type").and_then(Value::as_str) {
            Some("atomic") => MapType::Atomic,
            _ => MapType::Granular,
        };
        let embedded = flag(schema, "x-kubernetes-embedded-resource");
        let properties = schema.get("properties").and_then(Value::as_object).filter(|map| !map.is_empty());
        match (properties, schema.get("additionalProperties")) {
            (Some(properties), _) => {
                let required: Vec<&str> = schema.get("required").into_iter().flat_map(strings).collect();
                let mut fields = Vec::with_capacity(properties.len());
                for (name, property) in properties {
                    fields.push(self.openapi_field(at, name, property, required.contains(&name.as_str()), depth)?);
                }
                Ok(self.add(Spec::Object { fields, map_type, open, embedded }))
            }
            (None, Some(values @ Value::Object(_))) => {
                let values = self.openapi(&format!("{at}.*"), values, depth + 1)?;
                Ok(self.add(Spec::Map { values, map_type }))
            }
            (None, Some(Value::Bool(true))) => {
                let values = self.add(Spec::Any { granular: true });
                Ok(self.add(Spec::Map { values, map_type }))
            }
            (None, _) if embedded => Ok(self.add(Spec::Object { fields: Vec::new(), map_type, open, embedded })),
            // Upstream's FieldsV1 and RawExtension are objects without fields that keep what they are given; a
            // custom resource says so itself, and else keeps nothing.
            (None, _) if open || at.starts_with("io.k8s.") => Ok(self.add(Spec::Any { granular: open })),
            (None, _) => Ok(self.add(Spec::Object { fields: Vec::new(), map_type, open, embedded })),
        }
    }

    fn openapi_field<'a>(
        &mut self,
        at: &str,
        name: &'a str,
        property: &'a Value,
        required: bool,
        depth: usize,
    ) -> Result<FieldSpec<'a>, OpenApiError> {
        let node = self.openapi(&format!("{at}.{name}"), property, depth + 1)?;
        let text = |key: &str| property.get(key).and_then(Value::as_str);
        let is_reference = property.as_object().is_some_and(|property| reference(property).is_some());
        Ok(FieldSpec {
            required,
            patch_strategy: text("x-kubernetes-patch-strategy").map(PatchStrategy::parse).unwrap_or_default(),
            merge_key: text("x-kubernetes-patch-merge-key"),
            map_type: match text("x-kubernetes-map-type").filter(|_| is_reference) {
                Some("atomic") => Some(MapType::Atomic),
                Some("granular") => Some(MapType::Granular),
                _ => None,
            },
            default: property.get("default").cloned(),
            ..FieldSpec::new(name, node)
        })
    }

    fn openapi_list(&mut self, at: &str, schema: &Map<String, Value>, depth: usize) -> Result<NodeId, OpenApiError> {
        let items = match schema.get("items") {
            Some(items) => self.openapi(&format!("{at}[]"), items, depth + 1)?,
            None => self.add(Spec::Any { granular: false }),
        };
        let list_type = match schema.get("x-kubernetes-list-type").and_then(Value::as_str) {
            Some("set") => ListType::Set,
            Some("map") => ListType::Map,
            _ => ListType::Atomic,
        };
        let keys: Vec<&str> = schema.get("x-kubernetes-list-map-keys").into_iter().flat_map(strings).collect();
        Ok(self.add(Spec::List { items, list_type, keys: &keys }))
    }
}

fn scalar(builder: &mut Builder, shape: Shape, format: Format) -> NodeId {
    builder.add(Spec::Scalar(shape, format))
}

/// `$ref`, also where a default forced upstream to wrap it into a one-element `allOf`.
fn reference(schema: &Map<String, Value>) -> Option<&str> {
    if let Some(reference) = schema.get("$ref") {
        return reference.as_str();
    }
    match schema.get("allOf")?.as_array()?.as_slice() {
        [only] => only.get("$ref")?.as_str(),
        _ => None,
    }
}

/// `type`: a word, or a list of a word and "null".
fn type_name(schema: &Map<String, Value>) -> Option<&str> {
    match schema.get("type")? {
        Value::String(name) => Some(name),
        Value::Array(names) => names.iter().filter_map(Value::as_str).find(|name| *name != "null"),
        _ => None,
    }
}

fn alternatives(schema: &Map<String, Value>) -> Vec<&str> {
    let of = ["oneOf", "anyOf"].iter().find_map(|key| schema.get(*key)?.as_array());
    of.into_iter().flatten().filter_map(Value::as_object).filter_map(type_name).collect()
}

fn format(schema: &Map<String, Value>) -> Format {
    match schema.get("format").and_then(Value::as_str) {
        Some("int32") => Format::Int32,
        Some("int64") => Format::Int64,
        _ => Format::None,
    }
}

fn string_format(at: &str, schema: &Map<String, Value>) -> Format {
    match schema.get("format").and_then(Value::as_str) {
        Some("byte") => Format::Byte,
        Some("date-time") if at.ends_with(".MicroTime") => Format::MicroTime,
        Some("date-time") if at.ends_with(".Time") => Format::DateTime,
        _ if at.ends_with("api.resource.Quantity") => Format::Quantity,
        _ => Format::None,
    }
}

fn flag(schema: &Map<String, Value>, key: &str) -> bool {
    schema.get(key).and_then(Value::as_bool).unwrap_or_default()
}

fn strings(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str)
}
