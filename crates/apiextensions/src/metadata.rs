//! apiVersion, kind and metadata of custom resources and of objects embedded in them
//! (upstream: apiextensions-apiserver/pkg/apiserver/schema/objectmeta).

use std::sync::LazyLock;

use api::SCHEMAS;
use apimachinery::field::{Error, Path};
use apimachinery::schema::{NodeId, Problem, decode};
use apimachinery::{Object, meta, validation};
use serde_json::{Map, Value};

use crate::schema::Schema;
use crate::structure::OBJECT_META;

static METADATA: LazyLock<Option<NodeId>> = LazyLock::new(|| SCHEMAS.set.by_name(OBJECT_META));

/// What becomes of metadata that does not have its form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Malformed {
    /// It is refused: a client sent it.
    Refuse,
    /// It goes: it was stored once.
    Drop,
}

/// Brings the metadata of the object and of all embedded ones into form; answers what was dropped as unknown.
pub(crate) fn coerce(
    schema: Option<&Schema>,
    object: &mut Object,
    malformed: Malformed,
) -> Result<Vec<Problem>, Error> {
    let mut coercion = Coercion { malformed, problems: Vec::new() };
    coercion.whole_object(&mut object.0, &Path::default())?;
    if let Some(schema) = schema {
        coercion.properties(schema, &mut object.0, &Path::default())?;
    }
    Ok(coercion.problems)
}

/// The same for a default, which is a value below some path. `is_object` says that it stands for a whole object.
pub(crate) fn coerce_default(schema: &Schema, value: &mut Value, path: &Path) -> Result<(), Error> {
    Coercion { malformed: Malformed::Refuse, problems: Vec::new() }.value(schema, value, path)
}

struct Coercion {
    malformed: Malformed,
    problems: Vec<Problem>,
}

impl Coercion {
    fn value(&mut self, schema: &Schema, value: &mut Value, path: &Path) -> Result<(), Error> {
        match value {
            Value::Object(map) => {
                if schema.embedded_resource {
                    self.whole_object(map, path)?;
                }
                self.properties(schema, map, path)
            }
            Value::Array(list) => {
                let Some(items) = schema.item() else { return Ok(()) };
                for (index, value) in list.iter_mut().enumerate() {
                    self.value(items, value, &path.index(index))?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn properties(&mut self, schema: &Schema, map: &mut Map<String, Value>, path: &Path) -> Result<(), Error> {
        for (name, value) in map.iter_mut().filter(|(_, value)| value.is_object() || value.is_array()) {
            if let Some(child) = schema.properties.get(name) {
                self.value(child, value, &path.child(name))?;
            } else if let Some(child) = schema.additional() {
                self.value(child, value, &path.key(name))?;
            }
        }
        Ok(())
    }

    fn whole_object(&mut self, map: &mut Map<String, Value>, path: &Path) -> Result<(), Error> {
        for name in ["apiVersion", "kind"] {
            match (map.get(name), self.malformed) {
                (None | Some(Value::String(_)), _) => {}
                (Some(_), Malformed::Drop) => drop(map.remove(name)),
                (Some(value), Malformed::Refuse) => {
                    return Err(Error::invalid(&path.child(name), value.clone(), "must be a string"));
                }
            }
        }
        let Some(value) = map.get_mut("metadata") else { return Ok(()) };
        self.metadata(value, &path.child("metadata"))
    }

    fn metadata(&mut self, value: &mut Value, path: &Path) -> Result<(), Error> {
        let Value::Object(fields) = value else {
            if value.is_null() || self.malformed == Malformed::Drop {
                *value = Value::Object(Map::new());
                return Ok(());
            }
            let words = "json: cannot unmarshal value into Go value of type v1.ObjectMeta";
            return Err(Error::invalid(path, value.clone(), words));
        };
        let Some(root) = *METADATA else { return Ok(()) };
        let mut object = Object(std::mem::take(fields));
        let before = (self.malformed == Malformed::Drop).then(|| object.0.clone());
        match (decode(&SCHEMAS.set, root, &mut object), before) {
            (Ok(problems), _) => {
                self.problems.extend(problems.into_iter().map(|problem| below(path, problem)));
                *fields = object.0;
                Ok(())
            }
            (Err(_), Some(before)) => {
                *fields = before.into_iter().filter_map(|(name, value)| only(root, name, value)).collect();
                Ok(())
            }
            (Err(error), None) => Err(Error::invalid(path, Value::Object(object.0), error.to_string())),
        }
    }
}

fn below(path: &Path, problem: Problem) -> Problem {
    match problem {
        Problem::Unknown(field) => Problem::Unknown(format!("{path}.{field}")),
        Problem::Duplicate(field) => Problem::Duplicate(format!("{path}.{field}")),
        Problem::Repeated(..) => problem,
    }
}

/// One field of metadata in its form, if it has one.
fn only(root: NodeId, name: String, value: Value) -> Option<(String, Value)> {
    let mut object = Object(Map::from_iter([(name, value)]));
    decode(&SCHEMAS.set, root, &mut object).ok()?;
    object.0.into_iter().next()
}

/// Judges the embedded objects below a value.
pub(crate) fn validate(schema: &Schema, map: &Map<String, Value>, path: &Path, errors: &mut Vec<Error>) {
    for (name, value) in map {
        if let Some(child) = schema.properties.get(name) {
            validate_value(child, value, &path.child(name), errors);
        } else if let Some(child) = schema.additional() {
            validate_value(child, value, &path.key(name), errors);
        }
    }
}

/// Judges a value that may be an embedded object, or have some below it.
pub(crate) fn validate_value(schema: &Schema, value: &Value, path: &Path, errors: &mut Vec<Error>) {
    match value {
        Value::Object(map) => {
            if schema.embedded_resource {
                validate_whole_object(map, path, errors);
            }
            validate(schema, map, path, errors);
        }
        Value::Array(list) => {
            let Some(items) = schema.item() else { return };
            for (index, value) in list.iter().enumerate() {
                validate_value(items, value, &path.index(index), errors);
            }
        }
        _ => {}
    }
}

fn validate_whole_object(map: &Map<String, Value>, path: &Path, errors: &mut Vec<Error>) {
    for name in ["apiVersion", "kind"] {
        let path = path.child(name);
        match map.get(name) {
            None => errors.push(Error::required(&path, "")),
            Some(Value::String(text)) if text.is_empty() => {
                errors.push(Error::invalid(&path, "", "must not be empty"));
            }
            Some(Value::String(text)) if name == "kind" => {
                let wrong = validation::dns1035_label(&text.to_lowercase());
                if !wrong.is_empty() {
                    let words = format!("may have mixed case, but should otherwise match: {}", wrong.join(","));
                    errors.push(Error::invalid(&path, text.as_str(), words));
                }
            }
            Some(Value::String(text)) if text.matches('/').count() > 1 => {
                errors.push(Error::invalid(&path, text.as_str(), format!("unexpected GroupVersion string: {text}")));
            }
            Some(Value::String(_)) => {}
            Some(other) => errors.push(Error::invalid(&path, other.clone(), "must be a string")),
        }
    }
    let Some(Value::Object(metadata)) = map.get("metadata") else { return };
    let mut metadata = metadata.clone();
    // Something has to stand there for the other rules to be about.
    if metadata.get("name").is_none_or(|name| name == "") {
        metadata.insert("name".into(), "fakename".into());
    }
    let namespaced = metadata.get("namespace").is_some_and(|namespace| namespace != "");
    let object = Object(Map::from_iter([("metadata".to_owned(), Value::Object(metadata))]));
    let rule = validation::name_is_path_segment;
    errors.extend(meta::validate_object_meta(&object, namespaced, rule, &path.child("metadata")));
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use serde_json::json;

    fn schema() -> Schema {
        let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {"template":
            {"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true}}}}});
        serde_json::from_value(schema).expect("a schema")
    }

    fn object(template: Value) -> Object {
        let object =
            json!({"apiVersion": "x/v1", "kind": "X", "metadata": {"name": "x"}, "spec": {"template": template}});
        Object::from_value(object).expect("an object")
    }

    fn check(template: Value, expect: Expect) {
        let mut errors = Vec::new();
        validate(&schema(), &object(template).0, &Path::default(), &mut errors);
        expect.assert_eq(&errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
    }

    #[test]
    fn embedded_objects_are_objects() {
        check(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "a-"}}), expect![""]);
        check(
            json!({"metadata": {"name": "a/b"}}),
            expect![[r#"
                spec.template.apiVersion: Required value
                spec.template.kind: Required value
                spec.template.metadata.name: Invalid value: "a/b": may not contain '/'"#]],
        );
        check(
            json!({"apiVersion": "a/b/c", "kind": "Po_d"}),
            expect![[r#"
                spec.template.apiVersion: Invalid value: "a/b/c": unexpected GroupVersion string: a/b/c
                spec.template.kind: Invalid value: "Po_d": may have mixed case, but should otherwise match: a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"#]],
        );
    }

    #[test]
    fn unknown_metadata_is_told_and_malformed_metadata_refused_or_dropped() {
        let mut known = object(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "bogus": 1}}));
        known.metadata_mut().insert("wrong".into(), 1.into());
        let problems = coerce(Some(&schema()), &mut known, Malformed::Refuse).expect("in form");
        let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(told, [r#"unknown field "metadata.wrong""#, r#"unknown field "spec.template.metadata.bogus""#]);
        let malformed = || object(json!({"metadata": {"name": "a", "labels": {"a": 1}}}));
        let refused = coerce(Some(&schema()), &mut malformed(), Malformed::Refuse).expect_err("refused");
        assert_eq!(refused.field, "spec.template.metadata");
        let mut stored = malformed();
        coerce(Some(&schema()), &mut stored, Malformed::Drop).expect("dropped");
        assert_eq!(stored.0["spec"]["template"], json!({"metadata": {"name": "a"}}));
    }
}
