//! Documents of other servers in the one of this server, in the older form
//! (upstream: kube-openapi/pkg/aggregator/aggregator.go).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

const DEFINITIONS: &str = "#/definitions/";

/// What a document says of the paths with a prefix: these, and the definitions they lead to
/// (upstream: `FilterSpecByPathsWithoutSideEffects`).
pub fn filter(document: &Value, prefix: &str) -> Value {
    let members = |name: &str| document[name].as_object().into_iter().flatten();
    let paths: Map<String, Value> = members("paths")
        .filter(|(path, _)| path.starts_with(prefix))
        .map(|(p, item)| (p.clone(), item.clone()))
        .collect();
    let mut used = BTreeSet::new();
    let mut open = Vec::new();
    paths.values().for_each(|item| references(item, &mut open));
    while let Some(name) = open.pop() {
        if let Some(definition) = document["definitions"].get(name).filter(|_| used.insert(name)) {
            references(definition, &mut open);
        }
    }
    let definitions: Map<String, Value> = members("definitions")
        .filter(|(name, _)| used.contains(name.as_str()))
        .map(|(name, definition)| (name.clone(), definition.clone()))
        .collect();
    json!({ "paths": paths, "definitions": definitions })
}

/// Adds the paths of another document and the definitions they need. Paths that are there stay; a definition whose
/// name is taken by another one gets a name of its own
/// (upstream: `MergeSpecsIgnorePathConflictRenamingDefinitionsAndParameters`).
pub(super) fn merge(document: &mut Value, other: &Value) {
    let Some(present) = document["definitions"].as_object() else { return };
    let mut renamed = BTreeMap::new();
    let mut added = Vec::new();
    for (name, definition) in other["definitions"].as_object().into_iter().flatten() {
        match present.get(name) {
            None => added.push((name.clone(), definition)),
            Some(known) if known == definition => {}
            Some(_) => {
                let fresh = free_name(name, definition, present);
                if !present.contains_key(&fresh) {
                    added.push((fresh.clone(), definition));
                }
                renamed.insert(name.clone(), fresh);
            }
        }
    }
    let moved = |value: &Value| {
        let mut value = value.clone();
        rename(&mut value, &renamed);
        value
    };
    let added: Vec<(String, Value)> = added.into_iter().map(|(name, definition)| (name, moved(definition))).collect();
    if let Some(definitions) = document["definitions"].as_object_mut() {
        definitions.extend(added);
    }
    if let Some(paths) = document["paths"].as_object_mut() {
        for (path, item) in other["paths"].as_object().into_iter().flatten() {
            paths.entry(path).or_insert_with(|| moved(item));
        }
    }
}

/// `Name_v2`, or the next that is free or means the same.
fn free_name(name: &str, definition: &Value, present: &Map<String, Value>) -> String {
    let names = (2..).map(|number: u32| format!("{name}_v{number}"));
    let mut fitting = names.filter(|name| present.get(name).is_none_or(|known| known == definition));
    fitting.next().unwrap_or_else(|| name.to_owned())
}

/// The definitions that a value refers to.
fn references<'v>(value: &'v Value, into: &mut Vec<&'v str>) {
    match value {
        Value::Object(map) => {
            let reference = map.get("$ref").and_then(Value::as_str);
            into.extend(reference.and_then(|reference| reference.strip_prefix(DEFINITIONS)));
            map.values().for_each(|value| references(value, into));
        }
        Value::Array(list) => list.iter().for_each(|value| references(value, into)),
        _ => {}
    }
}

fn rename(value: &mut Value, names: &BTreeMap<String, String>) {
    match value {
        Value::Object(map) => {
            if let Some(Value::String(reference)) = map.get_mut("$ref")
                && let Some(new) = reference.strip_prefix(DEFINITIONS).and_then(|name| names.get(name))
            {
                *reference = format!("{DEFINITIONS}{new}");
            }
            map.values_mut().for_each(|value| rename(value, names));
        }
        Value::Array(list) => list.iter_mut().for_each(|value| rename(value, names)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(name: &str) -> Value {
        json!({ "$ref": format!("{DEFINITIONS}{name}") })
    }

    #[test]
    fn paths_bring_the_definitions_they_need() {
        let document = json!({
            "paths": { "/apis/a/v1/things": { "get": { "schema": reference("Thing") } }, "/apis/b/": {} },
            "definitions": {
                "Thing": { "properties": { "meta": reference("Meta"), "self": reference("Thing") } },
                "Meta": { "type": "object" }, "Other": { "type": "object" },
            },
        });
        let filtered = filter(&document, "/apis/a/v1/");
        let names = |field: &str| filtered[field].as_object().expect("members").keys().cloned().collect::<Vec<_>>();
        assert_eq!(
            (names("paths"), names("definitions")),
            (vec!["/apis/a/v1/things".into()], vec!["Meta".into(), "Thing".into()])
        );
    }

    #[test]
    fn what_is_there_stays_and_other_meanings_get_other_names() {
        let mut document = json!({
            "paths": { "/apis/a/v1/": { "own": true } },
            "definitions": { "Meta": { "type": "object" }, "Same": { "type": "string" } },
        });
        let other = json!({
            "paths": { "/apis/a/v1/": { "own": false }, "/apis/b/v1/": { "schema": reference("Thing") } },
            "definitions": {
                "Meta": { "type": "string" }, "Same": { "type": "string" },
                "Thing": { "properties": { "meta": reference("Meta"), "same": reference("Same") } },
            },
        });
        let expected = json!({
            "paths": { "/apis/a/v1/": { "own": true }, "/apis/b/v1/": { "schema": reference("Thing") } },
            "definitions": {
                "Meta": { "type": "object" }, "Meta_v2": { "type": "string" }, "Same": { "type": "string" },
                "Thing": { "properties": { "meta": reference("Meta_v2"), "same": reference("Same") } },
            },
        });
        merge(&mut document, &other);
        assert_eq!(document, expected);
    }
}
