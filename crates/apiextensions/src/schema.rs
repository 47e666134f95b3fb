//! [`Schema`]: an OpenAPI 3 schema as a definition may carry it (upstream: apiextensions/v1/types_jsonschema.go,
//! `JSONSchemaProps`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value};

/// One schema, with all below it. The fields are OpenAPI's; those with a prefix there are without it here.
#[expect(missing_docs, reason = "each field is the keyword of its name")]
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Schema {
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    pub kind: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub format: String,
    #[serde(skip_serializing_if = "is_false")]
    pub nullable: bool,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub properties: BTreeMap<String, Self>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub required: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub items: Option<Box<Items>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub additional_properties: Option<Box<SchemaOrBool>>,
    #[serde(rename = "enum", skip_serializing_if = "Vec::is_empty")]
    pub enumeration: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    #[serde(rename = "x-kubernetes-preserve-unknown-fields", skip_serializing_if = "Option::is_none")]
    pub preserve_unknown_fields: Option<bool>,
    #[serde(rename = "x-kubernetes-embedded-resource", skip_serializing_if = "is_false")]
    pub embedded_resource: bool,
    #[serde(rename = "x-kubernetes-int-or-string", skip_serializing_if = "is_false")]
    pub int_or_string: bool,
    #[serde(rename = "x-kubernetes-list-type", skip_serializing_if = "Option::is_none")]
    pub list_type: Option<String>,
    #[serde(rename = "x-kubernetes-list-map-keys", skip_serializing_if = "Vec::is_empty")]
    pub list_map_keys: Vec<String>,
    #[serde(rename = "x-kubernetes-map-type", skip_serializing_if = "Option::is_none")]
    pub map_type: Option<String>,
    #[serde(rename = "x-kubernetes-validations", skip_serializing_if = "Vec::is_empty")]
    pub validations: Vec<Rule>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub title: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maximum: Option<Number>,
    #[serde(skip_serializing_if = "is_false")]
    pub exclusive_maximum: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minimum: Option<Number>,
    #[serde(skip_serializing_if = "is_false")]
    pub exclusive_minimum: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub multiple_of: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_length: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_length: Option<i64>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub pattern: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_items: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_items: Option<i64>,
    #[serde(skip_serializing_if = "is_false")]
    pub unique_items: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_properties: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_properties: Option<i64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub all_of: Vec<Self>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub any_of: Vec<Self>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub one_of: Vec<Self>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not: Option<Box<Self>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub example: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_docs: Option<Value>,
    #[serde(rename = "$ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub additional_items: Option<Value>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub pattern_properties: Map<String, Value>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub definitions: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dependencies: Option<Value>,
}

/// `items`: one schema. A list of schemas can be read, so that it can be refused with its reason.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(untagged)]
pub enum Items {
    /// One schema a place.
    Many(Vec<Schema>),
    /// One schema for all.
    One(Schema),
}

/// `additionalProperties`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(untagged)]
pub enum SchemaOrBool {
    /// Anything, or nothing.
    Bool(bool),
    /// Values of one schema.
    Schema(Schema),
}

/// One of `x-kubernetes-validations`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Rule {
    /// The CEL expression.
    pub rule: String,
    /// What is answered when it is false.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// A CEL expression that makes the message.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message_expression: String,
    /// The reason of the cause.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The field that is blamed.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub field_path: String,
    /// Whether `oldSelf` is optional, so that the rule also runs at create.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub optional_old_self: Option<bool>,
}

impl Schema {
    /// The schema of list items, when there is one for all.
    pub fn item(&self) -> Option<&Self> {
        match self.items.as_deref()? {
            Items::One(schema) => Some(schema),
            Items::Many(_) => None,
        }
    }

    /// The schema of undeclared fields.
    pub fn additional(&self) -> Option<&Self> {
        match self.additional_properties.as_deref()? {
            SchemaOrBool::Schema(schema) => Some(schema),
            SchemaOrBool::Bool(_) => None,
        }
    }

    /// The schema of the entry `name`.
    pub fn child(&self, name: &str) -> Option<&Self> {
        self.properties.get(name).or_else(|| self.additional())
    }

    /// Whether undeclared fields are kept.
    pub fn preserves(&self) -> bool {
        self.preserve_unknown_fields == Some(true)
    }

    /// `x-kubernetes-list-type`, or "".
    pub fn list_type(&self) -> &str {
        self.list_type.as_deref().unwrap_or_default()
    }

    /// `x-kubernetes-map-type`, or "".
    pub fn map_type(&self) -> &str {
        self.map_type.as_deref().unwrap_or_default()
    }

    /// The schemas right below this one.
    pub fn children(&self) -> impl Iterator<Item = &Self> {
        let items = self.items.as_deref().into_iter().flat_map(|items| match items {
            Items::One(schema) => std::slice::from_ref(schema),
            Items::Many(schemas) => schemas.as_slice(),
        });
        let alternatives = [&self.all_of, &self.any_of, &self.one_of].into_iter().flatten();
        items.chain(alternatives).chain(self.not.as_deref()).chain(self.properties.values()).chain(self.additional())
    }

    /// Whether this schema or one below it is as asked (upstream: `SchemaHas`).
    pub fn has(&self, asked: &dyn Fn(&Self) -> bool) -> bool {
        asked(self) || self.children().any(|child| child.has(asked))
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
fn is_false(value: &bool) -> bool {
    !value
}
