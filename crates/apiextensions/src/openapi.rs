//! A kind's definitions in OpenAPI (upstream: apiextensions-apiserver/pkg/controller/openapi/builder,
//! pkg/controller/openapi/v2/conversion.go).

use api::custom::OpenApi;
use apimachinery::GroupVersionKind;
use serde_json::{Map, Value, json};

use crate::schema::{Items, Schema, SchemaOrBool};
use crate::structure::{LIST_META, OBJECT_META, model_name};

const API_VERSION: &str = "APIVersion defines the versioned schema of this representation of an object. Servers should \
    convert recognized schemas to the latest internal value, and may reject unrecognized values. More info: \
    https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources";
const KIND: &str = "Kind is a string value representing the REST resource this object represents. Servers may infer this \
    from the endpoint the client submits requests to. Cannot be updated. In CamelCase. More info: \
    https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds";
const METADATA: &str = "Standard object's metadata. More info: \
    https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata";
const LIST_METADATA: &str = "Standard list metadata. More info: \
    https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds";

/// What is published about a version of a kind.
pub(crate) struct Published<'d> {
    pub(crate) gvk: &'d GroupVersionKind,
    pub(crate) list_kind: &'d str,
    pub(crate) plural: &'d str,
    pub(crate) schema: Option<&'d Schema>,
    /// Whether nothing is pruned, whatever the schema says.
    pub(crate) keeps_all: bool,
    /// As `spec.color`.
    pub(crate) selectable_fields: &'d [String],
}

impl Published<'_> {
    /// The kind and its list, by full name.
    pub(crate) fn definitions(&self, version: OpenApi) -> Vec<(String, Value)> {
        let mut own = self.object(version);
        let mut list = self.list(version);
        for (schema, kind) in [(&mut own, self.gvk.kind.as_str()), (&mut list, self.list_kind)] {
            let gvk = json!({ "group": self.gvk.group, "version": self.gvk.version, "kind": kind });
            schema["x-kubernetes-group-version-kind"] = json!([gvk]);
            if version == OpenApi::V3 && !self.selectable_fields.is_empty() {
                let fields: Vec<Value> =
                    self.selectable_fields.iter().map(|field| json!({ "fieldPath": field })).collect();
                schema["x-kubernetes-selectable-fields"] = fields.into();
            }
        }
        vec![(model_name(self.gvk, &self.gvk.kind), own), (model_name(self.gvk, self.list_kind), list)]
    }

    fn object(&self, version: OpenApi) -> Value {
        let v2 = version == OpenApi::V2;
        let Some(schema) = self.schema.filter(|schema| !(v2 && (schema.preserves() || self.keeps_all))) else {
            return json!({ "type": "object" });
        };
        let schema = if v2 { simplified(schema) } else { schema.clone() };
        let mut out = serde_json::to_value(&schema).unwrap_or_default();
        embedded(&mut out, version);
        let properties = out.as_object_mut().map(|out| out.entry("properties").or_insert_with(|| json!({})));
        if let Some(properties) = properties.and_then(Value::as_object_mut) {
            whole_object(properties, version, (API_VERSION, KIND));
        }
        out
    }

    fn list(&self, version: OpenApi) -> Value {
        let own = model_name(self.gvk, &self.gvk.kind);
        let items = format!(
            "List of {}. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md",
            self.plural
        );
        json!({
            "type": "object", "description": format!("{} is a list of {}", self.list_kind, self.gvk.kind),
            "required": ["items"],
            "properties": {
                "apiVersion": { "type": "string", "description": API_VERSION },
                "kind": { "type": "string", "description": KIND },
                "metadata": reference(LIST_META, version, LIST_METADATA),
                "items": { "type": "array", "description": items, "items": bare(&own, version) },
            },
        })
    }
}

fn bare(name: &str, version: OpenApi) -> Value {
    match version {
        OpenApi::V2 => json!({ "$ref": format!("#/definitions/{name}") }),
        OpenApi::V3 => json!({ "$ref": format!("#/components/schemas/{name}") }),
    }
}

/// A reference with words; version 3 lets a reference have no neighbours.
fn reference(name: &str, version: OpenApi, description: &str) -> Value {
    let mut out = match version {
        OpenApi::V2 => bare(name, version),
        OpenApi::V3 => json!({ "allOf": [bare(name, version)] }),
    };
    out["description"] = description.into();
    out
}

fn whole_object(properties: &mut Map<String, Value>, version: OpenApi, (api_version, kind): (&str, &str)) {
    properties.insert("apiVersion".into(), json!({ "type": "string", "description": api_version }));
    properties.insert("kind".into(), json!({ "type": "string", "description": kind }));
    properties.insert("metadata".into(), reference(OBJECT_META, version, METADATA));
}

/// Embedded objects are shown with the fields that every object has.
fn embedded(schema: &mut Value, version: OpenApi) {
    let Some(schema) = schema.as_object_mut() else { return };
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        properties.values_mut().for_each(|property| embedded(property, version));
    }
    for field in ["items", "additionalProperties"] {
        if let Some(below) = schema.get_mut(field) {
            embedded(below, version);
        }
    }
    let flag = |name: &str| schema.get(name) == Some(&Value::Bool(true));
    if !flag("x-kubernetes-embedded-resource") || version == OpenApi::V2 && flag("x-kubernetes-preserve-unknown-fields")
    {
        return;
    }
    let properties = schema.entry("properties").or_insert_with(|| json!({}));
    if let Some(properties) = properties.as_object_mut() {
        whole_object(properties, version, (API_VERSION, KIND));
    }
    let required = schema.entry("required").or_insert_with(|| json!([]));
    if let Some(required) = required.as_array_mut() {
        for name in ["kind", "apiVersion"] {
            if !required.iter().any(|known| known == name) {
                required.push(name.into());
            }
        }
    }
}

/// What version 2, and the clients that read it, can understand of a schema.
fn simplified(schema: &Schema) -> Schema {
    let mut out = Schema { all_of: vec![], any_of: vec![], one_of: vec![], not: None, ..schema.clone() };
    if out.nullable {
        out.kind.clear();
        out.nullable = false;
        out.items = None;
        out.properties.clear();
    }
    if out.preserves() {
        out.items = None;
        out.properties.clear();
    }
    if out.items.is_none() && out.kind == "array" || out.preserves() && out.kind == "object" {
        out.kind.clear();
    }
    let nullable = |name: &String| out.properties.get(name).is_some_and(|property| property.nullable);
    let required: Vec<String> = out.required.iter().filter(|name| !nullable(name)).cloned().collect();
    out.required = if out.additional().is_some_and(|values| values.nullable) { vec![] } else { required };
    out.properties = out.properties.iter().map(|(name, schema)| (name.clone(), simplified(schema))).collect();
    out.items = out.items.take().map(|items| match *items {
        Items::One(schema) => Box::new(Items::One(simplified(&schema))),
        many @ Items::Many(_) => Box::new(many),
    });
    out.additional_properties = out.additional_properties.take().map(|additional| match *additional {
        SchemaOrBool::Schema(schema) => Box::new(SchemaOrBool::Schema(simplified(&schema))),
        bool @ SchemaOrBool::Bool(_) => Box::new(bool),
    });
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_show_what_they_can() {
        let schema: Schema = serde_json::from_value(json!({"type": "object", "description": "A thing", "properties": {
            "spec": {"type": "object", "required": ["a", "b"], "properties": {
                "a": {"type": "string", "nullable": true},
                "b": {"type": "integer", "oneOf": [{"minimum": 1}, {"maximum": -1}]},
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                "child": {"type": "object", "x-kubernetes-embedded-resource": true, "properties": {"x": {"type": "string"}}},
            }},
        }}))
        .expect("a schema");
        let gvk = GroupVersionKind::new("example.com", "v1", "Thing");
        let fields = ["spec.b".to_owned()];
        let published = Published {
            gvk: &gvk,
            list_kind: "ThingList",
            plural: "things",
            schema: Some(&schema),
            keeps_all: false,
            selectable_fields: &fields,
        };
        let [(name, v3), (list_name, list)] = &published.definitions(OpenApi::V3)[..] else { panic!("two") };
        assert_eq!((name.as_str(), list_name.as_str()), ("com.example.v1.Thing", "com.example.v1.ThingList"));
        assert_eq!(v3["properties"]["spec"]["properties"]["b"]["oneOf"][0]["minimum"], 1);
        assert_eq!(v3["x-kubernetes-selectable-fields"][0]["fieldPath"], "spec.b");
        let child = &v3["properties"]["spec"]["properties"]["child"];
        assert_eq!(child["required"], json!(["kind", "apiVersion"]));
        assert!(child["properties"]["metadata"]["allOf"][0]["$ref"].is_string());
        assert_eq!(list["properties"]["items"]["items"]["$ref"], "#/components/schemas/com.example.v1.Thing");
        let (_, v2) = &published.definitions(OpenApi::V2)[0];
        let spec = &v2["properties"]["spec"];
        assert_eq!(spec["required"], json!(["b"]));
        assert_eq!(spec["properties"]["a"], json!({}));
        assert_eq!(spec["properties"]["b"], json!({"type": "integer"}));
        assert_eq!(spec["properties"]["free"], json!({"x-kubernetes-preserve-unknown-fields": true}));
        assert!(v2.get("x-kubernetes-selectable-fields").is_none());
    }
}
