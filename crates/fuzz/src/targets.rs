//! The parsers, by what they read.

pub(crate) mod binary;
pub(crate) mod documents;
pub(crate) mod expressions;
pub(crate) mod managed_fields;
pub(crate) mod node;
pub(crate) mod patches;
pub(crate) mod requests;
pub(crate) mod scalars;
pub(crate) mod selectors;
pub(crate) mod streams;

use apimachinery::codec::json;
use serde_json::Value;

/// The input as text; other bytes are of no interest to who reads text.
fn text(input: &[u8]) -> Option<&str> {
    std::str::from_utf8(input).ok()
}

/// The input as a JSON document, as a request's body is read.
fn document(input: &[u8]) -> Option<Value> {
    json::decode(input).ok().map(|parsed| parsed.value)
}

/// The input as a JSON list of two.
fn pair(input: &[u8]) -> Option<(Value, Value)> {
    match document(input)? {
        Value::Array(list) => <[Value; 2]>::try_from(list).ok().map(|[one, two]| (one, two)),
        _ => None,
    }
}

/// How deep a value nests.
fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or_default(),
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or_default(),
        _ => 0,
    }
}
