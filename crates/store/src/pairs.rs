//! [`Pairs`]: short texts by name, in one piece of memory.
//!
//! A list by label looks at the pairs of every object of a namespace: they lie one after the other, so that this is a
//! walk over a few cache lines. And only the objects are looked at whose [`Signature`] says that they may have it.

use std::fmt;
use std::hash::{DefaultHasher, Hasher};

/// How many bytes say how long a text is.
const LENGTH: usize = 4;

/// Names and values.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Pairs {
    texts: Box<[u8]>,
    signature: Signature,
}

/// Two of 64 bits for each of some pairs: where a pair's bits are not all set, the pair is not there (a Bloom filter).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signature(u64);

impl Signature {
    /// Anything may be there.
    pub const UNKNOWN: Self = Self(u64::MAX);

    /// Takes a pair in.
    pub fn add(&mut self, name: &str, value: &str) {
        let mut hasher = DefaultHasher::new();
        hasher.write(name.as_bytes());
        // No byte of a text in UTF-8.
        hasher.write_u8(0xff);
        hasher.write(value.as_bytes());
        let hash = hasher.finish();
        self.0 |= 1 << (hash & 63) | 1 << (hash >> 6 & 63);
    }

    /// Whether all pairs of `wanted` may be among those of this one. A no is certain; of fifteen pairs, one of seven
    /// that are not there gets a yes.
    pub fn may_hold(self, wanted: Self) -> bool {
        self.0 & wanted.0 == wanted.0
    }
}

impl Pairs {
    /// Of what cannot be read: no pair is known, any may be there.
    pub fn unknown() -> Self {
        Self { texts: Box::default(), signature: Signature::UNKNOWN }
    }

    /// Which pairs may be among these.
    pub fn signature(&self) -> Signature {
        self.signature
    }

    /// The pairs, in the order in which they were given.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.raw().filter_map(|(name, value)| Some((str::from_utf8(name).ok()?, str::from_utf8(value).ok()?)))
    }

    /// The value whose name is `sort` and then `name`.
    pub fn get(&self, sort: &str, name: &str) -> Option<&str> {
        let is_wanted = |found: &[u8]| {
            found.len() == sort.len() + name.len()
                && found.ends_with(name.as_bytes())
                && found.starts_with(sort.as_bytes())
        };
        let (_, value) = self.raw().find(|(found, _)| is_wanted(found))?;
        str::from_utf8(value).ok()
    }

    /// The bytes that the pairs take.
    pub fn size(&self) -> usize {
        self.texts.len()
    }

    fn raw(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut rest = &*self.texts;
        std::iter::from_fn(move || {
            let (name, after) = text(rest)?;
            let (value, after) = text(after)?;
            rest = after;
            Some((name, value))
        })
    }
}

/// The text at the start of `bytes`, and what follows it.
fn text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<LENGTH>()?;
    rest.split_at_checked(u32::from_le_bytes(*length) as usize)
}

impl<N: AsRef<str>, V: AsRef<str>> FromIterator<(N, V)> for Pairs {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        let (mut bytes, mut signature) = (Vec::new(), Signature::default());
        for (name, value) in pairs {
            let (name, value) = (name.as_ref(), value.as_ref());
            signature.add(name, value);
            for text in [name, value] {
                // Nothing that is stored is as long as this can say.
                let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
                bytes.extend_from_slice(&length.to_le_bytes());
                bytes.extend_from_slice(text.as_bytes());
            }
        }
        Self { texts: bytes.into(), signature }
    }
}

impl<N: AsRef<str>, V: AsRef<str>, const COUNT: usize> From<[(N, V); COUNT]> for Pairs {
    fn from(pairs: [(N, V); COUNT]) -> Self {
        pairs.into_iter().collect()
    }
}

impl fmt::Debug for Pairs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_by_name() {
        let pairs =
            Pairs::from([("l:app", "web"), ("f:spec.nodeName", ""), ("l:", "x"), ("l:app.kubernetes.io/name", "舵")]);
        for (sort, name, expected) in [
            ("l:", "app", Some("web")),
            ("f:", "spec.nodeName", Some("")),
            ("l:", "", Some("x")),
            ("l:", "app.kubernetes.io/name", Some("舵")),
            ("l:", "ap", None),
            ("f:", "app", None),
        ] {
            assert_eq!(pairs.get(sort, name), expected, "{sort}{name}");
        }
        assert_eq!(pairs.iter().count(), 4);
        assert_eq!(Pairs::default().get("l:", "app"), None);
    }

    #[test]
    fn a_signature_denies_no_pair_that_is_there_and_most_that_are_not() {
        let signature = |pairs: &[(String, String)]| pairs.iter().cloned().collect::<Pairs>().signature();
        let pair = |number: usize| (format!("l:name-{number}"), format!("value-{number}"));
        let object: Vec<_> = (0..15).map(pair).collect();
        let all = signature(&object);
        assert!(object.iter().all(|pair| all.may_hold(signature(std::slice::from_ref(pair)))));
        assert!(all.may_hold(signature(&object[3..7])) && all.may_hold(Signature::default()));
        let wrong = (15..1015).filter(|number| all.may_hold(signature(&[pair(*number)]))).count();
        assert!(wrong < 300, "{wrong} of 1000");
        assert!(Pairs::unknown().signature().may_hold(all) && !Pairs::default().signature().may_hold(all));
    }
}
