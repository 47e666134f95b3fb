//! Field paths and field errors, with upstream's wording (`apimachinery/pkg/util/validation/field`).

use std::fmt;

use serde_json::Value;

/// Where a field is: `spec.containers[0].env[name]`.
///
/// Validation makes some hundreds of paths an object and shows hardly one, so a path of usual length lives on the stack:
/// a step copies it and appends. Only long ones take memory.
#[derive(Clone)]
pub struct Path(Text);

#[derive(Clone)]
enum Text {
    Short { length: u8, bytes: [u8; SHORT] },
    Long(String),
}

/// Paths up to here take no memory.
const SHORT: usize = 126;

impl Path {
    /// A path of one field; the empty path is `Path::default()`.
    pub fn new(name: &str) -> Self {
        let mut path = Self::default();
        path.push(name);
        path
    }

    /// The field `name` below this one.
    pub fn child(&self, name: &str) -> Self {
        let mut path = self.clone();
        if !path.is_empty() {
            path.push(".");
        }
        path.push(name);
        path
    }

    /// The list item at `index`.
    pub fn index(&self, index: usize) -> Self {
        let mut digits = [b'0'; 20];
        let (mut at, mut rest) = (digits.len(), index);
        loop {
            at -= 1;
            digits[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        self.key(std::str::from_utf8(&digits[at..]).unwrap_or_default())
    }

    /// The map entry (or keyed list item) `key`.
    pub fn key(&self, key: &str) -> Self {
        let mut path = self.clone();
        ["[", key, "]"].into_iter().for_each(|part| path.push(part));
        path
    }

    fn is_empty(&self) -> bool {
        match &self.0 {
            Text::Short { length, .. } => *length == 0,
            Text::Long(text) => text.is_empty(),
        }
    }

    fn as_str(&self) -> &str {
        match &self.0 {
            // Only whole texts are appended.
            Text::Short { length, bytes } => std::str::from_utf8(&bytes[..usize::from(*length)]).unwrap_or_default(),
            Text::Long(text) => text,
        }
    }

    fn push(&mut self, text: &str) {
        match &mut self.0 {
            Text::Short { length, bytes } => {
                let begin = usize::from(*length);
                match bytes.get_mut(begin..begin + text.len()) {
                    Some(place) => {
                        place.copy_from_slice(text.as_bytes());
                        *length = (begin + text.len()) as u8;
                    }
                    None => self.0 = Text::Long([self.as_str(), text].concat()),
                }
            }
            Text::Long(long) => long.push_str(text),
        }
    }
}

impl Default for Path {
    fn default() -> Self {
        Self(Text::Short { length: 0, bytes: [0; SHORT] })
    }
}

impl PartialEq for Path {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Path {}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Path").field(&self.as_str()).finish()
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_empty() { "<nil>" } else { self.as_str() })
    }
}

/// What is wrong with a field; `reason` is what `Status.details.causes` carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorType {
    /// A referred value does not exist.
    NotFound,
    /// A required value is missing.
    Required,
    /// A value that must be unique is there twice.
    Duplicate,
    /// The value breaks a rule.
    Invalid,
    /// The value is not one of those allowed.
    NotSupported,
    /// The value must not be set, or not be changed.
    Forbidden,
    /// The value is too long.
    TooLong,
    /// The list or map has too many items.
    TooMany,
    /// The value is of the wrong JSON type.
    TypeInvalid,
    /// The server failed while it checked the field.
    Internal,
}

impl ErrorType {
    /// The machine-readable reason of `StatusCause`.
    pub fn reason(self) -> &'static str {
        match self {
            Self::NotFound => "FieldValueNotFound",
            Self::Required => "FieldValueRequired",
            Self::Duplicate => "FieldValueDuplicate",
            Self::Invalid => "FieldValueInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Forbidden => "FieldValueForbidden",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::TypeInvalid => "FieldValueTypeInvalid",
            Self::Internal => "InternalError",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::NotFound => "Not found",
            Self::Required => "Required value",
            Self::Duplicate => "Duplicate value",
            Self::Invalid | Self::TypeInvalid => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::Forbidden => "Forbidden",
            Self::TooLong => "Too long",
            Self::TooMany => "Too many",
            Self::Internal => "Internal error",
        }
    }
}

/// One field's error.
#[derive(Clone, Debug, PartialEq)]
pub struct Error {
    /// What is wrong.
    pub kind: ErrorType,
    /// The field.
    pub field: String,
    /// The offending value, where the words show one.
    pub value: Option<Value>,
    /// What to do about it.
    pub detail: String,
}

impl Error {
    fn new(kind: ErrorType, path: &Path, value: Option<Value>, detail: impl Into<String>) -> Self {
        Self { kind, field: path.to_string(), value, detail: detail.into() }
    }

    /// A required value is missing.
    pub fn required(path: &Path, detail: impl Into<String>) -> Self {
        Self::new(ErrorType::Required, path, None, detail)
    }

    /// The value breaks a rule.
    pub fn invalid(path: &Path, value: impl Into<Value>, detail: impl Into<String>) -> Self {
        Self::new(ErrorType::Invalid, path, Some(value.into()), detail)
    }

    /// The value breaks a rule and is too much to show (upstream: `OmitValueType`).
    pub fn invalid_whole(path: &Path, detail: impl Into<String>) -> Self {
        Self::new(ErrorType::Invalid, path, None, detail)
    }

    /// The value is of the wrong type.
    pub fn type_invalid(path: &Path, value: impl Into<Value>, detail: impl Into<String>) -> Self {
        Self::new(ErrorType::TypeInvalid, path, Some(value.into()), detail)
    }

    /// The value must be unique and is not.
    pub fn duplicate(path: &Path, value: impl Into<Value>) -> Self {
        Self::new(ErrorType::Duplicate, path, Some(value.into()), "")
    }

    /// The field must not be set or changed.
    pub fn forbidden(path: &Path, detail: impl Into<String>) -> Self {
        Self::new(ErrorType::Forbidden, path, None, detail)
    }

    /// What the value names does not exist.
    pub fn not_found(path: &Path, value: impl Into<Value>) -> Self {
        Self::new(ErrorType::NotFound, path, Some(value.into()), "")
    }

    /// The value is not one of `supported`.
    pub fn not_supported(path: &Path, value: impl Into<Value>, supported: &[&str]) -> Self {
        let quoted: Vec<String> = supported.iter().map(|word| format!("{word:?}")).collect();
        Self::new(ErrorType::NotSupported, path, Some(value.into()), format!("supported values: {}", quoted.join(", ")))
    }

    /// The value is longer than `max` bytes.
    pub fn too_long(path: &Path, max: usize) -> Self {
        Self::new(ErrorType::TooLong, path, None, format!("may not be more than {max} bytes"))
    }

    /// The list has more than `max` items.
    pub fn too_many(path: &Path, actual: usize, max: usize) -> Self {
        Self::new(ErrorType::TooMany, path, Some(actual.into()), format!("must have at most {max} items"))
    }

    /// The message without the field, as `StatusCause.message` carries it.
    pub fn body(&self) -> String {
        let mut text = self.kind.words().to_owned();
        let shows_value =
            !matches!(self.kind, ErrorType::Required | ErrorType::Forbidden | ErrorType::TooLong | ErrorType::Internal);
        if let (true, Some(value)) = (shows_value, &self.value) {
            text.push_str(": ");
            match value {
                Value::Null => text.push_str("null"),
                Value::String(string) => text.push_str(&format!("{string:?}")),
                other => text.push_str(&other.to_string()),
            }
        }
        if !self.detail.is_empty() {
            text.push_str(": ");
            text.push_str(&self.detail);
        }
        text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.body())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_paths_are_paths_too() {
        let mut path = Path::default();
        let mut text = String::new();
        for step in 0..40 {
            path = path.child("é").index(step).key("k");
            text.push_str(&format!("{}é[{step}][k]", if text.is_empty() { "" } else { "." }));
            assert_eq!(path.to_string(), text);
        }
        assert_eq!(Path::default().to_string(), "<nil>");
        assert_eq!(Path::default().index(usize::MAX).to_string(), format!("[{}]", usize::MAX));
    }

    #[test]
    fn errors_read_like_upstreams() {
        let path = Path::new("spec").child("containers").index(0).child("image");
        assert_eq!(Error::required(&path, "").to_string(), "spec.containers[0].image: Required value");
        assert_eq!(
            Error::invalid(&path, "a b", "must not have spaces").to_string(),
            r#"spec.containers[0].image: Invalid value: "a b": must not have spaces"#
        );
        assert_eq!(
            Error::not_supported(&path, "x", &["a", "b"]).to_string(),
            r#"spec.containers[0].image: Unsupported value: "x": supported values: "a", "b""#
        );
    }
}
