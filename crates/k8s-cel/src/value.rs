//! [`Value`]: what expressions compute with.
//!
//! Objects are not copied into values: a list or map of an object is a view on its JSON, read through the schema
//! where there is one, and only what an expression looks at becomes a value.

mod compare;
mod list;
mod map;
mod text;
mod to_json;

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use base64::Engine as _;
use jiff::Timestamp;
use serde_json::Value as Json;

use crate::budget::Meter;
use crate::error::EvalError;
use crate::library::authorizer::Check;
use crate::library::opaque::OpaqueValue;
use crate::library::time;
use crate::schema::{Decl, Shape};
pub(crate) use compare::contains as list_contains;
pub use list::List;
pub use map::{Key, Map};
pub use text::Text;

/// A value.
#[derive(Clone, Debug)]
pub enum Value<'a> {
    /// `null`.
    Null,
    /// true or false.
    Bool(bool),
    /// An int.
    Int(i64),
    /// A uint.
    Uint(u64),
    /// A double.
    Double(f64),
    /// A text.
    String(Text<'a>),
    /// Octets.
    Bytes(Rc<[u8]>),
    /// A point in time.
    Timestamp(Timestamp),
    /// A span of time, in nanoseconds.
    Duration(i64),
    /// A list.
    List(List<'a>),
    /// A map or an object.
    Map(Map<'a>),
    /// A type, by its name.
    Type(Rc<str>),
    /// A value that may be missing.
    Optional(Option<Rc<Value<'a>>>),
    /// A value of a function library.
    Opaque(Rc<OpaqueValue>),
    /// A question to the authorizer, or its answer.
    Check(Rc<Check<'a>>),
    /// What an expression built: its type's name and its fields.
    Message(Rc<str>, Map<'a>),
    /// Something with fields that are computed when they are asked for.
    Lazy(Rc<dyn Fields<'a> + 'a>),
}

/// Something with fields that are computed when they are asked for: the variables of a policy.
pub trait Fields<'a>: fmt::Debug {
    /// The field's value; `None` where there is no such field.
    fn field(self: Rc<Self>, name: &str, meter: &mut Meter) -> Option<Result<Value<'a>, EvalError>>;
}

impl<'a> Value<'a> {
    /// A text.
    pub fn string(text: impl Into<Text<'a>>) -> Self {
        Self::String(text.into())
    }

    /// The JSON as it is: whole numbers are ints, all others doubles.
    pub fn json(json: &'a Json) -> Self {
        match json {
            Json::Null => Self::Null,
            Json::Bool(value) => Self::Bool(*value),
            Json::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(int), _) => Self::Int(int),
                (None, float) => Self::Double(float.unwrap_or(f64::NAN)),
            },
            Json::String(text) => Self::String(Text::Borrowed(text)),
            Json::Array(items) => Self::List(List::Json { items, decl: None }),
            Json::Object(entries) => Self::Map(Map::Json { entries, decl: None }),
        }
    }

    /// The JSON read through its schema.
    pub(crate) fn typed(json: &'a Json, decl: Option<&'a Decl>) -> Result<Self, EvalError> {
        let Some(found) = decl else { return Ok(Self::json(json)) };
        Ok(match (json, &found.shape) {
            (Json::Null, _) => Self::Null,
            (Json::Array(items), Shape::List { .. }) => Self::List(List::Json { items, decl }),
            (Json::Object(entries), Shape::Map { .. } | Shape::Object { .. }) => Self::Map(Map::Json { entries, decl }),
            (Json::Number(number), Shape::Double) => Self::Double(number.as_f64().unwrap_or(f64::NAN)),
            (Json::String(text), Shape::Bytes) => {
                let bytes = base64::engine::general_purpose::STANDARD.decode(text);
                Self::Bytes(bytes.map_err(|error| EvalError::function(format!("illegal base64 data: {error}")))?.into())
            }
            (Json::String(text), Shape::Duration) => Self::Duration(time::parse_schema_duration(text)?),
            (Json::String(text), Shape::Date) => Self::Timestamp(time::parse_date(text)?),
            (Json::String(text), Shape::DateTime) => Self::Timestamp(time::parse_timestamp(text)?),
            _ => Self::json(json),
        })
    }

    /// The bool.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// The text.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The name of the value's type.
    pub(crate) fn type_name(&self) -> &str {
        match self {
            Self::Null => "null_type",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Uint(_) => "uint",
            Self::Double(_) => "double",
            Self::String(_) => "string",
            Self::Bytes(_) => "bytes",
            Self::Timestamp(_) => "google.protobuf.Timestamp",
            Self::Duration(_) => "google.protobuf.Duration",
            Self::List(_) => "list",
            Self::Map(map) => map.type_name(),
            Self::Type(_) => "type",
            Self::Optional(_) => "optional_type",
            Self::Opaque(opaque) => opaque.kind().name(),
            Self::Check(check) => check.kind().name(),
            Self::Message(name, _) => name,
            Self::Lazy(_) => "object",
        }
    }

    /// `size()` where the value has one, else 1: what cost counts with.
    pub(crate) fn size(&self) -> u64 {
        match self {
            Self::String(text) => text.chars().count() as u64,
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::List(list) => list.len() as u64,
            Self::Map(map) => map.len() as u64,
            _ => 1,
        }
    }

    /// The value of a field or key; `None` where it is missing.
    pub(crate) fn field(&self, name: &str, meter: &mut Meter) -> Result<Option<Self>, EvalError> {
        match self {
            Self::Map(map) | Self::Message(_, map) => map.field(name),
            Self::Lazy(fields) => fields.clone().field(name, meter).transpose(),
            other => Err(EvalError::overload("_._", &[other.type_name().to_owned(), "string".to_owned()])),
        }
    }

    /// Whether the value is one that an empty optional may stand for.
    pub(crate) fn is_zero(&self) -> bool {
        match self {
            Self::Null => true,
            Self::Bool(value) => !value,
            Self::Int(value) | Self::Duration(value) => *value == 0,
            Self::Uint(value) => *value == 0,
            Self::Double(value) => *value == 0.0,
            Self::String(text) => text.is_empty(),
            Self::Bytes(bytes) => bytes.is_empty(),
            Self::List(list) => list.is_empty(),
            Self::Map(map) | Self::Message(_, map) => map.is_empty(),
            Self::Optional(value) => value.is_none(),
            _ => false,
        }
    }
}

impl From<bool> for Value<'_> {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Value<'_> {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(value: &'a str) -> Self {
        Self::String(Text::Borrowed(value))
    }
}

impl From<String> for Value<'_> {
    fn from(value: String) -> Self {
        Self::String(Text::Shared(value.into()))
    }
}

/// The schema behind an `Arc`, borrowed as long as the `Arc`'s owner.
pub(crate) fn borrowed(decl: &Arc<Decl>) -> &Decl {
    decl
}
