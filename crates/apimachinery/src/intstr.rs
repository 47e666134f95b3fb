//! [`IntOrString`]: a number or a text, mostly a percentage (upstream: `apimachinery/pkg/util/intstr`).

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A number or a text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum IntOrString {
    /// A number.
    Int(i32),
    /// A text, as `25%` or the name of a port.
    String(String),
}

/// Why a value cannot be scaled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScaleError {
    /// A text that is no percentage.
    #[error("invalid value for IntOrString: invalid type: string is not a percentage")]
    NotAPercentage,
    /// A percentage whose number is none.
    #[error("invalid value for IntOrString: invalid value {0:?}: invalid syntax")]
    BadNumber(String),
}

impl IntOrString {
    /// The value in an object, where it is a number that fits or a text.
    pub fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::String(text) => Some(Self::String(text.clone())),
            Value::Number(number) => Some(Self::Int(i32::try_from(number.as_i64()?).ok()?)),
            _ => None,
        }
    }

    /// Reads a text as a number where it is one.
    pub fn parse(text: &str) -> Self {
        text.parse().map_or_else(|_| Self::String(text.to_owned()), Self::Int)
    }

    /// The number itself, or the percentage of `total` rounded down.
    pub fn scaled_down(&self, total: i64) -> Result<i64, ScaleError> {
        self.scaled(total, f64::floor)
    }

    /// The number itself, or the percentage of `total` rounded up.
    pub fn scaled_up(&self, total: i64) -> Result<i64, ScaleError> {
        self.scaled(total, f64::ceil)
    }

    fn scaled(&self, total: i64, round: fn(f64) -> f64) -> Result<i64, ScaleError> {
        match self {
            Self::Int(number) => Ok(i64::from(*number)),
            Self::String(text) => {
                let number = text.strip_suffix('%').ok_or(ScaleError::NotAPercentage)?;
                let percent: i64 = number.parse().map_err(|_| ScaleError::BadNumber(text.clone()))?;
                Ok(round(percent as f64 * total as f64 / 100.0) as i64)
            }
        }
    }
}

impl fmt::Display for IntOrString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(number) => number.fmt(f),
            Self::String(text) => f.write_str(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_scale_and_numbers_stay() {
        for (text, total, down, up) in [
            ("3", 100, 3, 3),
            ("25%", 10, 2, 3),
            ("25%", 4, 1, 1),
            ("0%", 10, 0, 0),
            ("100%", 7, 7, 7),
            ("10%", 3, 0, 1),
        ] {
            let value = IntOrString::parse(text);
            assert_eq!((value.scaled_down(total), value.scaled_up(total)), (Ok(down), Ok(up)), "{text} of {total}");
            assert_eq!(value.to_string(), text);
        }
        assert_eq!(IntOrString::parse("http").scaled_up(1), Err(ScaleError::NotAPercentage));
        assert_eq!(IntOrString::parse("x%").scaled_up(1), Err(ScaleError::BadNumber("x%".into())));
    }

    #[test]
    fn objects_carry_either() {
        let read = |value: Value| IntOrString::from_value(&value);
        assert_eq!(read(8080.into()), Some(IntOrString::Int(8080)));
        assert_eq!(read("http".into()), Some(IntOrString::String("http".into())));
        assert_eq!((read(1.5.into()), read(Value::Null), read(i64::MAX.into())), (None, None, None));
        assert_eq!(serde_json::to_string(&IntOrString::Int(1)).expect("JSON"), "1");
    }
}
