//! Walking JSON bytes without decoding them: finds members of an object as slices.
//!
//! Only for bytes that this server encoded itself; on anything else it finds nothing rather than panic.

use std::borrow::Cow;

/// The members of the JSON object at the start of `bytes`, as raw key (without quotes) and raw value.
pub fn members(bytes: &[u8]) -> Members<'_> {
    let start = skip_space(bytes, 0);
    let at = if bytes.get(start) == Some(&b'{') { start + 1 } else { bytes.len() };
    Members { bytes, at }
}

/// See [`members`].
#[derive(Clone, Debug)]
pub struct Members<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// One member of an object.
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    /// The key, without its quotes, escapes untouched.
    pub key: &'a [u8],
    /// The value's bytes.
    pub value: &'a [u8],
    /// Where the value begins in the bytes that were scanned.
    pub offset: usize,
}

impl<'a> Members<'a> {
    /// The next member's key; then its value is to be passed, as a whole or by its own members.
    pub fn key(&mut self) -> Option<&'a [u8]> {
        let bytes = self.bytes;
        let mut at = skip_space(bytes, self.at);
        if bytes.get(at) == Some(&b',') {
            at = skip_space(bytes, at + 1);
        }
        if bytes.get(at) != Some(&b'"') {
            return None;
        }
        let key_end = skip_string(bytes, at)?;
        let key = &bytes[at + 1..key_end - 1];
        at = skip_space(bytes, key_end);
        if bytes.get(at) != Some(&b':') {
            return None;
        }
        self.at = skip_space(bytes, at + 1);
        Some(key)
    }

    /// Passes the value behind the key; answers where it begins, and the value.
    pub fn value(&mut self) -> Option<(usize, &'a [u8])> {
        let offset = self.at;
        self.at = skip_value(self.bytes, offset)?;
        Some((offset, &self.bytes[offset..self.at]))
    }

    /// The same, where an object is passed by its members, all of which `inside` must pass.
    pub fn value_by(&mut self, inside: impl FnOnce(&mut Self)) -> Option<(usize, &'a [u8])> {
        let offset = self.at;
        if self.bytes.get(offset) != Some(&b'{') {
            return self.value();
        }
        self.at += 1;
        inside(self);
        let end = skip_space(self.bytes, self.at);
        self.at = (self.bytes.get(end) == Some(&b'}')).then_some(end + 1)?;
        Some((offset, &self.bytes[offset..self.at]))
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = Member<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let key = self.key()?;
        let (offset, value) = self.value()?;
        Some(Member { key, value, offset })
    }
}

/// The value at a path of keys.
pub fn at<'a>(bytes: &'a [u8], path: &[&str]) -> Option<&'a [u8]> {
    path.iter().try_fold(bytes, |bytes, name| {
        members(bytes).find(|member| member.key == name.as_bytes()).map(|member| member.value)
    })
}

/// A raw value as text: strings without quotes and escapes, `null` as nothing, everything else as written.
pub fn text(value: &[u8]) -> Option<Cow<'_, str>> {
    match value.first()? {
        b'"' => {
            let inner = value.get(1..value.len().checked_sub(1)?)?;
            if inner.contains(&b'\\') {
                serde_json::from_slice::<String>(value).ok().map(Cow::Owned)
            } else {
                std::str::from_utf8(inner).ok().map(Cow::Borrowed)
            }
        }
        b'n' => None,
        _ => std::str::from_utf8(value).ok().map(Cow::Borrowed),
    }
}

fn skip_space(bytes: &[u8], mut at: usize) -> usize {
    while bytes.get(at).is_some_and(u8::is_ascii_whitespace) {
        at += 1;
    }
    at
}

/// The end of the string that begins at `at`, behind its closing quote.
fn skip_string(bytes: &[u8], at: usize) -> Option<usize> {
    let mut at = at + 1;
    loop {
        at += memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
        if bytes[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}

fn skip_value(bytes: &[u8], at: usize) -> Option<usize> {
    match bytes.get(at)? {
        b'"' => skip_string(bytes, at),
        b'{' | b'[' => {
            let (mut at, mut depth) = (at, 0_usize);
            loop {
                match bytes.get(at)? {
                    b'"' => {
                        at = skip_string(bytes, at)?;
                        continue;
                    }
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' => {
                        depth -= 1;
                        if depth == 0 {
                            return Some(at + 1);
                        }
                    }
                    _ => {}
                }
                at += 1;
            }
        }
        _ => {
            let rest = &bytes[at..];
            let length = rest.iter().position(|byte| matches!(byte, b',' | b'}' | b']') || byte.is_ascii_whitespace());
            Some(at + length.unwrap_or(rest.len())).filter(|end| *end > at)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_found_as_slices() {
        let bytes = br#"{"a":"x\"}","b":{"c":[1,{"d":"]"}],"e":null}, "f" : 12}"#;
        let found: Vec<(&str, &str)> = members(bytes)
            .map(|member| {
                (std::str::from_utf8(member.key).expect("a key"), std::str::from_utf8(member.value).expect("a value"))
            })
            .collect();
        assert_eq!(found, [("a", r#""x\"}""#), ("b", r#"{"c":[1,{"d":"]"}],"e":null}"#), ("f", "12")]);
        assert_eq!(at(bytes, &["b", "c"]), Some(&br#"[1,{"d":"]"}]"#[..]));
        assert_eq!(at(bytes, &["b", "e"]).and_then(text), None);
        assert_eq!(at(bytes, &["a"]).and_then(text).as_deref(), Some("x\"}"));
    }

    #[test]
    fn broken_bytes_find_nothing() {
        for bytes in [&b""[..], b"[1]", b"{\"a", b"{\"a\":", b"{\"a\":{", b"{\"a\":\"\\", b"nul"] {
            assert_eq!(members(bytes).count(), 0, "{bytes:?}");
        }
    }
}
