//! Regular expressions, in RE2's syntax (upstream: Go's regexp/syntax).

use std::borrow::Cow;

use regex::{Regex, RegexBuilder};

use super::CallCx;
use crate::error::EvalError;

/// How large a compiled pattern may be.
const SIZE_LIMIT: usize = 512 << 10;

/// Compiles a pattern.
pub(crate) fn compile(pattern: &str) -> Result<Regex, EvalError> {
    let translated = translate(pattern);
    let built =
        RegexBuilder::new(&translated).size_limit(SIZE_LIMIT).dfa_size_limit(SIZE_LIMIT).nest_limit(100).build();
    built.map_err(|error| {
        let words = error.to_string();
        let last = words.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
        EvalError::function(format!("error parsing regexp: {last}: `{pattern}`"))
    })
}

/// Uses the compiled pattern: one of the expression's own, or one made for this call.
pub(super) fn with<T>(pattern: &str, cx: &mut CallCx<'_>, use_it: impl FnOnce(&Regex) -> T) -> Result<T, EvalError> {
    if let Some(regex) = cx.regexes.get(pattern) {
        return Ok(use_it(regex));
    }
    cx.meter.compile_regex()?;
    Ok(use_it(&compile(pattern)?))
}

/// RE2's classes `\d`, `\w`, `\s` and `\b` know ASCII only, and brackets within a class are plain characters.
fn translate(pattern: &str) -> Cow<'_, str> {
    if !pattern.contains(['\\', '[']) {
        return Cow::Borrowed(pattern);
    }
    let mut out = String::with_capacity(pattern.len() + 16);
    let mut chars = pattern.char_indices().peekable();
    let mut in_class = false;
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => {
                let Some((_, escaped)) = chars.next() else {
                    out.push(c);
                    break;
                };
                match (escaped, in_class) {
                    ('d', _) => out.push_str("[0-9]"),
                    ('D', _) => out.push_str("[^0-9]"),
                    ('w', _) => out.push_str("[0-9A-Za-z_]"),
                    ('W', _) => out.push_str("[^0-9A-Za-z_]"),
                    ('s', _) => out.push_str("[\\t\\n\\f\\r ]"),
                    ('S', _) => out.push_str("[^\\t\\n\\f\\r ]"),
                    ('b', false) => out.push_str("(?-u:\\b)"),
                    ('B', false) => out.push_str("(?-u:\\B)"),
                    (other, _) => {
                        out.push('\\');
                        out.push(other);
                    }
                }
            }
            '[' if !in_class => {
                in_class = true;
                out.push('[');
                if let Some((_, '^')) = chars.peek() {
                    out.push('^');
                    chars.next();
                }
                if let Some((_, ']')) = chars.peek() {
                    out.push_str("\\]");
                    chars.next();
                }
            }
            '[' if pattern[at..].starts_with("[:") => out.push('['),
            '[' => out.push_str("\\["),
            ']' if in_class => {
                let closes_name = pattern[..at].ends_with(':') && pattern[..at].rfind("[:").is_some();
                in_class = closes_name;
                out.push(']');
            }
            '&' | '~' if in_class => {
                out.push('\\');
                out.push(c);
            }
            other => out.push(other),
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_re2_means() {
        for (pattern, text, matches) in [
            (r"^\d+$", "42", true),
            (r"^\d+$", "٤٢", false),
            (r"^[\w.-]+$", "a_b.c-1", true),
            (r"^[^\s]+$", "a b", false),
            (r"^[[a]+$", "[a[", true),
            (r"^[]a]+$", "a]", true),
            (r"^[a&&b]+$", "a&b", true),
            (r"^[[:alpha:]_]+$", "ab_", true),
            (r"\bfoo\b", "a foo b", true),
            (r"^a\.b$", "a.b", true),
        ] {
            assert_eq!(compile(pattern).expect(pattern).is_match(text), matches, "{pattern}");
        }
        assert!(compile("(").is_err());
        assert!(compile("(((a{1000}){1000}){1000})").is_err(), "a pattern that explodes is refused");
    }
}
