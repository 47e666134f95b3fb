//! What a write changes: the fields it adds, modifies and removes
//! (upstream: `structured-merge-diff/typed/compare.go`).

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::field_set::FieldSet;
use super::walk::{At, Form, Items, field_step, form, zip};
use crate::schema::{MapType, NodeId, SchemaSet, Shape};

/// The difference between two objects; no field is in two of the sets.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Comparison {
    pub(super) added: FieldSet,
    pub(super) modified: FieldSet,
    pub(super) removed: FieldSet,
}

impl Comparison {
    /// The fields that have a new value, and those that are gone.
    pub(super) fn into_changed_and_removed(self) -> (FieldSet, FieldSet) {
        let mut changed = self.added;
        changed.add(&self.modified);
        (changed, self.removed)
    }

    pub(super) fn is_same(&self) -> bool {
        self.added.is_empty() && self.modified.is_empty() && self.removed.is_empty()
    }

    /// Leaves out fields and everything below them.
    pub(super) fn ignore(&mut self, ignored: &FieldSet) {
        for set in [&mut self.added, &mut self.modified, &mut self.removed] {
            set.subtract_trees(ignored);
        }
    }

    fn attach(&mut self, step: &str, below: Self) {
        self.added.attach(step, below.added);
        self.modified.attach(step, below.modified);
        self.removed.attach(step, below.removed);
    }
}

/// Compares two objects. `metadata.managedFields` is not looked at.
pub(super) fn compare(schema: &SchemaSet, root: At, old: &Map<String, Value>, new: &Map<String, Value>) -> Comparison {
    let mut found = Comparison::default();
    let form = form(schema, root, &Value::Object(Map::new()));
    for (name, old, new) in zip(Some(old), Some(new)) {
        if old == new {
            continue;
        }
        let (at, _) = form.entry(schema, name);
        match (name.as_str(), old.and_then(Value::as_object), new.and_then(Value::as_object)) {
            ("metadata", Some(old), Some(new)) => {
                let mut below = Comparison::default();
                let form = super::walk::form(schema, at, &Value::Object(Map::new()));
                for (name, old, new) in zip(Some(old), Some(new)).filter(|(name, ..)| *name != "managedFields") {
                    compare_value(schema, form.entry(schema, name).0, field_step(name), old, new, &mut below);
                }
                found.attach(&field_step(name), below);
            }
            _ => compare_value(schema, at, field_step(name), old, new, &mut found),
        }
    }
    found
}

fn compare_value(
    schema: &SchemaSet,
    at: At,
    step: String,
    old: Option<&Value>,
    new: Option<&Value>,
    found: &mut Comparison,
) {
    if let (None, Some(new)) = (old, new) {
        let node = all_of(schema, at, new);
        return found.added.attach_owned(step, node);
    }
    let forms = (old.map(|old| form(schema, at, old)), new.map(|new| form(schema, at, new)));
    let form = match forms {
        (Some(a), Some(b)) if a != b => Form::Leaf,
        (Some(form), _) | (None, Some(form)) => form,
        (None, None) => return,
    };
    let both_empty = old.is_none_or(is_empty) && new.is_none_or(is_empty);
    let mut below = Comparison::default();
    match form {
        Form::Fields(_) | Form::Entries(_) if !both_empty => {
            for (name, old, new) in zip(old.and_then(Value::as_object), new.and_then(Value::as_object)) {
                compare_value(schema, form.entry(schema, name).0, field_step(name), old, new, &mut below);
            }
        }
        Form::Items(items) if !both_empty => {
            if old != new {
                compare_items(schema, items, list(old), list(new), &mut below);
            }
        }
        _ => {
            match (old, new) {
                (None, _) => found.added.own(step),
                (_, None) => found.removed.own(step),
                (old, new) if old != new => found.modified.own(step),
                _ => {}
            }
            return;
        }
    }
    found.attach(&step, below);
    match (old, new) {
        (None, _) => found.added.own(step),
        (_, None) => found.removed.own(step),
        _ => {}
    }
}

/// What the creator of an object has added: all but what upstream's empty object of the kind has already. Those are
/// the structs that are no pointers, and the lists that are always written: the creator owns what is in them and not
/// they themselves.
pub(super) fn created(schema: &SchemaSet, root: NodeId, new: &Map<String, Value>) -> Comparison {
    Comparison { added: inside(schema, root, new), ..Comparison::default() }
}

fn inside(schema: &SchemaSet, id: NodeId, new: &Map<String, Value>) -> FieldSet {
    let mut found = FieldSet::default();
    let Shape::Object(fields) = schema.node(id).shape else { return found };
    for (name, value) in new {
        let step = field_step(name);
        let Some(field) = schema.field(fields, name) else {
            let at = if fields.open { At::Deduced } else { At::Atomic };
            found.attach_owned(step, all_of(schema, at, value));
            continue;
        };
        match (schema.node(field.node).shape, value) {
            (Shape::Object(fields), Value::Object(map))
                if fields.map_type == MapType::Granular && field.node != id && is_always_there(name) =>
            {
                found.attach(&step, inside(schema, field.node, map));
            }
            (Shape::List { .. }, Value::Array(list)) if field.required => {
                let items = all_of(schema, At::Node(field.node), value);
                if items.is_empty() && !list.is_empty() {
                    found.own(step);
                } else {
                    found.attach(&step, items);
                }
            }
            _ => found.attach_owned(step, all_of(schema, At::Node(field.node), value)),
        }
    }
    found
}

/// The structs that are no pointers, by their names.
fn is_always_there(name: &str) -> bool {
    matches!(name, "metadata" | "spec" | "status" | "template" | "strategy" | "updateStrategy" | "jobTemplate")
}

/// A value that was not there before, with everything in it.
fn all_of(schema: &SchemaSet, at: At, value: &Value) -> FieldSet {
    let mut below = FieldSet::default();
    match (form(schema, at, value), value) {
        (form @ (Form::Fields(_) | Form::Entries(_)), Value::Object(map)) => {
            for (name, value) in map {
                let node = all_of(schema, form.entry(schema, name).0, value);
                below.attach_owned(field_step(name), node);
            }
        }
        (Form::Items(items), Value::Array(list)) => {
            let mut groups: BTreeMap<String, Vec<&Value>> = BTreeMap::new();
            for item in list {
                if let Ok(step) = items.step(schema, item) {
                    groups.entry(step).or_default().push(item);
                }
            }
            for (step, group) in groups {
                match group.as_slice() {
                    [only] => below.attach_owned(step, all_of(schema, At::Node(items.node), only)),
                    _ => below.own(step),
                }
            }
        }
        _ => {}
    }
    below
}

/// The items of both lists by identity. Items that share one are compared as a group, and the group is one field.
fn compare_items(schema: &SchemaSet, items: Items, old: &[Value], new: &[Value], found: &mut Comparison) {
    let mut pairs: BTreeMap<String, (Vec<&Value>, Vec<&Value>)> = BTreeMap::new();
    for item in old {
        if let Ok(step) = items.step(schema, item) {
            pairs.entry(step).or_default().0.push(item);
        }
    }
    for item in new {
        if let Ok(step) = items.step(schema, item) {
            pairs.entry(step).or_default().1.push(item);
        }
    }
    let at = At::Node(items.node);
    for (step, (old, new)) in pairs {
        match (old.as_slice(), new.as_slice()) {
            ([], [new]) => compare_value(schema, at, step, None, Some(new), found),
            ([old], []) => compare_value(schema, at, step, Some(old), None, found),
            ([old], [new]) => compare_value(schema, at, step, Some(old), Some(new), found),
            ([_, _, ..], [_, _, ..]) => {
                if old != new {
                    found.modified.own(step);
                }
            }
            ([_, _, ..], new) => {
                if let [new] = new {
                    compare_value(schema, at, step.clone(), None, Some(new), found);
                }
                found.removed.own(step);
            }
            (old, _) => {
                if let [old] = old {
                    compare_value(schema, at, step.clone(), Some(old), None, found);
                }
                found.added.own(step);
            }
        }
    }
}

fn list(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

pub(super) fn is_empty(value: &Value) -> bool {
    match value {
        Value::Object(map) => map.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Null => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::tests::deployments;
    use serde_json::json;

    fn check(old: Value, new: Value, added: Value, modified: Value, removed: Value) {
        let (schema, root) = deployments();
        let (Value::Object(old), Value::Object(new)) = (old, new) else { panic!("objects") };
        let found = compare(&schema, At::Node(root), &old, &new);
        let sets = (found.added.into_value(), found.modified.into_value(), found.removed.into_value());
        assert_eq!(sets, (added, modified, removed));
    }

    #[test]
    fn scalars_maps_and_atomic_values() {
        check(
            json!({"metadata": {"labels": {"a": "1", "b": "2"}, "managedFields": [{}]}, "spec": {"replicas": 1, "selector": {"matchLabels": {"a": "b"}}}}),
            json!({"metadata": {"labels": {"a": "1", "b": "3"}}, "spec": {"paused": true, "selector": {"matchLabels": {"a": "c"}}}}),
            json!({"f:spec": {"f:paused": {}}}),
            json!({"f:metadata": {"f:labels": {"f:b": {}}}, "f:spec": {"f:selector": {}}}),
            json!({"f:spec": {"f:replicas": {}}}),
        );
    }

    #[test]
    fn items_are_compared_by_identity() {
        let pod = |containers: Value| json!({"spec": {"template": {"spec": {"containers": containers}}}});
        let at = |below: Value| json!({"f:spec": {"f:template": {"f:spec": {"f:containers": below}}}});
        check(
            pod(json!([{"name": "a", "image": "1", "ports": [{"containerPort": 80}]}, {"name": "b"}])),
            pod(
                json!([{"name": "c", "args": ["x"]}, {"name": "a", "image": "2", "ports": [{"containerPort": 80, "protocol": "TCP", "name": "p"}]}]),
            ),
            at(json!({
                r#"k:{"name":"a"}"#: {"f:ports": {r#"k:{"containerPort":80,"protocol":"TCP"}"#: {"f:name": {}, "f:protocol": {}}}},
                r#"k:{"name":"c"}"#: {".": {}, "f:args": {}, "f:name": {}},
            })),
            at(json!({r#"k:{"name":"a"}"#: {"f:image": {}}})),
            at(json!({r#"k:{"name":"b"}"#: {".": {}, "f:name": {}}})),
        );
    }

    #[test]
    fn sets_and_duplicates() {
        let meta = |finalizers: Value| json!({"metadata": {"finalizers": finalizers}});
        let at = |below: Value| json!({"f:metadata": {"f:finalizers": below}});
        let none = || json!({});
        check(
            meta(json!(["a", "b"])),
            meta(json!(["b", "c"])),
            at(json!({"v:\"c\"": {}})),
            none(),
            at(json!({"v:\"a\"": {}})),
        );
        check(
            meta(json!(["a"])),
            meta(json!(["a", "a"])),
            at(json!({"v:\"a\"": {}})),
            none(),
            at(json!({"v:\"a\"": {}})),
        );
        check(meta(json!(["a", "a"])), meta(json!(["a", "a"])), none(), none(), none());
        check(
            json!({}),
            meta(json!(["a"])),
            json!({"f:metadata": {".": {}, "f:finalizers": {".": {}, "v:\"a\"": {}}}}),
            none(),
            none(),
        );
    }
}
