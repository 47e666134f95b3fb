//! [`decode`]: brings an object into the form that upstream's typed decoder would give it, and says what it
//! had to leave out (upstream: `sigs.k8s.io/json`, `apimachinery/pkg/runtime/serializer/json`).
//!
//! Like Go's decoder it drops fields that the type does not have, drops `null` where a value cannot be null,
//! refuses values of another type, and writes quantities, times and bytes in their one canonical way.

use std::fmt;

use serde_json::{Map, Value};

use super::{Field, Fields, Format, NodeId, SchemaSet, Shape};
use crate::codec::json::MAX_PROBLEMS;
use crate::go;
use crate::object::Object;
use crate::quantity::Quantity;

/// A field that strict decoding objects to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// The type has no such field; the value was dropped.
    Unknown(String),
    /// The field was there twice; the last one counts.
    Duplicate(String),
    /// The key was there twice in a YAML document: with the line of its second value.
    Repeated(u64, String),
}

impl Problem {
    /// The path of a field that the type does not have.
    pub fn unknown(&self) -> Option<&str> {
        if let Self::Unknown(path) = self { Some(path) } else { None }
    }

    /// Where it is; nothing where only a line is known.
    pub fn path(&self) -> &str {
        match self {
            Self::Unknown(path) | Self::Duplicate(path) => path,
            Self::Repeated(..) => "",
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(path) => write!(f, "unknown field {path:?}"),
            Self::Duplicate(path) => write!(f, "duplicate field {path:?}"),
            Self::Repeated(line, key) => write!(f, "line {line}: key {key:?} already set in map"),
        }
    }
}

/// All that strict decoding objects to, as one error. What YAML's reader says comes first, in its own words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("strict decoding error: {}", self.problems())]
pub struct StrictError(pub Vec<Problem>);

impl StrictError {
    /// The problems in words.
    pub fn problems(&self) -> String {
        let (lines, fields): (Vec<&Problem>, Vec<&Problem>) =
            self.0.iter().partition(|problem| matches!(problem, Problem::Repeated(..)));
        let yaml = (!lines.is_empty()).then(|| {
            let lines: Vec<String> = lines.iter().map(|line| format!("  {line}")).collect();
            format!("yaml: unmarshal errors:\n{}", lines.join("\n"))
        });
        yaml.into_iter().chain(fields.iter().map(ToString::to_string)).collect::<Vec<_>>().join(", ")
    }
}

/// What to do with problems: the request's `fieldValidation`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FieldValidation {
    /// Say nothing.
    Ignore,
    /// Answer a `Warning` header a problem.
    #[default]
    Warn,
    /// Refuse the request.
    Strict,
}

impl FieldValidation {
    /// Reads the query parameter; empty means the default.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "" | "Warn" => Some(Self::Warn),
            "Ignore" => Some(Self::Ignore),
            "Strict" => Some(Self::Strict),
            _ => None,
        }
    }

    /// The warnings to send, or the error to answer.
    pub fn judge(self, problems: Vec<Problem>) -> Result<Vec<String>, StrictError> {
        match self {
            Self::Ignore => Ok(Vec::new()),
            Self::Warn => Ok(problems.iter().map(Problem::to_string).collect()),
            Self::Strict if problems.is_empty() => Ok(Vec::new()),
            Self::Strict => Err(StrictError(problems)),
        }
    }
}

/// A value of a type that the field cannot hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("json: cannot unmarshal {value} into Go {} of type {go_type}", place(.struct_name, .path))]
pub struct TypeError {
    /// What was there, as `string` or `number 1.5`.
    pub value: String,
    /// The innermost struct, as `DeploymentSpec`.
    pub struct_name: String,
    /// The fields from the root, joined by dots, without list indices and map keys.
    pub path: String,
    /// What the field takes, as `int32` or `[]v1.Container`.
    pub go_type: String,
}

fn place(struct_name: &str, path: &str) -> String {
    if path.is_empty() { "value".to_owned() } else { format!("struct field {struct_name}.{path}") }
}

/// Why an object cannot be decoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A value of the wrong type.
    #[error(transparent)]
    Type(#[from] TypeError),
    /// A scalar that does not have its form: a quantity, a time, base64.
    #[error("{0}")]
    Scalar(String),
}

impl DecodeError {
    /// The message of upstream's 400 for it (upstream: `endpoints/handlers/rest.go`, `transformDecodeError`).
    pub fn message(&self, version: &str, kind: &str) -> String {
        format!("{kind} in version {version:?} cannot be handled as a {kind}: {self}")
    }
}

/// Decodes `object` in place against the definition `root`; answers the fields it dropped. What Go's types always
/// write is there afterwards.
pub fn decode(set: &SchemaSet, root: NodeId, object: &mut Object) -> Result<Vec<Problem>, DecodeError> {
    decode_with(set, root, object, true)
}

/// Decodes a part of an object, as it is applied: nothing is added to it.
pub fn decode_partial(set: &SchemaSet, root: NodeId, object: &mut Object) -> Result<Vec<Problem>, DecodeError> {
    decode_with(set, root, object, false)
}

fn decode_with(
    set: &SchemaSet,
    root: NodeId,
    object: &mut Object,
    adds_zeros: bool,
) -> Result<Vec<Problem>, DecodeError> {
    let mut decoder = Decoder { set, path: Vec::new(), problems: Vec::new(), struct_name: "", adds_zeros };
    let mut value = Value::Object(std::mem::take(&mut object.0));
    let outcome = decoder.value(root, &mut value);
    if let Value::Object(map) = value {
        object.0 = map;
    }
    outcome.map(|()| decoder.problems)
}

enum Step {
    Field(super::Symbol),
    Key(String),
    Index(usize),
}

struct Decoder<'s> {
    set: &'s SchemaSet,
    path: Vec<Step>,
    problems: Vec<Problem>,
    struct_name: &'s str,
    adds_zeros: bool,
}

impl<'s> Decoder<'s> {
    fn value(&mut self, id: NodeId, value: &mut Value) -> Result<(), DecodeError> {
        let node = self.set.node(id);
        match (node.shape, &mut *value) {
            (Shape::Any { .. }, _) => Ok(()),
            (Shape::Object(fields), Value::Object(map)) => {
                let outer = self.struct_name;
                self.struct_name = node.name.map(|name| short_name(self.set.text(name))).unwrap_or_default();
                let outcome = self.object(fields, map);
                self.struct_name = outer;
                outcome
            }
            (Shape::Map { values, .. }, Value::Object(map)) => {
                for (key, value) in map.iter_mut() {
                    if value.is_null() {
                        *value = self.set.zero(values);
                    }
                    if value.is_null() || is_leaf_string(self.set, values, value) {
                        continue;
                    }
                    self.path.push(Step::Key(key.clone()));
                    self.value(values, value)?;
                    self.path.pop();
                }
                Ok(())
            }
            (Shape::List { items, .. }, Value::Array(list)) => {
                for (index, value) in list.iter_mut().enumerate() {
                    if value.is_null() {
                        *value = self.set.zero(items);
                    }
                    if value.is_null() {
                        continue;
                    }
                    self.path.push(Step::Index(index));
                    self.value(items, value)?;
                    self.path.pop();
                }
                Ok(())
            }
            (Shape::Boolean, Value::Bool(_)) | (Shape::Number, Value::Number(_)) => Ok(()),
            (Shape::Integer, Value::Number(number)) => match (number.as_i64(), node.format) {
                (Some(number), Format::Int32) if i32::try_from(number).is_err() => Err(self.mismatch(id, value)),
                (Some(_), _) => Ok(()),
                (None, _) => Err(self.mismatch(id, value)),
            },
            (Shape::IntOrString, Value::String(_)) => Ok(()),
            (Shape::IntOrString, Value::Number(number)) => {
                let fits = number.as_i64().is_some_and(|number| i32::try_from(number).is_ok());
                if fits { Ok(()) } else { Err(self.mismatch(id, value)) }
            }
            (Shape::String, Value::String(text)) => {
                if let Some(canonical) = canonical(node.format, text)? {
                    *text = canonical;
                }
                Ok(())
            }
            (Shape::String, Value::Number(number)) if node.format == Format::Quantity => {
                let quantity =
                    Quantity::parse(&number.to_string()).map_err(|err| DecodeError::Scalar(err.to_string()))?;
                *value = Value::String(quantity.to_string());
                Ok(())
            }
            (_, value) => Err(self.mismatch(id, value)),
        }
    }

    fn object(&mut self, fields: Fields, map: &mut Map<String, Value>) -> Result<(), DecodeError> {
        let mut outcome = Ok(());
        map.retain(|name, value| {
            if outcome.is_err() {
                return true;
            }
            let Some(field) = self.set.field(fields, name) else {
                if !fields.open && self.problems.len() < MAX_PROBLEMS {
                    let path = self.spell(Some(name));
                    self.problems.push(Problem::Unknown(path));
                }
                return fields.open;
            };
            if value.is_null() {
                return self.set.node(field.node).nullable;
            }
            self.path.push(Step::Field(field.name));
            outcome = self.value(field.node, value);
            self.path.pop();
            outcome.is_err() || !self.is_omitted(field, value)
        });
        if self.adds_zeros {
            self.set.add_zeros(fields, map);
        }
        outcome
    }

    /// Whether Go would not write the field: an optional list or map without entries, a zero of `omitempty`.
    fn is_omitted(&self, field: &Field, value: &Value) -> bool {
        match value {
            Value::Array(list) => list.is_empty() && !field.required,
            Value::Object(map) => {
                map.is_empty() && !field.required && matches!(self.set.node(field.node).shape, Shape::Map { .. })
            }
            Value::String(text) => field.omit_zero && text.is_empty(),
            Value::Bool(value) => field.omit_zero && !value,
            Value::Number(number) => field.omit_zero && number.as_f64() == Some(0.0),
            Value::Null => false,
        }
    }

    fn mismatch(&self, id: NodeId, value: &Value) -> DecodeError {
        let fields: Vec<&str> = self
            .path
            .iter()
            .filter_map(|step| match step {
                Step::Field(name) => Some(self.set.text(*name)),
                Step::Key(_) | Step::Index(_) => None,
            })
            .collect();
        let wants_integer = matches!(self.set.node(id).shape, Shape::Integer | Shape::IntOrString);
        let error = TypeError {
            value: match value {
                Value::Number(number) if wants_integer => format!("number {number}"),
                other => go::json_kind(other).to_owned(),
            },
            struct_name: self.struct_name.to_owned(),
            path: fields.join("."),
            go_type: go_type(self.set, id),
        };
        error.into()
    }

    /// The path in words, as `spec.containers[0].name`, with one more field below it.
    fn spell(&self, last: Option<&str>) -> String {
        let mut text = String::new();
        let name = |text: &mut String, name: &str| {
            if !text.is_empty() {
                text.push('.');
            }
            text.push_str(name);
        };
        for step in &self.path {
            match step {
                Step::Field(field) => name(&mut text, self.set.text(*field)),
                Step::Key(key) => name(&mut text, key),
                Step::Index(index) => text.push_str(&format!("[{index}]")),
            }
        }
        if let Some(last) = last {
            name(&mut text, last);
        }
        text
    }
}

/// Maps of plain strings (labels, annotations, data) are the most common maps: nothing to do for a good value.
fn is_leaf_string(set: &SchemaSet, id: NodeId, value: &Value) -> bool {
    let node = set.node(id);
    node.shape == Shape::String && node.format == Format::None && value.is_string()
}

/// The canonical spelling of a formatted string, or `None` where it has it already.
fn canonical(format: Format, text: &str) -> Result<Option<String>, DecodeError> {
    let fresh = match format {
        Format::None | Format::Int32 | Format::Int64 | Format::Double => return Ok(None),
        Format::Quantity => Quantity::parse(text).map_err(|err| DecodeError::Scalar(err.to_string()))?.to_string(),
        Format::Byte => return canonical_base64(text),
        Format::DateTime => parse_time(text)?.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        Format::MicroTime => parse_time(text)?.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string(),
    };
    Ok((fresh != text).then_some(fresh))
}

fn parse_time(text: &str) -> Result<jiff::Timestamp, DecodeError> {
    let refused = || {
        DecodeError::Scalar(format!(
            "parsing time {text:?} as \"2006-01-02T15:04:05Z07:00\": cannot parse {text:?} as \"2006\""
        ))
    };
    // The library also takes spaces, lower case and zone names; RFC 3339 as Go reads it does not.
    if text.as_bytes().get(10) != Some(&b'T') || text.contains('[') {
        return Err(refused());
    }
    text.parse().map_err(|_| refused())
}

/// Go's base64 decoder passes over line breaks and its encoder writes none.
fn canonical_base64(text: &str) -> Result<Option<String>, DecodeError> {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    let stripped: Option<String> =
        text.contains(['\r', '\n']).then(|| text.chars().filter(|char| !matches!(char, '\r' | '\n')).collect());
    let compact = stripped.as_deref().unwrap_or(text);
    match STANDARD.decode(compact) {
        Ok(_) => Ok(stripped),
        Err(base64::DecodeError::InvalidByte(at, _)) => {
            Err(DecodeError::Scalar(format!("illegal base64 data at input byte {at}")))
        }
        Err(_) => {
            Err(DecodeError::Scalar(format!("illegal base64 data at input byte {}", compact.len().saturating_sub(1))))
        }
    }
}

/// The type as Go names it, as `[]v1.Container`.
fn go_type(set: &SchemaSet, id: NodeId) -> String {
    let node = set.node(id);
    match (node.shape, node.format) {
        (Shape::Object(_), _) => node.name.map(|name| go_struct(set.text(name))).unwrap_or_else(|| "struct".into()),
        (Shape::Map { values, .. }, _) => format!("map[string]{}", go_type(set, values)),
        (Shape::List { items, .. }, _) => format!("[]{}", go_type(set, items)),
        (Shape::String, Format::Byte) => "[]uint8".into(),
        (Shape::String, _) => "string".into(),
        (Shape::Integer | Shape::IntOrString, Format::Int64) => "int64".into(),
        (Shape::Integer | Shape::IntOrString, _) => "int32".into(),
        (Shape::Number, _) => "float64".into(),
        (Shape::Boolean, _) => "bool".into(),
        (Shape::Any { .. }, _) => "interface {}".into(),
    }
}

/// `v1.PodSpec` of `io.k8s.api.core.v1.PodSpec`.
fn go_struct(name: &str) -> String {
    let mut parts = name.rsplitn(3, '.');
    match (parts.next(), parts.next()) {
        (Some(kind), Some(package)) => format!("{package}.{kind}"),
        _ => name.to_owned(),
    }
}

fn short_name(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(_, last)| last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::tests::deployments;
    use expect_test::{Expect, expect};
    use serde_json::json;

    fn run(value: Value) -> (Object, Result<Vec<Problem>, DecodeError>) {
        let (set, root) = deployments();
        let mut object = Object::from_value(value).expect("an object");
        let outcome = decode(&set, root, &mut object);
        (object, outcome)
    }

    fn check_error(value: Value, expect: Expect) {
        expect.assert_eq(&run(value).1.expect_err("refused").message("v1", "Deployment"));
    }

    #[test]
    fn wrong_types_are_named_as_upstream_names_them() {
        check_error(
            json!({"spec": {"replicas": "three"}}),
            expect![[
                r#"Deployment in version "v1" cannot be handled as a Deployment: json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32"#
            ]],
        );
        check_error(
            json!({"spec": {"replicas": 1.5}}),
            expect![[
                r#"Deployment in version "v1" cannot be handled as a Deployment: json: cannot unmarshal number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32"#
            ]],
        );
        check_error(
            json!({"metadata": {"labels": {"a": 1}}}),
            expect![[
                r#"Deployment in version "v1" cannot be handled as a Deployment: json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string"#
            ]],
        );
        check_error(
            json!({"spec": {"template": {"spec": {"containers": {}}}}}),
            expect![[
                r#"Deployment in version "v1" cannot be handled as a Deployment: json: cannot unmarshal object into Go struct field PodSpec.spec.template.spec.containers of type []v1.Container"#
            ]],
        );
        check_error(
            json!({"spec": {"template": {"spec": {"containers": [{"resources": {"limits": {"cpu": "1mm"}}}]}}}}),
            expect![[
                r#"Deployment in version "v1" cannot be handled as a Deployment: unable to parse quantity's suffix"#
            ]],
        );
    }

    #[test]
    fn unknown_fields_are_dropped_and_told() {
        let (object, problems) = run(json!({
            "kind": "Deployment", "bogus": 1,
            "spec": {"Replicas": 3, "template": {"spec": {"containers": [{"name": "a", "imag": "x"}]}}},
        }));
        let problems = problems.expect("decoded");
        expect![[r#"strict decoding error: unknown field "bogus", unknown field "spec.Replicas", unknown field "spec.template.spec.containers[0].imag""#]]
            .assert_eq(&FieldValidation::Strict.judge(problems.clone()).expect_err("strict").to_string());
        assert_eq!(FieldValidation::Warn.judge(problems.clone()).expect("warned").len(), 3);
        assert!(FieldValidation::Ignore.judge(problems).expect("ignored").is_empty());
        let rest = json!({"kind": "Deployment", "spec": {"template": {"spec": {"containers": [{"name": "a"}]}}}});
        assert_eq!(object.into_value(), rest);
    }

    #[test]
    fn nulls_and_empty_optional_collections_go() {
        let (object, problems) = run(json!({
            "metadata": {"creationTimestamp": null, "labels": {"a": null}, "annotations": {}},
            "spec": {"replicas": null, "template": {"spec": {"containers": [], "tolerations": [], "nodeSelector": {},
                "volumes": [{"name": "v", "emptyDir": {}}]}}},
        }));
        assert!(problems.expect("decoded").is_empty());
        let rest = json!({
            "metadata": {"labels": {"a": ""}},
            "spec": {"template": {"spec": {"containers": [], "volumes": [{"name": "v", "emptyDir": {}}]}}},
        });
        assert_eq!(object.into_value(), rest);
    }

    #[test]
    fn quantities_and_times_get_their_canonical_form() {
        let (object, problems) = run(json!({
            "metadata": {"deletionTimestamp": "2026-01-02T03:04:05+02:00"},
            "spec": {"template": {"spec": {"containers": [
                {"name": "a", "resources": {"limits": {"cpu": 0.5, "memory": "1024Mi"}}},
            ]}}},
        }));
        assert!(problems.expect("decoded").is_empty());
        assert_eq!(object.meta_str("deletionTimestamp"), "2026-01-02T01:04:05Z");
        let limits =
            object.at(&["spec", "template", "spec", "containers"]).expect("there")[0]["resources"]["limits"].clone();
        assert_eq!(limits, json!({"cpu": "500m", "memory": "1Gi"}));
    }
}
