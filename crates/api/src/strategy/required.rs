//! Required fields, read off the schema: the rule for kinds whose own rules are not written yet.

use apimachinery::field::{self, Error, Path};
use apimachinery::schema::{NodeId, SchemaSet, Shape};
use apimachinery::{GroupVersionKind, Object};
use serde_json::Value;

use crate::check::Errors;
use crate::resource::Strategy;
use crate::schemas::SCHEMAS;

/// The strategy of kinds with a spec and a generation, whose required fields must be there.
pub(crate) struct Structure;

impl Strategy for Structure {
    fn validate(&self, object: &Object) -> Vec<field::Error> {
        missing(object, &["spec"])
    }
}

/// The required fields that are missing below these fields of the object.
pub(super) fn missing(object: &Object, below: &[&str]) -> Errors {
    let mut errors = Errors::new();
    let kind = GroupVersionKind::from_api_version(object.api_version(), object.kind());
    let Some(root) = SCHEMAS.of(&kind) else { return errors };
    for name in below {
        let (Some(node), Some(value)) = (SCHEMAS.set.child(root, name), object.0.get(*name)) else { continue };
        walk(&SCHEMAS.set, node, value, &Path::new(name), &mut errors);
    }
    errors
}

fn walk(set: &SchemaSet, node: NodeId, value: &Value, path: &Path, errors: &mut Errors) {
    match (set.node(node).shape, value) {
        (Shape::Object(fields), Value::Object(map)) => {
            for field in set.fields(fields) {
                let name = set.text(field.name);
                match map.get(name).filter(|value| !value.is_null()) {
                    Some(value) => walk(set, field.node, value, &path.child(name), errors),
                    None if field.required => errors.push(Error::required(&path.child(name), "")),
                    None => {}
                }
            }
        }
        (Shape::List { items, .. }, Value::Array(list)) => {
            for (index, item) in list.iter().enumerate() {
                walk(set, items, item, &path.index(index), errors);
            }
        }
        (Shape::Map { values, .. }, Value::Object(map)) => {
            for (key, value) in map {
                walk(set, values, value, &path.key(key), errors);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_the_schema_requires_must_be_there() {
        let request = json!({
            "apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaim",
            "spec": {"devices": {"requests": [{}]}},
        });
        let errors = missing(&Object::from_value(request).expect("an object"), &["spec"]);
        let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["spec.devices.requests[0].name: Required value"]);
    }
}
