//! Which API server this is, as the labels of metrics say it
//! (upstream: apiserver/pkg/server/config.go, `APIServerID`).

use std::sync::OnceLock;

use ring::digest::{SHA256, digest};

/// `apiserver-` and a digest of the host's name.
fn id(hostname: &str) -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut text = Vec::new();
    for part in [hostname, "kube-apiserver"] {
        text.extend(u16::try_from(part.len()).unwrap_or(u16::MAX).to_be_bytes());
        text.extend(part.as_bytes());
    }
    let mut id = "apiserver-".to_owned();
    let (mut bits, mut held) = (0_u32, 0_u32);
    for byte in &digest(&SHA256, &text).as_ref()[..16] {
        bits = bits << 8 | u32::from(*byte);
        held += 8;
        while held >= 5 {
            held -= 5;
            id.push(char::from(LETTERS[(bits >> held) as usize & 31]));
        }
    }
    // The last three bits, and two of nothing.
    id.push(char::from(LETTERS[(bits << (5 - held)) as usize & 31]));
    id
}

/// `sha256:` and the digest of a text.
pub(crate) fn hash(text: &[u8]) -> String {
    format!("sha256:{}", hex::encode(digest(&SHA256, text)))
}

/// The digest of this server's identity.
pub(crate) fn apiserver_id_hash() -> &'static str {
    static HASH: OnceLock<String> = OnceLock::new();
    HASH.get_or_init(|| {
        let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        hash(id(name.trim_end()).as_bytes())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By Python: `base64.b32encode(sha256(b"\0\x04node\0\x0ekube-apiserver").digest()[:16])`.
    #[test]
    fn a_server_is_known_by_its_host() {
        assert_eq!(id("node"), "apiserver-nz4d7rk4anfwpugpkv4yv5ymby");
        assert_ne!(id("node"), id("other"));
        assert!(apiserver_id_hash().starts_with("sha256:"));
    }
}
