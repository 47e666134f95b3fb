//! Named formats (upstream: apiserver/pkg/cel/library/format.go).

use std::rc::Rc;

use apimachinery::validation;
use base64::Engine as _;

use super::opaque::{OpaqueValue, made};
use super::urls::Url;
use super::{Called, time};
use crate::value::{List, Value};

/// All names.
pub(crate) const FORMATS: [&str; 13] = [
    "dns1123Label",
    "dns1123Subdomain",
    "dns1035Label",
    "qualifiedName",
    "dns1123LabelPrefix",
    "dns1123SubdomainPrefix",
    "dns1035LabelPrefix",
    "labelValue",
    "uri",
    "uuid",
    "byte",
    "date",
    "datetime",
];

/// `format.named(name)` and `format.<name>()`.
pub(super) fn global<'a>(function: &str, args: &[Value<'a>]) -> Called<'a> {
    let known = |name: &str| FORMATS.into_iter().find(|known| *known == name);
    match (function.strip_prefix("format.")?, args) {
        ("named", [Value::String(name)]) => {
            let found = known(name).map(|name| Rc::new(made(OpaqueValue::Format(name))));
            Some(Ok(Value::Optional(found)))
        }
        (name, []) => known(name).map(|name| Ok(made(OpaqueValue::Format(name)))),
        _ => None,
    }
}

/// `validate`: what is wrong with a text, or nothing.
pub(super) fn member<'a>(function: &str, name: &str, args: &[Value<'a>]) -> Called<'a> {
    let ("validate", [Value::String(text)]) = (function, args) else { return None };
    let problems = problems(name, text);
    if problems.is_empty() {
        return Some(Ok(Value::Optional(None)));
    }
    let list = List::new(problems.into_iter().map(Value::from).collect());
    Some(Ok(Value::Optional(Some(Rc::new(Value::List(list))))))
}

fn problems(name: &str, text: &str) -> Vec<String> {
    let unless = |fits: bool, words: &str| if fits { Vec::new() } else { vec![words.to_owned()] };
    match name {
        "dns1123Label" => validation::name_is_dns_label(text, false),
        "dns1123Subdomain" => validation::name_is_dns_subdomain(text, false),
        "dns1035Label" => validation::name_is_dns1035_label(text, false),
        "dns1123LabelPrefix" => validation::name_is_dns_label(text, true),
        "dns1123SubdomainPrefix" => validation::name_is_dns_subdomain(text, true),
        "dns1035LabelPrefix" => validation::name_is_dns1035_label(text, true),
        "qualifiedName" => validation::qualified_name(text),
        "labelValue" => validation::label_value(text),
        "uri" => Url::parse(text).err().into_iter().collect(),
        "uuid" => unless(is_uuid(text), "does not match the UUID format"),
        "byte" => unless(base64::engine::general_purpose::STANDARD.decode(text).is_ok(), "invalid base64"),
        "date" => unless(time::parse_date(text).is_ok(), "invalid date"),
        _ => unless(time::parse_timestamp(text).is_ok(), "invalid datetime"),
    }
}

/// Eight, four, four, four and twelve hexadecimal digits, with or without dashes between.
fn is_uuid(text: &str) -> bool {
    let mut rest = text.as_bytes();
    for (index, length) in [8, 4, 4, 4, 12].into_iter().enumerate() {
        if index > 0 {
            rest = rest.strip_prefix(b"-").unwrap_or(rest);
        }
        let Some((part, behind)) = rest.split_at_checked(length) else { return false };
        if !part.iter().all(u8::is_ascii_hexdigit) {
            return false;
        }
        rest = behind;
    }
    rest.is_empty()
}
