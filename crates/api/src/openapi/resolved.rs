//! The schema of one kind with every reference replaced by what it refers to
//! (upstream: apiserver/pkg/cel/openapi/resolver).

use apimachinery::GroupVersionKind;
use apimachinery::schema::{Field, Format, NodeId, SchemaSet, Shape, Symbol};
use serde_json::{Map, Value, json};

use crate::custom::OpenApi;
use crate::resource::Resource;
use crate::schemas::SCHEMAS;

/// The schema of a row's objects, of types alone: neither defaults nor limits of built-in kinds are in it.
pub fn resolved(row: &Resource) -> Option<Value> {
    match &row.custom {
        None => built_in(&row.gvk),
        Some(custom) => {
            let kind = json!({"group": row.gvk.group, "version": row.gvk.version, "kind": row.gvk.kind});
            let is_own = |schema: &Value| schema["x-kubernetes-group-version-kind"] == json!([kind]);
            let mut definitions = custom.definitions(OpenApi::V3).into_iter().map(|(_, schema)| schema);
            let mut schema = definitions.find(is_own)?;
            inline(&mut schema);
            Some(schema)
        }
    }
}

fn built_in(kind: &GroupVersionKind) -> Option<Value> {
    Some(Writer { set: &SCHEMAS.set, above: Vec::new() }.node(SCHEMAS.of(kind)?))
}

/// Writes out a tree. Where a definition stands within itself there is an empty object.
struct Writer<'a> {
    set: &'a SchemaSet,
    above: Vec<Symbol>,
}

impl Writer<'_> {
    fn node(&mut self, id: NodeId) -> Value {
        let Some(name) = self.set.node(id).name else { return self.body(id) };
        if self.above.contains(&name) {
            return json!({"type": "object"});
        }
        self.above.push(name);
        let body = self.body(id);
        self.above.pop();
        body
    }

    fn body(&mut self, id: NodeId) -> Value {
        let node = self.set.node(id);
        match node.shape {
            // JSON as such may be of any type.
            Shape::Any { .. } => match node.name.map(|name| self.set.text(name)) {
                Some(name) if !name.contains(".apiextensions.v1.JSON") => json!({"type": "object"}),
                _ => json!({}),
            },
            Shape::Object(fields) => {
                let set = self.set;
                let mut property = |field: &Field| (set.text(field.name).to_owned(), self.node(field.node));
                let properties: Map<String, Value> = set.fields(fields).iter().map(&mut property).collect();
                json!({"type": "object", "properties": properties})
            }
            Shape::Map { values, .. } => json!({"type": "object", "additionalProperties": self.node(values)}),
            Shape::List { items, .. } => json!({"type": "array", "items": self.node(items)}),
            // Of one type or another, and declared as neither.
            Shape::String if node.format == Format::Quantity => json!({}),
            Shape::String => match node.format {
                Format::Byte => json!({"type": "string", "format": "byte"}),
                Format::DateTime | Format::MicroTime => json!({"type": "string", "format": "date-time"}),
                _ => json!({"type": "string"}),
            },
            Shape::IntOrString => json!({"x-kubernetes-int-or-string": true}),
            Shape::Integer => json!({"type": "integer"}),
            Shape::Number => json!({"type": "number"}),
            Shape::Boolean => json!({"type": "boolean"}),
        }
    }
}

/// The definition that a schema refers to, by itself or wrapped up in `allOf`.
fn reference(schema: &Value) -> Option<&str> {
    let wrapped = || schema.pointer("/allOf/0/$ref");
    schema.get("$ref").or_else(wrapped)?.as_str()?.strip_prefix("#/components/schemas/")
}

/// Replaces references: custom kinds refer to built-in definitions alone.
fn inline(schema: &mut Value) {
    if let Some(id) = reference(schema).and_then(|name| SCHEMAS.set.by_name(name)) {
        *schema = Writer { set: &SCHEMAS.set, above: Vec::new() }.node(id);
        return;
    }
    let Some(fields) = schema.as_object_mut() else { return };
    for (keyword, below) in fields {
        match keyword.as_str() {
            "items" | "additionalProperties" => inline(below),
            "properties" => below.as_object_mut().into_iter().flatten().for_each(|(_, property)| inline(property)),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RESOURCES;

    fn of(kind: &str) -> Value {
        let row = RESOURCES.iter().find(|row| row.gvk.kind == kind).expect("a kind");
        resolved(row).expect("a schema")
    }

    #[test]
    fn references_are_gone_and_circles_are_cut() {
        let pod = of("Pod");
        let container = &pod["properties"]["spec"]["properties"]["containers"]["items"]["properties"];
        assert_eq!(container["name"], json!({"type": "string"}));
        assert_eq!(container["ports"]["items"]["properties"]["containerPort"], json!({"type": "integer"}));
        assert_eq!(
            container["resources"]["properties"]["limits"],
            json!({"type": "object", "additionalProperties": {}}),
            "a quantity has no type of its own"
        );
        let definition = of("CustomResourceDefinition");
        let schema = definition.pointer("/properties/spec/properties/versions/items/properties/schema/properties");
        let properties = &schema.expect("a field")["openAPIV3Schema"]["properties"];
        assert_eq!(properties["not"], json!({"type": "object"}));
        // Definitions have a field of that name as well.
        let refers = |schema: &Value| schema.to_string().contains("\"$ref\":\"#");
        assert!(!refers(&pod) && !refers(&definition));
    }
}
