//! `format` of strings (upstream: apiextensions-apiserver/pkg/apiserver/validation/formats.go,
//! kube-openapi/pkg/validation/strfmt).

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

use apimachinery::field::Error;
use apimachinery::validation;
use regex::Regex;

use super::at;
use crate::schema::Schema;

/// The formats that are checked, by their name without dashes.
const KNOWN: [(&str, fn(&str) -> bool); 27] = [
    ("bsonobjectid", |text| text.len() == 24 && text.bytes().all(|letter| letter.is_ascii_hexdigit())),
    ("uri", is_uri),
    ("email", is_email),
    ("hostname", is_hostname),
    ("ipv4", |text| text.parse::<Ipv4Addr>().is_ok()),
    ("ipv6", |text| text.parse::<Ipv6Addr>().is_ok()),
    ("cidr", |text| validation::cidr(text).is_empty()),
    ("mac", is_mac),
    ("uuid", |text| is_uuid(text, None)),
    ("uuid3", |text| is_uuid(text, Some(b'3'))),
    ("uuid4", |text| is_uuid(text, Some(b'4'))),
    ("uuid5", |text| is_uuid(text, Some(b'5'))),
    ("isbn", |text| is_isbn10(text) || is_isbn13(text)),
    ("isbn10", is_isbn10),
    ("isbn13", is_isbn13),
    ("creditcard", is_credit_card),
    ("ssn", |text| SSN.is_match(text)),
    ("hexcolor", |text| HEX_COLOR.is_match(text)),
    ("rgbcolor", is_rgb_color),
    ("byte", is_base64),
    ("password", |_| true),
    ("date", |text| text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok()),
    ("duration", |text| DURATION.is_match(text)),
    ("datetime", is_date_time),
    ("k8sshortname", |text| validation::dns1123_label(text).is_empty()),
    ("k8slongname", |text| validation::dns1123_subdomain(text).is_empty()),
    ("", |_| true),
];

static SSN: LazyLock<Regex> = LazyLock::new(|| compile(r"^\d{3}[- ]?\d{2}[- ]?\d{4}$"));
static HEX_COLOR: LazyLock<Regex> = LazyLock::new(|| compile("^#?([0-9a-fA-F]{3}|[0-9a-fA-F]{6})$"));
static HOSTNAME: LazyLock<Regex> = LazyLock::new(|| {
    compile(
        r"^([a-zA-Z0-9\p{S}\p{L}]((-?[a-zA-Z0-9\p{S}\p{L}]{0,62})?)|([a-zA-Z0-9\p{S}\p{L}](([a-zA-Z0-9-\p{S}\p{L}]{0,61}[a-zA-Z0-9\p{S}\p{L}])?)(\.)){1,}([a-zA-Z\p{L}]){2,63})$",
    )
});
static CREDIT_CARD: LazyLock<Regex> = LazyLock::new(|| {
    compile(
        r"^(?:4[0-9]{12}(?:[0-9]{3})?|5[1-5][0-9]{14}|6(?:011|5[0-9][0-9])[0-9]{12}|3[47][0-9]{13}|3(?:0[0-5]|[68][0-9])[0-9]{11}|(?:2131|1800|35\d{3})\d{11})$",
    )
});
/// Go's durations, and those of Scala: a number and a unit, in words or not.
static DURATION: LazyLock<Regex> = LazyLock::new(|| {
    compile(
        r"^([-+]?(0|((\d+(\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h))+)|(\d+\s*(w|d|h|m|s|ms|µs|us|ns|weeks?|days?|hours?|minutes?|seconds?|millis?|milliseconds?|micros?|microseconds?|nanos?|nanoseconds?|milli|micro|nano|hrs?|mins?|secs?)))$",
    )
});
static DATE_TIME: LazyLock<Regex> =
    LazyLock::new(|| compile(r"^\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}([.,]\d+)?([Zz]|[-+]\d{2}:?\d{2})$"));

fn compile(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a test compiles every pattern")
}

/// The check of a format; those of other types and unknown ones have none.
fn check(schema: &Schema) -> Option<fn(&str) -> bool> {
    if !matches!(schema.kind.as_str(), "" | "string") {
        return None;
    }
    let name = schema.format.replace('-', "");
    KNOWN.iter().find(|(known, _)| *known == name).map(|(_, check)| *check)
}

/// Whether the schema's format is one that means something for its type.
pub(crate) fn is_known(schema: &Schema) -> bool {
    match (schema.kind.as_str(), schema.format.as_str()) {
        (_, "") => true,
        ("integer", format) => matches!(format, "int32" | "int64"),
        ("number", format) => matches!(format, "float" | "double"),
        _ => check(schema).is_some(),
    }
}

/// A text that does not have the schema's format.
pub(super) fn wrong_format(schema: &Schema, text: &str, path: &str) -> Option<Error> {
    let check = check(schema)?;
    let format = &schema.format;
    let words = format!("{path} in body must be of type {format}: {text:?}");
    (!check(text)).then(|| Error::type_invalid(&at(path), text, words))
}

/// What Go's `url.ParseRequestURI` takes: an absolute URI, or an absolute path.
fn is_uri(text: &str) -> bool {
    if text.is_empty() || text.bytes().any(|letter| letter.is_ascii_control() || letter == b' ') {
        return false;
    }
    if text.starts_with('/') {
        return true;
    }
    let Some((scheme, rest)) = text.split_once(':') else { return false };
    scheme.starts_with(|letter: char| letter.is_ascii_alphabetic())
        && scheme.bytes().all(|letter| letter.is_ascii_alphanumeric() || b"+-.".contains(&letter))
        && !rest.is_empty()
}

fn is_email(text: &str) -> bool {
    let address = match (text.rfind('<'), text.strip_suffix('>')) {
        (Some(at), Some(inner)) => inner.get(at + 1..).unwrap_or_default(),
        (None, None) => text,
        _ => return false,
    };
    let Some((local, domain)) = address.rsplit_once('@') else { return false };
    let atoms = |text: &str| {
        let special = |letter: char| letter.is_whitespace() || letter.is_control() || "()<>[]:;@\\,\"".contains(letter);
        !text.is_empty() && text.split('.').all(|atom| !atom.is_empty() && !atom.contains(special))
    };
    let quoted = local.len() > 2 && local.starts_with('"') && local.ends_with('"');
    (quoted || atoms(local)) && atoms(domain)
}

fn is_hostname(text: &str) -> bool {
    text.len() <= 255 && HOSTNAME.is_match(text) && text.split('.').all(|label| label.len() <= 63)
}

/// 6, 8 or 20 bytes, with colons, dashes or in groups of four with dots.
fn is_mac(text: &str) -> bool {
    let hex = |group: &str, digits: usize| group.len() == digits && group.bytes().all(|one| one.is_ascii_hexdigit());
    let of = |separator: char, digits: usize| {
        let groups: Vec<&str> = text.split(separator).collect();
        matches!(groups.len() * digits / 2, 6 | 8 | 20) && groups.iter().all(|group| hex(group, digits))
    };
    of(':', 2) || of('-', 2) || of('.', 4)
}

fn is_uuid(text: &str, version: Option<u8>) -> bool {
    let digits: Vec<u8> = text.bytes().filter(|letter| *letter != b'-').collect();
    let groups: Vec<usize> = text.split('-').map(str::len).collect();
    // Each of the four dashes may be missing.
    let mut boundary = 0;
    let dashes_fit = groups.iter().take(groups.len().saturating_sub(1)).all(|length| {
        boundary += length;
        [8, 12, 16, 20].contains(&boundary)
    });
    let variant = !matches!(version, Some(b'4' | b'5')) || b"89abAB".contains(digits.get(16).unwrap_or(&0));
    digits.len() == 32
        && dashes_fit
        && digits.iter().all(u8::is_ascii_hexdigit)
        && version.is_none_or(|version| digits[12] == version)
        && variant
}

fn is_isbn10(text: &str) -> bool {
    let digits: Vec<u8> = text.bytes().filter(|letter| !b" -".contains(letter)).collect();
    let digit = |at: usize| match digits[at] {
        letter if letter.is_ascii_digit() => Some(u32::from(letter - b'0')),
        b'X' if at == 9 => Some(10),
        _ => None,
    };
    digits.len() == 10
        && (0..10)
            .map(|at| digit(at).map(|digit| digit * (10 - at as u32)))
            .sum::<Option<u32>>()
            .is_some_and(|sum| sum % 11 == 0)
}

fn is_isbn13(text: &str) -> bool {
    let digits: Vec<u8> = text.bytes().filter(|letter| !b" -".contains(letter)).collect();
    let weighted =
        digits.iter().enumerate().map(|(at, digit)| u32::from(digit - b'0') * if at % 2 == 0 { 1 } else { 3 });
    digits.len() == 13 && digits.iter().all(u8::is_ascii_digit) && weighted.sum::<u32>() % 10 == 0
}

fn is_credit_card(text: &str) -> bool {
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    if !CREDIT_CARD.is_match(&digits) {
        return false;
    }
    let luhn = digits.bytes().rev().enumerate().map(|(at, digit)| {
        let digit = u32::from(digit - b'0') * if at % 2 == 1 { 2 } else { 1 };
        if digit > 9 { digit - 9 } else { digit }
    });
    luhn.sum::<u32>() % 10 == 0
}

fn is_rgb_color(text: &str) -> bool {
    let Some(inner) = text.strip_prefix("rgb(").and_then(|text| text.strip_suffix(')')) else { return false };
    let parts: Vec<&str> = inner.split(',').map(str::trim).collect();
    parts.len() == 3 && parts.iter().all(|part| part.parse::<u8>().is_ok())
}

fn is_base64(text: &str) -> bool {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(text).is_ok()
}

fn is_date_time(text: &str) -> bool {
    DATE_TIME.is_match(text)
        && text.get(..10).is_some_and(|date| date.parse::<jiff::civil::Date>().is_ok())
        && text.get(11..19).is_some_and(|time| time.parse::<jiff::civil::Time>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_has_good_and_bad_texts() {
        for (format, good, bad) in [
            ("bsonobjectid", "507f1f77bcf86cd799439011", "507f"),
            ("uri", "https://example.com/a?b=c", "not a uri"),
            ("email", "Ann <ann@example.com>", "ann@"),
            ("hostname", "a.example.com", "a_b.example.com"),
            ("ipv4", "10.0.0.1", "10.0.0.256"),
            ("ipv6", "fd00::1", "fd00:::1"),
            ("cidr", "10.0.0.0/8", "10.0.0.0"),
            ("mac", "00:1b:44:11:3a:b7", "00:1b:44"),
            ("uuid", "123E4567-e89b-12d3-a456-426614174000", "123e4567-e89b-12d3-a456-42661417400"),
            ("uuid3", "123e4567-e89b-32d3-a456-426614174000", "123e4567-e89b-12d3-a456-426614174000"),
            ("uuid4", "123e4567e89b42d3a456426614174000", "123e4567-e89b-42d3-c456-426614174000"),
            ("uuid5", "123e4567-e89b-52d3-8456-426614174000", "123e4567-e89b-42d3-a456-426614174000"),
            ("isbn", "978-0321751041", "978-0321751042"),
            ("isbn10", "0321751043", "0321751044"),
            ("isbn13", "9780321751041", "0321751043"),
            ("creditcard", "4111-1111-1111-1111", "4111-1111-1111-1112"),
            ("ssn", "111-22-3333", "111-2-3333"),
            ("hexcolor", "#FFaa00", "#FFaa0"),
            ("rgbcolor", "rgb(0, 12,255)", "rgb(0,0,256)"),
            ("byte", "aGVsbG8=", "aGVsbG8"),
            ("date", "2006-01-02", "2006-13-02"),
            ("duration", "1h22m3.5s", "1 parsec"),
            ("date-time", "2014-12-15T19:30:20.000Z", "2014-12-15"),
            ("datetime", "2014-12-15T19:30:20+02:00", "2014-12-15T25:30:20Z"),
            ("k8s-short-name", "a-b", "a.b"),
            ("k8s-long-name", "a-b.c", "A"),
        ] {
            let schema = Schema { kind: "string".into(), format: format.into(), ..Schema::default() };
            assert!(is_known(&schema), "{format}");
            assert_eq!(wrong_format(&schema, good, "x").map(|error| error.to_string()), None, "{format} {good}");
            let words = format!("x: Invalid value: {bad:?}: x in body must be of type {format}: {bad:?}");
            assert_eq!(wrong_format(&schema, bad, "x").map(|error| error.to_string()), Some(words));
        }
        let unknown = Schema { kind: "string".into(), format: "postcode".into(), ..Schema::default() };
        assert!(!is_known(&unknown) && wrong_format(&unknown, "x", "x").is_none());
    }
}
