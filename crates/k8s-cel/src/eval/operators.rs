//! Operators (upstream: cel-go common/types, common/stdlib).

use std::cmp::Ordering;
use std::rc::Rc;

use jiff::{SignedDuration, Timestamp};

use super::Evaluated;
use crate::budget::Meter;
use crate::error::EvalError;
use crate::library::time;
use crate::value::{List, Value, list_contains};

/// Applies an operator; `None` where the function is none.
pub(super) fn call<'a>(function: &str, args: &[Value<'a>], meter: &mut Meter) -> Option<Evaluated<'a>> {
    let result = match (function, args) {
        ("_==_", [left, right]) => left.equals(right, meter).map(Value::Bool),
        ("_!=_", [left, right]) => left.equals(right, meter).map(|equal| Value::Bool(!equal)),
        ("_<_", [left, right]) => ordered(left, right, meter, &[Ordering::Less]),
        ("_<=_", [left, right]) => ordered(left, right, meter, &[Ordering::Less, Ordering::Equal]),
        ("_>_", [left, right]) => ordered(left, right, meter, &[Ordering::Greater]),
        ("_>=_", [left, right]) => ordered(left, right, meter, &[Ordering::Greater, Ordering::Equal]),
        ("!_", [Value::Bool(value)]) => Ok(Value::Bool(!value)),
        ("-_", [Value::Int(value)]) => value.checked_neg().map(Value::Int).ok_or(EvalError::Overflow("integer")),
        ("-_", [Value::Double(value)]) => Ok(Value::Double(-value)),
        ("_+_", [left, right]) => add(left, right, meter),
        ("_-_", [left, right]) => subtract(left, right),
        ("_*_" | "_/_" | "_%_", [left, right]) => scale(function, left, right),
        ("@in", [value, container]) => is_in(value, container, meter),
        ("_[_]", [container, index]) => at(container, index, meter),
        ("_[?_]", [container, index]) => optional_at(container, index, meter),
        ("!_" | "-_", _) => Err(no_overload(function, args)),
        _ => return None,
    };
    Some(result)
}

fn no_overload(function: &str, args: &[Value<'_>]) -> EvalError {
    let types: Vec<String> = args.iter().map(|arg| arg.type_name().to_owned()).collect();
    EvalError::overload(function, &types)
}

fn ordered<'a>(left: &Value<'a>, right: &Value<'a>, meter: &mut Meter, wanted: &[Ordering]) -> Evaluated<'a> {
    let order = left.order(right, meter)?;
    Ok(Value::Bool(order.is_some_and(|order| wanted.contains(&order))))
}

fn add<'a>(left: &Value<'a>, right: &Value<'a>, meter: &mut Meter) -> Evaluated<'a> {
    Ok(match (left, right) {
        (Value::Int(left), Value::Int(right)) => {
            Value::Int(left.checked_add(*right).ok_or(EvalError::Overflow("integer"))?)
        }
        (Value::Uint(left), Value::Uint(right)) => {
            Value::Uint(left.checked_add(*right).ok_or(EvalError::Overflow("unsigned integer"))?)
        }
        (Value::Double(left), Value::Double(right)) => Value::Double(left + right),
        (Value::String(left), Value::String(right)) => {
            meter.allocate((left.len() + right.len()) as u64)?;
            Value::from(format!("{}{}", &**left, &**right))
        }
        (Value::Bytes(left), Value::Bytes(right)) => {
            meter.allocate((left.len() + right.len()) as u64)?;
            Value::Bytes(Rc::from([&**left, &**right].concat()))
        }
        (Value::List(left), Value::List(right)) => concatenate(left, right, meter)?,
        (Value::Timestamp(at), Value::Duration(nanos)) | (Value::Duration(nanos), Value::Timestamp(at)) => {
            Value::Timestamp(shift(*at, *nanos)?)
        }
        (Value::Duration(left), Value::Duration(right)) => {
            Value::Duration(left.checked_add(*right).ok_or(EvalError::Overflow("duration"))?)
        }
        (left, right) => return Err(no_overload("_+_", &[left.clone(), right.clone()])),
    })
}

/// Lists of objects merge by what their schema says tells items apart.
fn concatenate<'a>(left: &List<'a>, right: &List<'a>, meter: &mut Meter) -> Evaluated<'a> {
    use crate::schema::Identity;
    meter.allocate_values((left.len() + right.len()) as u64)?;
    let mut items: Vec<Value<'a>> = left.iter().collect::<Result<_, _>>()?;
    for item in right.iter() {
        let item = item?;
        match left.identity() {
            Identity::Atomic => items.push(item),
            Identity::Set => {
                if !list_contains(left, &item, meter)? {
                    items.push(item);
                }
            }
            Identity::Keys(keys) => {
                let mut replaced = false;
                for present in &mut items {
                    if same_keys(present, &item, keys, meter)? {
                        *present = item.clone();
                        replaced = true;
                        break;
                    }
                }
                if !replaced {
                    items.push(item);
                }
            }
        }
    }
    Ok(Value::List(List::new(items)))
}

fn same_keys<'a>(left: &Value<'a>, right: &Value<'a>, keys: &[Box<str>], meter: &mut Meter) -> Result<bool, EvalError> {
    for key in keys {
        let escaped = crate::escaping::escape(key).unwrap_or_default();
        let equal = match (left.field(&escaped, meter)?, right.field(&escaped, meter)?) {
            (Some(left), Some(right)) => left.equals(&right, meter)?,
            (left, right) => left.is_none() && right.is_none(),
        };
        if !equal {
            return Ok(false);
        }
    }
    Ok(true)
}

fn shift(at: Timestamp, nanos: i64) -> Result<Timestamp, EvalError> {
    let moved = at.checked_add(SignedDuration::from_nanos(nanos)).ok();
    moved.filter(|at| time::is_in_range(*at)).ok_or(EvalError::Overflow("timestamp"))
}

fn subtract<'a>(left: &Value<'a>, right: &Value<'a>) -> Evaluated<'a> {
    Ok(match (left, right) {
        (Value::Int(left), Value::Int(right)) => {
            Value::Int(left.checked_sub(*right).ok_or(EvalError::Overflow("integer"))?)
        }
        (Value::Uint(left), Value::Uint(right)) => {
            Value::Uint(left.checked_sub(*right).ok_or(EvalError::Overflow("unsigned integer"))?)
        }
        (Value::Double(left), Value::Double(right)) => Value::Double(left - right),
        (Value::Timestamp(left), Value::Timestamp(right)) => {
            let nanos = left.duration_since(*right).as_nanos();
            Value::Duration(i64::try_from(nanos).map_err(|_| EvalError::Overflow("duration"))?)
        }
        (Value::Timestamp(at), Value::Duration(nanos)) => {
            let back = nanos.checked_neg().ok_or(EvalError::Overflow("duration"))?;
            Value::Timestamp(shift(*at, back)?)
        }
        (Value::Duration(left), Value::Duration(right)) => {
            Value::Duration(left.checked_sub(*right).ok_or(EvalError::Overflow("duration"))?)
        }
        (left, right) => return Err(no_overload("_-_", &[left.clone(), right.clone()])),
    })
}

/// Multiplication, division and remainder.
fn scale<'a>(function: &str, left: &Value<'a>, right: &Value<'a>) -> Evaluated<'a> {
    let by_zero = || EvalError::ByZero(if function == "_%_" { "modulus" } else { "division" });
    Ok(match (function, left, right) {
        ("_/_" | "_%_", _, Value::Int(0) | Value::Uint(0)) if !matches!(left, Value::Double(_)) => {
            return Err(by_zero());
        }
        (_, Value::Int(left), Value::Int(right)) => {
            let result = match function {
                "_*_" => left.checked_mul(*right),
                "_/_" => left.checked_div(*right),
                _ => left.checked_rem(*right),
            };
            Value::Int(result.ok_or(EvalError::Overflow("integer"))?)
        }
        (_, Value::Uint(left), Value::Uint(right)) => {
            let result = match function {
                "_*_" => left.checked_mul(*right),
                "_/_" => left.checked_div(*right),
                _ => left.checked_rem(*right),
            };
            Value::Uint(result.ok_or(EvalError::Overflow("unsigned integer"))?)
        }
        ("_*_", Value::Double(left), Value::Double(right)) => Value::Double(left * right),
        ("_/_", Value::Double(left), Value::Double(right)) => Value::Double(left / right),
        _ => return Err(no_overload(function, &[left.clone(), right.clone()])),
    })
}

fn is_in<'a>(value: &Value<'a>, container: &Value<'a>, meter: &mut Meter) -> Evaluated<'a> {
    match container {
        Value::List(list) => Ok(Value::Bool(list_contains(list, value, meter)?)),
        Value::Map(map) => Ok(Value::Bool(map.get(value)?.is_some())),
        other => Err(no_overload("@in", &[value.clone(), other.clone()])),
    }
}

fn whole_index(index: &Value<'_>) -> Option<i64> {
    match index {
        Value::Int(index) => Some(*index),
        Value::Uint(index) => i64::try_from(*index).ok(),
        Value::Double(index) if index.fract() == 0.0 && index.abs() < 1e15 => Some(*index as i64),
        _ => None,
    }
}

fn at<'a>(container: &Value<'a>, index: &Value<'a>, meter: &mut Meter) -> Evaluated<'a> {
    match container {
        Value::Optional(None) => Ok(Value::Optional(None)),
        Value::Optional(Some(_)) => optional_at(container, index, meter),
        Value::List(list) => {
            let Some(place) = whole_index(index) else {
                return Err(no_overload("_[_]", &[container.clone(), index.clone()]));
            };
            let found = usize::try_from(place).ok().and_then(|place| list.get(place));
            found.unwrap_or(Err(EvalError::IndexOutOfBounds(place)))
        }
        Value::Map(map) => map.get(index)?.ok_or_else(|| no_such_key(index)),
        Value::Lazy(_) => match index {
            Value::String(name) => container.field(name, meter)?.ok_or_else(|| no_such_key(index)),
            _ => Err(no_such_key(index)),
        },
        other => Err(no_overload("_[_]", &[other.clone(), index.clone()])),
    }
}

fn no_such_key(key: &Value<'_>) -> EvalError {
    let shown = key.to_json().map(|json| json.to_string()).unwrap_or_default();
    EvalError::NoSuchKey(shown.trim_matches('"').to_owned())
}

fn optional_at<'a>(container: &Value<'a>, index: &Value<'a>, meter: &mut Meter) -> Evaluated<'a> {
    let held = match container {
        Value::Optional(None) => return Ok(Value::Optional(None)),
        Value::Optional(Some(held)) => held,
        other => other,
    };
    match at(held, index, meter) {
        Ok(value) => Ok(Value::Optional(Some(Rc::new(value)))),
        Err(EvalError::NoSuchKey(_) | EvalError::IndexOutOfBounds(_)) => Ok(Value::Optional(None)),
        Err(error) => Err(error),
    }
}
