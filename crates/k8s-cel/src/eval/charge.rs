//! What calls really cost (upstream: cel-go interpreter/runtimecost.go, ext/{lists,sets}.go,
//! apiserver/pkg/cel/library/cost.go `CallCost`).

use crate::cost::{LIST, REGEX, Range, TRAVERSAL, is_accessor, selector};
use crate::value::Value;

/// How much text the arguments of a call are, in pieces that are looked at as fast as one item: every function may look
/// at all of it, whatever it costs.
pub(super) fn text_of(args: &[Value<'_>]) -> u64 {
    let length = |arg: &Value<'_>| match arg {
        Value::String(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        _ => 0,
    };
    (args.iter().map(length).sum::<usize>() / 64) as u64
}

/// The cost of a call, its arguments' own cost aside; the first argument is the receiver where there is one.
pub(super) fn of_call(function: &str, is_member: bool, args: &[Value<'_>]) -> u64 {
    let size = |index: usize| args.get(index).map_or(1, Value::size);
    let traversal = |index: usize| scale(size(index), TRAVERSAL);
    match function {
        "check" => 350_000,
        function if is_accessor(function) => 1,
        "fieldSelector" | "labelSelector" => selector(Range::exactly(size(1))).max,
        "isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf" | "includes" => {
            args.first().map_or(1, |arg| visit(arg, &mut VISIT_LIMIT.clone()))
        }
        "url" | "lowerAscii" | "upperAscii" | "substring" | "trim" | "jsonpatch.escapeKey" => traversal(0),
        "replace" | "split" | "ip.isCanonical" => scale(size(0), 2.0 * TRAVERSAL),
        "join" => scale(joined_size(args), 2.0 * TRAVERSAL),
        "find" | "findAll" | "matches" => pattern(size(0), size(1)),
        "ip" if is_member => 1,
        "cidr" | "isIP" | "isCIDR" | "ip" | "quantity" | "isQuantity" | "semver" | "isSemver" => traversal(0),
        "containsIP" | "containsCIDR" => {
            let mut cost = scale(32, TRAVERSAL);
            if function == "containsCIDR" {
                cost += scale(16, TRAVERSAL) + 1;
            }
            if matches!(args.get(1), Some(Value::String(_))) {
                cost += traversal(1);
            }
            cost
        }
        "validate" => pattern(size(1), 60),
        "slice" => match args {
            [_, Value::Int(from), Value::Int(to)] => made(1.0, u64::try_from(to.saturating_sub(*from)).unwrap_or(0)),
            _ => 1,
        },
        "lists.range" => match args {
            [Value::Int(count)] => made(1.0, u64::try_from(*count).unwrap_or(0)),
            _ => 1,
        },
        "reverse" => made(1.0, size(0)),
        "flatten" => match args.get(1) {
            Some(Value::Int(depth)) => made(u64::try_from(*depth).unwrap_or(0) as f64, size(0)),
            _ => made(1.0, size(0)),
        },
        "distinct" | "sort" => self_comparison(args.first()),
        "@sortByAssociatedKeys" => self_comparison(args.get(1)),
        "sets.contains" | "sets.intersects" => size(0).saturating_mul(size(1)).saturating_add(1),
        "sets.equivalent" => size(0).saturating_mul(size(1)).saturating_mul(2).saturating_add(1),
        _ => of_language(function, args),
    }
}

/// The language's own functions.
fn of_language(function: &str, args: &[Value<'_>]) -> u64 {
    let size = |index: usize| args.get(index).map_or(1, Value::size);
    match (function, args.first()) {
        ("startsWith" | "endsWith" | "format" | "strings.quote", _)
        | ("bytes", Some(Value::String(_)))
        | ("string", Some(Value::Bytes(_))) => scale(size(0), TRAVERSAL),
        ("@in", _) if matches!(args.get(1), Some(Value::List(_))) => size(1),
        ("_<_" | "_<=_" | "_>_" | "_>=_", Some(Value::String(_) | Value::Bytes(_))) | ("_==_" | "_!=_", _) => {
            args.first().zip(args.get(1)).map_or(1, |(left, right)| scale(smaller_size(left, right), TRAVERSAL))
        }
        ("_+_", Some(Value::String(_) | Value::Bytes(_))) => scale(size(0).saturating_add(size(1)), TRAVERSAL),
        ("contains", _) => scale(size(0), TRAVERSAL).saturating_mul(scale(size(1), TRAVERSAL)),
        _ => 1,
    }
}

fn scale(size: u64, factor: f64) -> u64 {
    (size as f64 * factor).ceil() as u64
}

fn pattern(text: u64, regex: u64) -> u64 {
    scale(text.saturating_add(1), TRAVERSAL).saturating_mul(scale(regex, REGEX))
}

/// A call that makes a list.
fn made(factor: f64, size: u64) -> u64 {
    ((size as f64 * factor) as u64).saturating_add(1 + LIST)
}

fn self_comparison(list: Option<&Value<'_>>) -> u64 {
    let Some(Value::List(list)) = list else { return 1 };
    let size = list.len() as u64;
    let is_text = matches!(list.get(0), Some(Ok(Value::String(_) | Value::Bytes(_))));
    made(if is_text { 2.0 + TRAVERSAL } else { 2.0 }, size.saturating_mul(size))
}

fn joined_size(args: &[Value<'_>]) -> u64 {
    let Some(Value::List(list)) = args.first() else { return 1 };
    let items: u64 = list.iter().filter_map(Result::ok).map(|item| item.size()).sum();
    let separator = args.get(1).map_or(0, Value::size);
    items.saturating_add(separator.saturating_mul((list.len() as u64).saturating_sub(1)))
}

/// How many parts of a value are looked at to tell its cost, which is above any limit then.
const VISIT_LIMIT: u64 = 2 * crate::budget::PER_CALL_LIMIT;

/// Looking at a value as a whole.
fn visit(value: &Value<'_>, left: &mut u64) -> u64 {
    *left = left.saturating_sub(1);
    if *left == 0 {
        return 1;
    }
    match value {
        Value::String(_) | Value::Bytes(_) => (value.size() as f64 * TRAVERSAL) as u64,
        Value::List(list) => list.iter().filter_map(Result::ok).map(|item| visit(&item, left)).sum(),
        Value::Map(map) => {
            let entries = map.keys().into_iter().map(|key| key.to_value());
            entries
                .map(|key| visit(&key, left) + map.get(&key).ok().flatten().map_or(0, |value| visit(&value, left)))
                .sum()
        }
        _ => 1,
    }
}

/// The size of the smaller of two values, without counting the characters of the larger one.
fn smaller_size<'a>(left: &Value<'a>, right: &Value<'a>) -> u64 {
    match (left, right) {
        (Value::String(left), Value::String(right)) => {
            let (short, long) = if left.len() <= right.len() { (left, right) } else { (right, left) };
            let count = short.chars().count();
            long.chars().take(count).count() as u64
        }
        (Value::String(text), other) | (other, Value::String(text)) => {
            let size = usize::try_from(other.size()).unwrap_or(usize::MAX);
            text.chars().take(size).count() as u64
        }
        (left, right) => left.size().min(right.size()),
    }
}
