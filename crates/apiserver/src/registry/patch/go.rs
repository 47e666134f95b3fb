//! Values as Go's `%+v` prints them: so upstream shows a strategic merge patch that it refuses.

use serde_json::{Map, Number, Value};

/// A map, which holds its names in order, as `map[a:1 b:[x y]]`.
pub(super) fn print(map: &Map<String, Value>) -> String {
    let mut text = String::new();
    entries(map, &mut text);
    text
}

/// Any value.
pub(super) fn value(value: &Value) -> String {
    let mut text = String::new();
    append(value, &mut text);
    text
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

fn append(value: &Value, text: &mut String) {
    match value {
        Value::Null => text.push_str("<nil>"),
        Value::Bool(value) => text.push_str(if *value { "true" } else { "false" }),
        Value::Number(value) => text.push_str(&number(value)),
        Value::String(value) => text.push_str(value),
        Value::Array(list) => {
            text.push('[');
            for (index, item) in list.iter().enumerate() {
                if index > 0 {
                    text.push(' ');
                }
                append(item, text);
            }
            text.push(']');
        }
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
    use super::*;
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
            assert_eq!(print(value.as_object().expect("a map")), text);
        }
    }
}
