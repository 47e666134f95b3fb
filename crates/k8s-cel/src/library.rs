//! What functions do. What they take is in [`crate::declarations`], what they cost in [`crate::cost`].

pub(crate) mod authorizer;
mod convert;
mod format;
mod formats;
mod lists;
mod net;
mod numbers;
pub(crate) mod opaque;
mod optional;
mod quote;
pub(crate) mod regexes;
mod strings;
pub(crate) mod time;
mod urls;

use std::collections::HashMap;

use regex::Regex;

use crate::budget::Meter;
use crate::error::EvalError;
use crate::value::Value;
pub(crate) use formats::FORMATS;
pub(crate) use quote::quote;

/// What a function may use beside its arguments.
pub(crate) struct CallCx<'c> {
    pub(crate) meter: &'c mut Meter,
    /// The patterns written out in the expression.
    pub(crate) regexes: &'c HashMap<Box<str>, Regex>,
}

type Called<'a> = Option<Result<Value<'a>, EvalError>>;

/// Calls a function; the first argument is the receiver of a member function.
pub(crate) fn call<'a>(
    function: &str,
    is_member: bool,
    args: &[Value<'a>],
    cx: &mut CallCx<'_>,
) -> Result<Value<'a>, EvalError> {
    let called = if is_member { member(function, args, cx) } else { global(function, args, cx) };
    called.unwrap_or_else(|| {
        let types: Vec<String> = args.iter().map(|arg| arg.type_name().to_owned()).collect();
        Err(EvalError::overload(function, &types))
    })
}

fn member<'a>(function: &str, args: &[Value<'a>], cx: &mut CallCx<'_>) -> Called<'a> {
    let (receiver, rest) = args.split_first()?;
    if function == "includes" {
        return lists::includes(receiver, rest.first()?, cx.meter);
    }
    match receiver {
        Value::String(text) => strings::member(function, text, rest, cx),
        Value::List(list) => lists::member(function, list, rest, cx.meter),
        Value::Bytes(bytes) if function == "size" => Some(Ok(Value::Int(bytes.len() as i64))),
        Value::Map(map) if function == "size" => Some(Ok(Value::Int(map.len() as i64))),
        Value::Timestamp(at) => time::of_timestamp(function, *at, rest),
        Value::Duration(nanos) => time::of_duration(function, *nanos),
        Value::Optional(value) => optional::member(function, value.as_deref(), rest),
        Value::Opaque(opaque) => opaque.member(function, rest),
        Value::Check(check) => check.member(function, rest),
        _ => None,
    }
}

fn global<'a>(function: &str, args: &[Value<'a>], cx: &mut CallCx<'_>) -> Called<'a> {
    match (function, args) {
        ("size", [arg @ (Value::String(_) | Value::Bytes(_) | Value::List(_) | Value::Map(_))]) => {
            Some(Ok(Value::Int(i64::try_from(arg.size()).unwrap_or(i64::MAX))))
        }
        ("type", [arg]) => Some(Ok(Value::Type(arg.type_name().into()))),
        ("dyn", [arg]) => Some(Ok(arg.clone())),
        ("matches", [Value::String(text), pattern]) => {
            strings::member(function, text, std::slice::from_ref(pattern), cx)
        }
        ("strings.quote", [Value::String(text)]) => {
            Some(cx.meter.allocate(2 * text.len() as u64).map(|()| Value::from(quote(text))))
        }
        ("jsonpatch.escapeKey", [Value::String(text)]) => {
            Some(Ok(Value::from(text.replace('~', "~0").replace('/', "~1"))))
        }
        ("cel.@mapInsert", _) => None,
        _ => convert::call(function, args)
            .or_else(|| optional::global(function, args))
            .or_else(|| lists::global(function, args, cx.meter))
            .or_else(|| opaque::global(function, args))
            .or_else(|| formats::global(function, args)),
    }
}
