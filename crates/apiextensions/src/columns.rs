//! Columns of `kubectl get` that a definition declares (upstream: pkg/registry/customresource/tableconvertor).

use std::sync::Arc;

use api::resource::Column;
use apimachinery::Object;
use jiff::Timestamp;
use serde_json::Value;

use crate::definition::PrinterColumn;
use crate::json_path::JsonPath;

const KINDS: [&str; 5] = ["integer", "number", "string", "boolean", "date"];
const FORMATS: [&str; 8] = ["int32", "int64", "float", "double", "byte", "date", "date-time", "password"];

/// The name, and what the definition adds; the age where it adds nothing.
pub(crate) fn of(declared: &[PrinterColumn]) -> Vec<Column> {
    let name = Column {
        name: "Name".into(),
        kind: "string",
        format: "name",
        priority: 0,
        description: None,
        cell: Arc::new(|object, _| object.name().into()),
    };
    let age = PrinterColumn {
        name: "Age".into(),
        kind: "date".into(),
        json_path: ".metadata.creationTimestamp".into(),
        ..PrinterColumn::default()
    };
    let age = [age];
    let declared = if declared.is_empty() { &age } else { declared };
    std::iter::once(name).chain(declared.iter().map(column)).collect()
}

fn column(declared: &PrinterColumn) -> Column {
    let known = |names: &'static [&'static str], name: &str| names.iter().copied().find(|known| *known == name);
    let kind = known(&KINDS, &declared.kind).unwrap_or("string");
    let path = JsonPath::parse(&declared.json_path);
    let description = if declared.description.is_empty() {
        format!("Custom resource definition column (in JSONPath format): {}", declared.json_path)
    } else {
        declared.description.clone()
    };
    Column {
        name: declared.name.clone(),
        kind,
        format: known(&FORMATS, &declared.format).unwrap_or_default(),
        priority: declared.priority,
        description: Some(description),
        cell: Arc::new(move |object, now| path.as_ref().map_or(Value::Null, |path| cell(path, kind, object, now))),
    }
}

fn cell(path: &JsonPath, kind: &str, object: &Object, now: Timestamp) -> Value {
    let found = path.find_in(&object.0);
    let Some(first) = found.first() else { return Value::Null };
    match (kind, first) {
        (_, Value::Null) => Value::Null,
        ("string", value) => printed(value).into(),
        ("integer", Value::Number(number)) => {
            number.as_i64().or_else(|| number.as_f64().map(|number| number as i64)).map_or(Value::Null, Value::from)
        }
        ("number", Value::Number(number)) => number.as_f64().map_or(Value::Null, Value::from),
        ("boolean", Value::Bool(value)) => (*value).into(),
        ("date", Value::String(text)) => match text.parse::<Timestamp>() {
            Ok(time) => api::human_duration(now.duration_since(time).as_secs()).into(),
            Err(_) => "<invalid>".into(),
        },
        _ => Value::Null,
    }
}

/// A value as Go's templates print it: scalars bare, the rest as JSON.
fn printed(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn cells_have_the_type_of_their_column() {
        let object = json!({"metadata": {"name": "a", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"size": 2, "share": 1, "on": true, "text": "x", "list": ["a", 1], "when": "yesterday"}});
        let object = Object::from_value(object).expect("an object");
        let now: Timestamp = "2026-01-01T02:00:00Z".parse().expect("a time");
        for (kind, path, expected) in [
            ("integer", ".spec.size", json!(2)),
            ("number", ".spec.share", json!(1.0)),
            ("boolean", ".spec.on", json!(true)),
            ("string", ".spec.text", json!("x")),
            ("string", ".spec.size", json!("2")),
            ("string", ".spec.list", json!("[\"a\",1]")),
            ("integer", ".spec.text", Value::Null),
            ("string", ".spec.missing", Value::Null),
            ("date", ".spec.when", json!("<invalid>")),
            ("date", ".metadata.creationTimestamp", json!("120m")),
        ] {
            let declared = PrinterColumn { kind: kind.into(), json_path: path.into(), ..PrinterColumn::default() };
            assert_eq!((column(&declared).cell)(&object, now), expected, "{kind} {path}");
        }
        let names: Vec<String> = of(&[]).into_iter().map(|column| column.name).collect();
        assert_eq!(names, ["Name", "Age"]);
    }
}
