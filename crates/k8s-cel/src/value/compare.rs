//! Equality and order (upstream: cel-go common/types, apiserver/pkg/cel/common/{equality,valuesunstructured}.go).

use std::cmp::Ordering;
use std::rc::Rc;

use super::{List, Map, Value};
use crate::budget::Meter;
use crate::error::EvalError;
use crate::schema::Identity;

impl<'a> Value<'a> {
    /// `==`. Numbers are equal by amount whatever their types; values of unlike types are not equal.
    pub(crate) fn equals(&self, other: &Self, meter: &mut Meter) -> Result<bool, EvalError> {
        meter.work(1)?;
        Ok(match (self, other) {
            (Self::String(left), Self::String(right)) => {
                meter.work((left.len().min(right.len()) / 64) as u64)?;
                left == right
            }
            (Self::Bytes(left), Self::Bytes(right)) => {
                meter.work((left.len().min(right.len()) / 64) as u64)?;
                left == right
            }
            (Self::Null, Self::Null) => true,
            (Self::Bool(left), Self::Bool(right)) => left == right,
            (Self::Timestamp(left), Self::Timestamp(right)) => left == right,
            (Self::Duration(left), Self::Duration(right)) => left == right,
            (Self::Type(left), Self::Type(right)) => left == right,
            (Self::Opaque(left), Self::Opaque(right)) => left.equals(right),
            (Self::Check(left), Self::Check(right)) => Rc::ptr_eq(left, right),
            (Self::Optional(left), Self::Optional(right)) => match (left, right) {
                (Some(left), Some(right)) => left.equals(right, meter)?,
                (left, right) => left.is_none() && right.is_none(),
            },
            (Self::List(left), Self::List(right)) => lists_equal(left, right, meter)?,
            (Self::Map(left), Self::Map(right)) => maps_equal(left, right, meter)?,
            (Self::Message(left, fields), Self::Message(right, others)) => {
                left == right && maps_equal(fields, others, meter)?
            }
            (left, right) => compare_numbers(left, right) == Some(Ordering::Equal),
        })
    }

    /// The order of two values; `None` where they have none, as with NaN.
    pub(crate) fn order(&self, other: &Self, meter: &mut Meter) -> Result<Option<Ordering>, EvalError> {
        meter.work(1)?;
        Ok(match (self, other) {
            (Self::String(left), Self::String(right)) => {
                meter.work((left.len().min(right.len()) / 64) as u64)?;
                Some(left.cmp(right))
            }
            (Self::Bytes(left), Self::Bytes(right)) => Some(left.cmp(right)),
            (Self::Bool(left), Self::Bool(right)) => Some(left.cmp(right)),
            (Self::Timestamp(left), Self::Timestamp(right)) => Some(left.cmp(right)),
            (Self::Duration(left), Self::Duration(right)) => Some(left.cmp(right)),
            (left, right) if left.is_number() && right.is_number() => compare_numbers(left, right),
            (left, right) => {
                let types = [left.type_name().to_owned(), right.type_name().to_owned()];
                return Err(EvalError::overload("compare", &types));
            }
        })
    }

    fn is_number(&self) -> bool {
        matches!(self, Self::Int(_) | Self::Uint(_) | Self::Double(_))
    }
}

fn compare_numbers(left: &Value<'_>, right: &Value<'_>) -> Option<Ordering> {
    let whole = |value: &Value<'_>| match value {
        Value::Int(value) => Some(i128::from(*value)),
        Value::Uint(value) => Some(i128::from(*value)),
        _ => None,
    };
    match (left, right) {
        (Value::Double(left), Value::Double(right)) => left.partial_cmp(right),
        (Value::Double(left), right) => compare_double(*left, whole(right)?),
        (left, Value::Double(right)) => compare_double(*right, whole(left)?).map(Ordering::reverse),
        (left, right) => Some(whole(left)?.cmp(&whole(right)?)),
    }
}

fn compare_double(double: f64, whole: i128) -> Option<Ordering> {
    if double.is_nan() {
        return None;
    }
    if double.abs() >= 1e20 {
        return Some(if double > 0.0 { Ordering::Greater } else { Ordering::Less });
    }
    let floor = double.floor();
    let ordering = (floor as i128).cmp(&whole);
    Some(if ordering == Ordering::Equal && double > floor { Ordering::Greater } else { ordering })
}

fn lists_equal<'a>(left: &List<'a>, right: &List<'a>, meter: &mut Meter) -> Result<bool, EvalError> {
    if left.len() != right.len() {
        return Ok(false);
    }
    match left.identity() {
        Identity::Atomic => {
            for (left, right) in left.iter().zip(right.iter()) {
                if !left?.equals(&right?, meter)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        Identity::Set => contains_all(left, right, meter),
        Identity::Keys(keys) => {
            for item in left.iter() {
                let item = item?;
                let same = find_keyed(right, &item, keys, meter)?;
                let equal = match same {
                    Some(same) => item.equals(&same, meter)?,
                    None => false,
                };
                if !equal {
                    return Ok(false);
                }
            }
            Ok(true)
        }
    }
}

fn contains_all<'a>(left: &List<'a>, right: &List<'a>, meter: &mut Meter) -> Result<bool, EvalError> {
    for item in left.iter() {
        if !contains(right, &item?, meter)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether the list has an item equal to `value`.
pub(crate) fn contains<'a>(list: &List<'a>, value: &Value<'a>, meter: &mut Meter) -> Result<bool, EvalError> {
    for item in list.iter() {
        if item?.equals(value, meter)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The item with the same keys as `wanted`.
pub(crate) fn find_keyed<'a>(
    list: &List<'a>,
    wanted: &Value<'a>,
    keys: &[Box<str>],
    meter: &mut Meter,
) -> Result<Option<Value<'a>>, EvalError> {
    'items: for item in list.iter() {
        let item = item?;
        for key in keys {
            let escaped = crate::escaping::escape(key).unwrap_or_default();
            let equal = match (item.field(&escaped, meter)?, wanted.field(&escaped, meter)?) {
                (Some(left), Some(right)) => left.equals(&right, meter)?,
                (left, right) => left.is_none() && right.is_none(),
            };
            if !equal {
                continue 'items;
            }
        }
        return Ok(Some(item));
    }
    Ok(None)
}

fn maps_equal<'a>(left: &Map<'a>, right: &Map<'a>, meter: &mut Meter) -> Result<bool, EvalError> {
    if left.len() != right.len() {
        return Ok(false);
    }
    meter.work(left.len() as u64)?;
    for key in left.keys() {
        let key = key.to_value();
        let (Some(left), Some(right)) = (left.get(&key)?, right.get(&key)?) else { return Ok(false) };
        if !left.equals(&right, meter)? {
            return Ok(false);
        }
    }
    Ok(true)
}
