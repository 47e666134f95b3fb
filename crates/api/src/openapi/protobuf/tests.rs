//! Documents are read back by field number, without the table that wrote them.

use serde_json::json;

use super::*;
use crate::{RESOURCES, SCHEMAS, openapi};

/// The value of a field as it travelled.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Wire<'a> {
    Varint(u64),
    Fixed64(f64),
    Bytes(&'a [u8]),
}

fn take_varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first().expect("a byte");
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            break;
        }
    }
    value
}

fn fields(mut bytes: &[u8]) -> Vec<(u64, Wire<'_>)> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let tag = take_varint(&mut bytes);
        let wire = match tag & 7 {
            0 => Wire::Varint(take_varint(&mut bytes)),
            1 => {
                let (head, rest) = bytes.split_first_chunk().expect("8 bytes");
                bytes = rest;
                Wire::Fixed64(f64::from_le_bytes(*head))
            }
            2 => {
                let length = usize::try_from(take_varint(&mut bytes)).expect("a length");
                let (head, rest) = bytes.split_at(length);
                bytes = rest;
                Wire::Bytes(head)
            }
            other => panic!("wire type {other}"),
        };
        found.push((tag >> 3, wire));
    }
    found
}

/// All values of a field that is made of bytes.
fn all(bytes: &[u8], number: u64) -> Vec<&[u8]> {
    let of_field = |(found, wire)| match wire {
        Wire::Bytes(bytes) if found == number => Some(bytes),
        _ => None,
    };
    fields(bytes).into_iter().filter_map(of_field).collect()
}

/// The one value at the end of a path of field numbers.
fn at<'a>(bytes: &'a [u8], path: &[u64]) -> &'a [u8] {
    path.iter().fold(bytes, |bytes, number| match all(bytes, *number)[..] {
        [one] => one,
        ref several => panic!("{} values of field {number} of {path:?}", several.len()),
    })
}

fn text<'a>(bytes: &'a [u8], path: &[u64]) -> &'a str {
    std::str::from_utf8(at(bytes, path)).expect("text")
}

/// The value of a name, among the pairs of a map.
fn of_name<'a>(pairs: &'a [u8], number: u64, name: &str) -> &'a [u8] {
    let pair = all(pairs, number).into_iter().find(|pair| text(pair, &[1]) == name);
    at(pair.expect("the name is there"), &[2])
}

fn definition(schema: Value) -> Vec<u8> {
    let encoded = encode(&json!({"definitions": {"it": schema}}));
    of_name(at(&encoded, &[9]), 1, "it").to_vec()
}

#[test]
fn every_form_of_value_is_written() {
    for (schema, expected) in [
        (json!({"$ref": "#/definitions/x"}), vec![(1, Wire::Bytes(b"#/definitions/x"))]),
        (json!({"maximum": 1.5}), vec![(7, Wire::Fixed64(1.5))]),
        (json!({"maxLength": 300, "uniqueItems": true}), vec![(11, Wire::Varint(300)), (16, Wire::Varint(1))]),
        (json!({"maxItems": -1}), vec![(14, Wire::Varint(u64::MAX))]),
        (json!({"required": ["a", "b"]}), vec![(19, Wire::Bytes(b"a")), (19, Wire::Bytes(b"b"))]),
        (json!({"default": {"a": [1]}}), vec![(5, Wire::Bytes(b"\x12\x09{\"a\":[1]}"))]),
        (json!({"enum": ["a", 1]}), vec![(20, Wire::Bytes(b"\x12\x03\"a\"")), (20, Wire::Bytes(b"\x12\x011"))]),
        (json!({"additionalProperties": false}), vec![(21, Wire::Bytes(b"\x10\x00"))]),
        (json!({"additionalProperties": {"format": "f"}}), vec![(21, Wire::Bytes(b"\x0a\x03\x12\x01f"))]),
        (json!({"type": "object"}), vec![(22, Wire::Bytes(b"\x0a\x06object"))]),
        (json!({"type": ["a", "b"]}), vec![(22, Wire::Bytes(b"\x0a\x01a\x0a\x01b"))]),
        (json!({"items": {"format": "f"}}), vec![(23, Wire::Bytes(b"\x0a\x03\x12\x01f"))]),
        (json!({"properties": {"p": {}}}), vec![(25, Wire::Bytes(b"\x0a\x05\x0a\x01p\x12\x00"))]),
        (json!({"x-a": true}), vec![(31, Wire::Bytes(b"\x0a\x03x-a\x12\x06\x12\x04true"))]),
        (json!({"unknown": 1, "title": 7}), vec![]),
    ] {
        assert_eq!(fields(&definition(schema.clone())), expected, "{schema}");
    }
}

#[test]
fn parameters_lie_where_their_place_says() {
    for (parameter, path) in [
        (json!({"$ref": "n"}), &[2, 1][..]),
        (json!({"in": "body", "name": "n"}), &[1, 1, 2]),
        (json!({"in": "header", "name": "n"}), &[1, 2, 1, 4]),
        (json!({"in": "formData", "name": "n"}), &[1, 2, 2, 4]),
        (json!({"in": "query", "name": "n"}), &[1, 2, 3, 4]),
        (json!({"in": "query", "type": "n"}), &[1, 2, 3, 6]),
        (json!({"in": "path", "type": "n"}), &[1, 2, 4, 5]),
    ] {
        let encoded = encode(&json!({"paths": {"/a": {"parameters": [parameter]}}}));
        let item = of_name(at(&encoded, &[8]), 2, "/a");
        assert_eq!(text(at(item, &[9]), path), "n", "{parameter}");
    }
}

#[test]
fn the_whole_document_is_carried() {
    let json: Value = serde_json::from_slice(&openapi::v2(&RESOURCES, &SCHEMAS, &[])).expect("JSON");
    let encoded = openapi::v2_protobuf(&RESOURCES, &SCHEMAS, &[]);
    assert_eq!(text(&encoded, &[1]), "2.0");
    assert_eq!(text(&encoded, &[2, 1]), "Kubernetes");
    let names = |number, pairs| -> Vec<&str> {
        all(at(&encoded, &[number]), pairs).into_iter().map(|pair| text(pair, &[1])).collect()
    };
    let keys = |member: &str| json[member].as_object().expect("an object").keys().collect::<Vec<_>>();
    assert_eq!(names(8, 2), keys("paths"));
    assert_eq!(names(9, 1), keys("definitions"));

    let deployment = of_name(at(&encoded, &[9]), 1, "io.k8s.api.apps.v1.Deployment");
    let kinds = of_name(deployment, 31, "x-kubernetes-group-version-kind");
    assert_eq!(
        serde_json::from_str::<Value>(text(kinds, &[2])).expect("JSON"),
        json!([{"group": "apps", "version": "v1", "kind": "Deployment"}])
    );
    let spec = of_name(at(deployment, &[25]), 1, "spec");
    assert_eq!(text(spec, &[1]), "#/definitions/io.k8s.api.apps.v1.DeploymentSpec");

    let item = of_name(at(&encoded, &[8]), 2, "/apis/apps/v1/namespaces/{namespace}/deployments/{name}");
    let operation = at(item, &[8]);
    assert_eq!(text(operation, &[5]), "patchAppsV1NamespacedDeployment");
    assert_eq!(text(of_name(operation, 13, "x-kubernetes-action"), &[2]), "\"patch\"");
    let answered = of_name(at(operation, &[9]), 1, "200");
    assert_eq!(text(answered, &[1, 2, 1, 1]), "#/definitions/io.k8s.api.apps.v1.Deployment");
    let bearer = of_name(at(&encoded, &[13]), 1, "BearerToken");
    assert_eq!(text(bearer, &[2, 2]), "authorization");
}
