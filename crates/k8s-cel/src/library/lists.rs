//! Functions of lists and sets (upstream: apiserver/pkg/cel/library/lists.go, cel-go ext/{lists,sets}.go).

use std::cmp::Ordering;
use std::rc::Rc;

use super::{Called, optional};
use crate::budget::Meter;
use crate::error::EvalError;
use crate::value::{List, Value, list_contains};

type Outcome<'a> = Result<Value<'a>, EvalError>;

/// Calls a function of a list.
pub(super) fn member<'a>(function: &str, list: &List<'a>, args: &[Value<'a>], meter: &mut Meter) -> Called<'a> {
    Some(match (function, args) {
        ("size", []) => Ok(Value::Int(list.len() as i64)),
        ("isSorted", []) => is_sorted(list, meter),
        ("sum", []) => sum(list),
        ("min", []) => extreme(list, "min", Ordering::Less, meter),
        ("max", []) => extreme(list, "max", Ordering::Greater, meter),
        ("indexOf", [item]) => index_of(list, item, &mut (0..list.len()), meter),
        ("lastIndexOf", [item]) => index_of(list, item, &mut (0..list.len()).rev(), meter),
        ("first", []) => list.get(0).transpose().map(optional_of),
        ("last", []) => list.len().checked_sub(1).and_then(|last| list.get(last)).transpose().map(optional_of),
        ("unwrapOpt", []) => optional::unwrap(list),
        ("join", []) => join(list, "", meter),
        ("join", [Value::String(separator)]) => join(list, separator, meter),
        ("slice", [Value::Int(from), Value::Int(to)]) => slice(list, *from, *to, meter),
        ("flatten", []) => flatten(list, 1, meter),
        ("flatten", [Value::Int(depth)]) => flatten(list, *depth, meter),
        ("reverse", []) => copied(list, meter).map(|mut items| {
            items.reverse();
            Value::List(List::new(items))
        }),
        ("distinct", []) => distinct(list, meter),
        ("sort", []) => sort(list, list, meter),
        ("@sortByAssociatedKeys", [Value::List(keys)]) => sort(list, keys, meter),
        _ => return None,
    })
}

/// Calls a function with lists among its arguments.
pub(super) fn global<'a>(function: &str, args: &[Value<'a>], meter: &mut Meter) -> Called<'a> {
    Some(match (function, args) {
        ("lists.range", [Value::Int(count)]) => range(*count, meter),
        ("sets.contains", [Value::List(list), Value::List(part)]) => contains_all(list, part, meter).map(Value::Bool),
        ("sets.equivalent", [Value::List(left), Value::List(right)]) => {
            contains_all(left, right, meter).and_then(|all| Ok(Value::Bool(all && contains_all(right, left, meter)?)))
        }
        ("sets.intersects", [Value::List(left), Value::List(right)]) => intersects(left, right, meter),
        _ => return None,
    })
}

/// Whether a list has the item, or a value is it.
pub(super) fn includes<'a>(receiver: &Value<'a>, item: &Value<'a>, meter: &mut Meter) -> Called<'a> {
    Some(match receiver {
        Value::List(list) => list_contains(list, item, meter).map(Value::Bool),
        other => other.equals(item, meter).map(Value::Bool),
    })
}

fn optional_of(value: Option<Value<'_>>) -> Value<'_> {
    Value::Optional(value.map(Rc::new))
}

fn copied<'a>(list: &List<'a>, meter: &mut Meter) -> Result<Vec<Value<'a>>, EvalError> {
    meter.allocate_values(list.len() as u64)?;
    list.iter().collect()
}

fn is_sorted<'a>(list: &List<'a>, meter: &mut Meter) -> Outcome<'a> {
    let mut before: Option<Value<'a>> = None;
    for item in list.iter() {
        let item = item?;
        if let Some(before) = &before
            && before.order(&item, meter)? == Some(Ordering::Greater)
        {
            return Ok(Value::Bool(false));
        }
        before = Some(item);
    }
    Ok(Value::Bool(true))
}

fn sum<'a>(list: &List<'a>) -> Outcome<'a> {
    let mut total: Option<Value<'a>> = None;
    for item in list.iter() {
        let item = item?;
        total = Some(match (total, item) {
            (None, first) => first,
            (Some(Value::Int(left)), Value::Int(right)) => {
                Value::Int(left.checked_add(right).ok_or(EvalError::Overflow("integer"))?)
            }
            (Some(Value::Uint(left)), Value::Uint(right)) => {
                Value::Uint(left.checked_add(right).ok_or(EvalError::Overflow("unsigned integer"))?)
            }
            (Some(Value::Double(left)), Value::Double(right)) => Value::Double(left + right),
            (Some(Value::Duration(left)), Value::Duration(right)) => {
                Value::Duration(left.checked_add(right).ok_or(EvalError::Overflow("duration"))?)
            }
            (_, other) => return Err(EvalError::overload("sum", &[other.type_name().to_owned()])),
        });
    }
    Ok(total.unwrap_or_else(|| empty_sum(list)))
}

/// The sum of no items is of the type that the items would have.
fn empty_sum<'a>(list: &List<'a>) -> Value<'a> {
    use crate::schema::Shape;
    let shape = match list {
        List::Json { decl: Some(decl), .. } => decl.elements().map(|items| &items.shape),
        _ => None,
    };
    match shape {
        Some(Shape::Double) => Value::Double(0.0),
        Some(Shape::Duration) => Value::Duration(0),
        _ => Value::Int(0),
    }
}

fn extreme<'a>(list: &List<'a>, function: &str, wanted: Ordering, meter: &mut Meter) -> Outcome<'a> {
    let mut best: Option<Value<'a>> = None;
    for item in list.iter() {
        let item = item?;
        let better = match &best {
            Some(best) => item.order(best, meter)? == Some(wanted),
            None => true,
        };
        if better {
            best = Some(item);
        }
    }
    best.ok_or_else(|| EvalError::function(format!("{function} called on empty list")))
}

fn index_of<'a>(
    list: &List<'a>,
    item: &Value<'a>,
    places: &mut dyn Iterator<Item = usize>,
    meter: &mut Meter,
) -> Outcome<'a> {
    for place in places {
        if let Some(candidate) = list.get(place)
            && candidate?.equals(item, meter)?
        {
            return Ok(Value::Int(place as i64));
        }
    }
    Ok(Value::Int(-1))
}

fn join<'a>(list: &List<'a>, separator: &str, meter: &mut Meter) -> Outcome<'a> {
    let mut joined = String::new();
    for (index, item) in list.iter().enumerate() {
        let item = item?;
        let Some(text) = item.as_str() else {
            return Err(EvalError::overload("join", &[item.type_name().to_owned()]));
        };
        meter.allocate((text.len() + separator.len()) as u64)?;
        if index > 0 {
            joined.push_str(separator);
        }
        joined.push_str(text);
    }
    Ok(Value::from(joined))
}

fn slice<'a>(list: &List<'a>, from: i64, to: i64, meter: &mut Meter) -> Outcome<'a> {
    let refuse = |why: &str| Err(EvalError::function(format!("cannot slice({from}, {to}), {why}")));
    let (Ok(start), Ok(end)) = (usize::try_from(from), usize::try_from(to)) else {
        return refuse("negative indexes not supported");
    };
    if start > end {
        return refuse("start index must be less than or equal to end index");
    }
    if end > list.len() {
        return refuse(&format!("list is length {}", list.len()));
    }
    meter.allocate_values((end - start) as u64)?;
    let items = (start..end).filter_map(|index| list.get(index)).collect::<Result<_, _>>()?;
    Ok(Value::List(List::new(items)))
}

fn flatten<'a>(list: &List<'a>, depth: i64, meter: &mut Meter) -> Outcome<'a> {
    if depth < 0 {
        return Err(EvalError::function("level must be non-negative"));
    }
    let mut flat = Vec::new();
    flatten_into(&mut flat, list, depth, meter)?;
    Ok(Value::List(List::new(flat)))
}

fn flatten_into<'a>(
    flat: &mut Vec<Value<'a>>,
    list: &List<'a>,
    depth: i64,
    meter: &mut Meter,
) -> Result<(), EvalError> {
    for item in list.iter() {
        match item? {
            Value::List(inner) if depth > 0 => flatten_into(flat, &inner, depth - 1, meter)?,
            other => {
                meter.allocate_values(1)?;
                flat.push(other);
            }
        }
    }
    Ok(())
}

fn distinct<'a>(list: &List<'a>, meter: &mut Meter) -> Outcome<'a> {
    let mut unique: Vec<Value<'a>> = Vec::new();
    'items: for item in list.iter() {
        let item = item?;
        for seen in &unique {
            if seen.equals(&item, meter)? {
                continue 'items;
            }
        }
        meter.allocate_values(1)?;
        unique.push(item);
    }
    Ok(Value::List(List::new(unique)))
}

/// Sorts the items by their keys.
fn sort<'a>(list: &List<'a>, keys: &List<'a>, meter: &mut Meter) -> Outcome<'a> {
    let items = copied(list, meter)?;
    let keys = copied(keys, meter)?;
    if items.len() != keys.len() {
        let (items, keys) = (items.len(), keys.len());
        return Err(EvalError::function(format!(
            "@sortByAssociatedKeys() expected a list of the same size as the associated keys list, but got {items} and \
             {keys} elements respectively"
        )));
    }
    if keys.windows(2).any(|pair| pair[0].type_name() != pair[1].type_name()) {
        return Err(EvalError::function("list elements must have the same type"));
    }
    let mut pairs: Vec<(Value<'a>, Value<'a>)> = keys.into_iter().zip(items).collect();
    let mut failed = None;
    pairs.sort_by(|(left, _), (right, _)| match left.order(right, meter) {
        // NaN comes last: what has no order needs a place all the same.
        Ok(order) => order.unwrap_or_else(|| is_nan(left).cmp(&is_nan(right))),
        Err(error) => {
            failed.get_or_insert(error);
            Ordering::Equal
        }
    });
    match failed {
        Some(error) if error.is_cancellation() => Err(error),
        Some(_) => Err(EvalError::function("list elements must be comparable")),
        None => Ok(Value::List(List::new(pairs.into_iter().map(|(_, item)| item).collect()))),
    }
}

fn is_nan(value: &Value<'_>) -> bool {
    matches!(value, Value::Double(value) if value.is_nan())
}

fn range<'a>(count: i64, meter: &mut Meter) -> Outcome<'a> {
    meter.allocate_values(u64::try_from(count).unwrap_or(0))?;
    Ok(Value::List(List::new((0..count).map(Value::Int).collect())))
}

fn contains_all<'a>(list: &List<'a>, part: &List<'a>, meter: &mut Meter) -> Result<bool, EvalError> {
    for item in part.iter() {
        if !list_contains(list, &item?, meter)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn intersects<'a>(left: &List<'a>, right: &List<'a>, meter: &mut Meter) -> Outcome<'a> {
    for item in left.iter() {
        if list_contains(right, &item?, meter)? {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}
