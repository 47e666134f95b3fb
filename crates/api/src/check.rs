//! Checks that many kinds share: names, numbers, selectors, references. Each adds what it finds to [`Errors`].

use apimachinery::Object;
use apimachinery::field::{Error, Path};
use apimachinery::labels::{Selector, validate_label_selector, validate_labels};
use apimachinery::quantity::{Format, Quantity};
pub(crate) use apimachinery::validation as names;
use serde_json::{Map, Value};

use crate::json::Read;

mod conditions;
pub(crate) mod old_labels;
pub(crate) mod pem;
pub(crate) mod spelling;
pub(crate) mod x509;

pub(crate) use conditions::{conditions, holds};

/// A rule for names: the sentences that say what is wrong with one.
pub(crate) type Rule = fn(&str) -> Vec<String>;

/// What a validation has found so far.
pub(crate) type Errors = Vec<Error>;

/// What upstream says about a field that must not change.
pub(crate) const IMMUTABLE: &str = "field is immutable";

/// A required text; true when it is there.
pub(crate) fn required(errors: &mut Errors, of: &Map<String, Value>, name: &str, path: &Path) -> bool {
    let there = !of.text(name).is_empty();
    if !there {
        errors.push(Error::required(&path.child(name), ""));
    }
    there
}

/// A text that a naming rule holds for.
pub(crate) fn named(errors: &mut Errors, rule: Rule, value: &str, path: &Path) {
    errors.extend(rule(value).into_iter().map(|sentence| Error::invalid(path, value, sentence)));
}

/// A required text that a naming rule holds for.
pub(crate) fn required_name(errors: &mut Errors, rule: Rule, of: &Map<String, Value>, name: &str, path: &Path) {
    if required(errors, of, name, path) {
        named(errors, rule, of.text(name), &path.child(name));
    }
}

/// A text that a naming rule holds for, when it is there.
pub(crate) fn optional_name(errors: &mut Errors, rule: Rule, of: &Map<String, Value>, name: &str, path: &Path) {
    if !of.text(name).is_empty() {
        named(errors, rule, of.text(name), &path.child(name));
    }
}

/// A number that, when there, is not negative.
pub(crate) fn not_negative(errors: &mut Errors, of: &Map<String, Value>, name: &str, path: &Path) {
    at_least(errors, of, name, 0, path);
}

/// A number that, when there, is not below `min`.
pub(crate) fn at_least(errors: &mut Errors, of: &Map<String, Value>, name: &str, min: i64, path: &Path) {
    if let Some(number) = of.int(name)
        && number < min
    {
        errors.push(Error::invalid(&path.child(name), number, format!("must be greater than or equal to {min}")));
    }
}

/// A text that, when there, is one of a few.
pub(crate) fn one_of(errors: &mut Errors, of: &Map<String, Value>, name: &str, allowed: &[&str], path: &Path) {
    let value = of.text(name);
    if !value.is_empty() && !allowed.contains(&value) {
        errors.push(Error::not_supported(&path.child(name), value, allowed));
    }
}

/// A text that must be there and be one of a few.
pub(crate) fn required_one_of(errors: &mut Errors, of: &Map<String, Value>, name: &str, allowed: &[&str], path: &Path) {
    if required(errors, of, name, path) {
        one_of(errors, of, name, allowed, path);
    }
}

/// A port number.
pub(crate) fn port_number(errors: &mut Errors, number: i64, path: &Path) {
    if !(1..=65535).contains(&number) {
        errors.push(Error::invalid(path, number, "must be between 1 and 65535, inclusive"));
    }
}

/// A port number or the name of one.
pub(crate) fn port_number_or_name(errors: &mut Errors, value: Option<&Value>, path: &Path) {
    match value {
        Some(Value::String(name)) => named(errors, names::port_name, name, path),
        Some(value) if value.is_i64() || value.is_u64() => {
            port_number(errors, value.as_i64().unwrap_or_default(), path)
        }
        _ => port_number(errors, 0, path),
    }
}

/// A field that an update may not change.
pub(crate) fn immutable(errors: &mut Errors, new: Option<&Value>, old: Option<&Value>, path: &Path) {
    if new != old {
        errors.push(Error::invalid(path, new.cloned().unwrap_or(Value::Null), IMMUTABLE));
    }
}

/// The whole rule of an update for kinds whose spec is final.
pub(crate) fn same_spec(object: &Object, old: &Object) -> Errors {
    let mut errors = Errors::new();
    immutable(&mut errors, object.value("spec"), old.value("spec"), &Path::new("spec"));
    errors
}

/// An IP address of either family, in any spelling that cannot be misread
/// (upstream: `IsValidIPForLegacyField`).
pub(crate) fn ip_address(errors: &mut Errors, value: &str, path: &Path) {
    named(errors, names::ip, value, path);
}

/// An IP address, or one of those that were there before: older rules may have let it pass.
pub(crate) fn ip_address_or_known(errors: &mut Errors, value: &str, known: &[&str], path: &Path) {
    if !known.contains(&value) {
        ip_address(errors, value, path);
    }
}

/// Addresses that no service and no endpoint can have (upstream: `ValidateNonSpecialIP`).
pub(crate) fn not_special_ip(errors: &mut Errors, address: &str, path: &Path) {
    let Ok(ip) = address.parse::<std::net::IpAddr>() else { return };
    let is_link_local = match ip {
        std::net::IpAddr::V4(ip) => ip.is_link_local(),
        std::net::IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    for (is_special, detail) in [
        (ip.is_unspecified(), format!("may not be unspecified ({address})")),
        (ip.is_loopback(), "may not be in the loopback range (127.0.0.0/8, ::1/128)".to_owned()),
        (is_link_local, "may not be in the link-local range (169.254.0.0/16, fe80::/10)".to_owned()),
        (ip.is_multicast(), "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)".to_owned()),
    ] {
        if is_special {
            errors.push(Error::invalid(path, address, detail));
        }
    }
}

/// A network in CIDR notation, in any spelling that cannot be misread (upstream: `IsValidCIDRForLegacyField`).
pub(crate) fn cidr(errors: &mut Errors, value: &str, path: &Path) {
    named(errors, names::cidr, value, path);
}

/// A network, or one of those that were there before: older rules may have let it pass.
pub(crate) fn cidr_or_known(errors: &mut Errors, value: &str, known: &[&str], path: &Path) {
    if !known.contains(&value) {
        cidr(errors, value, path);
    }
}

/// What is wrong with an IP address where there is one spelling of each (upstream: `IsValidIP`).
pub(crate) fn canonical_ip(value: &str) -> Vec<String> {
    canonical(names::ip(value), value, value.parse::<std::net::IpAddr>().ok())
}

/// What is wrong with a network where there is one spelling of each (upstream: `IsValidCIDR`).
pub(crate) fn canonical_cidr(value: &str) -> Vec<String> {
    canonical(names::cidr(value), value, value.parse::<ipnet::IpNet>().ok())
}

fn canonical(mut wrong: Vec<String>, value: &str, parsed: Option<impl std::fmt::Display>) -> Vec<String> {
    let text = parsed.map(|parsed| parsed.to_string()).filter(|text| wrong.is_empty() && text != value);
    wrong.extend(text.map(|text| format!("must be in canonical form ({text:?})")));
    wrong
}

/// A map of labels.
pub(crate) fn labels(errors: &mut Errors, labels: &Map<String, Value>, path: &Path) {
    errors.extend(validate_labels(labels, path));
}

/// A `LabelSelector` in a field, when it is there.
pub(crate) fn label_selector(errors: &mut Errors, of: &Map<String, Value>, name: &str, path: &Path) {
    if let Some(selector) = of.value(name) {
        errors.extend(validate_label_selector(selector, &path.child(name)));
    }
}

/// Whether a `LabelSelector` selects these labels; an invalid one selects nothing.
pub(crate) fn selects(selector: Option<&Value>, labels: &Map<String, Value>) -> bool {
    let lookup = |key: &str| labels.get(key).and_then(Value::as_str);
    Selector::from_label_selector(selector).is_ok_and(|selector| selector.matches(lookup))
}

/// The quantity in a field; what cannot be read is zero (the schema has refused it before).
pub(crate) fn quantity(value: &Value) -> Quantity {
    let parsed = match value {
        Value::String(text) => Quantity::parse(text),
        other => Quantity::parse(&other.to_string()),
    };
    parsed.unwrap_or_else(|_| Quantity::new(0, Format::DecimalSi))
}
