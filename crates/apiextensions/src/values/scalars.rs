//! Types, numbers, texts and enumerations.

use apimachinery::field::{Error, ErrorType};
use regex::Regex;
use serde_json::{Number, Value};

use super::{at, broken};
use crate::schema::Schema;

/// A value of another type than the schema's.
pub(super) fn wrong_type(schema: &Schema, value: &Value, path: &str) -> Option<Error> {
    let wanted = if schema.int_or_string { "integer,string" } else { schema.kind.as_str() };
    if wanted.is_empty() {
        return None;
    }
    let is_integer = |number: &Number| number.is_i64() || number.is_u64() || number.as_f64().is_some_and(is_whole);
    let (fits, found) = match value {
        Value::Null => (schema.nullable, "null"),
        Value::Bool(_) => (wanted == "boolean", "boolean"),
        Value::String(_) => (wanted == "string" || schema.int_or_string, "string"),
        Value::Array(_) => (wanted == "array", "array"),
        Value::Object(_) => (wanted == "object", "object"),
        Value::Number(number) => {
            let fits = wanted == "number" || (wanted.starts_with("integer") && is_integer(number));
            (fits, if number.is_f64() { "number" } else { "integer" })
        }
    };
    let words = format!("{path} in body must be of type {wanted}: {found:?}");
    (!fits).then(|| Error::type_invalid(&at(path), found, words))
}

fn is_whole(number: f64) -> bool {
    number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_991.0
}

/// A value that is none of those named.
pub(super) fn not_in_enum(schema: &Schema, value: &Value, path: &str) -> Option<Error> {
    let same = |allowed: &Value| {
        allowed == value || matches!((allowed, value), (Value::Number(a), Value::Number(b)) if a.as_f64() == b.as_f64())
    };
    if schema.enumeration.is_empty() || schema.enumeration.iter().any(same) {
        return None;
    }
    let words: Vec<String> = schema
        .enumeration
        .iter()
        .map(|allowed| match allowed {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        })
        .collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    Some(Error::not_supported(&at(path), value.clone(), &words))
}

/// A text that is too long, too short or of another pattern: the first of these.
pub(super) fn wrong_text(pattern: Option<&Regex>, schema: &Schema, text: &str, path: &str) -> Option<Error> {
    let length = text.chars().count() as i64;
    if let Some(most) = schema.max_length.filter(|most| length > *most) {
        return Some(Error::too_long(&at(path), usize::try_from(most).unwrap_or_default()));
    }
    if let Some(least) = schema.min_length.filter(|least| length < *least) {
        return Some(broken(path, text, &format!("should be at least {least} chars long")));
    }
    if schema.pattern.is_empty() || pattern.is_some_and(|pattern| pattern.is_match(text)) {
        return None;
    }
    Some(broken(path, text, &format!("should match '{}'", schema.pattern)))
}

/// A number out of its bounds.
pub(super) fn wrong_number(schema: &Schema, number: &Number, path: &str, errors: &mut Vec<Error>) {
    errors.extend(out_of_format(schema, number, path));
    if let Some(factor) = &schema.multiple_of
        && !is_multiple(number, factor)
    {
        errors.push(broken(path, number.clone(), &format!("should be a multiple of {}", spelled(number, factor))));
    }
    if let Some(most) = &schema.maximum {
        let (words, exceeds): (_, fn(f64, f64) -> bool) = match schema.exclusive_maximum {
            true => ("less than", |number, most| number >= most),
            false => ("less than or equal to", |number, most| number > most),
        };
        if compared(number, most, exceeds) {
            errors.push(broken(path, number.clone(), &format!("should be {words} {}", spelled(number, most))));
        }
    }
    if let Some(least) = &schema.minimum {
        let (words, misses): (_, fn(f64, f64) -> bool) = match schema.exclusive_minimum {
            true => ("greater than", |number, least| number <= least),
            false => ("greater than or equal to", |number, least| number < least),
        };
        if compared(number, least, misses) {
            errors.push(broken(path, number.clone(), &format!("should be {words} {}", spelled(number, least))));
        }
    }
}

/// Compares; for an integer a bound counts without its fraction, as in Go.
fn compared(number: &Number, bound: &Number, breaks: fn(f64, f64) -> bool) -> bool {
    let value = |number: &Number| number.as_f64().unwrap_or_default();
    let bound = if number.is_f64() { value(bound) } else { value(bound).trunc() };
    breaks(value(number), bound)
}

fn is_multiple(number: &Number, factor: &Number) -> bool {
    let (value, by) = (number.as_f64().unwrap_or_default(), factor.as_f64().unwrap_or_default());
    if by <= 0.0 {
        return false;
    }
    match (number.as_i64(), by.trunc() as i64) {
        (Some(value), whole) if whole > 0 && by.fract() == 0.0 => value % whole == 0,
        _ if by < 1.0 => is_whole(1.0 / by * value),
        _ => is_whole(value / by),
    }
}

/// A bound as Go prints it beside this number.
fn spelled(number: &Number, bound: &Number) -> String {
    match bound.as_f64() {
        Some(bound) if !number.is_f64() || bound.fract() == 0.0 && bound.abs() < 1e21 => format!("{}", bound.trunc()),
        _ => bound.to_string(),
    }
}

/// A number that its format has no place for.
fn out_of_format(schema: &Schema, number: &Number, path: &str) -> Option<Error> {
    let fits = match (schema.kind.as_str(), schema.format.as_str()) {
        ("integer", "int32") => {
            number.as_f64().is_some_and(|number| (-2_147_483_648.0..=2_147_483_647.0).contains(&number))
        }
        ("integer", _) => number.is_i64() || number.as_f64().is_some_and(|number| number.abs() < 9.3e18),
        ("number", "float") => number.as_f64().is_some_and(|number| number.abs() <= f64::from(f32::MAX)),
        _ => true,
    };
    if fits {
        return None;
    }
    let kind = &schema.kind;
    let words = match schema.format.as_str() {
        "int32" | "int64" | "float" => {
            format!("Checked value must be of type {kind} with format {} in {path}", schema.format)
        }
        _ => format!("Checked value must be of type {kind} (default format) in {path}"),
    };
    // Upstream says this about no field.
    Some(Error { kind: ErrorType::Invalid, field: "<nil>".into(), value: Some("".into()), detail: words })
}
