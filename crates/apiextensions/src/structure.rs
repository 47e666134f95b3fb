//! A schema as nodes to walk: what is pruned, defaulted and owned (upstream: apiextensions-apiserver/pkg/apiserver/schema).

use api::SCHEMAS;
use api::schemas::Schemas;
use apimachinery::GroupVersionKind;
use apimachinery::schema::{
    Builder, FieldSpec, Format, ListType, MapType, NodeId, SchemaError, SchemaSet, Shape, Spec,
};

use crate::schema::{Schema, SchemaOrBool};

/// The definition of the metadata that every object has.
pub(crate) const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
/// That of lists.
pub(crate) const LIST_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";

/// The nodes of a kind and of its list.
pub(crate) fn schemas(gvk: &GroupVersionKind, list_kind: &str, root: Option<&Schema>) -> Result<Schemas, SchemaError> {
    let mut walk = Walk { builder: SchemaSet::builder() };
    let name = model_name(gvk, &gvk.kind);
    let own = walk.builder.declare(&name);
    let anything = Schema::default();
    let spec = match root {
        Some(root) => Spec::Object {
            fields: walk.whole_object(root),
            map_type: map_type(root),
            open: root.preserves(),
            embedded: true,
        },
        // Without a schema everything is kept.
        None => Spec::Object {
            fields: walk.whole_object(&anything),
            map_type: MapType::Granular,
            open: true,
            embedded: true,
        },
    };
    walk.builder.define(own, spec);
    let list = walk.builder.declare(&model_name(gvk, list_kind));
    let items = walk.builder.add(Spec::List { items: own, list_type: ListType::Atomic, keys: &[] });
    let metadata = walk.meta(LIST_META);
    let text = walk.text();
    let fields = vec![
        FieldSpec::new("apiVersion", text),
        FieldSpec::new("kind", text),
        FieldSpec::new("metadata", metadata),
        FieldSpec { required: true, ..FieldSpec::new("items", items) },
    ];
    walk.builder.define(list, Spec::Object { fields, map_type: MapType::Granular, open: false, embedded: false });
    let list_gvk = GroupVersionKind { kind: list_kind.to_owned(), ..gvk.clone() };
    Ok(Schemas::new(walk.builder.build()?, [(gvk.clone(), own), (list_gvk, list)]))
}

/// `com.example.v1.CronTab`: how OpenAPI calls a kind of the group `example.com`.
pub(crate) fn model_name(gvk: &GroupVersionKind, kind: &str) -> String {
    let reversed: Vec<&str> = gvk.group.rsplit('.').collect();
    format!("{}.{}.{kind}", reversed.join("."), gvk.version)
}

struct Walk {
    builder: Builder,
}

impl Walk {
    fn text(&mut self) -> NodeId {
        self.builder.add(Spec::Scalar(Shape::String, Format::None))
    }

    /// A definition of the library's own, with all below it.
    fn meta(&mut self, name: &str) -> NodeId {
        match SCHEMAS.set.by_name(name) {
            Some(node) => self.builder.copy(&SCHEMAS.set, node),
            None => self.builder.add(Spec::Any { granular: true }),
        }
    }

    /// The fields of a schema that stands for a whole object: what is said about its metadata narrows values only.
    fn whole_object<'s>(&mut self, schema: &'s Schema) -> Vec<FieldSpec<'s>> {
        let text = self.text();
        let metadata = self.meta(OBJECT_META);
        let mut fields: Vec<FieldSpec<'s>> = self.fields(schema, &["apiVersion", "kind", "metadata"]);
        fields.push(FieldSpec::new("apiVersion", text));
        fields.push(FieldSpec::new("kind", text));
        fields.push(FieldSpec::new("metadata", metadata));
        fields
    }

    fn fields<'s>(&mut self, schema: &'s Schema, but: &[&str]) -> Vec<FieldSpec<'s>> {
        let mut fields = Vec::with_capacity(schema.properties.len());
        for (name, property) in schema.properties.iter().filter(|(name, _)| !but.contains(&name.as_str())) {
            let node = self.node(property);
            fields.push(FieldSpec {
                required: schema.required.contains(name),
                default: property.default.clone(),
                ..FieldSpec::new(name, node)
            });
        }
        fields
    }

    fn node(&mut self, schema: &Schema) -> NodeId {
        let node = match schema.kind.as_str() {
            _ if schema.int_or_string => self.builder.add(Spec::Scalar(Shape::IntOrString, Format::None)),
            "array" => self.list(schema),
            "string" => self.text(),
            "integer" => self.builder.add(Spec::Scalar(Shape::Integer, Format::None)),
            "number" => self.builder.add(Spec::Scalar(Shape::Number, Format::None)),
            "boolean" => self.builder.add(Spec::Scalar(Shape::Boolean, Format::None)),
            _ => self.object(schema),
        };
        self.builder.narrow(node, schema.nullable, None)
    }

    fn object(&mut self, schema: &Schema) -> NodeId {
        let (map_type, open) = (map_type(schema), schema.preserves());
        let spec = match schema.additional_properties.as_deref() {
            _ if schema.embedded_resource => {
                Spec::Object { fields: self.whole_object(schema), map_type, open, embedded: true }
            }
            Some(SchemaOrBool::Schema(values)) => Spec::Map { values: self.node(values), map_type },
            Some(SchemaOrBool::Bool(true)) if schema.properties.is_empty() => {
                let values = self.builder.add(Spec::Any { granular: true });
                Spec::Map { values, map_type }
            }
            Some(SchemaOrBool::Bool(true)) => {
                Spec::Object { fields: self.fields(schema, &[]), map_type, open: true, embedded: false }
            }
            _ if schema.properties.is_empty() && open => Spec::Any { granular: map_type == MapType::Granular },
            _ => Spec::Object { fields: self.fields(schema, &[]), map_type, open, embedded: false },
        };
        self.builder.add(spec)
    }

    fn list(&mut self, schema: &Schema) -> NodeId {
        let items = match schema.item() {
            Some(items) => self.node(items),
            None => self.builder.add(Spec::Any { granular: false }),
        };
        let list_type = match schema.list_type() {
            "set" => ListType::Set,
            "map" => ListType::Map,
            _ => ListType::Atomic,
        };
        let keys: Vec<&str> = schema.list_map_keys.iter().map(String::as_str).collect();
        self.builder.add(Spec::List { items, list_type, keys: &keys })
    }
}

fn map_type(schema: &Schema) -> MapType {
    if schema.map_type() == "atomic" { MapType::Atomic } else { MapType::Granular }
}

#[cfg(test)]
mod tests {
    use super::*;
    use apimachinery::schema::{apply_defaults, prune, prune_nulls};
    use serde_json::json;

    #[test]
    fn metadata_is_whole_whatever_the_schema_says_about_it() {
        let schema: Schema = serde_json::from_value(json!({"type": "object", "properties": {
            "metadata": {"type": "object", "properties": {"name": {"type": "string", "maxLength": 3}}},
            "spec": {"type": "object", "properties": {
                "size": {"type": "integer", "default": 3},
                "child": {"type": "object", "x-kubernetes-embedded-resource": true, "properties": {"a": {"type": "string"}}},
                "free": {"x-kubernetes-preserve-unknown-fields": true},
                "texts": {"type": "object", "additionalProperties": {"type": "string"}},
            }},
        }}))
        .expect("a schema");
        let gvk = GroupVersionKind::new("example.com", "v1", "Thing");
        let schemas = schemas(&gvk, "ThingList", Some(&schema)).expect("nodes");
        let root = schemas.of(&gvk).expect("the kind");
        let mut object = json!({
            "apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "a", "labels": {"a": "b"}},
            "spec": {"size": null, "x": 1, "texts": {"a": "b", "c": null}, "free": {"any": {"thing": null}},
                "child": {"kind": "Pod", "metadata": {"name": "b"}, "a": "", "b": ""}},
        });
        let removed = prune(&schemas.set, root, object.as_object_mut().expect("an object"));
        assert_eq!(removed, ["spec.child.b", "spec.x"]);
        prune_nulls(&schemas.set, root, &mut object);
        apply_defaults(&schemas.set, root, &mut object);
        let whole = json!({
            "apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "a", "labels": {"a": "b"}},
            "spec": {"size": 3, "texts": {"a": "b"}, "free": {"any": {"thing": null}},
                "child": {"kind": "Pod", "metadata": {"name": "b"}, "a": ""}},
        });
        assert_eq!(object, whole);
        assert!(schemas.set.by_name("com.example.v1.ThingList").is_some());
    }
}
