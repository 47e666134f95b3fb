//! `x-kubernetes-list-type`: which items are the same (upstream: pkg/apiserver/schema/listtype).

use std::collections::HashMap;

use apimachinery::field::{Error, Path};
use serde_json::{Map, Value, json};

use super::Old;
use crate::schema::Schema;

/// The item of the old list that has the keys of this one; only lists of the type `map` have keys.
pub(super) fn old_item<'v>(structure: Option<&Schema>, old: Old<'v>, item: &Value) -> Old<'v> {
    let (Some(structure), Old::Known(Value::Array(old))) = (structure, old) else { return Old::Unknown };
    if structure.list_type() != "map" {
        return Old::Unknown;
    }
    let keys = key_of(structure, item);
    old.iter().find(|old| key_of(structure, old) == keys).map_or(Old::Unknown, Old::Known)
}

/// The key fields of an item with their values.
fn key_of(schema: &Schema, item: &Value) -> Map<String, Value> {
    let key = |name: &String| Some((name.clone(), item.get(name)?.clone()));
    schema.list_map_keys.iter().filter_map(key).collect()
}

/// Items that are there twice, anywhere in an object.
pub(crate) fn validate(schema: &Schema, map: &Map<String, Value>, path: &Path, errors: &mut Vec<Error>) {
    for (name, value) in map {
        if let Some(child) = schema.properties.get(name) {
            value_of(child, value, &path.child(name), errors);
        } else if let Some(child) = schema.additional() {
            value_of(child, value, &path.key(name), errors);
        }
    }
}

fn value_of(schema: &Schema, value: &Value, path: &Path, errors: &mut Vec<Error>) {
    match value {
        Value::Object(map) => validate(schema, map, path, errors),
        Value::Array(list) => {
            match schema.list_type() {
                "set" => errors.extend(repeated(list).map(|at| Error::duplicate(&path.index(at), list[at].clone()))),
                "map" => list_map(schema, list, path, errors),
                _ => {}
            }
            if let Some(items) = schema.item() {
                for (index, value) in list.iter().enumerate() {
                    value_of(items, value, &path.index(index), errors);
                }
            }
        }
        _ => {}
    }
}

fn list_map(schema: &Schema, list: &[Value], path: &Path, errors: &mut Vec<Error>) {
    if let Some(at) = list.iter().position(|item| !item.is_object() && !item.is_null()) {
        let words = "must be an object for an array of list-type map";
        errors.push(Error::invalid(&path.index(at), list[at].clone(), words));
        return;
    }
    let keys: Vec<Value> = list.iter().map(|item| json!(key_of(schema, item))).collect();
    errors.extend(repeated(&keys).map(|at| Error::duplicate(&path.index(at), keys[at].clone())));
}

/// Where a value appears for the second time.
fn repeated(list: &[Value]) -> impl Iterator<Item = usize> {
    let mut times: HashMap<String, usize> = HashMap::with_capacity(list.len());
    let mut found = Vec::new();
    for (index, value) in list.iter().enumerate() {
        let seen = times.entry(value.to_string()).or_default();
        *seen += 1;
        if *seen == 2 {
            found.push(index);
        }
    }
    found.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(value: Value, expect: Expect) {
        let schema = json!({"properties": {
            "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
            "map": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["a", "b"],
                "items": {"type": "object"}},
        }});
        let schema: Schema = serde_json::from_value(schema).expect("a schema");
        let mut errors = Vec::new();
        validate(&schema, value.as_object().expect("an object"), &Path::default(), &mut errors);
        expect.assert_eq(&errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
    }

    #[test]
    fn sets_and_maps_have_each_item_once() {
        check(json!({"set": ["a", "b"], "map": [{"a": 1}, {"a": 1, "b": 2}, null]}), expect![""]);
        check(
            json!({"set": ["a", "b", "a", "a"], "map": [{"a": 1, "b": 2, "x": 1}, {"a": 1, "b": 2}]}),
            expect![[r#"
                map[1]: Duplicate value: {"a":1,"b":2}
                set[2]: Duplicate value: "a""#]],
        );
        check(
            json!({"map": [1]}),
            expect!["map[0]: Invalid value: 1: must be an object for an array of list-type map"],
        );
    }
}
