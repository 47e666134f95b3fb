//! [`Pairs`]: short texts by name, in one piece of memory.
//!
//! A list by label looks at the pairs of every object of a namespace: they lie one after the other, so that this is a
//! walk over a few cache lines.

use std::fmt;

/// How many bytes say how long a text is.
const LENGTH: usize = 4;

/// Names and values.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Pairs(Box<[u8]>);

impl Pairs {
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
        self.0.len()
    }

    fn raw(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut rest = &*self.0;
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
        let mut bytes = Vec::new();
        for (name, value) in pairs {
            for text in [name.as_ref(), value.as_ref()] {
                // Nothing that is stored is as long as this can say.
                let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
                bytes.extend_from_slice(&length.to_le_bytes());
                bytes.extend_from_slice(text.as_bytes());
            }
        }
        Self(bytes.into())
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
}
