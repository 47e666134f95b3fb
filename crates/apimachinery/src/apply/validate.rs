//! Checks an applied configuration against the schema, in the words of upstream's typed parser
//! (`structured-merge-diff/typed/validate.go`).

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::field_set::spell_step;
use super::walk::{At, Form, form};
use crate::go;
use crate::schema::{NodeId, SchemaSet, Shape};

/// What is wrong with the configuration; nothing means all is well.
pub(super) fn validate(schema: &SchemaSet, root: NodeId, object: &Map<String, Value>) -> Vec<String> {
    let mut checker = Checker { schema, path: Vec::new(), errors: Vec::new() };
    if let Shape::Object(_) = schema.node(root).shape {
        checker.map(At::Node(root), object);
    }
    checker.errors
}

/// A step on the way to the value under check; it is spelled only when something is wrong.
enum Step<'v> {
    Field(&'v str),
    Item(String),
}

struct Checker<'s, 'v> {
    schema: &'s SchemaSet,
    path: Vec<Step<'v>>,
    errors: Vec<String>,
}

impl<'v> Checker<'_, 'v> {
    fn refuse(&mut self, words: impl AsRef<str>) {
        let (words, mut path) = (words.as_ref(), String::new());
        for step in &self.path {
            match step {
                Step::Field(name) => path.extend([".", name]),
                Step::Item(step) => spell_step(step, &mut path),
            }
        }
        self.errors.push(if path.is_empty() { words.to_owned() } else { format!("{path}: {words}") });
    }

    fn below(&mut self, step: Step<'v>, check: impl FnOnce(&mut Self)) {
        self.path.push(step);
        check(self);
        self.path.pop();
    }

    fn value(&mut self, at: At, value: &'v Value) {
        let At::Node(id) = at else { return };
        match (self.schema.node(id).shape, value) {
            (Shape::Any { .. }, _) | (_, Value::Null) => {}
            (Shape::Object(_) | Shape::Map { .. }, Value::Object(map)) => self.map(at, map),
            (Shape::List { .. }, Value::Array(list)) => self.list(at, list),
            (Shape::String, Value::String(_)) => {}
            // Quantities, and whatever else upstream's schema leaves untyped.
            (Shape::String, Value::Number(_)) if self.schema.node(id).format == crate::schema::Format::Quantity => {}
            (Shape::Integer | Shape::Number, Value::Number(_)) | (Shape::Boolean, Value::Bool(_)) => {}
            (Shape::IntOrString, Value::String(_) | Value::Number(_)) => {}
            (Shape::Object(_) | Shape::Map { .. }, other) => self.refuse(format!("expected map, got {}", spell(other))),
            (Shape::List { .. }, other) => self.refuse(format!("expected list, got {}", spell(other))),
            (Shape::String, other) => self.refuse(format!("expected string, got {}", spell(other))),
            (Shape::Integer | Shape::Number, other) => {
                self.refuse(format!("expected numeric (int or float), got {}", go::type_name(other)));
            }
            (Shape::Boolean, other) => self.refuse(format!("expected boolean, got {}", spell(other))),
            (Shape::IntOrString, other) => self.refuse(format!("expected any scalar, got {}", spell(other))),
        }
    }

    fn map(&mut self, at: At, map: &'v Map<String, Value>) {
        let At::Node(id) = at else { return };
        for (name, value) in map {
            let child = self.schema.child(id, name);
            let is_closed = matches!(self.schema.node(id).shape, Shape::Object(fields) if !fields.open);
            self.below(Step::Field(name), |checker| match child {
                Some(child) => checker.value(At::Node(child), value),
                None if is_closed => checker.refuse("field not declared in schema"),
                None => {}
            });
        }
    }

    fn list(&mut self, at: At, list: &'v [Value]) {
        let At::Node(id) = at else { return };
        let Shape::List { items: node, .. } = self.schema.node(id).shape else { return };
        let identity = match form(self.schema, at, &Value::Array(Vec::new())) {
            Form::Items(items) => Some(items),
            _ => None,
        };
        let mut seen = HashSet::new();
        for (index, item) in list.iter().enumerate() {
            let step = match identity.map(|items| items.step(self.schema, item)) {
                None => format!("i:{index}"),
                Some(Ok(step)) => step,
                Some(Err(words)) => {
                    self.refuse(format!("element {index}: {words}"));
                    return;
                }
            };
            if identity.is_some() && !seen.insert(step.clone()) {
                let mut spelled = String::new();
                spell_step(&step, &mut spelled);
                self.refuse(format!("duplicate entries for key {spelled}"));
            }
            self.below(Step::Item(step), |checker| checker.value(At::Node(node), item));
        }
    }
}

/// The value as Go prints what it unpacked.
fn spell(value: &Value) -> String {
    format!("&value.valueUnstructured{{Value:{value}}}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::tests::deployments;
    use serde_json::json;

    fn errors(object: Value) -> Vec<String> {
        let (schema, root) = deployments();
        validate(&schema, root, object.as_object().expect("an object"))
    }

    #[test]
    fn wrong_configurations_are_told() {
        let containers = |list: Value| json!({"spec": {"template": {"spec": {"containers": list}}}});
        for (object, error) in [
            (json!({"spec": {"foo": 1}}), ".spec.foo: field not declared in schema"),
            (json!({"spec": {"replicas": "3"}}), ".spec.replicas: expected numeric (int or float), got string"),
            (json!({"spec": []}), ".spec: expected map, got &value.valueUnstructured{Value:[]}"),
            (
                containers(json!({})),
                ".spec.template.spec.containers: expected list, got &value.valueUnstructured{Value:{}}",
            ),
            (
                containers(json!([{"name": "a"}, {"name": "a"}])),
                r#".spec.template.spec.containers: duplicate entries for key [name="a"]"#,
            ),
            (
                containers(json!([{"name": "a", "bogus": 1}])),
                r#".spec.template.spec.containers[name="a"].bogus: field not declared in schema"#,
            ),
            (
                containers(json!([{"image": "a"}])),
                ".spec.template.spec.containers: element 0: associative list with keys has an element that omits all key fields (and doesn't have default values for any key fields)",
            ),
        ] {
            assert_eq!(errors(object.clone()), [error], "{object}");
        }
    }

    #[test]
    fn good_configurations_pass() {
        let limits = json!({"cpu": 1, "memory": "1Gi"});
        let good = json!({"metadata": {"name": "a", "labels": {"a": "b"}, "creationTimestamp": null}, "spec": {
            "replicas": 1, "paused": false, "template": {"spec": {"containers": [
                {"name": "a", "ports": [{"containerPort": 1}, {"containerPort": 1, "protocol": "UDP"}], "resources": {"limits": limits}},
            ]}},
        }});
        assert_eq!(errors(good), Vec::<String>::new());
    }
}
