//! Paths such as `.spec.labels['a.b']` in rules, checked against the schema
//! (upstream: apiextensions-apiserver/pkg/apiserver/schema/cel/validation.go `ValidFieldPath`).

use apimachinery::field::Path;
use serde_json::Value as Json;

use crate::schema::additional_properties;

/// Why a path is none of the schema's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldPathError {
    /// A name that the schema does not have.
    #[error("does not refer to a valid field")]
    Unknown,
    /// The path ends too early.
    #[error("unexpected end of JSON path")]
    End,
    /// Brackets where there may be none.
    #[error("array notation is not allowed")]
    Brackets,
    /// Something else should stand there.
    #[error("expected {wanted} but got {found}")]
    Unexpected {
        /// What should.
        wanted: &'static str,
        /// What does.
        found: String,
    },
    /// An escape that does not exist.
    #[error("invalid string literal: invalid escape char {0}")]
    Escape(String),
}

/// The path, and the schema it leads to. `brackets`: whether `['name']` may be written.
pub fn resolve<'s>(json_path: &str, schema: &'s Json, brackets: bool) -> Result<(Path, &'s Json), FieldPathError> {
    let mut path = Path::default();
    let mut schema = schema;
    let tokens = tokens(json_path);
    let mut tokens = tokens.iter();
    while let Some(token) = tokens.next() {
        let name = match &**token {
            "." => tokens.next().ok_or(FieldPathError::End)?.clone(),
            "[" if !brackets => return Err(FieldPathError::Brackets),
            "[" => {
                let quoted = tokens.next().ok_or(FieldPathError::End)?;
                let inner = quoted.strip_prefix('\'').and_then(|inner| inner.strip_suffix('\''));
                let inner = inner.ok_or_else(|| FieldPathError::Unexpected {
                    wanted: "single quoted string",
                    found: quoted.clone(),
                })?;
                match tokens.next().map(String::as_str) {
                    Some("]") => {}
                    Some(other) => {
                        return Err(FieldPathError::Unexpected { wanted: "]", found: other.to_owned() });
                    }
                    None => return Err(FieldPathError::End),
                }
                unescape(inner)?
            }
            other => return Err(FieldPathError::Unexpected { wanted: "[ or .", found: format!(": {other}") }),
        };
        if let Some(properties) = schema.get("properties").and_then(Json::as_object) {
            schema = properties.get(&name).ok_or(FieldPathError::Unknown)?;
            path = path.child(&name);
        } else {
            schema = additional_properties(schema).ok_or(FieldPathError::Unknown)?;
            path = path.key(&name);
        }
    }
    Ok((path, schema))
}

/// `.`, `[`, `]`, and what stands between; a quoted text is one token.
fn tokens(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut current = String::new();
    let mut quoted = false;
    let mut before = ' ';
    for c in text.chars() {
        if quoted {
            current.push(c);
            if c == '\'' && before != '\\' {
                quoted = false;
                tokens.push(std::mem::take(&mut current));
            }
        } else if matches!(c, '.' | '[' | ']') {
            if !current.is_empty() {
                tokens.push(std::mem::take(&mut current));
            }
            tokens.push(c.to_string());
        } else {
            quoted = c == '\'' && current.is_empty();
            current.push(c);
        }
        before = c;
    }
    if !current.is_empty() {
        tokens.push(current);
    }
    tokens
}

fn unescape(text: &str) -> Result<String, FieldPathError> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        let escaped = chars.next();
        out.push(match escaped {
            Some('a') => '\u{7}',
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('v') => '\u{b}',
            Some(same @ ('\'' | '\\')) => same,
            other => {
                let shown = other.map_or_else(|| "\\".to_owned(), |other| format!("\\{other}"));
                return Err(FieldPathError::Escape(shown));
            }
        });
    }
    Ok(out)
}
