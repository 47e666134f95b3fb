//! Values as JSON, for what expressions of mutating policies build.

use base64::Engine as _;
use serde_json::Value as Json;

use super::{Key, Map, Value};
use crate::error::EvalError;
use crate::library::time;

/// The largest JSON that a value may become, in bytes: parts of a value may be shared, and would be written out each
/// time.
const LIMIT: usize = 8 << 20;

/// What each part of the JSON takes beside its text.
const NODE: usize = 16;

impl Value<'_> {
    /// The value as JSON.
    pub fn to_json(&self) -> Result<Json, EvalError> {
        convert(self, &mut LIMIT.clone())
    }
}

fn take(left: &mut usize, size: usize) -> Result<(), EvalError> {
    *left = left.checked_sub(size).ok_or(EvalError::CostLimit)?;
    Ok(())
}

fn convert(value: &Value<'_>, left: &mut usize) -> Result<Json, EvalError> {
    take(left, NODE)?;
    Ok(match value {
        Value::Null | Value::Optional(None) => Json::Null,
        Value::Bool(value) => Json::Bool(*value),
        Value::Int(value) => Json::from(*value),
        Value::Uint(value) => Json::from(*value),
        Value::Double(value) => serde_json::Number::from_f64(*value)
            .map(Json::Number)
            .ok_or_else(|| EvalError::function(format!("unsupported JSON number: {value}")))?,
        Value::String(text) => {
            take(left, text.len())?;
            Json::from(&**text)
        }
        Value::Bytes(bytes) => {
            take(left, 2 * bytes.len())?;
            Json::from(base64::engine::general_purpose::STANDARD.encode(bytes))
        }
        Value::Timestamp(at) => Json::from(time::show_timestamp(*at)),
        Value::Duration(nanos) => Json::from(time::show_duration(*nanos)),
        Value::List(list) => {
            Json::Array(list.iter().map(|item| convert(&item?, left)).collect::<Result<_, EvalError>>()?)
        }
        Value::Map(Map::Json { entries, .. }) => {
            let mut copied = serde_json::Map::new();
            for (name, json) in *entries {
                take(left, name.len())?;
                copied.insert(name.clone(), convert(&Value::json(json), left)?);
            }
            Json::Object(copied)
        }
        Value::Map(map) | Value::Message(_, map) => object(map, left)?,
        Value::Optional(Some(value)) => convert(value, left)?,
        Value::Opaque(opaque) => Json::from(opaque.to_string()),
        Value::Type(_) | Value::Check(_) | Value::Lazy(_) => {
            return Err(EvalError::function(format!("type {} cannot be converted to JSON", value.type_name())));
        }
    })
}

fn object(map: &Map<'_>, left: &mut usize) -> Result<Json, EvalError> {
    let mut object = serde_json::Map::new();
    for key in map.keys() {
        let value = convert(&map.get(&key.to_value())?.unwrap_or(Value::Null), left)?;
        let name = match &key {
            Key::String(text) => text.to_string(),
            other => convert(&other.to_value(), left)?.to_string(),
        };
        take(left, name.len())?;
        object.insert(name, value);
    }
    Ok(Json::Object(object))
}
