//! From JSON to data items, always the same for the same object: keys in order of their encoding, numbers as short as
//! they go (upstream: serializer/cbor/internal/modes/encode.go; RFC 8949, section 4.2.1).

use std::convert::Infallible;

use minicbor::encode::{Encoder, Error};
use serde_json::{Map, Number, Value};

use crate::{CborError, SELF_DESCRIBED};

type Writer<'o> = Encoder<&'o mut Vec<u8>>;
type Written = Result<(), Error<Infallible>>;

/// Encodes a value.
pub fn encode(value: &Value) -> Vec<u8> {
    let mut out = SELF_DESCRIBED.to_vec();
    put(value, &mut out);
    out
}

/// Encodes a JSON document.
pub fn encode_json(json: &[u8]) -> Result<Vec<u8>, CborError> {
    read(json).map(|value| encode(&value))
}

fn read(json: &[u8]) -> Result<Value, CborError> {
    serde_json::from_slice(json).map_err(|error| CborError::Json(error.to_string()))
}

fn put(value: &Value, out: &mut Vec<u8>) {
    item(value, &mut Encoder::new(out)).expect("writing to a Vec does not fail");
}

fn item(value: &Value, writer: &mut Writer<'_>) -> Written {
    match value {
        Value::Null => writer.null()?.ok(),
        Value::Bool(value) => writer.bool(*value)?.ok(),
        Value::Number(value) => number(value, writer),
        // Upstream writes every text as a byte string.
        Value::String(text) => writer.bytes(text.as_bytes())?.ok(),
        Value::Array(items) => {
            writer.array(items.len() as u64)?;
            items.iter().try_for_each(|value| item(value, writer))
        }
        Value::Object(fields) => map(fields, writer),
    }
}

fn map(fields: &Map<String, Value>, writer: &mut Writer<'_>) -> Written {
    // The length comes first in an encoded key.
    let mut fields: Vec<(&String, &Value)> = fields.iter().collect();
    fields.sort_unstable_by_key(|(key, _)| (key.len(), key.as_bytes()));
    writer.map(fields.len() as u64)?;
    fields.into_iter().try_for_each(|(key, value)| {
        writer.bytes(key.as_bytes())?;
        item(value, writer)
    })
}

fn number(number: &Number, writer: &mut Writer<'_>) -> Written {
    if let Some(number) = number.as_i64() {
        return writer.i64(number)?.ok();
    }
    if let Some(number) = number.as_u64() {
        return writer.u64(number)?.ok();
    }
    let number = number.as_f64().unwrap_or_default();
    let single = number as f32;
    if f64::from(single).to_bits() != number.to_bits() {
        return writer.f64(number)?.ok();
    }
    if is_half(single) { writer.f16(single)?.ok() } else { writer.f32(single)?.ok() }
}

/// Whether a number is one of half precision.
fn is_half(number: f32) -> bool {
    let mut bytes = Vec::with_capacity(3);
    // Writing to a Vec does not fail.
    let _ = Encoder::new(&mut bytes).f16(number).map(|_| ());
    minicbor::decode::Decoder::new(&bytes).f16().is_ok_and(|half| half.to_bits() == number.to_bits())
}

/// A list, made item by item.
#[derive(Debug)]
pub struct List {
    head: Vec<u8>,
    items: Vec<u8>,
    tail: Vec<u8>,
}

impl List {
    /// A list of `count` items that are still to come; `metadata` is JSON.
    pub fn new(api_version: &str, kind: &str, metadata: &[u8], count: usize) -> Result<Self, CborError> {
        let text = |text: &str, out: &mut Vec<u8>| put(&text.into(), out);
        let (mut head, mut tail) = (SELF_DESCRIBED.to_vec(), Vec::new());
        // Four entries in the order of their keys.
        head.push(0xa4);
        text("kind", &mut head);
        text(kind, &mut head);
        text("items", &mut head);
        Encoder::new(&mut head).array(count as u64).map(|_| ()).expect("writing to a Vec does not fail");
        text("metadata", &mut tail);
        put(&read(metadata)?, &mut tail);
        text("apiVersion", &mut tail);
        text(api_version, &mut tail);
        Ok(Self { head, items: Vec::new(), tail })
    }

    /// Adds an item, given as JSON.
    pub fn push(&mut self, json: &[u8]) -> Result<(), CborError> {
        put(&read(json)?, &mut self.items);
        Ok(())
    }

    /// The parts of the body, in order.
    pub fn finish(self) -> [Vec<u8>; 3] {
        [self.head, self.items, self.tail]
    }
}

/// An event of a watch: a map around an object, given as JSON, that is written as one of its own.
pub fn watch_event(kind: &str, object: &[u8]) -> Result<Vec<u8>, CborError> {
    let object = read(object)?;
    let mut out = SELF_DESCRIBED.to_vec();
    out.push(0xa2);
    put(&"type".into(), &mut out);
    put(&kind.into(), &mut out);
    put(&"object".into(), &mut out);
    out.extend_from_slice(&SELF_DESCRIBED);
    put(&object, &mut out);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode;
    use serde_json::json;

    #[test]
    fn items_are_deterministic_and_short() {
        for (value, expected) in [
            (
                json!({"metadata": {}, "kind": "A", "b": 1, "a": 2}),
                "d9d9f7a4416102416201446b696e644141486d65746164617461a0".to_owned(),
            ),
            (json!([0, 23, 24, 255, 256, 65536, -1, -25]), "d9d9f7880017181818ff1901001a00010000203818".into()),
            (json!([1.5, 1.0e10, 1.1, -0.0]), "d9d9f784f93e00fa501502f9fb3ff199999999999af98000".into()),
            (json!([u64::MAX, i64::MIN]), "d9d9f7821bffffffffffffffff3b7fffffffffffffff".into()),
            (json!([true, false, null, ""]), "d9d9f784f5f4f640".into()),
        ] {
            assert_eq!(hex::encode(encode(&value)), expected, "{value}");
        }
    }

    #[test]
    fn a_list_is_its_items() {
        let mut list = List::new("v1", "PodList", br#"{"resourceVersion":"7"}"#, 2).expect("a list");
        list.push(br#"{"n":1}"#).expect("an item");
        list.push(br#"{"n":2}"#).expect("an item");
        let bytes = list.finish().concat();
        let whole = json!({"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": "7"}, "items": [{"n": 1}, {"n": 2}]});
        assert_eq!(decode(&bytes), Ok(whole.clone()));
        assert_eq!(bytes, encode(&whole), "as if written at once");
        assert!(List::new("v1", "PodList", b"{", 0).is_err());
    }

    #[test]
    fn an_event_holds_an_object() {
        let event = watch_event("ADDED", br#"{"kind":"Pod"}"#).expect("an event");
        assert_eq!(decode(&event), Ok(json!({"type": "ADDED", "object": {"kind": "Pod"}})));
        assert_eq!(&event[..3], SELF_DESCRIBED);
        assert_eq!(event.windows(3).filter(|three| *three == SELF_DESCRIBED).count(), 2);
    }
}
