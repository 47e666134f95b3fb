//! Functions of texts (upstream: cel-go common/types/string.go, ext/strings.go, apiserver/pkg/cel/library/regex.go).
//! Places are counted in characters.

use super::{CallCx, Called, format, regexes};
use crate::error::EvalError;
use crate::value::{List, Text, Value};

/// Calls a function of a text.
pub(super) fn member<'a>(function: &str, text: &Text<'a>, args: &[Value<'a>], cx: &mut CallCx<'_>) -> Called<'a> {
    let made = |text: String| Some(Ok(Value::from(text)));
    match (function, args) {
        ("size", []) => Some(Ok(Value::Int(text.chars().count() as i64))),
        ("contains", [Value::String(part)]) => Some(Ok(Value::Bool(text.contains(&**part)))),
        ("startsWith", [Value::String(part)]) => Some(Ok(Value::Bool(text.starts_with(&**part)))),
        ("endsWith", [Value::String(part)]) => Some(Ok(Value::Bool(text.ends_with(&**part)))),
        ("matches", [Value::String(pattern)]) => {
            Some(regexes::with(pattern, cx, |regex| Value::Bool(regex.is_match(text))))
        }
        ("find", [Value::String(pattern)]) => Some(regexes::with(pattern, cx, |regex| {
            Value::from(regex.find(text).map(|found| found.as_str().to_owned()).unwrap_or_default())
        })),
        ("findAll", [Value::String(pattern)]) => Some(find_all(text, pattern, -1, cx)),
        ("findAll", [Value::String(pattern), Value::Int(count)]) => Some(find_all(text, pattern, *count, cx)),
        ("charAt", [Value::Int(at)]) => Some(char_at(text, *at)),
        ("indexOf" | "lastIndexOf", [Value::String(part), rest @ ..]) => index_of(function, text, part, rest),
        ("lowerAscii", []) => made(text.to_ascii_lowercase()),
        ("upperAscii", []) => made(text.to_ascii_uppercase()),
        ("trim", []) => made(text.trim().to_owned()),
        ("substring", [Value::Int(from)]) => Some(substring(text, *from, None)),
        ("substring", [Value::Int(from), Value::Int(to)]) => Some(substring(text, *from, Some(*to))),
        ("replace", [Value::String(old), Value::String(new)]) => Some(replace(text, old, new, -1, cx)),
        ("replace", [Value::String(old), Value::String(new), Value::Int(count)]) => {
            Some(replace(text, old, new, *count, cx))
        }
        ("split", [Value::String(separator)]) => Some(split(text, separator, -1, cx)),
        ("split", [Value::String(separator), Value::Int(count)]) => Some(split(text, separator, *count, cx)),
        ("format", [Value::List(args)]) => Some(format::format(text, args, cx.meter).map(Value::from)),
        _ => None,
    }
}

fn out_of_range(at: i64) -> EvalError {
    EvalError::function(format!("index out of range: {at}"))
}

/// The byte where the character at `index` begins; the end for the index behind the last one.
fn byte_at(text: &str, index: i64) -> Option<usize> {
    let index = usize::try_from(index).ok()?;
    text.char_indices().map(|(at, _)| at).chain([text.len()]).nth(index)
}

fn char_at<'a>(text: &str, at: i64) -> Result<Value<'a>, EvalError> {
    let start = byte_at(text, at).ok_or_else(|| out_of_range(at))?;
    Ok(Value::from(text[start..].chars().next().map(String::from).unwrap_or_default()))
}

fn index_of<'a>(function: &str, text: &str, part: &str, rest: &[Value<'a>]) -> Called<'a> {
    let offset = match rest {
        [] => None,
        [Value::Int(offset)] => Some(*offset),
        _ => return None,
    };
    let is_last = function == "lastIndexOf";
    if part.is_empty() {
        let end = text.chars().count() as i64;
        return Some(Ok(Value::Int(offset.unwrap_or(if is_last { end } else { 0 }))));
    }
    let found = match offset {
        None if is_last => text.rfind(part),
        None => text.find(part),
        Some(offset) => {
            let Some(from) = byte_at(text, offset).filter(|from| *from < text.len()) else {
                return Some(Err(out_of_range(offset)));
            };
            if is_last {
                let mut end = (from + part.len()).min(text.len());
                while !text.is_char_boundary(end) {
                    end += 1;
                }
                text[..end].rfind(part)
            } else {
                text[from..].find(part).map(|at| at + from)
            }
        }
    };
    let place = found.map_or(-1, |at| text[..at].chars().count() as i64);
    Some(Ok(Value::Int(place)))
}

fn substring<'a>(text: &str, from: i64, to: Option<i64>) -> Result<Value<'a>, EvalError> {
    let start = byte_at(text, from).ok_or_else(|| out_of_range(from))?;
    let end = match to {
        Some(to) => byte_at(text, to).ok_or_else(|| out_of_range(to))?,
        None => text.len(),
    };
    if start > end {
        let to = to.unwrap_or_default();
        return Err(EvalError::function(format!("invalid substring range. start: {from}, end: {to}")));
    }
    Ok(Value::from(text[start..end].to_owned()))
}

fn replace<'a>(text: &str, old: &str, new: &str, count: i64, cx: &mut CallCx<'_>) -> Result<Value<'a>, EvalError> {
    let limit = usize::try_from(count).unwrap_or(usize::MAX);
    let found = if old.is_empty() { text.chars().count() + 1 } else { text.matches(old).count() };
    let replaced = found.min(limit);
    cx.meter.allocate((text.len() as u64).saturating_add((replaced as u64).saturating_mul(new.len() as u64)))?;
    Ok(Value::from(text.replacen(old, new, replaced)))
}

fn split<'a>(text: &str, separator: &str, count: i64, cx: &mut CallCx<'_>) -> Result<Value<'a>, EvalError> {
    let parts: Vec<&str> = match (count, separator.is_empty()) {
        (0, _) => Vec::new(),
        (1, _) => vec![text],
        (_, true) => {
            let limit = usize::try_from(count).unwrap_or(usize::MAX);
            let mut parts = Vec::new();
            let mut rest = text;
            while let Some(first) = rest.chars().next() {
                let cut = if parts.len() + 1 == limit { rest.len() } else { first.len_utf8() };
                parts.push(&rest[..cut]);
                rest = &rest[cut..];
            }
            parts
        }
        (count, false) if count > 0 => text.splitn(usize::try_from(count).unwrap_or(usize::MAX), separator).collect(),
        _ => text.split(separator).collect(),
    };
    cx.meter.allocate_values(parts.len() as u64)?;
    cx.meter.allocate(text.len() as u64 + 24 * parts.len() as u64)?;
    Ok(texts(parts))
}

fn texts<'a>(parts: Vec<&str>) -> Value<'a> {
    Value::List(List::new(parts.into_iter().map(|part| Value::from(part.to_owned())).collect()))
}

fn find_all<'a>(text: &str, pattern: &str, count: i64, cx: &mut CallCx<'_>) -> Result<Value<'a>, EvalError> {
    let limit = usize::try_from(count).unwrap_or(usize::MAX);
    let found =
        regexes::with(pattern, cx, |regex| regex.find_iter(text).take(limit).map(|found| found.range()).collect())?;
    let ranges: Vec<std::ops::Range<usize>> = found;
    cx.meter.allocate_values(ranges.len() as u64)?;
    cx.meter.allocate(text.len() as u64 + 24 * ranges.len() as u64)?;
    Ok(texts(ranges.into_iter().map(|range| &text[range]).collect()))
}
