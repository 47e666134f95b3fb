//! The version 2 document as protobuf, which kubectl downloads
//! (upstream: gnostic-models/openapiv2, kube-openapi/pkg/handler `ToProtoBinary`).
//!
//! One encoder walks the JSON document and a table of messages side by side. The messages are made for this
//! translation: maps become lists of names with values, choices become messages of one field, and whatever has no
//! fixed form, extensions among them, travels as YAML text. JSON is YAML, so we write JSON there. A member that its
//! message does not have, or of another type, is left out: there is no field to carry it.

use serde_json::{Map, Value};

mod messages;

/// How the value of a field is written.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    Flag,
    /// A double.
    Number,
    /// An `int64`.
    Integer,
    /// Anything, as YAML in an `Any`.
    Any,
    Message(&'static Message),
    /// The field once for each item.
    Repeated(&'static Kind),
    /// A message whose first field is repeated; the document may have one item without a list around it.
    List(&'static Kind),
    /// A message of one field, chosen by what the value is.
    Choice(fn(&Value) -> Entry),
    /// A message of name and value pairs.
    Map {
        /// The number of the pairs.
        pairs: u32,
        /// The number of the extensions, if they are told apart.
        extensions: Option<u32>,
        values: &'static Kind,
    },
}

/// Fields in the order of their numbers, by their names in JSON.
type Fields = &'static [(&'static str, Kind)];

/// A field of a choice: its number and kind.
type Entry = (u32, Kind);

/// A message. Its fields are numbered from 1 without gaps.
struct Message {
    /// The fields, in runs that messages share.
    runs: &'static [Fields],
    /// Whether there is one field more, of extensions.
    extensible: bool,
}

/// The field of an `Any` that has its YAML.
const ANY_YAML: u32 = 2;

/// Encodes a whole document.
pub(super) fn encode(document: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    if let Value::Object(members) = document {
        write_message(&messages::DOCUMENT, members, &mut out);
    }
    out
}

fn write_message(message: &Message, members: &Map<String, Value>, out: &mut Vec<u8>) {
    let mut next = 1;
    for (name, kind) in message.runs.iter().copied().flatten() {
        if let Some(value) = members.get(*name) {
            write_field(next, kind, value, out);
        }
        next += 1;
    }
    if message.extensible {
        for (name, value) in members.iter().filter(|(name, _)| is_extension(name)) {
            write_pair(next, name, &Kind::Any, value, out);
        }
    }
}

fn write_field(number: u32, kind: &Kind, value: &Value, out: &mut Vec<u8>) {
    match (kind, value) {
        (Kind::Text, Value::String(text)) => write_bytes(number, text.as_bytes(), out),
        (Kind::Flag, Value::Bool(flag)) => {
            write_tag(number, WireType::Varint, out);
            out.push(u8::from(*flag));
        }
        (Kind::Number, Value::Number(value)) => {
            if let Some(value) = value.as_f64() {
                write_tag(number, WireType::Fixed64, out);
                out.extend(value.to_le_bytes());
            }
        }
        (Kind::Integer, Value::Number(value)) => {
            if let Some(value) = value.as_i64() {
                write_tag(number, WireType::Varint, out);
                write_varint(value.cast_unsigned(), out);
            }
        }
        (Kind::Any, value) => write_nested(number, out, |out| write_bytes(ANY_YAML, value.to_string().as_bytes(), out)),
        (Kind::Message(message), Value::Object(members)) => {
            write_nested(number, out, |out| write_message(message, members, out));
        }
        (Kind::Repeated(kind), Value::Array(items)) => {
            items.iter().for_each(|item| write_field(number, kind, item, out));
        }
        (Kind::List(kind), value) => {
            let items = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
            write_nested(number, out, |out| items.iter().for_each(|item| write_field(1, kind, item, out)));
        }
        (Kind::Choice(choose), value) => {
            let (chosen, kind) = choose(value);
            write_nested(number, out, |out| write_field(chosen, &kind, value, out));
        }
        (Kind::Map { pairs, extensions, values }, Value::Object(members)) => write_nested(number, out, |out| {
            for (name, value) in members {
                match extensions {
                    Some(extensions) if is_extension(name) => write_pair(*extensions, name, &Kind::Any, value, out),
                    _ => write_pair(*pairs, name, values, value, out),
                }
            }
        }),
        _ => {}
    }
}

/// Writes a member of a map: its name, then its value.
fn write_pair(number: u32, name: &str, kind: &Kind, value: &Value, out: &mut Vec<u8>) {
    write_nested(number, out, |out| {
        write_bytes(1, name.as_bytes(), out);
        write_field(2, kind, value, out);
    });
}

fn is_extension(name: &str) -> bool {
    name.starts_with("x-")
}

/// How the bytes of a field end (protobuf.dev/programming-guides/encoding).
#[derive(Clone, Copy)]
enum WireType {
    Varint = 0,
    Fixed64 = 1,
    Length = 2,
}

fn write_nested(number: u32, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let mut inner = Vec::new();
    write(&mut inner);
    write_bytes(number, &inner, out);
}

fn write_bytes(number: u32, bytes: &[u8], out: &mut Vec<u8>) {
    write_tag(number, WireType::Length, out);
    write_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

fn write_tag(number: u32, wire_type: WireType, out: &mut Vec<u8>) {
    write_varint(u64::from(number) << 3 | wire_type as u64, out);
}

fn write_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

#[cfg(test)]
mod tests;
