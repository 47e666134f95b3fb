//! Field selectors: `metadata.name=web,status.phase!=Running` (upstream: `apimachinery/pkg/fields`).

use std::borrow::Cow;
use std::fmt;

/// Why a text is no field selector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// A term has no operator.
    #[error("invalid selector: '{selector}'; can't understand '{term}'")]
    Term {
        /// The whole text.
        selector: String,
        /// The term without an operator.
        term: String,
    },
    /// A backslash in front of a character that needs none.
    #[error("invalid field selector: invalid escape sequence: {0}")]
    Escape(String),
    /// A comma or an equals sign that needs a backslash.
    #[error("invalid field selector: unescaped character in value: {}", u32::from(*.0))]
    Unescaped(char),
}

/// One rule about one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// The field, as `spec.nodeName`.
    pub field: String,
    /// Whether the field must not have the value.
    pub negated: bool,
    /// The value.
    pub value: String,
}

impl Requirement {
    /// Whether the rule holds for the field's value. A field that an object does not have counts as empty.
    pub fn matches(&self, value: &str) -> bool {
        (self.value == value) != self.negated
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{}", self.field, if self.negated { "!=" } else { "=" }, escape(&self.value))
    }
}

/// A selector of objects by their fields: all of its requirements must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    requirements: Vec<Requirement>,
}

impl Selector {
    /// The selector of everything.
    pub fn everything() -> Self {
        Self::default()
    }

    /// A selector of one exact value.
    pub fn exact(field: &str, value: &str) -> Self {
        Self { requirements: vec![Requirement { field: field.into(), negated: false, value: value.into() }] }
    }

    /// Reads the text form; the empty text selects everything.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut terms = split_terms(text);
        terms.sort_unstable();
        let mut requirements = Vec::new();
        for term in terms.into_iter().filter(|term| !term.is_empty()) {
            let Some((field, negated, value)) = split_term(term) else {
                return Err(SelectorError::Term { selector: text.into(), term: term.into() });
            };
            requirements.push(Requirement { field: field.into(), negated, value: unescape(value)?.into_owned() });
        }
        Ok(Self { requirements })
    }

    /// Whether it selects everything.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// The requirements.
    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }

    /// Whether an object whose fields `lookup` reads is selected. Which fields a kind offers the caller has
    /// checked before; a field that the object lacks is given as the empty text.
    pub fn matches<'l>(&self, lookup: impl Fn(&str) -> Cow<'l, str>) -> bool {
        self.requirements.iter().all(|requirement| requirement.matches(&lookup(&requirement.field)))
    }

    /// The one value that the selector allows for `field`, where it allows one only.
    pub fn requires_exact_match(&self, field: &str) -> Option<&str> {
        let mut exact = self.requirements.iter().filter(|requirement| !requirement.negated);
        exact.find(|requirement| requirement.field == field).map(|requirement| requirement.value.as_str())
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, requirement) in self.requirements.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            requirement.fmt(f)?;
        }
        Ok(())
    }
}

/// Splits at commas that no backslash protects.
fn split_terms(text: &str) -> Vec<&str> {
    let (mut terms, mut start, mut escaped) = (Vec::new(), 0, false);
    for (index, char) in text.char_indices() {
        match char {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                terms.push(&text[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    terms.push(&text[start..]);
    terms
}

/// Field, whether negated, and value, at the first operator.
fn split_term(term: &str) -> Option<(&str, bool, &str)> {
    for (index, _) in term.char_indices() {
        let (field, rest) = term.split_at(index);
        for (operator, negated) in [("!=", true), ("==", false), ("=", false)] {
            if let Some(value) = rest.strip_prefix(operator) {
                return Some((field, negated, value));
            }
        }
    }
    None
}

/// Protects backslash, comma and equals sign in a value.
pub fn escape(value: &str) -> Cow<'_, str> {
    if !value.contains(['\\', ',', '=']) {
        return value.into();
    }
    value.replace('\\', r"\\").replace(',', r"\,").replace('=', r"\=").into()
}

fn unescape(value: &str) -> Result<Cow<'_, str>, SelectorError> {
    if !value.contains(['\\', ',', '=']) {
        return Ok(value.into());
    }
    let mut plain = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(char) = chars.next() {
        match char {
            '\\' => match chars.next() {
                Some(char @ ('\\' | ',' | '=')) => plain.push(char),
                other => {
                    return Err(SelectorError::Escape(
                        other.into_iter().fold(r"\".into(), |text, char| text + &char.to_string()),
                    ));
                }
            },
            ',' | '=' => return Err(SelectorError::Unescaped(char)),
            char => plain.push(char),
        }
    }
    Ok(plain.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(text: &str, expect: Expect) {
        match Selector::parse(text) {
            Ok(selector) => expect.assert_eq(&selector.to_string()),
            Err(err) => expect.assert_eq(&format!("error: {err}")),
        }
    }

    #[test]
    fn selectors_are_read_and_written_as_upstream_does() {
        check("", expect![""]);
        check(",", expect![""]);
        check("metadata.name=web", expect!["metadata.name=web"]);
        check("b==2,a!=1", expect!["a!=1,b=2"]);
        check(r"a=b\,c\=d\\", expect![[r"a=b\,c\=d\\"]]);
        check("a=", expect!["a="]);
        check("a", expect!["error: invalid selector: 'a'; can't understand 'a'"]);
        check("a=b=c", expect!["error: invalid field selector: unescaped character in value: 61"]);
        check(r"a=\x", expect![[r"error: invalid field selector: invalid escape sequence: \x"]]);
        check("a=\\", expect![[r"error: invalid field selector: invalid escape sequence: \"]]);
    }

    #[test]
    fn requirements_judge_fields() {
        let fields = |name: &str| Cow::from(if name == "spec.nodeName" { "n1" } else { "" });
        for (text, selected) in [
            ("", true),
            ("spec.nodeName=n1", true),
            ("spec.nodeName!=n1", false),
            ("spec.nodeName=n2", false),
            ("status.phase=", true),
            ("status.phase!=", false),
            ("spec.nodeName=n1,status.phase=x", false),
        ] {
            assert_eq!(Selector::parse(text).expect("a selector").matches(fields), selected, "{text}");
        }
        let selector = Selector::parse("a=1,b!=2").expect("a selector");
        assert_eq!((selector.requires_exact_match("a"), selector.requires_exact_match("b")), (Some("1"), None));
    }
}
