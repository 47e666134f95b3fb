//! Names of fields as names of the language: `a-b` is `a__dash__b` (upstream: apiserver/pkg/cel/escaping.go).

/// Words of the language that no field may have as its name.
const RESERVED: [&str; 21] = [
    "true",
    "false",
    "null",
    "in",
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

/// The name in expressions; `None` where the field cannot be named.
pub fn escape(name: &str) -> Option<String> {
    if name.is_empty() || name.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    if RESERVED.contains(&name) {
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
}
