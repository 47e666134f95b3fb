//! Values as Go's `%v` prints them, and the names of their types: so upstream's errors show what they refuse.

use serde_json::{Map, Number, Value};

/// A map, which holds its names in order, as `map[a:1 b:[x y]]`.
pub fn map(map: &Map<String, Value>) -> String {
    let mut text = String::new();
    entries(map, &mut text);
    text
}

/// A list, as `[a b]`.
pub fn list(list: &[Value]) -> String {
    let mut text = String::new();
    items(list, &mut text);
    text
}

/// Any value.
pub fn value(value: &Value) -> String {
    let mut text = String::new();
    append(value, &mut text);
    text
}

/// The type that Go's JSON decoder gives a value that may be anything.
pub fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

/// What Go's JSON decoder calls a value.
pub fn json_kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn entries(map: &Map<String, Value>, text: &mut String) {
    text.push_str("map[");
    for (index, (name, value)) in map.iter().enumerate() {
        if index > 0 {
            text.push(' ');
        }
        text.push_str(name);
        text.push(':');
        append(value, text);
    }
    text.push(']');
}

fn items(list: &[Value], text: &mut String) {
    text.push('[');
    for (index, item) in list.iter().enumerate() {
        if index > 0 {
            text.push(' ');
        }
        append(item, text);
    }
    text.push(']');
}

fn append(value: &Value, text: &mut String) {
    match value {
        Value::Null => text.push_str("<nil>"),
        Value::Bool(value) => text.push_str(if *value { "true" } else { "false" }),
        Value::Number(value) => text.push_str(&number(value)),
        Value::String(value) => text.push_str(value),
        Value::Array(list) => items(list, text),
        Value::Object(map) => entries(map, text),
    }
}

/// Integers by their digits, others in the shortest way: with an exponent of two digits where it is far from zero.
fn number(number: &Number) -> String {
    let Some(value) = number.as_f64().filter(|_| number.is_f64()) else { return number.to_string() };
    let scientific = format!("{value:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else { return scientific };
    match exponent.parse::<i32>() {
        Ok(exponent) if !(-4..6).contains(&exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.abs())
        }
        _ => format!("{value}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn values_look_as_in_go() {
        for (value, text) in [
            (json!({}), "map[]"),
            (json!({"b": [1, "x", null], "a": {"c": true}}), "map[a:map[c:true] b:[1 x <nil>]]"),
            (
                json!({"n": [1.5, 3.0, 1e21, 1e-5, 123456789.0, -0.0001]}),
                "map[n:[1.5 3 1e+21 1e-05 1.23456789e+08 -0.0001]]",
            ),
        ] {
            assert_eq!(super::value(&value), text);
        }
    }
}
