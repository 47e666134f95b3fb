//! Damaged bytes: an answer, never a panic, whatever is cut, flipped or repeated.

use std::path::Path;

/// A plain generator, so that every run sees the same damage.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound.max(1)
    }
}

fn samples() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples");
    let mut found: Vec<(String, Vec<u8>)> = std::fs::read_dir(folder)
        .expect("samples")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "pb"))
        .map(|path| (path.display().to_string(), std::fs::read(&path).expect("readable")))
        .collect();
    found.sort();
    found
}

#[test]
fn damage_is_an_error_or_another_object() {
    let mut numbers = Numbers(1);
    for (_, whole) in samples() {
        for _ in 0..300 {
            let mut bytes = whole.clone();
            for _ in 0..=numbers.below(4) {
                let at = 4 + numbers.below(bytes.len() - 4);
                match numbers.below(4) {
                    0 => bytes.truncate(at.max(5)),
                    1 => bytes[at] = numbers.below(256) as u8,
                    2 => bytes[at] ^= 1 << numbers.below(8),
                    _ => {
                        let piece = bytes[at..(at + numbers.below(64)).min(bytes.len())].to_vec();
                        bytes.splice(at..at, piece);
                    }
                }
            }
            if let Ok(object) = protobuf::decode(&bytes) {
                let text = |field: &str| object[field].as_str().unwrap_or_default().to_owned();
                // What was read can be written again, or is refused.
                let _ = protobuf::encode(&text("apiVersion"), &text("kind"), object.to_string().as_bytes());
            }
        }
    }
}

/// A field of bytes: its tag, its length, and them.
fn field(tag: &[u8], bytes: &[u8]) -> Vec<u8> {
    let (mut out, mut length) = (tag.to_vec(), bytes.len());
    while length >= 0x80 {
        out.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend(bytes);
    out
}

#[test]
fn messages_do_not_nest_for_ever() {
    // A schema whose `not` (field 28) is a schema whose `not`..., a thousand deep.
    let schema = (0..1000).fold(Vec::new(), |schema, _| field(&[0xe2, 0x01], &schema));
    // spec (2) { versions (7) { schema (4) { openAPIV3Schema (1) } } }
    let object = [0x0a, 0x22, 0x3a, 0x12].iter().fold(schema, |inner, tag| field(&[*tag], &inner));
    let type_meta = [field(&[0x0a], b"apiextensions.k8s.io/v1"), field(&[0x12], b"CustomResourceDefinition")].concat();
    let body = [b"k8s\0".to_vec(), field(&[0x0a], &type_meta), field(&[0x12], &object)].concat();
    assert_eq!(protobuf::decode(&body), Err(protobuf::ProtobufError::Depth));
}
