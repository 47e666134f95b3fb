//! Pruning and defaulting of custom resources (upstream: `apiextensions-apiserver/pkg/apiserver/schema`).

use crate::codec::json::MAX_PROBLEMS;
use serde_json::{Map, Value};

use super::{Fields, NodeId, SchemaSet, Shape};

/// Removes what the schema does not know, and answers the paths of what it removed.
///
/// `apiVersion`, `kind` and `metadata` of the root and of embedded objects stay: the generic machinery knows
/// them (upstream: `structural-pruning`, `pruning/algorithm.go`).
pub fn prune(set: &SchemaSet, root: NodeId, object: &mut Map<String, Value>) -> Vec<String> {
    let mut removed = Vec::new();
    if let Shape::Object(fields) = set.node(root).shape {
        prune_object(set, Fields { embedded: true, ..fields }, object, "", &mut removed);
    }
    removed
}

fn prune_value(set: &SchemaSet, id: NodeId, value: &mut Value, path: &str, removed: &mut Vec<String>) {
    match (set.node(id).shape, value) {
        (Shape::Object(fields), Value::Object(map)) => prune_object(set, fields, map, path, removed),
        (Shape::Map { values, .. }, Value::Object(map)) => {
            for (key, value) in map.iter_mut() {
                prune_value(set, values, value, &join(path, key), removed);
            }
        }
        (Shape::List { items, .. }, Value::Array(list)) => {
            for (index, value) in list.iter_mut().enumerate() {
                prune_value(set, items, value, &format!("{path}[{index}]"), removed);
            }
        }
        _ => {}
    }
}

fn prune_object(set: &SchemaSet, fields: Fields, map: &mut Map<String, Value>, path: &str, removed: &mut Vec<String>) {
    map.retain(|name, value| {
        let below = join(path, name);
        if let Some(field) = set.field(fields, name) {
            prune_value(set, field.node, value, &below, removed);
            return true;
        }
        let kept = fields.open || fields.embedded && matches!(name.as_str(), "apiVersion" | "kind" | "metadata");
        if !kept && removed.len() < MAX_PROBLEMS {
            removed.push(below);
        }
        kept
    });
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// Removes every `null` of a declared field that may not be null and has no default
/// (upstream: `defaulting/prunenulls.go`, `PruneNonNullableNullsWithoutDefaults`).
pub fn prune_nulls(set: &SchemaSet, root: NodeId, value: &mut Value) {
    match (set.node(root).shape, value) {
        (Shape::Object(fields), Value::Object(map)) => map.retain(|name, value| {
            let Some(field) = set.field(fields, name) else { return true };
            if value.is_null() {
                return set.node(field.node).nullable || set.default(field).is_some();
            }
            prune_nulls(set, field.node, value);
            true
        }),
        (Shape::Map { values, .. }, Value::Object(map)) => map.retain(|_, value| {
            if value.is_null() {
                return set.node(values).nullable || matches!(set.node(values).shape, Shape::Any { .. });
            }
            prune_nulls(set, values, value);
            true
        }),
        (Shape::List { items, .. }, Value::Array(list)) => {
            list.iter_mut().for_each(|value| prune_nulls(set, items, value));
        }
        _ => {}
    }
}

/// Sets the defaults the schema declares wherever the object around them is there; a `null` in a field that
/// cannot be null and has a default counts as missing (upstream: `defaulting/algorithm.go`).
pub fn apply_defaults(set: &SchemaSet, root: NodeId, value: &mut Value) {
    match (set.node(root).shape, value) {
        (Shape::Object(fields), Value::Object(map)) => {
            for field in set.fields(fields) {
                let name = set.text(field.name);
                if let Some(default) = set.default(field) {
                    let missing = match map.get(name) {
                        None => true,
                        Some(Value::Null) => !set.node(field.node).nullable,
                        Some(_) => false,
                    };
                    if missing {
                        map.insert(name.to_owned(), default.clone());
                    }
                }
                if let Some(value) = map.get_mut(name) {
                    apply_defaults(set, field.node, value);
                }
            }
        }
        (Shape::Map { values, .. }, Value::Object(map)) => {
            map.values_mut().for_each(|value| apply_defaults(set, values, value));
        }
        (Shape::List { items, .. }, Value::Array(list)) => {
            list.iter_mut().for_each(|value| apply_defaults(set, items, value));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn schema() -> (SchemaSet, NodeId) {
        let mut builder = SchemaSet::builder();
        let root = builder
            .add_schema(&json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
                "size": {"type": "integer", "default": 3},
                "note": {"type": "string", "nullable": true, "default": "none"},
                "parts": {"type": "array", "items": {"type": "object", "properties": {
                    "port": {"x-kubernetes-int-or-string": true},
                    "protocol": {"type": "string", "default": "TCP"},
                }}},
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {
                    "known": {"type": "object", "properties": {"a": {"type": "string"}}},
                }},
                "child": {"type": "object", "x-kubernetes-embedded-resource": true},
            }}}}))
            .expect("a schema");
        (builder.build().expect("complete"), root)
    }

    #[test]
    fn what_is_not_in_the_schema_is_pruned() {
        let (set, root) = schema();
        let mut object = json!({
            "apiVersion": "x/v1", "kind": "X", "metadata": {"name": "x"}, "top": 1,
            "spec": {"size": 1, "parts": [{"port": 1, "x": 1}], "free": {"any": 1, "known": {"a": "", "b": 1}},
                "child": {"kind": "Pod", "spec": {}}},
        });
        let removed = prune(&set, root, object.as_object_mut().expect("an object"));
        assert_eq!(removed, ["spec.child.spec", "spec.free.known.b", "spec.parts[0].x", "top"]);
        let rest = json!({
            "apiVersion": "x/v1", "kind": "X", "metadata": {"name": "x"},
            "spec": {"size": 1, "parts": [{"port": 1}], "free": {"any": 1, "known": {"a": ""}}, "child": {"kind": "Pod"}},
        });
        assert_eq!(object, rest);
    }

    #[test]
    fn defaults_fill_what_is_missing() {
        let (set, root) = schema();
        let mut object = json!({"spec": {"size": null, "note": null, "parts": [{}, {"protocol": "UDP"}]}});
        apply_defaults(&set, root, &mut object);
        let whole = json!({"spec": {"size": 3, "note": null, "parts": [{"protocol": "TCP"}, {"protocol": "UDP"}]}});
        assert_eq!(object, whole);
        let mut empty = json!({});
        apply_defaults(&set, root, &mut empty);
        assert_eq!(empty, json!({}), "a default is set only where the object around it is there");
    }
}
