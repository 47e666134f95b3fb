//! Bytes to objects and back: JSON and YAML, with limits and with every duplicate key told.

pub mod json;
pub mod yaml;

pub use json::Parsed;

use crate::object::Object;
use crate::schema::Problem;

/// Why bytes are no object.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// No JSON document.
    #[error(transparent)]
    Json(#[from] json::JsonError),
    /// No YAML document.
    #[error(transparent)]
    Yaml(#[from] yaml::YamlError),
    /// A document that is no object.
    #[error("the document must be an object with apiVersion and kind")]
    NotAnObject,
}

/// The formats that objects are sent in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `application/json`.
    Json,
    /// `application/yaml`.
    Yaml,
}

impl Format {
    /// The format of a `Content-Type`; parameters do not matter, and none at all means JSON.
    pub fn parse(content_type: &str) -> Option<Self> {
        match content_type.split(';').next().unwrap_or_default().trim() {
            "" | "application/json" | "*/*" => Some(Self::Json),
            "application/yaml" | "application/apply-patch+yaml" => Some(Self::Yaml),
            _ => None,
        }
    }
}

/// Decodes one document. YAML that is JSON is read as JSON, which is faster.
pub fn decode(bytes: &[u8], format: Format) -> Result<Parsed, CodecError> {
    let looks_like_json = bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
    match format {
        Format::Json => Ok(json::decode(bytes)?),
        Format::Yaml if looks_like_json => json::decode(bytes).or_else(|_| Ok(yaml::decode(bytes)?)),
        Format::Yaml => Ok(yaml::decode(bytes)?),
    }
}

/// Decodes one document that must be an object; answers it with the keys that were there twice.
pub fn decode_object(bytes: &[u8], format: Format) -> Result<(Object, Vec<Problem>), CodecError> {
    let Parsed { value, duplicates } = decode(bytes, format)?;
    Ok((Object::from_value(value).ok_or(CodecError::NotAnObject)?, duplicates))
}

/// The canonical bytes of an object: JSON without spaces, keys in order.
pub fn encode(object: &Object) -> Vec<u8> {
    /// Most objects have room in it.
    const USUAL: usize = 4096;
    let mut bytes = Vec::with_capacity(USUAL);
    serde_json::to_writer(&mut bytes, object).expect("an object of JSON values is always JSON");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats_make_objects() {
        let json = decode_object(br#"{"kind": "A", "x": 1, "x": 2}"#, Format::Json).expect("an object");
        assert_eq!(json.1, [Problem::Duplicate("x".into())]);
        let read_as_json = decode_object(br#"{"kind": "A", "x": 1, "x": 2}"#, Format::Yaml);
        assert_eq!(read_as_json.expect("an object"), json);
        for (yaml, line) in [("kind: A\nx: 1\nx: 2\n", 3), ("{kind: A, x: 1, x: 2}", 1)] {
            let (object, problems) = decode_object(yaml.as_bytes(), Format::Yaml).expect("an object");
            assert_eq!((object, problems), (json.0.clone(), vec![Problem::Repeated(line, "x".into())]), "{yaml}");
        }
        assert_eq!(encode(&json.0), br#"{"kind":"A","x":2}"#);
        assert!(matches!(decode_object(b"[]", Format::Json), Err(CodecError::NotAnObject)));
    }

    #[test]
    fn content_types_name_formats() {
        for (content_type, format) in [
            ("application/json", Some(Format::Json)),
            ("application/json; charset=utf-8", Some(Format::Json)),
            ("", Some(Format::Json)),
            ("application/yaml", Some(Format::Yaml)),
            ("text/plain", None),
        ] {
            assert_eq!(Format::parse(content_type), format, "{content_type}");
        }
    }
}
