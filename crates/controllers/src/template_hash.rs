//! The short hash that names what a workload made from one template.
//!
//! FNV-1a over 32 bits, written in letters that spell no words, so names look as upstream's. What is hashed is the
//! template's JSON (upstream hashes a Go dump of it, so the values differ; they need only be stable).
//! upstream: pkg/controller/controller_utils.go `ComputeHash`, apimachinery/pkg/util/rand `SafeEncodeString`

use k8s_openapi::api::core::v1::PodTemplateSpec;

const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// The hash of a template; `collisions` is mixed in so that a colliding hash can be avoided.
pub fn template_hash(template: &PodTemplateSpec, collisions: Option<i32>) -> String {
    // Struct fields are written in their order and maps are sorted: equal templates give equal bytes.
    let mut bytes = serde_json::to_vec(template).unwrap_or_default();
    if let Some(collisions) = collisions {
        bytes.extend(collisions.to_le_bytes());
    }
    safe_encode(&fnv32a(&bytes).to_string())
}

fn fnv32a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

fn safe_encode(text: &str) -> String {
    text.bytes().map(|byte| char::from(ALPHABET[usize::from(byte) % ALPHABET.len()])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_fnv_1a_in_safe_letters() {
        assert_eq!(fnv32a(b""), 0x811c_9dc5);
        assert_eq!(fnv32a(b"a"), 0xe40c_292c);
        assert_eq!(safe_encode("0123456789"), "4567 89bcdf".replace(' ', ""));
        let template = PodTemplateSpec::default();
        assert_eq!(template_hash(&template, None), template_hash(&template, None));
        assert_ne!(template_hash(&template, None), template_hash(&template, Some(1)));
    }
}
