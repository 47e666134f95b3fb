//! From messages to the JSON object that they stand for.

use apimachinery::quantity::Quantity;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use crate::table::{self, Field, Form, Kind, Label, Message, MessageId};
use crate::wire::{Reader, Wire};
use crate::{MAGIC, ProtobufError, scalar};

/// Messages in messages, at most; schemas of custom resources nest deepest.
const MAX_DEPTH: usize = 64;

/// Decodes a body: the envelope, then the object of the kind it names.
pub fn decode(bytes: &[u8]) -> Result<Value, ProtobufError> {
    let body = bytes.strip_prefix(MAGIC).ok_or(ProtobufError::Magic)?;
    let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), &b""[..]);
    let mut reader = Reader::new(body);
    while let Some((number, wire)) = reader.next_field()? {
        match (number, wire) {
            (1, Wire::Bytes(type_meta)) => {
                let mut reader = Reader::new(type_meta);
                while let Some((number, wire)) = reader.next_field()? {
                    match (number, wire) {
                        (1, Wire::Bytes(text)) => api_version = self::text("apiVersion", text)?,
                        (2, Wire::Bytes(text)) => kind = self::text("kind", text)?,
                        _ => {}
                    }
                }
            }
            (2, Wire::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    let message = table::message_of(&api_version, &kind)
        .ok_or_else(|| ProtobufError::Unknown(format!("{api_version}, Kind={kind}")))?;
    let mut object = Map::new();
    fill(message, raw, &mut object, 0)?;
    object.insert("apiVersion".into(), api_version.into());
    object.insert("kind".into(), kind.into());
    Ok(Value::Object(object))
}

/// Reads a message's fields into `object`.
fn fill(message: &Message, bytes: &[u8], object: &mut Map<String, Value>, depth: usize) -> Result<(), ProtobufError> {
    if depth > MAX_DEPTH {
        return Err(ProtobufError::Depth);
    }
    let mut reader = Reader::new(bytes);
    while let Some((number, wire)) = reader.next_field()? {
        // A field that is newer than the table is left out, as Go's decoder does.
        let Some(field) = message.field(number) else { continue };
        match field.label {
            Label::Inline => {
                let (Wire::Bytes(bytes), Kind::Message(id)) = (wire, field.kind) else { return Err(invalid(field)) };
                fill(table::message(id), bytes, object, depth + 1)?;
            }
            Label::Map => {
                let Wire::Bytes(entry) = wire else { return Err(invalid(field)) };
                let (key, value) = map_entry(field, entry, depth)?;
                if let Some(map) = container(object, field, || Value::Object(Map::new())).as_object_mut() {
                    map.insert(key, value);
                }
            }
            Label::Repeated => {
                let items = repeated(field, wire, depth)?;
                if let Some(list) = container(object, field, || Value::Array(Vec::new())).as_array_mut() {
                    list.extend(items);
                }
            }
            Label::Single => match (wire, field.kind) {
                // A message that comes in pieces is one message.
                (Wire::Bytes(bytes), Kind::Message(id)) if table::message(id).form == Form::Struct => {
                    if let Some(inner) = container(object, field, || Value::Object(Map::new())).as_object_mut() {
                        fill(table::message(id), bytes, inner, depth + 1)?;
                    }
                }
                _ => {
                    let value = value(field, wire, depth)?;
                    object.insert(field.name.to_owned(), value);
                }
            },
        }
    }
    Ok(())
}

fn container<'o>(object: &'o mut Map<String, Value>, field: &Field, empty: impl FnOnce() -> Value) -> &'o mut Value {
    object.entry(field.name).or_insert_with(empty)
}

/// One item, or several packed numbers.
fn repeated(field: &Field, wire: Wire<'_>, depth: usize) -> Result<Vec<Value>, ProtobufError> {
    // Numbers may come packed.
    if let (Wire::Bytes(packed), Kind::Int | Kind::Bool) = (wire, field.kind) {
        let mut reader = Reader::new(packed);
        let mut items = Vec::new();
        while let Some(number) = reader.next_varint()? {
            items.push(value(field, Wire::Varint(number), depth)?);
        }
        return Ok(items);
    }
    Ok(vec![value(field, wire, depth)?])
}

fn map_entry(field: &Field, entry: &[u8], depth: usize) -> Result<(String, Value), ProtobufError> {
    let (mut key, mut found) = (String::new(), None);
    let mut reader = Reader::new(entry);
    while let Some((number, wire)) = reader.next_field()? {
        match (number, wire) {
            (1, Wire::Bytes(bytes)) => key = text(field.name, bytes)?,
            (2, wire) => found = Some(value(field, wire, depth)?),
            _ => {}
        }
    }
    let value = match found {
        Some(value) => value,
        None => value(
            field,
            if matches!(field.kind, Kind::Int | Kind::Bool) { Wire::Varint(0) } else { Wire::Bytes(b"") },
            depth,
        )?,
    };
    Ok((key, value))
}

fn value(field: &Field, wire: Wire<'_>, depth: usize) -> Result<Value, ProtobufError> {
    Ok(match (field.kind, wire) {
        (Kind::String, Wire::Bytes(bytes)) => text(field.name, bytes)?.into(),
        (Kind::Bytes, Wire::Bytes(bytes)) => STANDARD.encode(bytes).into(),
        (Kind::Bool, Wire::Varint(number)) => (number != 0).into(),
        // Negative numbers travel as 64 bits in two's complement.
        (Kind::Int, Wire::Varint(number)) => number.cast_signed().into(),
        (Kind::Double, Wire::Fixed64(bits)) => f64::from_bits(bits).into(),
        (Kind::Message(id), Wire::Bytes(bytes)) => message_value(field, id, bytes, depth)?,
        _ => return Err(invalid(field)),
    })
}

fn message_value(field: &Field, id: MessageId, bytes: &[u8], depth: usize) -> Result<Value, ProtobufError> {
    let bad = || invalid(field);
    let message = table::message(id);
    let fields = || {
        let mut object = Map::new();
        fill(message, bytes, &mut object, depth + 1).map(|()| object)
    };
    match message.form {
        Form::Struct => fields().map(Value::Object),
        Form::List => fields().map(|mut object| object.remove("items").unwrap_or_else(|| Value::Array(Vec::new()))),
        Form::Time => scalar::time(bytes, false)?.ok_or_else(bad),
        Form::MicroTime => scalar::time(bytes, true)?.ok_or_else(bad),
        Form::Duration => scalar::duration(bytes),
        Form::IntOrString => scalar::int_or_string(bytes),
        Form::Quantity => {
            let written = text(field.name, scalar::first_bytes(bytes)?)?;
            let quantity: Quantity =
                if written.is_empty() { Quantity::default() } else { written.parse().map_err(|_| bad())? };
            Ok(quantity.to_string().into())
        }
        Form::Raw => {
            let raw = scalar::first_bytes(bytes)?;
            if raw.is_empty() { Ok(Value::Null) } else { serde_json::from_slice(raw).map_err(|_| bad()) }
        }
        Form::SchemaOrBool => {
            let mut object = fields()?;
            let allows = object.remove("allows").unwrap_or(Value::Bool(false));
            Ok(object.remove("schema").unwrap_or(allows))
        }
        Form::SchemaOrList => {
            let mut object = fields()?;
            let list = object.remove("jSONSchemas").or_else(|| object.remove("property"));
            Ok(list.or_else(|| object.remove("schema")).unwrap_or(Value::Null))
        }
    }
}

fn invalid(field: &Field) -> ProtobufError {
    ProtobufError::Value(field.name.to_owned())
}

pub(crate) fn text(field: &str, bytes: &[u8]) -> Result<String, ProtobufError> {
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| ProtobufError::Value(field.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An object in its envelope.
    fn enveloped(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
        let field = |number: u8, bytes: &[u8]| {
            let mut out = vec![number << 3 | 2, u8::try_from(bytes.len()).expect("short")];
            out.extend(bytes);
            out
        };
        let type_meta = [field(1, api_version.as_bytes()), field(2, kind.as_bytes())].concat();
        [MAGIC.to_vec(), field(1, &type_meta), field(2, raw)].concat()
    }

    #[test]
    fn an_object_is_what_its_json_would_be() {
        // metadata { name: "a", labels: { k: "v" }, creationTimestamp: {} }, data { "n": bytes 1 2 }, type "Opaque"
        let metadata = [&b"\x0a\x01a"[..], b"\x5a\x06\x0a\x01k\x12\x01v", b"\x42\x00"].concat();
        let mut raw = vec![0x0a, u8::try_from(metadata.len()).expect("short")];
        raw.extend(metadata);
        raw.extend(b"\x12\x07\x0a\x01n\x12\x02\x01\x02\x1a\x06Opaque");
        let value = decode(&enveloped("v1", "Secret", &raw)).expect("decodes");
        assert_eq!(
            value.to_string(),
            r#"{"apiVersion":"v1","data":{"n":"AQI="},"kind":"Secret","metadata":{"creationTimestamp":null,"labels":{"k":"v"},"name":"a"},"type":"Opaque"}"#
        );
    }

    #[test]
    fn broken_bytes_are_errors() {
        assert_eq!(decode(b"{}"), Err(ProtobufError::Magic));
        assert!(matches!(decode(&enveloped("v1", "Nothing", b"")), Err(ProtobufError::Unknown(_))));
        let whole = enveloped("v1", "Secret", b"\x0a\x03\x0a\x01a");
        for length in MAGIC.len()..whole.len() {
            // Cut anywhere: an answer, no panic.
            let _ = decode(&whole[..length]);
        }
        assert!(decode(&enveloped("v1", "Secret", b"\x0a\x7f")).is_err());
        assert!(decode(&enveloped("v1", "Secret", b"\x0a\x03\x0a\x01\xff")).is_err());
    }
}
