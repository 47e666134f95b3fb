//! What is around the messages: the envelope with the type (`runtime.Unknown`), lists item by item, events of a watch
//! (upstream: apimachinery/pkg/runtime/serializer/protobuf/protobuf.go, endpoints/handlers/watch.go).

use crate::table::{Kind, Message, message, message_of};
use crate::wire::{self, begin, end};
use crate::{MAGIC, ProtobufError};

/// An object in its envelope.
pub fn encode(api_version: &str, kind: &str, json: &[u8]) -> Result<Vec<u8>, ProtobufError> {
    let message = lookup(api_version, kind)?;
    let mut out = Vec::with_capacity(json.len() / 2 + 64);
    put_type(&mut out, api_version, kind);
    let raw = begin(&mut out, 2);
    crate::encode::fields(message, json, &mut out)?;
    end(&mut out, raw);
    put_content_type(&mut out);
    Ok(out)
}

fn lookup(api_version: &str, kind: &str) -> Result<&'static Message, ProtobufError> {
    message_of(api_version, kind).ok_or_else(|| ProtobufError::Unknown(format!("{api_version}, Kind={kind}")))
}

fn put_type(out: &mut Vec<u8>, api_version: &str, kind: &str) {
    out.extend_from_slice(MAGIC);
    let type_meta = begin(out, 1);
    wire::bytes(out, 1, api_version.as_bytes());
    wire::bytes(out, 2, kind.as_bytes());
    end(out, type_meta);
}

/// Content encoding and type are there and empty, as upstream writes them.
fn put_content_type(out: &mut Vec<u8>) {
    wire::bytes(out, 3, b"");
    wire::bytes(out, 4, b"");
}

/// A list, made item by item.
#[derive(Debug)]
pub struct List {
    head: Vec<u8>,
    raw: Vec<u8>,
    items: u32,
    item: &'static Message,
}

impl List {
    /// An empty list: `kind` is that of the list, `metadata` its JSON.
    pub fn new(api_version: &str, kind: &str, metadata: &[u8]) -> Result<Self, ProtobufError> {
        let list = lookup(api_version, kind)?;
        let items = list.named("items").map(|named| named.field);
        let Some((items, Kind::Message(item))) = items.map(|field| (field.number, field.kind)) else {
            return Err(ProtobufError::Unknown(kind.to_owned()));
        };
        let (mut head, mut raw) = (Vec::new(), Vec::new());
        put_type(&mut head, api_version, kind);
        crate::encode::fields(list, &[b"{\"metadata\":", metadata, b"}"].concat(), &mut raw)?;
        Ok(Self { head, raw, items, item: message(item) })
    }

    /// Adds an item, given as JSON.
    pub fn push(&mut self, json: &[u8]) -> Result<(), ProtobufError> {
        let at = begin(&mut self.raw, self.items);
        crate::encode::fields(self.item, json, &mut self.raw)?;
        end(&mut self.raw, at);
        Ok(())
    }

    /// The parts of the body, in order.
    pub fn finish(self) -> [Vec<u8>; 3] {
        let Self { mut head, raw, .. } = self;
        wire::length(&mut head, 2, raw.len());
        let mut tail = Vec::new();
        put_content_type(&mut tail);
        [head, raw, tail]
    }
}

/// An event of a watch, framed: four bytes of length, then a `WatchEvent` around an object in its envelope.
pub fn watch_event(kind: &str, object: &[u8]) -> Vec<u8> {
    let mut out = vec![0; 4];
    out.reserve(object.len() + 32);
    wire::bytes(&mut out, 1, kind.as_bytes());
    let raw = begin(&mut out, 2);
    wire::bytes(&mut out, 1, object);
    end(&mut out, raw);
    let length = u32::try_from(out.len() - 4).unwrap_or(u32::MAX);
    out[..4].copy_from_slice(&length.to_be_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode;
    use serde_json::json;

    #[test]
    fn bytes_are_those_of_the_wire_format() {
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}, "data": {"n": "AQI="}});
        let bytes = encode("v1", "Secret", secret.to_string().as_bytes()).expect("encodes");
        let expected = b"k8s\0\x0a\x0c\x0a\x02v1\x12\x06Secret\x12\x0e\x12\x07\x0a\x01n\x12\x02\x01\x02\x0a\x03\x0a\x01a\x1a\x00\x22\x00";
        assert_eq!(bytes, expected);
    }

    #[test]
    fn long_messages_get_long_lengths() {
        for length in [100, 127, 128, 16_383, 16_384, 3_000_000] {
            let object = json!({
                "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "x".repeat(length)},
            });
            let bytes = encode("v1", "ConfigMap", object.to_string().as_bytes()).expect("encodes");
            assert_eq!(decode(&bytes).as_ref(), Ok(&object), "{length}");
        }
    }

    #[test]
    fn a_list_is_its_items() {
        let mut list = List::new("v1", "ConfigMapList", br#"{"resourceVersion":"7"}"#).expect("a list");
        for name in ["a", "b"] {
            let item = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}});
            list.push(item.to_string().as_bytes()).expect("encodes");
        }
        assert_eq!(
            decode(&list.finish().concat()).expect("decodes").to_string(),
            r#"{"apiVersion":"v1","items":[{"metadata":{"name":"a"}},{"metadata":{"name":"b"}}],"kind":"ConfigMapList","metadata":{"resourceVersion":"7"}}"#
        );
    }

    #[test]
    fn an_event_says_how_long_it_is() {
        let event = watch_event("ADDED", &[b'x'; 300]);
        assert_eq!(u32::from_be_bytes(event[..4].try_into().expect("four")) as usize, event.len() - 4);
        assert_eq!(&event[4..11], b"\x0a\x05ADDED");
    }

    #[test]
    fn what_is_no_such_object_is_refused() {
        for json in [&b"[]"[..], b"{", b"{\"data\":3}", b"{\"data\":{\"a\":{}}}", b"{\"metadata\":\"x\"}", b""] {
            assert!(encode("v1", "ConfigMap", json).is_err(), "{json:?}");
        }
        assert!(matches!(encode("v1", "Nothing", b"{}"), Err(ProtobufError::Unknown(_))));
    }
}
