//! Label selectors: `a=b,c!=d,e in (f,g),!h,i` (upstream: `apimachinery/pkg/labels`).

mod parse;

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value};

use crate::field::{self, Path};
use crate::object::Object;
use crate::validation;

/// How a requirement judges the value of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `key=value`.
    Equals,
    /// `key==value`.
    DoubleEquals,
    /// `key!=value`: true also where the key is missing.
    NotEquals,
    /// `key in (a,b)`.
    In,
    /// `key notin (a,b)`: true also where the key is missing.
    NotIn,
    /// `key`.
    Exists,
    /// `!key`.
    DoesNotExist,
    /// `key>1`.
    GreaterThan,
    /// `key<1`.
    LessThan,
}

/// Why a selector cannot be made.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SelectorError {
    /// The text breaks the grammar.
    #[error("{0}")]
    Syntax(String),
    /// A requirement breaks a rule.
    #[error("unable to parse requirement: {0}")]
    Unparsable(String),
    /// A requirement of a `LabelSelector` breaks a rule.
    #[error("{0}")]
    Requirement(String),
    /// The operator of a `matchExpressions` entry does not exist.
    #[error("{0:?} is not a valid label selector operator")]
    Operator(String),
    /// The JSON of a `LabelSelector` has another shape.
    #[error("a label selector must have matchLabels of strings and matchExpressions with key, operator and values")]
    Shape,
}

/// One rule about one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    key: Box<str>,
    operator: Operator,
    values: Vec<Box<str>>,
}

impl Requirement {
    /// A requirement whose key and values follow upstream's rules.
    pub fn new(key: &str, operator: Operator, values: &[&str]) -> Result<Self, Vec<field::Error>> {
        let mut errors = Vec::new();
        let path = Path::default();
        let values_path = path.child("values");
        let key_errors = validation::qualified_name(key);
        if !key_errors.is_empty() {
            errors.push(field::Error::invalid(&path.child("key"), key, key_errors.join("; ")));
        }
        let all = || Value::from(values.to_vec());
        let refuse = |words: &str| field::Error::invalid(&values_path, all(), words);
        match operator {
            Operator::In | Operator::NotIn if values.is_empty() => {
                errors.push(refuse("for 'in', 'notin' operators, values set can't be empty"));
            }
            Operator::Equals | Operator::DoubleEquals | Operator::NotEquals if values.len() != 1 => {
                errors.push(refuse("exact-match compatibility requires one single value"));
            }
            Operator::Exists | Operator::DoesNotExist if !values.is_empty() => {
                errors.push(refuse("values set must be empty for exists and does not exist"));
            }
            Operator::GreaterThan | Operator::LessThan => {
                if values.len() != 1 {
                    errors.push(refuse("for 'Gt', 'Lt' operators, exactly one value is required"));
                }
                for (index, value) in values.iter().enumerate().filter(|(_, value)| value.parse::<i64>().is_err()) {
                    let words = "for 'Gt', 'Lt' operators, the value must be an integer";
                    errors.push(field::Error::invalid(&values_path.index(index), *value, words));
                }
            }
            _ => {}
        }
        for (index, value) in values.iter().enumerate() {
            let wrong = validation::label_value(value);
            if !wrong.is_empty() {
                errors.push(field::Error::invalid(&values_path.index(index).key(key), *value, wrong.join("; ")));
            }
        }
        if errors.is_empty() { Ok(Self::unchecked(key, operator, values)) } else { Err(errors) }
    }

    fn unchecked(key: &str, operator: Operator, values: &[&str]) -> Self {
        let mut values: Vec<Box<str>> = values.iter().map(|value| Box::from(*value)).collect();
        values.sort_unstable();
        values.dedup();
        Self { key: key.into(), operator, values }
    }

    /// The key the rule is about.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// How it judges.
    pub fn operator(&self) -> Operator {
        self.operator
    }

    /// The values, sorted.
    pub fn values(&self) -> impl ExactSizeIterator<Item = &str> {
        self.values.iter().map(|value| &**value)
    }

    /// The one value that the key must have, where the rule allows one only.
    pub fn only_value(&self) -> Option<&str> {
        match (self.operator, self.values.as_slice()) {
            (Operator::Equals | Operator::DoubleEquals | Operator::In, [only]) => Some(only),
            _ => None,
        }
    }

    /// Whether the rule holds for the key's value, `None` where the key is missing.
    pub fn matches(&self, value: Option<&str>) -> bool {
        let is_listed = |value: &str| self.values.iter().any(|listed| **listed == *value);
        match self.operator {
            Operator::Equals | Operator::DoubleEquals | Operator::In => value.is_some_and(is_listed),
            Operator::NotEquals | Operator::NotIn => !value.is_some_and(is_listed),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::GreaterThan => self.compares(value, |value, bound| value > bound),
            Operator::LessThan => self.compares(value, |value, bound| value < bound),
        }
    }

    fn compares(&self, value: Option<&str>, holds: fn(i64, i64) -> bool) -> bool {
        let bound = self.values.first().and_then(|bound| bound.parse().ok());
        match (value.and_then(|value| value.parse().ok()), bound) {
            (Some(value), Some(bound)) => holds(value, bound),
            _ => false,
        }
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (key, values) = (&self.key, self.values.join(","));
        match self.operator {
            Operator::Equals => write!(f, "{key}={values}"),
            Operator::DoubleEquals => write!(f, "{key}=={values}"),
            Operator::NotEquals => write!(f, "{key}!={values}"),
            Operator::In => write!(f, "{key} in ({values})"),
            Operator::NotIn => write!(f, "{key} notin ({values})"),
            Operator::Exists => write!(f, "{key}"),
            Operator::DoesNotExist => write!(f, "!{key}"),
            Operator::GreaterThan => write!(f, "{key}>{values}"),
            Operator::LessThan => write!(f, "{key}<{values}"),
        }
    }
}

/// A selector of objects by their labels: all of its requirements must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    /// `None` selects nothing at all.
    requirements: Option<Vec<Requirement>>,
}

impl Default for Selector {
    fn default() -> Self {
        Self::everything()
    }
}

impl Selector {
    /// The selector of everything.
    pub fn everything() -> Self {
        Self { requirements: Some(Vec::new()) }
    }

    /// The selector of nothing.
    pub fn nothing() -> Self {
        Self { requirements: None }
    }

    /// A selector of these requirements, sorted by key.
    pub fn new(mut requirements: Vec<Requirement>) -> Self {
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Self { requirements: Some(requirements) }
    }

    /// Reads the text form; the empty text selects everything.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        Ok(Self::new(parse::requirements(text)?))
    }

    /// A selector of exact values, as a Service or ReplicationController has it; labels are taken as they are.
    pub fn from_set<'a>(labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let exact = |(key, value)| Requirement::unchecked(key, Operator::Equals, &[value]);
        Self::new(labels.into_iter().map(exact).collect())
    }

    /// The selector of a `LabelSelector` in JSON: a missing one selects nothing, an empty one everything
    /// (upstream: `LabelSelectorAsSelector`).
    pub fn from_label_selector(selector: Option<&Value>) -> Result<Self, SelectorError> {
        let Some(selector) = selector.filter(|selector| !selector.is_null()) else { return Ok(Self::nothing()) };
        let selector = selector.as_object().ok_or(SelectorError::Shape)?;
        let mut requirements = Vec::new();
        for (key, value) in match_labels(selector)? {
            let value = value.as_str().ok_or(SelectorError::Shape)?;
            requirements.push(Requirement::new(key, Operator::Equals, &[value]).map_err(refused)?);
        }
        let expressions = selector.get("matchExpressions").filter(|value| !value.is_null());
        for expression in expressions.map_or(Ok(&[][..]), list)? {
            requirements.push(from_expression(expression)?);
        }
        Ok(Self::new(requirements))
    }

    /// Whether it selects everything.
    pub fn is_empty(&self) -> bool {
        self.requirements.as_ref().is_some_and(Vec::is_empty)
    }

    /// Whether it selects nothing at all.
    pub fn is_nothing(&self) -> bool {
        self.requirements.is_none()
    }

    /// The requirements; none of a selector of nothing.
    pub fn requirements(&self) -> &[Requirement] {
        self.requirements.as_deref().unwrap_or_default()
    }

    /// Whether labels found by `lookup` are selected.
    pub fn matches<'l>(&self, lookup: impl Fn(&str) -> Option<&'l str>) -> bool {
        match &self.requirements {
            Some(requirements) => requirements.iter().all(|requirement| requirement.matches(lookup(&requirement.key))),
            None => false,
        }
    }

    /// Whether an object is selected.
    pub fn matches_object(&self, object: &Object) -> bool {
        let labels = object.metadata().and_then(|metadata| metadata.get("labels")).and_then(Value::as_object);
        self.matches(|key| labels?.get(key)?.as_str())
    }

    /// Whether a map of labels is selected, as the typed structs have it.
    pub fn matches_map(&self, labels: Option<&BTreeMap<String, String>>) -> bool {
        self.matches(|key| labels?.get(key).map(String::as_str))
    }

    /// The one value that the selector allows for `key`, where it allows one only.
    pub fn requires_exact_match(&self, key: &str) -> Option<&str> {
        self.requirements().iter().find(|requirement| &*requirement.key == key)?.only_value()
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, requirement) in self.requirements().iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            requirement.fmt(f)?;
        }
        Ok(())
    }
}

fn match_labels(selector: &Map<String, Value>) -> Result<impl Iterator<Item = (&String, &Value)>, SelectorError> {
    match selector.get("matchLabels") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(labels)) => Ok(Some(labels)),
        Some(_) => Err(SelectorError::Shape),
    }
    .map(|labels| labels.into_iter().flatten())
}

fn list(value: &Value) -> Result<&[Value], SelectorError> {
    value.as_array().map(Vec::as_slice).ok_or(SelectorError::Shape)
}

fn from_expression(expression: &Value) -> Result<Requirement, SelectorError> {
    let text = |field: &str| expression.get(field).and_then(Value::as_str).ok_or(SelectorError::Shape);
    let operator = match text("operator")? {
        "In" => Operator::In,
        "NotIn" => Operator::NotIn,
        "Exists" => Operator::Exists,
        "DoesNotExist" => Operator::DoesNotExist,
        other => return Err(SelectorError::Operator(other.to_owned())),
    };
    let values = expression.get("values").filter(|value| !value.is_null());
    let values: Option<Vec<&str>> = values.map_or(Ok(&[][..]), list)?.iter().map(Value::as_str).collect();
    Requirement::new(text("key")?, operator, &values.ok_or(SelectorError::Shape)?).map_err(refused)
}

/// Errors as upstream's aggregate spells them.
fn aggregate(errors: &[field::Error]) -> String {
    let texts: Vec<String> = errors.iter().map(field::Error::to_string).collect();
    if let [only] = texts.as_slice() { only.clone() } else { format!("[{}]", texts.join(", ")) }
}

fn refused(errors: Vec<field::Error>) -> SelectorError {
    SelectorError::Requirement(aggregate(&errors))
}

/// Checks a `LabelSelector` of a spec (upstream: `metav1/validation.ValidateLabelSelector`).
pub fn validate_label_selector(selector: &Value, path: &Path) -> Vec<field::Error> {
    let mut errors = Vec::new();
    if let Some(labels) = selector.get("matchLabels").and_then(Value::as_object) {
        errors.extend(validate_labels(labels, &path.child("matchLabels")));
    }
    let expressions = selector.get("matchExpressions").and_then(Value::as_array);
    for (index, expression) in expressions.into_iter().flatten().enumerate() {
        let path = path.child("matchExpressions").index(index);
        let text = |field: &str| expression.get(field).and_then(Value::as_str).unwrap_or_default();
        let values: Vec<&str> = expression
            .get("values")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let values_path = path.child("values");
        match text("operator") {
            "In" | "NotIn" if values.is_empty() => {
                errors
                    .push(field::Error::required(&values_path, "must be specified when `operator` is 'In' or 'NotIn'"));
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                let words = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                errors.push(field::Error::forbidden(&values_path, words));
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => {
                errors.push(field::Error::invalid(&path.child("operator"), other, "not a valid selector operator"))
            }
        }
        errors.extend(validate_label_key(text("key"), &path.child("key")));
        for (index, value) in values.iter().enumerate() {
            let wrong = validation::label_value(value);
            errors
                .extend(wrong.into_iter().map(|words| field::Error::invalid(&values_path.index(index), *value, words)));
        }
    }
    errors
}

/// Checks a label's key (upstream: `ValidateLabelName`).
pub fn validate_label_key(key: &str, path: &Path) -> Vec<field::Error> {
    validation::qualified_name(key).into_iter().map(|words| field::Error::invalid(path, key, words)).collect()
}

/// Checks a map of labels (upstream: `ValidateLabels`).
pub fn validate_labels(labels: &Map<String, Value>, path: &Path) -> Vec<field::Error> {
    let mut errors = Vec::new();
    for (key, value) in labels {
        errors.extend(validate_label_key(key, path));
        let value = value.as_str().unwrap_or_default();
        let wrong = validation::label_value(value);
        errors.extend(wrong.into_iter().map(|words| field::Error::invalid(path, value, words)));
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use serde_json::json;

    fn check(text: &str, expect: Expect) {
        match Selector::parse(text) {
            Ok(selector) => expect.assert_eq(&selector.to_string()),
            Err(err) => expect.assert_eq(&format!("error: {err}")),
        }
    }

    #[test]
    fn selectors_are_read_and_written_as_upstream_does() {
        check("", expect![""]);
        check("x=a,y=b,z=c", expect!["x=a,y=b,z=c"]);
        check("z, x == a , !y", expect!["x==a,!y,z"]);
        check("x in (b,a),y notin (),z!=1", expect!["x in (a,b),y notin (),z!=1"]);
        check("x>1,y<2", expect!["x>1,y<2"]);
        check("x=,y= ,z", expect!["x=,y=,z"]);
        check("x in (,a)", expect!["x in (,a)"]);
        check("x in (a,)", expect!["x in (,a)"]);
        check("in in (notin,in)", expect!["in in (in,notin)"]);
        check("x=a,", expect!["error: found '', expected: identifier after ','"]);
        check(
            "x=a||y=b",
            expect![[
                r#"error: unable to parse requirement: values[0][x]: Invalid value: "a||y": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"#
            ]],
        );
        check("x==a==b", expect!["error: found '==', expected: ',' or 'end of string'"]);
        check("!x=a", expect!["error: found '=', expected: ',' or 'end of string'"]);
        check("x in a", expect!["error: unable to parse requirement: found 'a' expected: '('"]);
        check("x in (a", expect!["error: unable to parse requirement: found '', expected: ',' or ')'"]);
        check("x y", expect!["error: unable to parse requirement: found 'y', expected: in, notin, =, ==, !=, gt, lt"]);
        check("=a", expect!["error: found '=', expected: !, identifier, or 'end of string'"]);
        check(
            "x>a",
            expect![[
                r#"error: unable to parse requirement: values[0]: Invalid value: "a": for 'Gt', 'Lt' operators, the value must be an integer"#
            ]],
        );
        check(
            "_x",
            expect![[
                r#"error: unable to parse requirement: <nil>: Invalid value: "_x": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"#
            ]],
        );
    }

    #[test]
    fn requirements_judge_labels() {
        let labels = |key: &str| match key {
            "app" => Some("web"),
            "n" => Some("5"),
            "empty" => Some(""),
            _ => None,
        };
        for (text, selected) in [
            ("", true),
            ("app=web", true),
            ("app==web", true),
            ("app=db", false),
            ("app!=db", true),
            ("app!=web", false),
            ("none!=x", true),
            ("app in (db,web)", true),
            ("app notin (db,web)", false),
            ("none notin (x)", true),
            ("none in (x)", false),
            ("app", true),
            ("!app", false),
            ("!none", true),
            ("none", false),
            ("n>4", true),
            ("n>5", false),
            ("n<6", true),
            ("app>1", false),
            ("none<1", false),
            ("empty=", true),
            ("app=web,n=4", false),
        ] {
            assert_eq!(Selector::parse(text).expect("a selector").matches(labels), selected, "{text}");
        }
        assert!(!Selector::nothing().matches(labels));
    }

    #[test]
    fn label_selectors_become_selectors() {
        let selector = json!({
            "matchLabels": {"b": "1", "a": "2"},
            "matchExpressions": [{"key": "c", "operator": "In", "values": ["y", "x"]}, {"key": "d", "operator": "Exists"}],
        });
        let selector = Selector::from_label_selector(Some(&selector)).expect("a selector");
        assert_eq!(selector.to_string(), "a=2,b=1,c in (x,y),d");
        assert!(Selector::from_label_selector(None).expect("a selector").is_nothing());
        assert!(Selector::from_label_selector(Some(&json!({}))).expect("a selector").is_empty());
        for bad in [
            json!({"matchExpressions": [{"key": "a", "operator": "Near"}]}),
            json!({"matchExpressions": [{"key": "a", "operator": "In"}]}),
            json!({"matchLabels": {"a b": "c"}}),
            json!({"matchLabels": []}),
            json!([]),
        ] {
            assert!(Selector::from_label_selector(Some(&bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn exact_matches_are_found() {
        let selector = Selector::parse("a=1,b in (2),c in (3,4)").expect("a selector");
        assert_eq!(
            ["a", "b", "c", "d"].map(|key| selector.requires_exact_match(key)),
            [Some("1"), Some("2"), None, None]
        );
    }

    #[test]
    fn label_selectors_of_specs_are_checked() {
        let selector = json!({"matchLabels": {"a": "-"}, "matchExpressions": [
            {"key": "a", "operator": "In", "values": []}, {"key": "", "operator": "x"},
        ]});
        let fields: Vec<String> =
            validate_label_selector(&selector, &Path::new("spec")).into_iter().map(|error| error.field).collect();
        let expected = [
            "spec.matchLabels",
            "spec.matchExpressions[0].values",
            "spec.matchExpressions[1].operator",
            "spec.matchExpressions[1].key",
            "spec.matchExpressions[1].key",
        ];
        assert_eq!(fields, expected);
    }
}
