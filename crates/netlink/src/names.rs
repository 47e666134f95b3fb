//! Names that fit the kernel's limits and stay the same in every version of Kaji.

/// FNV-1a, for names that outlive the process; the standard hasher promises nothing of the kind.
pub fn stable_hash(bytes: &[u8]) -> u64 {
    let mix = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, mix)
}

/// `prefix`, a hash of `identity`, and as much of `identity` as fits an nftables name.
pub fn nft_name(prefix: &str, identity: &str) -> String {
    /// nftables takes 128 bytes with the NUL.
    const LONGEST: usize = 120;
    let hash = stable_hash(identity.as_bytes());
    let mut name = format!("{prefix}-{:08X}-{identity}", (hash ^ hash >> 32) as u32);
    name.truncate((0..=LONGEST.min(name.len())).rev().find(|at| name.is_char_boundary(*at)).unwrap_or(0));
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_stable_and_distinct() {
        assert_eq!(nft_name("service", "default/web/tcp/http"), nft_name("service", "default/web/tcp/http"));
        let (a, b) = ("x".repeat(300) + "a", "x".repeat(300) + "b");
        assert_ne!(nft_name("service", &a), nft_name("service", &b));
        assert_eq!(nft_name("service", &a).len(), 120);
        assert_eq!(stable_hash(b"a"), 0xaf63_dc4c_8601_ec8c);
    }
}
