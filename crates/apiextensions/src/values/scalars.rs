//! Types, numbers, texts and enumerations.

use apimachinery::field::{Error, ErrorType};
use regex::Regex;
use serde_json::{Number, Value};

use super::{at, broken, formats};
use crate::schema::Schema;

/// A value of another type than the schema's (upstream: validate/type.go). Who has a format is told of formats.
pub(super) fn wrong_type(schema: &Schema, value: &Value, path: &str) -> Option<Error> {
    let wanted = if schema.int_or_string { "integer,string" } else { schema.kind.as_str() };
    if wanted.is_empty() {
        return None;
    }
    let takes = |kind: &str| wanted.split(',').any(|one| one == kind);
    let (found, format) = match value {
        Value::Null => ("null", ""),
        Value::Bool(_) => ("boolean", ""),
        Value::String(_) => ("string", ""),
        Value::Array(_) => ("array", ""),
        Value::Object(_) => ("object", ""),
        Value::Number(number) if is_integer(number) => ("integer", "int64"),
        Value::Number(_) => ("number", "float64"),
    };
    let fits = match value {
        Value::Null => schema.nullable,
        Value::Number(number) if found == "number" => {
            takes("number") || takes("integer") && number.as_f64().is_some_and(is_whole)
        }
        Value::Number(_) => takes("number") || takes("integer"),
        _ => takes(found),
    };
    let has_format = !schema.format.is_empty() && formats::is_known(schema);
    let (wanted, found) = match value {
        Value::Bool(_) | Value::Number(_) | Value::Object(_) if has_format => (schema.format.as_str(), format),
        _ => (wanted, found),
    };
    let words = format!("{path} in body must be of type {wanted}: {found:?}");
    (!fits).then(|| Error::type_invalid(&at(path), found, words))
}

/// Whether Go's decoder makes an integer of a number: one that an int64 can hold.
fn is_integer(number: &Number) -> bool {
    number.is_i64()
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

/// A number out of its bounds. Bounds that are themselves out of the format are told of too.
pub(super) fn wrong_number(schema: &Schema, number: &Number, path: &str, errors: &mut Vec<Error>) {
    errors.extend(out_of_format(schema, number, "Checked", path));
    if let Some(factor) = &schema.multiple_of {
        errors.extend(out_of_format(schema, factor, "MultipleOf", path));
        if !is_multiple(number, factor) {
            errors.push(broken(path, number.clone(), &format!("should be a multiple of {}", spelled(number, factor))));
        }
    }
    if let Some(least) = &schema.minimum {
        let (words, misses): (_, fn(f64, f64) -> bool) = match schema.exclusive_minimum {
            true => ("greater than", |number, least| number <= least),
            false => ("greater than or equal to", |number, least| number < least),
        };
        errors.extend(out_of_format(schema, least, "Minimum boundary", path));
        if compared(number, least, misses) {
            errors.push(broken(path, number.clone(), &format!("should be {words} {}", spelled(number, least))));
        }
    }
    if let Some(most) = &schema.maximum {
        let (words, exceeds): (_, fn(f64, f64) -> bool) = match schema.exclusive_maximum {
            true => ("less than", |number, most| number >= most),
            false => ("less than or equal to", |number, most| number > most),
        };
        errors.extend(out_of_format(schema, most, "Maximum boundary", path));
        if compared(number, most, exceeds) {
            errors.push(broken(path, number.clone(), &format!("should be {words} {}", spelled(number, most))));
        }
    }
}

/// Compares; for an integer a bound counts without its fraction, as in Go.
fn compared(number: &Number, bound: &Number, breaks: fn(f64, f64) -> bool) -> bool {
    let value = |number: &Number| number.as_f64().unwrap_or_default();
    let bound = if !is_integer(number) { value(bound) } else { value(bound).trunc() };
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
        Some(bound) if is_integer(number) || bound.fract() == 0.0 && bound.abs() < 1e21 => format!("{}", bound.trunc()),
        _ => bound.to_string(),
    }
}

/// A number that its format has no place for (upstream: validate/values.go `IsValueValidAgainstRange`).
fn out_of_format(schema: &Schema, number: &Number, what: &str, path: &str) -> Option<Error> {
    let (kind, format) = (schema.kind.as_str(), schema.format.as_str());
    let fits = match (kind, format) {
        ("integer", "int32") => integer(number).is_some_and(|number| i32::try_from(number).is_ok()),
        ("integer", _) => integer(number).is_some(),
        ("number", "float") => number.as_f64().is_some_and(|number| (number as f32).is_finite()),
        _ => true,
    };
    if fits {
        return None;
    }
    let format = match format {
        "int32" | "int64" | "float" => format!("with format {format}"),
        _ => "(default format)".to_owned(),
    };
    let words = format!("{what} value must be of type {kind} {format} in {path}");
    // Upstream says this about no field.
    Some(Error { kind: ErrorType::Invalid, field: "<nil>".into(), value: Some("".into()), detail: words })
}

/// The integer that a number is, if an int64 can hold it.
fn integer(number: &Number) -> Option<i64> {
    const END: f64 = 9_223_372_036_854_775_808.0;
    let whole = |number: &f64| number.fract() == 0.0 && (-END..END).contains(number);
    number.as_i64().or_else(|| number.as_f64().filter(whole).map(|number| number as i64))
}
