//! [`Map`]: an object or a map of one, or a map that an evaluation made.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::Value as Json;

use super::{Text, Value};
use crate::error::EvalError;
use crate::schema::{Decl, Shape};

/// A map, or an object.
#[derive(Clone, Debug)]
pub enum Map<'a> {
    /// A map or an object in an object.
    Json {
        /// Its entries.
        entries: &'a serde_json::Map<String, Json>,
        /// Its schema.
        decl: Option<&'a Decl>,
    },
    /// A map that was made.
    Entries(Rc<BTreeMap<Key<'a>, Value<'a>>>),
}

/// A key. Ints and uints are one kind of number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key<'a> {
    /// true or false.
    Bool(bool),
    /// A whole number, and whether it is a uint.
    Number(Whole),
    /// A text.
    String(Text<'a>),
}

/// A whole number that is equal to another of the same amount.
#[derive(Clone, Copy, Debug)]
pub struct Whole {
    amount: i128,
    unsigned: bool,
}

impl PartialEq for Whole {
    fn eq(&self, other: &Self) -> bool {
        self.amount == other.amount
    }
}

impl Eq for Whole {}

impl PartialOrd for Whole {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Whole {
    fn cmp(&self, other: &Self) -> Ordering {
        self.amount.cmp(&other.amount)
    }
}

impl<'a> Key<'a> {
    /// The value as a key; `None` where no key can be like it.
    pub(crate) fn of(value: &Value<'a>) -> Option<Self> {
        Some(match value {
            Value::Bool(value) => Self::Bool(*value),
            Value::Int(value) => Self::Number(Whole { amount: i128::from(*value), unsigned: false }),
            Value::Uint(value) => Self::Number(Whole { amount: i128::from(*value), unsigned: true }),
            Value::Double(value) if value.fract() == 0.0 && value.abs() < 1e18 => {
                Self::Number(Whole { amount: *value as i128, unsigned: false })
            }
            Value::String(text) => Self::String(text.clone()),
            _ => return None,
        })
    }

    /// The key as a value.
    pub fn to_value(&self) -> Value<'a> {
        match self {
            Self::Bool(value) => Value::Bool(*value),
            Self::Number(Whole { amount, unsigned: true }) => Value::Uint(u64::try_from(*amount).unwrap_or_default()),
            Self::Number(Whole { amount, .. }) => Value::Int(i64::try_from(*amount).unwrap_or_default()),
            Self::String(text) => Value::String(text.clone()),
        }
    }
}

impl<'a> Map<'a> {
    /// A map of these entries.
    pub fn new(entries: BTreeMap<Key<'a>, Value<'a>>) -> Self {
        Self::Entries(Rc::new(entries))
    }

    /// A map from texts.
    pub fn of_fields(fields: impl IntoIterator<Item = (&'a str, Value<'a>)>) -> Self {
        Self::new(fields.into_iter().map(|(name, value)| (Key::String(name.into()), value)).collect())
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Json { entries, .. } => entries.len(),
            Self::Entries(entries) => entries.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn type_name(&self) -> &str {
        match self {
            Self::Json { decl: Some(decl), .. } if matches!(decl.shape, Shape::Object { .. }) => decl.object_name(),
            _ => "map",
        }
    }

    /// The value of a field, by its escaped name, or of a text as a key.
    pub(crate) fn field(&self, name: &str) -> Result<Option<Value<'a>>, EvalError> {
        match self {
            Self::Json { entries, decl } => {
                let found = match decl.map(|decl| (&decl.shape, decl)) {
                    Some((Shape::Object { .. }, decl)) => decl
                        .field(name)
                        .and_then(|field| Some((entries.get(&*field.json)?, Some(super::borrowed(&field.decl))))),
                    Some((_, decl)) => entries.get(name).map(|json| (json, decl.elements().map(super::borrowed))),
                    None => entries.get(name).map(|json| (json, None)),
                };
                found.map(|(json, decl)| Value::typed(json, decl)).transpose()
            }
            Self::Entries(entries) => Ok(entries.get(&Key::String(Text::Borrowed(name))).cloned()),
        }
    }

    /// The value of a key.
    pub(crate) fn get(&self, key: &Value<'a>) -> Result<Option<Value<'a>>, EvalError> {
        match (self, key) {
            (_, Value::String(name)) => self.field(name),
            (Self::Entries(entries), other) => Ok(Key::of(other).and_then(|key| entries.get(&key).cloned())),
            (Self::Json { .. }, _) => Ok(None),
        }
    }

    /// The keys in order; for an object the names of its fields.
    pub(crate) fn keys(&self) -> Vec<Key<'a>> {
        match self {
            Self::Json { entries, decl } => match decl.map(|decl| &decl.shape) {
                Some(Shape::Object { fields, .. }) => fields
                    .iter()
                    .filter(|(_, field)| entries.contains_key(&*field.json))
                    .map(|(name, _)| Key::String(Text::Borrowed(name)))
                    .collect(),
                _ => entries.keys().map(|name| Key::String(Text::Borrowed(name))).collect(),
            },
            Self::Entries(entries) => entries.keys().cloned().collect(),
        }
    }
}
