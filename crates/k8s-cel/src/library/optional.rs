//! Optional values (upstream: cel-go cel/library.go `OptionalTypes`).

use std::rc::Rc;

use super::Called;
use crate::error::EvalError;
use crate::value::{List, Value};

/// Calls a function of an optional value.
pub(super) fn member<'a>(function: &str, held: Option<&Value<'a>>, args: &[Value<'a>]) -> Called<'a> {
    Some(Ok(match (function, args) {
        ("hasValue", []) => Value::Bool(held.is_some()),
        ("value", []) => match held {
            Some(value) => value.clone(),
            None => return Some(Err(EvalError::function("optional.none() dereference"))),
        },
        ("or", [other]) => held.map_or_else(|| other.clone(), |value| some(value.clone())),
        ("orValue", [other]) => held.unwrap_or(other).clone(),
        _ => return None,
    }))
}

/// Calls a function that makes optional values.
pub(super) fn global<'a>(function: &str, args: &[Value<'a>]) -> Called<'a> {
    Some(Ok(match (function, args) {
        ("optional.none", []) => Value::Optional(None),
        ("optional.of", [value]) => some(value.clone()),
        ("optional.ofNonZeroValue", [value]) if value.is_zero() => Value::Optional(None),
        ("optional.ofNonZeroValue", [value]) => some(value.clone()),
        ("optional.unwrap", [Value::List(list)]) => return Some(unwrap(list)),
        _ => return None,
    }))
}

fn some(value: Value<'_>) -> Value<'_> {
    Value::Optional(Some(Rc::new(value)))
}

/// What those items hold that hold something.
pub(super) fn unwrap<'a>(list: &List<'a>) -> Result<Value<'a>, EvalError> {
    let mut held = Vec::new();
    for item in list.iter() {
        match item? {
            Value::Optional(value) => held.extend(value.map(|value| (*value).clone())),
            other => return Err(EvalError::overload("optional.unwrap", &[other.type_name().to_owned()])),
        }
    }
    Ok(Value::List(List::new(held)))
}
