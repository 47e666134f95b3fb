//! Merging an applied configuration into the live object (upstream: `structured-merge-diff/typed/merge.go`).

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::walk::{At, Form, Items, form};
use crate::schema::SchemaSet;

/// The live object with everything the configuration says. Nothing is removed.
pub(super) fn merge(
    schema: &SchemaSet,
    root: At,
    live: &Map<String, Value>,
    config: &Map<String, Value>,
) -> Map<String, Value> {
    let mut merged = live.clone();
    let form = form(schema, root, &Value::Object(Map::new()));
    merge_maps(schema, form, &mut merged, config);
    merged
}

fn merge_maps(schema: &SchemaSet, form: Form, live: &mut Map<String, Value>, config: &Map<String, Value>) {
    for (name, config) in config {
        match live.get_mut(name) {
            Some(live) => merge_value(schema, form.entry(schema, name).0, live, config),
            None => {
                live.insert(name.clone(), config.clone());
            }
        }
    }
}

fn merge_value(schema: &SchemaSet, at: At, live: &mut Value, config: &Value) {
    if live == config {
        return;
    }
    let forms = (form(schema, at, live), form(schema, at, config));
    match (forms, &mut *live, config) {
        ((form @ (Form::Fields(_) | Form::Entries(_)), other), Value::Object(live), Value::Object(config))
            if form == other && !(live.is_empty() && config.is_empty()) =>
        {
            merge_maps(schema, form, live, config);
        }
        ((Form::Items(items), Form::Items(_)), Value::Array(live), Value::Array(config)) => {
            *live = merge_items(schema, items, live, config);
        }
        _ => *live = config.clone(),
    }
}

/// Merges two lists of items with identity: in the configuration's order where the two share items, with the
/// live object's own items at the places they had.
fn merge_items(schema: &SchemaSet, items: Items, live: &[Value], config: &[Value]) -> Vec<Value> {
    let (live, config) = (index(schema, items, live), index(schema, items, config));
    let mut live_by_step: HashMap<&str, Option<&Value>> = HashMap::new();
    for &(ref step, item) in &live {
        // Items that share their identity are not merged into.
        live_by_step.entry(step).and_modify(|known| *known = None).or_insert(Some(item));
    }
    let config_by_step: HashMap<&str, &Value> = config.iter().map(|(step, item)| (step.as_str(), *item)).collect();
    let mut shared = config.iter().map(|(step, _)| step.as_str()).filter(|step| live_by_step.contains_key(step));
    let mut next_shared = shared.next();
    let mut merged_steps: HashSet<&str> = HashSet::new();
    let mut out = Vec::with_capacity(live.len().max(config.len()));
    let both = |step: &str| {
        let config = *config_by_step.get(step)?;
        let Some(mut merged) = live_by_step.get(step).copied().flatten().cloned() else { return Some(config.clone()) };
        merge_value(schema, At::Node(items.node), &mut merged, config);
        Some(merged)
    };
    let (mut at_live, mut at_config) = (0, 0);
    while at_live < live.len() || at_config < config.len() {
        if let (Some((ours, _)), Some((theirs, _))) = (live.get(at_live), config.get(at_config)) {
            if ours == theirs {
                merged_steps.insert(ours);
                out.extend(both(ours));
                (at_live, at_config) = (at_live + 1, at_config + 1);
                next_shared = shared.next();
                continue;
            }
            let comes_later = config_by_step.contains_key(ours.as_str());
            if comes_later && next_shared.is_some_and(|next| next != ours) {
                at_live += 1;
                continue;
            }
        }
        if let Some((ours, item)) = live.get(at_live) {
            if !config_by_step.contains_key(ours.as_str()) {
                out.push((*item).clone());
                at_live += 1;
                continue;
            }
            if merged_steps.contains(ours.as_str()) {
                at_live += 1;
            }
        }
        if let Some((theirs, _)) = config.get(at_config) {
            merged_steps.insert(theirs);
            out.extend(both(theirs));
            at_config += 1;
            if next_shared == Some(theirs) {
                next_shared = shared.next();
            }
        }
    }
    out
}

fn index<'v>(schema: &SchemaSet, items: Items, list: &'v [Value]) -> Vec<(String, &'v Value)> {
    list.iter().filter_map(|item| Some((items.step(schema, item).ok()?, item))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::tests::deployments;
    use serde_json::json;

    fn check(live: Value, config: Value, merged: Value) {
        let (schema, root) = deployments();
        let (Value::Object(live), Value::Object(config)) = (live, config) else { panic!("objects") };
        assert_eq!(Value::Object(merge(&schema, At::Node(root), &live, &config)), merged);
    }

    #[test]
    fn maps_merge_and_leaves_are_taken() {
        check(
            json!({"metadata": {"labels": {"a": "1"}}, "spec": {"replicas": 1, "selector": {"matchLabels": {"a": "b", "c": "d"}}}}),
            json!({"metadata": {"labels": {"b": "2"}}, "spec": {"replicas": 3, "selector": {"matchLabels": {"a": "c"}}}}),
            json!({"metadata": {"labels": {"a": "1", "b": "2"}}, "spec": {"replicas": 3, "selector": {"matchLabels": {"a": "c"}}}}),
        );
    }

    #[test]
    fn items_keep_a_sensible_order() {
        let order = |live: &[&str], config: &[&str], merged: &[&str]| {
            let list = |names: &[&str]| json!({"metadata": {"finalizers": names}});
            check(list(live), list(config), list(merged));
        };
        order(&["a", "b", "c"], &["a", "b", "c"], &["a", "b", "c"]);
        order(&["a", "b", "c"], &["c", "b", "a"], &["c", "b", "a"]);
        order(&["a", "b", "c"], &["c", "a"], &["b", "c", "a"]);
        order(&["x", "a", "y"], &["b", "a"], &["x", "b", "a", "y"]);
        order(&[], &["a"], &["a"]);
        order(&["a"], &[], &["a"]);
        order(&["1", "2", "3"], &["3", "4"], &["1", "2", "3", "4"]);
        order(&["a", "b"], &["c", "a", "d"], &["c", "a", "b", "d"]);
    }

    #[test]
    fn items_merge_by_identity() {
        let pod = |containers: Value| json!({"spec": {"template": {"spec": {"containers": containers}}}});
        check(
            pod(json!([{"name": "a", "image": "1", "args": ["x"]}, {"name": "b"}])),
            pod(json!([{"name": "a", "image": "2"}, {"name": "c"}])),
            pod(json!([{"name": "a", "image": "2", "args": ["x"]}, {"name": "b"}, {"name": "c"}])),
        );
    }
}
