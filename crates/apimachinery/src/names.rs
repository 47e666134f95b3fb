//! Names that the server makes up (upstream: `apiserver/pkg/storage/names`, `apimachinery/pkg/util/rand`).

/// No vowels and no digits that look like letters, so that no words come out.
const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// The number of random characters behind a `generateName`.
pub const SUFFIX_LENGTH: usize = 5;

/// The longest generated name.
const MAX_LENGTH: usize = 63;

/// `random` as characters that are safe in names; the numbers come from the caller's source.
pub fn random_string<const N: usize>(random: [u32; N]) -> String {
    random.iter().map(|number| char::from(ALPHABET[*number as usize % ALPHABET.len()])).collect()
}

/// The name for a `generateName`: the base, cut so that five characters more fit, and those.
pub fn generate_name(base: &str, random: [u32; SUFFIX_LENGTH]) -> String {
    let mut end = base.len().min(MAX_LENGTH - SUFFIX_LENGTH);
    while !base.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{}", &base[..end], random_string(random))
}

/// A number in the alphabet of names, as template hashes have it (upstream: `rand.SafeEncodeString`).
pub fn safe_encode_string(text: &str) -> String {
    text.bytes().map(|byte| char::from(ALPHABET[usize::from(byte) % ALPHABET.len()])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_get_five_safe_characters() {
        assert_eq!(generate_name("web-", [0, 1, 26, 27, u32::MAX]), "web-bc9b4");
        let long = generate_name(&"a".repeat(100), [0; 5]);
        assert_eq!((long.len(), long.ends_with("abbbbb")), (63, true));
        assert!(generate_name(&"ä".repeat(60), [0; 5]).len() <= 63);
    }

    #[test]
    fn numbers_are_encoded_as_upstream_does() {
        assert_eq!(safe_encode_string("0123456789"), "456789bcdf");
    }
}
