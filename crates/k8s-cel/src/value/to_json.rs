//! Values as JSON, for what expressions of mutating policies build.

use base64::Engine as _;
use serde_json::Value as Json;

use super::{Key, Map, Value};
use crate::error::EvalError;
use crate::library::time;

impl Value<'_> {
    /// The value as JSON.
    pub fn to_json(&self) -> Result<Json, EvalError> {
        Ok(match self {
            Self::Null => Json::Null,
            Self::Bool(value) => Json::Bool(*value),
            Self::Int(value) => Json::from(*value),
            Self::Uint(value) => Json::from(*value),
            Self::Double(value) => serde_json::Number::from_f64(*value)
                .map(Json::Number)
                .ok_or_else(|| EvalError::function(format!("unsupported JSON number: {value}")))?,
            Self::String(text) => Json::from(&**text),
            Self::Bytes(bytes) => Json::from(base64::engine::general_purpose::STANDARD.encode(bytes)),
            Self::Timestamp(at) => Json::from(time::show_timestamp(*at)),
            Self::Duration(nanos) => Json::from(time::show_duration(*nanos)),
            Self::List(list) => Json::Array(list.iter().map(|item| item?.to_json()).collect::<Result<_, _>>()?),
            Self::Map(Map::Json { entries, .. }) => Json::Object((*entries).clone()),
            Self::Map(map) | Self::Message(_, map) => object(map)?,
            Self::Optional(Some(value)) => value.to_json()?,
            Self::Optional(None) => Json::Null,
            Self::Opaque(opaque) => Json::from(opaque.to_string()),
            Self::Type(_) | Self::Check(_) | Self::Lazy(_) => {
                return Err(EvalError::function(format!("type {} cannot be converted to JSON", self.type_name())));
            }
        })
    }
}

fn object(map: &Map<'_>) -> Result<Json, EvalError> {
    let mut object = serde_json::Map::new();
    for key in map.keys() {
        let value = map.get(&key.to_value())?.unwrap_or(Value::Null).to_json()?;
        let name = match &key {
            Key::String(text) => text.to_string(),
            other => match other.to_value() {
                Value::Bool(value) => value.to_string(),
                Value::Int(value) => value.to_string(),
                Value::Uint(value) => value.to_string(),
                _ => String::new(),
            },
        };
        object.insert(name, value);
    }
    Ok(Json::Object(object))
}
