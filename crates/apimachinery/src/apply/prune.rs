//! Which fields an object has, and taking fields out of it
//! (upstream: `structured-merge-diff/typed/tofieldset.go`, `remove.go`, and `merge/update.go`, `prune`).

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::field_set::FieldSet;
use super::walk::{At, Form, Items, field_step, form};
use crate::schema::SchemaSet;

/// The set of all leaf fields and items of an object.
pub(super) fn field_set(schema: &SchemaSet, root: At, object: &Map<String, Value>) -> FieldSet {
    let form = form(schema, root, &Value::Object(Map::new()));
    fields_of_map(schema, form, object)
}

fn fields_of_map(schema: &SchemaSet, form: Form, map: &Map<String, Value>) -> FieldSet {
    let mut set = FieldSet::default();
    for (name, value) in map {
        let (at, named) = form.entry(schema, name);
        let step = field_step(name);
        let is_leaf = fields_of_value(schema, at, &step, value, &mut set);
        // Empty structs and maps are leaves as well, and so is every key that the schema does not name.
        let is_empty_map = value.as_object().is_some_and(Map::is_empty);
        if is_leaf || !named || value.is_null() || is_empty_map {
            set.own(step);
        }
    }
    set
}

/// Attaches what is below `step`; answers whether the value is a leaf.
fn fields_of_value(schema: &SchemaSet, at: At, step: &str, value: &Value, set: &mut FieldSet) -> bool {
    match (form(schema, at, value), value) {
        (form @ (Form::Fields(_) | Form::Entries(_)), Value::Object(map)) => {
            set.attach(step, fields_of_map(schema, form, map));
            false
        }
        (Form::Items(items), Value::Array(list)) => {
            set.attach(step, fields_of_items(schema, items, list));
            false
        }
        _ => true,
    }
}

fn fields_of_items(schema: &SchemaSet, items: Items, list: &[Value]) -> FieldSet {
    let mut set = FieldSet::default();
    let steps: Vec<(String, &Value)> =
        list.iter().filter_map(|item| Some((items.step(schema, item).ok()?, item))).collect();
    let mut count: HashMap<&str, usize> = HashMap::new();
    for (step, _) in &steps {
        *count.entry(step).or_default() += 1;
    }
    for (step, item) in &steps {
        if count.get(step.as_str()) == Some(&1) {
            fields_of_value(schema, At::Node(items.node), step, item, &mut set);
        }
        set.own(step.clone());
    }
    set
}

/// The object without the members of `gone`.
fn remove(schema: &SchemaSet, root: At, object: &Map<String, Value>, gone: &FieldSet) -> Map<String, Value> {
    let form = form(schema, root, &Value::Object(Map::new()));
    remove_from_map(schema, form, object, gone.tree())
}

fn remove_from_map(
    schema: &SchemaSet,
    form: Form,
    map: &Map<String, Value>,
    gone: &Map<String, Value>,
) -> Map<String, Value> {
    let gone = FieldSet::trusted(Value::Object(gone.clone()));
    map.iter()
        .filter_map(|(name, value)| {
            let step = field_step(name);
            if gone.owns(&step) {
                return None;
            }
            let value = match gone.below(&step) {
                Some(below) => remove_from_value(schema, form.entry(schema, name).0, value, below)?,
                None => value.clone(),
            };
            Some((name.clone(), value))
        })
        .collect()
}

/// The value without what is gone; nothing where nothing is left of it.
fn remove_from_value(schema: &SchemaSet, at: At, value: &Value, gone: &Map<String, Value>) -> Option<Value> {
    match (form(schema, at, value), value) {
        (form @ (Form::Fields(_) | Form::Entries(_)), Value::Object(map)) => {
            let rest = remove_from_map(schema, form, map, gone);
            (!rest.is_empty()).then_some(Value::Object(rest))
        }
        (Form::Items(items), Value::Array(list)) => {
            let gone = FieldSet::trusted(Value::Object(gone.clone()));
            let rest: Vec<Value> = list
                .iter()
                .filter_map(|item| {
                    let step = items.step(schema, item).unwrap_or_default();
                    if gone.owns(&step) {
                        return None;
                    }
                    match gone.below(&step) {
                        Some(below) => remove_from_value(schema, At::Node(items.node), item, below),
                        None => Some(item.clone()),
                    }
                })
                .collect();
            (!rest.is_empty()).then_some(Value::Array(rest))
        }
        // Nothing below a leaf can be taken out.
        _ => Some(value.clone()),
    }
}

/// Removes what the manager applied last time, does not apply now, and nobody else claims.
///
/// `managed` is what all managers, the applying one with its new set included, claim.
pub(super) fn prune(
    schema: &SchemaSet,
    root: At,
    merged: Map<String, Value>,
    last: &FieldSet,
    managed: &FieldSet,
) -> Map<String, Value> {
    if last.is_subset(managed) {
        return merged;
    }
    let named = |set: &FieldSet| set.with_named_fields(schema, root);
    let last = named(last);
    let merged_set = named(&field_set(schema, root, &merged));

    // What others own comes back, with everything on the way to it.
    let pruned = remove(schema, root, &merged, &last);
    let mut kept = named(&field_set(schema, root, &pruned));
    kept.add(&named(managed));
    let mut gone = merged_set.clone();
    gone.subtract(&kept);
    let pruned = remove(schema, root, &merged, &gone);

    // What nobody owns comes back too: it was not this manager's to remove.
    let mut gone = merged_set;
    gone.subtract(&named(&field_set(schema, root, &pruned)));
    remove(schema, root, &merged, &gone.intersection(&last))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::tests::deployments;
    use serde_json::json;

    #[test]
    fn objects_have_leaves_and_items() {
        let (schema, root) = deployments();
        let Value::Object(object) = json!({
            "metadata": {"labels": {"a": "1"}, "finalizers": ["x"], "annotations": {}},
            "spec": {"selector": {"matchLabels": {"a": "1"}}, "template": {"spec": {
                "containers": [{"name": "a", "args": ["x"], "env": [{"name": "E"}]}],
                "volumes": [{"name": "v", "emptyDir": {}}],
            }}},
        }) else {
            panic!("an object")
        };
        let expected = json!({
            "f:metadata": {"f:annotations": {}, "f:finalizers": {"v:\"x\"": {}}, "f:labels": {"f:a": {}}},
            "f:spec": {"f:selector": {}, "f:template": {"f:spec": {
                "f:containers": {r#"k:{"name":"a"}"#: {".": {}, "f:args": {}, "f:env": {r#"k:{"name":"E"}"#: {".": {}, "f:name": {}}}, "f:name": {}}},
                "f:volumes": {r#"k:{"name":"v"}"#: {".": {}, "f:emptyDir": {}, "f:name": {}}},
            }}},
        });
        assert_eq!(field_set(&schema, At::Node(root), &object).into_value(), expected);
    }

    #[test]
    fn what_only_the_manager_had_goes() {
        let (schema, root) = deployments();
        let root = At::Node(root);
        let object = |value: Value| match value {
            Value::Object(map) => map,
            _ => panic!("an object"),
        };
        let merged = object(json!({"spec": {"replicas": 3, "template": {"spec": {"containers": [
            {"name": "a", "image": "1", "args": ["x"]}, {"name": "b", "image": "2", "args": ["by nobody"]},
        ]}}}}));
        let last = field_set(
            &schema,
            root,
            &object(json!({"spec": {"replicas": 3, "template": {"spec": {"containers": [
                {"name": "a", "image": "1", "args": ["x"]}, {"name": "b", "image": "2"},
            ]}}}})),
        );
        let managed = field_set(
            &schema,
            root,
            &object(json!({"spec": {"template": {"spec": {"containers": [
                {"name": "a", "image": "1"},
            ]}}}})),
        );
        let pruned = prune(&schema, root, merged.clone(), &last, &managed);
        assert_eq!(
            Value::Object(pruned),
            json!({"spec": {"template": {"spec": {"containers": [{"name": "a", "image": "1"}]}}}})
        );
        assert_eq!(prune(&schema, root, merged.clone(), &managed, &last), merged, "nothing was dropped");
    }
}
