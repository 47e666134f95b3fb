//! Rules for names and values, with upstream's words (`apimachinery/pkg/util/validation`,
//! `apimachinery/pkg/api/validate/content`). Each function answers what is wrong; nothing means all is well.

use std::net::IpAddr;

const LABEL: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const SUBDOMAIN: &str = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
const QUALIFIED: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
const QUALIFIED_WORDS: &str =
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";

/// The longest DNS label, label value, and name part of a label key.
pub const LABEL_MAX: usize = 63;

/// The longest DNS subdomain.
pub const SUBDOMAIN_MAX: usize = 253;

/// "must be no more than N characters".
pub fn max_len_error(max: usize) -> String {
    format!("must be no more than {max} characters")
}

/// "must be between LOW and HIGH, inclusive".
pub fn inclusive_range_error(low: i64, high: i64) -> String {
    format!("must be between {low} and {high}, inclusive")
}

/// A rule in words with examples and the regular expression that says the same.
pub fn regex_error(words: &str, regex: &str, examples: &[&str]) -> String {
    if examples.is_empty() {
        return format!("{words} (regex used for validation is '{regex}')");
    }
    // Upstream leaves a comma behind each example.
    let examples: Vec<String> = examples.iter().map(|example| format!("'{example}', ")).collect();
    format!("{words} (e.g. {}regex used for validation is '{regex}')", examples.join(" or "))
}

fn is_lower_alnum(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

/// Whether `text` is not empty, of bytes that `inner` takes, with `edge` at both ends.
fn is_word(text: &str, edge: fn(u8) -> bool, inner: fn(u8) -> bool) -> bool {
    match text.as_bytes() {
        [] => false,
        [only] => edge(*only),
        [first, middle @ .., last] => edge(*first) && edge(*last) && middle.iter().all(|byte| inner(*byte)),
    }
}

fn is_label(text: &str) -> bool {
    is_word(text, is_lower_alnum, |byte| is_lower_alnum(byte) || byte == b'-')
}

fn is_subdomain(text: &str) -> bool {
    text.split('.').all(is_label)
}

fn is_qualified_word(text: &str) -> bool {
    is_word(text, |byte| byte.is_ascii_alphanumeric(), |byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

fn too_long(text: &str, max: usize) -> Option<String> {
    (text.len() > max).then(|| max_len_error(max))
}

fn unless(good: bool, words: impl FnOnce() -> String) -> Option<String> {
    if good { None } else { Some(words()) }
}

fn all(errors: impl IntoIterator<Item = Option<String>>) -> Vec<String> {
    errors.into_iter().flatten().collect()
}

/// A DNS label of RFC 1123, as `my-name`.
pub fn dns1123_label(text: &str) -> Vec<String> {
    let words = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', \
                 and must start and end with an alphanumeric character";
    let form = unless(is_label(text), || {
        if is_subdomain(text) {
            "must not contain dots".into()
        } else {
            regex_error(words, LABEL, &["my-name", "123-abc"])
        }
    });
    all([too_long(text, LABEL_MAX), form])
}

/// A DNS subdomain of RFC 1123, as `example.com`.
pub fn dns1123_subdomain(text: &str) -> Vec<String> {
    let words = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', \
                 and must start and end with an alphanumeric character";
    let form = unless(is_subdomain(text), || regex_error(words, SUBDOMAIN, &["example.com"]));
    all([too_long(text, SUBDOMAIN_MAX), form])
}

/// A subdomain that may have underscores, as SRV names do.
pub fn dns1123_subdomain_with_underscore(text: &str) -> Vec<String> {
    let words = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', \
                 and must start and end with an alphanumeric character";
    let regex = r"_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*";
    let good = text.split('.').all(|label| {
        let label = label.strip_prefix('_').unwrap_or(label);
        is_word(label, is_lower_alnum, |byte| is_lower_alnum(byte) || b"-_".contains(&byte))
    });
    all([too_long(text, SUBDOMAIN_MAX), unless(good, || regex_error(words, regex, &["example.com"]))])
}

/// A subdomain behind `*.`.
pub fn wildcard_dns1123_subdomain(text: &str) -> Vec<String> {
    let words = "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must \
                 consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character";
    let good = text.strip_prefix("*.").is_some_and(is_subdomain);
    let form = unless(good, || regex_error(words, &format!(r"\*\.{SUBDOMAIN}"), &["*.example.com"]));
    all([too_long(text, SUBDOMAIN_MAX), form])
}

/// A DNS label of RFC 1035: starts with a letter.
pub fn dns1035_label(text: &str) -> Vec<String> {
    let words = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an \
                 alphabetic character, and end with an alphanumeric character";
    let good = is_label(text) && text.starts_with(|char: char| char.is_ascii_lowercase());
    let form = unless(good, || regex_error(words, "[a-z]([-a-z0-9]*[a-z0-9])?", &["my-name", "abc-123"]));
    all([too_long(text, LABEL_MAX), form])
}

/// A label key: a name with an optional subdomain in front of a slash.
pub fn qualified_name(text: &str) -> Vec<String> {
    let examples = ["MyName", "my.name", "123-abc"];
    let (mut errors, name) = match text.split('/').collect::<Vec<_>>().as_slice() {
        [name] => (Vec::new(), *name),
        ["", name] => (vec!["prefix part must be non-empty".to_owned()], *name),
        [prefix, name] => {
            (dns1123_subdomain(prefix).iter().map(|error| format!("prefix part {error}")).collect(), *name)
        }
        _ => {
            let words = regex_error(QUALIFIED_WORDS, QUALIFIED, &examples);
            let hint = "with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";
            return vec![format!("a valid label key {words} {hint}")];
        }
    };
    if name.is_empty() {
        errors.push("name part must be non-empty".into());
    } else if name.len() > LABEL_MAX {
        errors.push(format!("name part {}", max_len_error(LABEL_MAX)));
    }
    if !is_qualified_word(name) {
        errors.push(format!("name part {}", regex_error(QUALIFIED_WORDS, QUALIFIED, &examples)));
    }
    errors
}

/// A key whose prefix is a domain (upstream: `IsDomainPrefixedKey`).
pub fn domain_prefixed_key(text: &str) -> Vec<String> {
    if text.contains('/') {
        qualified_name(text)
    } else {
        vec!["must be a domain-prefixed key (such as \"acme.io/foo\")".to_owned()]
    }
}

/// A domain and a path below it, as `example.com/controller`.
pub fn domain_prefixed_path(text: &str) -> Vec<String> {
    let Some((domain, path)) = text.split_once('/').filter(|(domain, path)| !domain.is_empty() && !path.is_empty())
    else {
        return vec!["must be a domain-prefixed path (such as \"acme.io/foo\")".to_owned()];
    };
    let mut errors = dns1123_subdomain(domain);
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/%".contains(&byte);
    if !path.bytes().all(allowed) {
        errors.push(regex_error("Invalid path", r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+", &[]));
    }
    errors
}

/// The value of a label.
pub fn label_value(text: &str) -> Vec<String> {
    let words = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', \
                 and must start and end with an alphanumeric character";
    let form = unless(text.is_empty() || is_qualified_word(text), || {
        regex_error(words, &format!("({QUALIFIED})?"), &["MyValue", "my_value", "12345"])
    });
    all([too_long(text, LABEL_MAX), form])
}

/// The number of a port.
pub fn port_number(port: i64) -> Vec<String> {
    in_range(port, 1, 65535)
}

/// The name of a port: IANA_SVC_NAME.
pub fn port_name(text: &str) -> Vec<String> {
    let charset = !text.is_empty() && text.bytes().all(|byte| is_lower_alnum(byte) || byte == b'-');
    let letter = text.bytes().any(|byte| byte.is_ascii_lowercase());
    all([
        too_long(text, 15),
        unless(charset, || "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".into()),
        unless(letter, || "must contain at least one letter (a-z)".into()),
        unless(!text.contains("--"), || "must not contain consecutive hyphens".into()),
        unless(!text.starts_with('-') && !text.ends_with('-'), || "must not begin or end with a hyphen".into()),
    ])
}

/// A number within bounds.
pub fn in_range(value: i64, low: i64, high: i64) -> Vec<String> {
    all([unless((low..=high).contains(&value), || inclusive_range_error(low, high))])
}

/// A user or group ID.
pub fn user_id(id: i64) -> Vec<String> {
    in_range(id, 0, i64::from(i32::MAX))
}

/// A percentage, as `93%`.
pub fn percent(text: &str) -> Vec<String> {
    let digits = text.strip_suffix('%').unwrap_or_default();
    let good = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let words = "a valid percent string must be a numeric string followed by an ending '%'";
    all([unless(good, || regex_error(words, "[0-9]+%", &["1%", "93%"]))])
}

/// The name of an HTTP header.
pub fn http_header_name(text: &str) -> Vec<String> {
    let good = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let words = "a valid HTTP header must consist of alphanumeric characters or '-'";
    all([unless(good, || regex_error(words, "[-A-Za-z0-9]+", &["X-Header-Name"]))])
}

/// The name of an environment variable: any printable ASCII but `=` (upstream's relaxed rule, the default since 1.34).
pub fn env_var_name(text: &str) -> Vec<String> {
    let good = text.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'=');
    let words = "a valid environment variable name must consist only of printable ASCII characters other than '='";
    all([
        unless(!text.is_empty(), || "environment variable name must be non-empty".into()),
        unless(good, || words.into()),
    ])
}

/// A key of a ConfigMap or Secret.
pub fn config_map_key(text: &str) -> Vec<String> {
    let good = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    let words = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'";
    let examples = ["key.name", "KEY_NAME", "key-name"];
    all([
        too_long(text, SUBDOMAIN_MAX),
        unless(good, || regex_error(words, "[-._a-zA-Z0-9]+", &examples)),
        parent_directory(text),
    ])
}

fn parent_directory(text: &str) -> Option<String> {
    match text {
        "." => Some("must not be '.'".into()),
        ".." => Some("must not be '..'".into()),
        _ if text.starts_with("..") => Some("must not start with '..'".into()),
        _ => None,
    }
}

/// A C identifier.
pub fn c_identifier(text: &str) -> Vec<String> {
    let good = text.starts_with(|char: char| char.is_ascii_alphabetic() || char == '_')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let words = "a valid C identifier must start with alphabetic character or '_', followed by a string of \
                 alphanumeric characters or '_'";
    all([unless(good, || regex_error(words, "[A-Za-z_][A-Za-z0-9_]*", &["my_name", "MY_NAME", "MyName"]))])
}

/// An IP address, in the strict spelling of `StrictIPCIDRValidation`.
pub fn ip(text: &str) -> Vec<String> {
    match text.parse::<IpAddr>() {
        Ok(IpAddr::V6(address)) if address.to_ipv4_mapped().is_some() => {
            vec!["must not be an IPv4-mapped IPv6 address".into()]
        }
        Ok(_) => Vec::new(),
        Err(_) if without_leading_zeros(text).parse::<IpAddr>().is_ok() => vec!["must not have leading 0s".into()],
        Err(_) => vec!["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)".into()],
    }
}

/// The address that the old parser made of one with zeros before the numbers of its IPv4 part.
fn without_leading_zeros(address: &str) -> String {
    let (before, numbers) = address.rfind(':').map_or(("", address), |colon| address.split_at(colon + 1));
    let shortened = numbers.split('.').map(|number| {
        let rest = number.trim_start_matches('0');
        if rest.is_empty() && !number.is_empty() { "0" } else { rest }
    });
    format!("{before}{}", shortened.collect::<Vec<_>>().join("."))
}

/// A block of addresses, without bits beyond its prefix.
pub fn cidr(text: &str) -> Vec<String> {
    let refused = || vec!["must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)".to_owned()];
    let Some((address, length)) = text.split_once('/') else { return refused() };
    let plain = length == "0" || !length.starts_with(['0', '+']);
    let (Ok(address), Ok(length), true) = (address.parse::<IpAddr>(), length.parse::<u32>(), plain) else {
        let digits = length.bytes().all(|byte| byte.is_ascii_digit());
        let once_good = without_leading_zeros(address).parse::<IpAddr>().is_ok_and(|address| {
            digits && length.parse::<u8>().is_ok_and(|length| length <= if address.is_ipv4() { 32 } else { 128 })
        });
        let words = "must not have leading 0s in IP or prefix length";
        return if once_good { vec![words.into()] } else { refused() };
    };
    if matches!(address, IpAddr::V6(address) if address.to_ipv4_mapped().is_some()) {
        return vec!["must not have an IPv4-mapped IPv6 address".into()];
    }
    let (bits, width) = match address {
        IpAddr::V4(address) => (u128::from(u32::from(address)) << 96, 32),
        IpAddr::V6(address) => (u128::from(address), 128),
    };
    if length > width {
        return refused();
    }
    let host_bits = bits.checked_shl(length).unwrap_or(0);
    let words = "must not have bits set beyond the prefix length";
    all([unless(host_bits == 0, || words.into())])
}

/// A name that becomes a segment of a URL path: not `.`, not `..`, no `/`, no `%`.
pub fn path_segment_name(text: &str) -> Vec<String> {
    match text {
        "." | ".." => vec![format!("may not be '{text}'")],
        _ => path_segment_prefix(text),
    }
}

/// The beginning of such a name, as `generateName` gives it.
pub fn path_segment_prefix(text: &str) -> Vec<String> {
    let contains = |char: char| text.contains(char).then(|| format!("may not contain '{char}'"));
    all([contains('/'), contains('%')])
}

/// The name of most kinds: a subdomain. `prefix` says that more characters will follow.
pub fn name_is_dns_subdomain(text: &str, prefix: bool) -> Vec<String> {
    dns1123_subdomain(&complete(text, prefix))
}

/// The name of a namespace and of kinds that become one DNS label.
pub fn name_is_dns_label(text: &str, prefix: bool) -> Vec<String> {
    dns1123_label(&complete(text, prefix))
}

/// The name of a Service as it was before 1.36.
pub fn name_is_dns1035_label(text: &str, prefix: bool) -> Vec<String> {
    dns1035_label(&complete(text, prefix))
}

/// The name of kinds that only need to fit into a path, as RBAC roles.
pub fn name_is_path_segment(text: &str, prefix: bool) -> Vec<String> {
    if prefix { path_segment_prefix(text) } else { path_segment_name(text) }
}

/// A prefix may end in a dash; what follows completes it (upstream: `maskTrailingDash`).
fn complete(text: &str, prefix: bool) -> std::borrow::Cow<'_, str> {
    match text.strip_suffix('-') {
        Some(stem) if prefix && text.len() > 1 => format!("{stem}a").into(),
        _ => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(errors: Vec<String>, expect: Expect) {
        expect.assert_eq(&errors.join("\n"));
    }

    #[test]
    fn names_are_judged_in_upstreams_words() {
        check(
            dns1123_subdomain("Web_1"),
            expect![[
                r"a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
            ]],
        );
        check(
            dns1123_label("a..b"),
            expect![[
                r"a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
            ]],
        );
        check(dns1123_label("a.b"), expect!["must not contain dots"]);
        check(dns1123_label(&"a".repeat(64)), expect!["must be no more than 63 characters"]);
        check(qualified_name("/x"), expect!["prefix part must be non-empty"]);
        check(
            label_value("-"),
            expect![[
                r"a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
            ]],
        );
        check(config_map_key("..data"), expect!["must not start with '..'"]);
        check(
            port_name("--"),
            expect![[r#"
            must contain at least one letter (a-z)
            must not contain consecutive hyphens
            must not begin or end with a hyphen"#]],
        );
        check(port_number(0), expect!["must be between 1 and 65535, inclusive"]);
    }

    #[test]
    fn addresses_have_one_spelling() {
        for (address, words) in [
            ("10.09.8.7", "must not have leading 0s"),
            ("::ffff:01.2.3.4", "must not have leading 0s"),
            ("::ffff:1.2.3.4", "must not be an IPv4-mapped IPv6 address"),
            ("10.09.8.x", "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"),
        ] {
            assert_eq!(ip(address), [words], "{address}");
        }
        for (block, words) in [
            ("010.0.0.0/8", "must not have leading 0s in IP or prefix length"),
            ("10.0.0.0/08", "must not have leading 0s in IP or prefix length"),
            ("::ffff:1.2.3.0/120", "must not have an IPv4-mapped IPv6 address"),
            ("10.0.0.1/8", "must not have bits set beyond the prefix length"),
            ("10.0.0.0/033", "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"),
        ] {
            assert_eq!(cidr(block), [words], "{block}");
        }
    }

    #[test]
    fn good_and_bad_words() {
        type Rule = fn(&str) -> Vec<String>;
        let table: &[(Rule, &[&str], &[&str])] = &[
            (dns1123_label, &["a", "1", "a-b", "0a"], &["", "-a", "a-", "A", "a_b", "ä", "a b"]),
            (dns1123_subdomain, &["a", "a.b", "1.2-3.c"], &["", ".", "a.", ".a", "a..b", "a.-b", "A.b"]),
            (dns1035_label, &["a", "a1", "a-1"], &["", "1a", "a.b", "a-"]),
            (wildcard_dns1123_subdomain, &["*.a", "*.a.b"], &["*", "*.", "a.*", "*.*.b", "a.b"]),
            (
                qualified_name,
                &["a", "A.b_c-d", "x.io/a", "1/2"],
                &["", "a/", "/a", "a/b/c", "X.io/a", "_a", "a.", "a b", "-"],
            ),
            (label_value, &["", "a", "A_b.c-1"], &["_a", "a-", "a b", "a/b"]),
            (port_name, &["http", "a1", "1a"], &["", "1", "a--b", "-a", "A", "averyveryverylong"]),
            (env_var_name, &["A", "my.env-name", "1", "a b"], &["", "a=b", "ä", "a\n"]),
            (config_map_key, &["a", "A.b_c-d", ".a"], &["", ".", "..", "..a", "a/b"]),
            (percent, &["1%", "100%"], &["", "%", "1", "-1%", "1.5%"]),
            (ip, &["10.0.0.1", "::1"], &["", "010.0.0.1", "1.2.3", "::ffff:1.2.3.4", "a"]),
            (
                cidr,
                &["10.0.0.0/8", "0.0.0.0/0", "2001:db8::/64", "1.2.3.4/32"],
                &["10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/08", "10.0.0.0", "::1/64"],
            ),
            (path_segment_name, &["a", "A:b", "..."], &[".", "..", "a/b", "a%b"]),
            (http_header_name, &["X-A"], &["", "X A", "X_A"]),
            (c_identifier, &["_a", "A1"], &["", "1a", "a-b"]),
            (dns1123_subdomain_with_underscore, &["_http._tcp.a", "a_b"], &["", "__a", "a_"]),
        ];
        for (rule, good, bad) in table {
            for text in *good {
                assert!(rule(text).is_empty(), "{text:?} is good: {:?}", rule(text));
            }
            for text in *bad {
                assert!(!rule(text).is_empty(), "{text:?} is bad");
            }
        }
    }

    #[test]
    fn a_prefix_may_end_in_a_dash() {
        assert!(name_is_dns_subdomain("web-", true).is_empty());
        assert!(!name_is_dns_subdomain("web-", false).is_empty());
        assert!(!name_is_dns_subdomain("-", true).is_empty());
    }
}
