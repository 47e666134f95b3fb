//! `$(VAR)` references (upstream: third_party/forked/golang/expansion/expand.go).

/// Replaces `$(NAME)` by what `lookup` answers; unknown names stay as written and `$$` is a plain `$`.
pub fn expand(input: &str, lookup: impl Fn(&str) -> Option<String>) -> String {
    let mut output = String::with_capacity(input.len());
    let mut rest = input;
    while let Some(at) = rest.find('$') {
        output.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            output.push('$');
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
            match lookup(name) {
                Some(value) => output.push_str(&value),
                None => {
                    output.push_str("$(");
                    output.push_str(name);
                    output.push(')');
                }
            }
            rest = after;
        } else {
            output.push('$');
        }
    }
    output.push_str(rest);
    output
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references() {
        for (input, expected) in [
            ("plain", "plain"),
            ("$(A)", "a"),
            ("x$(A)y$(B)z", "xaybz"),
            ("$(UNDEF)", "$(UNDEF)"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$a"),
            ("$", "$"),
            ("$(A", "$(A"),
            ("$A", "$A"),
            ("$()", "$()"),
            ("é$(A)", "éa"),
        ] {
            let lookup = |name: &str| match name {
                "A" => Some("a".to_owned()),
                "B" => Some("b".to_owned()),
                _ => None,
            };
            assert_eq!(expand(input, lookup), expected, "{input}");
        }
    }
}
