//! `format`: texts with places for values (upstream: cel-go ext/formatting.go).

use super::convert::plain_text;
use super::{numbers, quote};
use crate::budget::Meter;
use crate::error::EvalError;
use crate::value::{List, Map, Value};

/// Digits behind the point where the clause says nothing.
const PRECISION: usize = 6;
/// More digits than this are refused: a double has no more.
const MAX_PRECISION: usize = 1000;

fn problem(message: impl Into<String>) -> EvalError {
    EvalError::function(message)
}

/// Fills the places of `template`.
pub(super) fn format(template: &str, args: &List<'_>, meter: &mut Meter) -> Result<String, EvalError> {
    let mut out = String::new();
    let mut rest = template;
    let mut next = 0;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(behind) = rest.strip_prefix('%') {
            out.push('%');
            rest = behind;
            continue;
        }
        let (precision, behind) = precision(rest)?;
        let clause = behind.chars().next().ok_or_else(|| problem("unexpected end of string"))?;
        rest = &behind[clause.len_utf8()..];
        let value = args.get(next).ok_or_else(|| problem(format!("index {next} out of range")))??;
        next += 1;
        let text = place(clause, precision, &value, meter)?;
        meter.allocate(text.len() as u64)?;
        out.push_str(&text);
    }
    meter.allocate(template.len() as u64)?;
    out.push_str(rest);
    Ok(out)
}

/// `.3` before the clause.
fn precision(rest: &str) -> Result<(Option<usize>, &str), EvalError> {
    let Some(digits) = rest.strip_prefix('.') else { return Ok((None, rest)) };
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    let number = if end == 0 { 0 } else { digits[..end].parse::<usize>().unwrap_or(usize::MAX) };
    if number > MAX_PRECISION {
        return Err(problem(format!("error while parsing precision: {}", &digits[..end.min(20)])));
    }
    Ok((Some(number), &digits[end..]))
}

fn place(clause: char, precision: Option<usize>, value: &Value<'_>, meter: &mut Meter) -> Result<String, EvalError> {
    let wrong = |wanted: &str| {
        let ty = value.type_name();
        problem(format!("error during formatting: {wanted}, was given {ty}"))
    };
    match (clause, value) {
        ('s', value) => written(value, meter),
        ('d', Value::Int(value)) => Ok(value.to_string()),
        ('d', Value::Uint(value)) => Ok(value.to_string()),
        ('d', Value::Double(value)) => Ok(numbers::shortest(*value)),
        ('d', _) => Err(wrong("decimal clause can only be used on integers")),
        ('f' | 'e', _) => {
            let number = match value {
                Value::Double(value) => *value,
                Value::Int(value) => *value as f64,
                Value::Uint(value) => *value as f64,
                _ => return Err(wrong("fixed-point clause can only be used on doubles")),
            };
            let digits = precision.unwrap_or(PRECISION);
            Ok(if clause == 'f' { numbers::fixed(number, digits) } else { numbers::scientific(number, digits) })
        }
        ('b', Value::Int(value)) => Ok(signed(*value, |amount| format!("{amount:b}"))),
        ('b', Value::Uint(value)) => Ok(format!("{value:b}")),
        ('b', Value::Bool(value)) => Ok(u8::from(*value).to_string()),
        ('b', _) => Err(wrong("only integers and bools can be formatted as binary")),
        ('o', Value::Int(value)) => Ok(signed(*value, |amount| format!("{amount:o}"))),
        ('o', Value::Uint(value)) => Ok(format!("{value:o}")),
        ('o', _) => Err(wrong("octal clause can only be used on integers")),
        ('x' | 'X', value) => {
            let lower = match value {
                Value::Int(value) => signed(*value, |amount| format!("{amount:x}")),
                Value::Uint(value) => format!("{value:x}"),
                Value::String(text) => hex(text.as_bytes(), meter)?,
                Value::Bytes(bytes) => hex(bytes, meter)?,
                _ => return Err(wrong("only integers, byte buffers, and strings can be formatted as hex")),
            };
            Ok(if clause == 'X' { lower.to_ascii_uppercase() } else { lower })
        }
        (other, _) => {
            Err(problem(format!("could not parse formatting clause: unrecognized formatting clause \"{other}\"")))
        }
    }
}

fn signed(value: i64, show: impl Fn(u64) -> String) -> String {
    let amount = show(value.unsigned_abs());
    if value < 0 { format!("-{amount}") } else { amount }
}

fn hex(bytes: &[u8], meter: &mut Meter) -> Result<String, EvalError> {
    meter.allocate(2 * bytes.len() as u64)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// `%s`.
fn written(value: &Value<'_>, meter: &mut Meter) -> Result<String, EvalError> {
    match value {
        Value::Null => Ok("null".to_owned()),
        Value::List(_) | Value::Map(_) => nested(value, meter),
        other => plain_text(other).ok_or_else(|| {
            let ty = other.type_name();
            problem(format!("error during formatting: string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, durations, and timestamps, was given {ty}"))
        }),
    }
}

/// A value within a list or map, as it would be written in an expression.
fn nested(value: &Value<'_>, meter: &mut Meter) -> Result<String, EvalError> {
    meter.work(1)?;
    let text = match value {
        Value::String(text) => quote(text),
        Value::Bytes(bytes) => format!("b{}", quote(&String::from_utf8_lossy(bytes))),
        Value::Double(value) if value.is_finite() => numbers::fixed(*value, PRECISION),
        Value::Double(value) => quote(&numbers::fixed(*value, PRECISION)),
        Value::Timestamp(_) => format!("timestamp({})", quote(&plain_text(value).unwrap_or_default())),
        Value::Duration(_) => format!("duration({})", quote(&plain_text(value).unwrap_or_default())),
        Value::List(list) => {
            let items = list.iter().map(|item| nested(&item?, meter)).collect::<Result<Vec<_>, _>>()?;
            format!("[{}]", items.join(", "))
        }
        Value::Map(map) => map_text(map, meter)?,
        other => written(other, meter)?,
    };
    meter.allocate(text.len() as u64)?;
    Ok(text)
}

fn map_text(map: &Map<'_>, meter: &mut Meter) -> Result<String, EvalError> {
    let mut entries = Vec::with_capacity(map.len());
    for key in map.keys() {
        let key = key.to_value();
        let value = map.get(&key)?.unwrap_or(Value::Null);
        entries.push(format!("{}:{}", nested(&key, meter)?, nested(&value, meter)?));
    }
    entries.sort();
    Ok(format!("{{{}}}", entries.join(", ")))
}
