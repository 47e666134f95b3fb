//! Protobuf and CBOR.

use serde_json::Value;

use super::depth;
use crate::target::{Memory, Target};

// Two bytes may be an empty message, which is a map in a list.
pub(crate) static PROTOBUF: Target =
    Target::new("protobuf", check_protobuf).memory(Memory { base: 1 << 20, per_byte: 1024 }).words(&[
        "k8s\0",
        "v1",
        "Pod",
        "Secret",
        "apps/v1",
        "Deployment",
        "\x0a\x00",
        "\x12\x00",
        "\u{7f}",
        "CustomResourceDefinition",
        "apiextensions.k8s.io/v1",
    ]);

// A map of one entry is three bytes.
pub(crate) static CBOR: Target = Target::new("cbor", check_cbor)
    .memory(Memory { base: 64 << 10, per_byte: 1024 })
    .words(&["\u{1f}", "kind", "apiVersion", "metadata", "name", "v1"]);

/// An object that was read can be written, and is then read as the same; or it is refused.
fn check_protobuf(input: &[u8]) {
    let Ok(object) = protobuf::decode(input) else { return };
    let text = |field: &str| object[field].as_str().unwrap_or_default().to_owned();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    let Ok(written) = protobuf::encode(&api_version, &kind, object.to_string().as_bytes()) else { return };
    let again = protobuf::decode(&written).expect("what was written is read");
    let Ok(twice) = protobuf::encode(&api_version, &kind, again.to_string().as_bytes()) else {
        panic!("what was read of what was written cannot be written: {again}")
    };
    assert_eq!(protobuf::decode(&twice).as_ref(), Ok(&again), "it settles");
}

/// What was read is written in one way, which is read as the same, and can be said in JSON.
fn check_cbor(input: &[u8]) {
    let Ok(value) = cbor::decode(input) else { return };
    assert!(depth(&value) <= cbor::MAX_DEPTH);
    let written = cbor::encode(&value);
    assert_eq!(cbor::decode(&written).as_ref(), Ok(&value));
    let json = serde_json::to_vec(&value).expect("JSON");
    assert_eq!(serde_json::from_slice::<Value>(&json).ok().as_ref(), Some(&value), "JSON says the same");
    assert_eq!(cbor::encode_json(&json).as_ref(), Ok(&written), "and is written the same");
}
