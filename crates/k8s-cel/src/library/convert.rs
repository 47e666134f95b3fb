//! Conversions between types (upstream: cel-go common/types/*.go `ConvertToType`).

use std::rc::Rc;

use super::opaque::OpaqueValue;
use super::{Called, numbers, time};
use crate::error::EvalError;
use crate::value::Value;

/// Calls a conversion; `None` where the function is none.
pub(super) fn call<'a>(function: &str, args: &[Value<'a>]) -> Called<'a> {
    let [arg] = args else { return None };
    Some(match function {
        "bool" => to_bool(arg)?,
        "bytes" => match arg {
            Value::Bytes(_) => Ok(arg.clone()),
            Value::String(text) => Ok(Value::Bytes(Rc::from(text.as_bytes()))),
            _ => return None,
        },
        "double" => to_double(arg)?,
        "duration" => match arg {
            Value::Duration(_) => Ok(arg.clone()),
            Value::Int(seconds) => {
                seconds.checked_mul(1_000_000_000).map(Value::Duration).ok_or(EvalError::Overflow("duration"))
            }
            Value::String(text) => time::parse_duration(text).map(Value::Duration),
            _ => return None,
        },
        "int" => to_int(arg)?,
        "uint" => to_uint(arg)?,
        "string" => to_string(arg)?,
        "timestamp" => match arg {
            Value::Timestamp(_) => Ok(arg.clone()),
            Value::Int(seconds) => time::from_seconds(*seconds).map(Value::Timestamp),
            Value::String(text) => time::parse_timestamp(text).map(Value::Timestamp),
            _ => return None,
        },
        _ => return None,
    })
}

fn parse_error(text: &str, ty: &str) -> EvalError {
    EvalError::function(format!("strconv.Parse{ty}: parsing {}: invalid syntax", super::quote(text)))
}

fn to_bool<'a>(arg: &Value<'a>) -> Called<'a> {
    Some(match arg {
        Value::Bool(_) => Ok(arg.clone()),
        Value::String(text) => match &**text {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Value::Bool(true)),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Value::Bool(false)),
            other => Err(parse_error(other, "Bool")),
        },
        _ => return None,
    })
}

fn to_double<'a>(arg: &Value<'a>) -> Called<'a> {
    Some(Ok(Value::Double(match arg {
        Value::Double(value) => *value,
        Value::Int(value) => *value as f64,
        Value::Uint(value) => *value as f64,
        Value::String(text) => match text.parse() {
            Ok(value) => value,
            Err(_) => return Some(Err(parse_error(text, "Float"))),
        },
        _ => return None,
    })))
}

fn to_int<'a>(arg: &Value<'a>) -> Called<'a> {
    let overflow = EvalError::Overflow("integer");
    Some(match arg {
        Value::Int(_) => Ok(arg.clone()),
        Value::Uint(value) => i64::try_from(*value).map(Value::Int).map_err(|_| overflow),
        Value::Double(value) if value.abs() < 9_223_372_036_854_775_807.0 => Ok(Value::Int(*value as i64)),
        Value::Double(_) => Err(overflow),
        Value::Duration(nanos) => Ok(Value::Int(*nanos)),
        Value::Timestamp(at) => Ok(Value::Int(at.as_second())),
        Value::String(text) => text.parse().map(Value::Int).map_err(|_| parse_error(text, "Int")),
        _ => return None,
    })
}

fn to_uint<'a>(arg: &Value<'a>) -> Called<'a> {
    let overflow = EvalError::Overflow("unsigned integer");
    Some(match arg {
        Value::Uint(_) => Ok(arg.clone()),
        Value::Int(value) => u64::try_from(*value).map(Value::Uint).map_err(|_| overflow),
        Value::Double(value) if (0.0..18_446_744_073_709_551_615.0).contains(value) => Ok(Value::Uint(*value as u64)),
        Value::Double(_) => Err(overflow),
        Value::String(text) => text.parse().map(Value::Uint).map_err(|_| parse_error(text, "Uint")),
        _ => return None,
    })
}

fn to_string<'a>(arg: &Value<'a>) -> Called<'a> {
    Some(match arg {
        Value::String(_) => Ok(arg.clone()),
        Value::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Value::from(text.to_owned())),
            Err(_) => Err(EvalError::function("invalid UTF-8 in bytes, cannot convert to string")),
        },
        Value::Opaque(opaque) if matches!(**opaque, OpaqueValue::Ip(_) | OpaqueValue::Cidr(_)) => {
            Ok(Value::from(opaque.to_string()))
        }
        other => Ok(Value::from(plain_text(other)?)),
    })
}

/// A scalar as `string()` writes it.
pub(super) fn plain_text(value: &Value<'_>) -> Option<String> {
    Some(match value {
        Value::String(text) => text.to_string(),
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Uint(value) => value.to_string(),
        Value::Double(value) => numbers::shortest(*value),
        Value::Duration(nanos) => time::show_duration(*nanos),
        Value::Timestamp(at) => time::show_timestamp(*at),
        Value::Type(name) => name.to_string(),
        Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        _ => return None,
    })
}
