//! Names of fields as names of the language: `a-b` is `a__dash__b` (upstream: apiserver/pkg/cel/escaping.go).

/// Words that no variable may have as its name (upstream: cel-go parser.go `reservedIds`).
pub(crate) const RESERVED: [&str; 17] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// Words of the language that are no names at all.
const WORDS: [&str; 4] = ["true", "false", "null", "in"];

fn is_reserved(name: &str) -> bool {
    RESERVED.contains(&name) || WORDS.contains(&name)
}

/// Whether a variable may have this name (upstream: admissionregistration/validation `isCELIdentifier`).
pub fn is_identifier(name: &str) -> bool {
    let of_letters = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    !name.is_empty()
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && name.chars().all(of_letters)
        && !is_reserved(name)
}

/// The name in expressions; `None` where the field cannot be named.
pub fn escape(name: &str) -> Option<String> {
    if name.is_empty() || name.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    if is_reserved(name) {
        return Some(format!("__{name}__"));
    }
    let mut escaped = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(first) = rest.chars().next() {
        if let Some(behind) = rest.strip_prefix("__") {
            escaped.push_str("__underscores__");
            rest = behind;
            continue;
        }
        match first {
            '.' => escaped.push_str("__dot__"),
            '-' => escaped.push_str("__dash__"),
            '/' => escaped.push_str("__slash__"),
            _ if first.is_ascii_alphanumeric() || first == '_' => escaped.push(first),
            _ => return None,
        }
        rest = &rest[first.len_utf8()..];
    }
    Some(escaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_like_upstreams() {
        for (name, escaped) in [
            ("a", Some("a")),
            ("a.a", Some("a__dot__a")),
            ("CamelCase", Some("CamelCase")),
            ("a__b", Some("a__underscores__b")),
            ("a__dot__b", Some("a__underscores__dot__underscores__b")),
            ("a-b/c", Some("a__dash__b__slash__c")),
            ("namespace", Some("__namespace__")),
            ("int", Some("int")),
            ("1a", None),
            ("$a", None),
            ("", None),
            ("ä", None),
        ] {
            assert_eq!(escape(name).as_deref(), escaped, "{name}");
        }
    }

    #[test]
    fn names_of_variables() {
        for (name, is_one) in
            [("_a1", true), ("1a", false), ("a-b", false), ("", false), ("in", false), ("void", false)]
        {
            assert_eq!(is_identifier(name), is_one, "{name}");
        }
    }
}
