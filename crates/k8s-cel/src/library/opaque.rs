//! Values with types of their own: URLs, addresses, quantities, versions, named formats
//! (upstream: apiserver/pkg/cel/library/{urls,ip,cidr,quantity,semverlib,format}.go).

use std::cmp::Ordering;
use std::fmt;
use std::net::IpAddr;

use apimachinery::quantity::{Format as QuantityFormat, Quantity};
use semver::Version;

use super::net::{self, Cidr};
use super::urls::Url;
use super::{Called, formats};
use crate::error::EvalError;
use crate::types::Opaque;
use crate::value::Value;

/// A value of one of the libraries.
#[derive(Clone, Debug)]
pub enum OpaqueValue {
    /// `url()`.
    Url(Url),
    /// `ip()`.
    Ip(IpAddr),
    /// `cidr()`.
    Cidr(Cidr),
    /// `quantity()`.
    Quantity(Quantity),
    /// `semver()`.
    Semver(Version),
    /// `format.dns1123Label()`, by the name behind the dot.
    Format(&'static str),
}

impl OpaqueValue {
    /// Its type.
    pub(crate) fn kind(&self) -> Opaque {
        match self {
            Self::Url(_) => Opaque::Url,
            Self::Ip(_) => Opaque::Ip,
            Self::Cidr(_) => Opaque::Cidr,
            Self::Quantity(_) => Opaque::Quantity,
            Self::Semver(_) => Opaque::Semver,
            Self::Format(_) => Opaque::Format,
        }
    }

    /// `==`.
    pub(crate) fn equals(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Url(left), Self::Url(right)) => left == right,
            (Self::Ip(left), Self::Ip(right)) => left == right,
            (Self::Cidr(left), Self::Cidr(right)) => left == right,
            (Self::Quantity(left), Self::Quantity(right)) => left == right,
            (Self::Semver(left), Self::Semver(right)) => left.cmp_precedence(right) == Ordering::Equal,
            (Self::Format(left), Self::Format(right)) => left == right,
            _ => false,
        }
    }

    /// Calls a function of the value.
    pub(super) fn member<'a>(&self, function: &str, args: &[Value<'a>]) -> Called<'a> {
        match self {
            Self::Url(url) => url.member(function, args),
            Self::Ip(ip) => net::of_ip(function, *ip),
            Self::Cidr(cidr) => cidr.member(function, args),
            Self::Quantity(quantity) => of_quantity(function, *quantity, args),
            Self::Semver(version) => of_semver(function, version, args),
            Self::Format(name) => formats::member(function, name, args),
        }
    }
}

impl fmt::Display for OpaqueValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(url) => url.fmt(f),
            Self::Ip(ip) => ip.fmt(f),
            Self::Cidr(cidr) => cidr.fmt(f),
            Self::Quantity(quantity) => quantity.fmt(f),
            Self::Semver(version) => version.fmt(f),
            Self::Format(name) => f.write_str(name),
        }
    }
}

/// The value of a library.
pub(super) fn made<'a>(value: OpaqueValue) -> Value<'a> {
    Value::Opaque(value.into())
}

/// Calls a function that makes such a value of a text, or tells whether it could.
pub(super) fn global<'a>(function: &str, args: &[Value<'a>]) -> Called<'a> {
    let (Value::String(text), rest) = args.split_first()? else { return None };
    let strict = match rest {
        [] => true,
        [Value::Bool(lenient)] if matches!(function, "semver" | "isSemver") => !lenient,
        _ => return None,
    };
    let result = match function {
        "url" => Url::parse(text)
            .map(OpaqueValue::Url)
            .map_err(|why| EvalError::function(format!("URL parse error during conversion from string: {why}"))),
        "ip" => net::parse_ip(text).map(OpaqueValue::Ip),
        "cidr" => net::parse_cidr(text).map(OpaqueValue::Cidr),
        "quantity" => {
            Quantity::parse(text).map(OpaqueValue::Quantity).map_err(|error| EvalError::function(error.to_string()))
        }
        "semver" => parse_semver(text, strict).map(OpaqueValue::Semver),
        "isURL" => return is(Url::parse(text).is_ok()),
        "isIP" => return is(net::parse_ip(text).is_ok()),
        "isCIDR" => return is(net::parse_cidr(text).is_ok()),
        "isQuantity" => return is(Quantity::parse(text).is_ok()),
        "isSemver" => return is(parse_semver(text, strict).is_ok()),
        "ip.isCanonical" => return Some(net::parse_ip(text).map(|ip| Value::Bool(ip.to_string() == **text))),
        _ => return None,
    };
    Some(result.map(made))
}

fn is<'a>(it_is: bool) -> Called<'a> {
    Some(Ok(Value::Bool(it_is)))
}

/// Strictly, or with a `v` before, parts missing and zeros leading (upstream: `normalizeAndParse`).
fn parse_semver(text: &str, strict: bool) -> Result<Version, EvalError> {
    let normalized = if strict { text.to_owned() } else { normalize_semver(text) };
    Version::parse(&normalized).map_err(|error| EvalError::function(error.to_string()))
}

fn normalize_semver(text: &str) -> String {
    let text = text.strip_prefix('v').unwrap_or(text);
    let end = text.find(['-', '+']).unwrap_or(text.len());
    let (numbers, rest) = text.split_at(end);
    let mut parts: Vec<String> = numbers
        .split('.')
        .map(|part| match part.trim_start_matches('0') {
            "" if !part.is_empty() => "0".to_owned(),
            stripped => stripped.to_owned(),
        })
        .collect();
    while parts.len() < 3 {
        parts.push("0".to_owned());
    }
    format!("{}{rest}", parts.join("."))
}

fn sign(ordering: Ordering) -> i64 {
    match ordering {
        Ordering::Less => -1,
        Ordering::Equal => 0,
        Ordering::Greater => 1,
    }
}

fn compared<'a>(function: &str, ordering: Ordering) -> Called<'a> {
    Some(Ok(match function {
        "isGreaterThan" => Value::Bool(ordering == Ordering::Greater),
        "isLessThan" => Value::Bool(ordering == Ordering::Less),
        "compareTo" => Value::Int(sign(ordering)),
        _ => return None,
    }))
}

fn of_quantity<'a>(function: &str, quantity: Quantity, args: &[Value<'a>]) -> Called<'a> {
    let other = match args {
        [Value::Opaque(other)] => match **other {
            OpaqueValue::Quantity(other) => Some(other),
            _ => None,
        },
        [Value::Int(other)] if matches!(function, "add" | "sub") => {
            Some(Quantity::new(*other, QuantityFormat::DecimalSi))
        }
        _ => None,
    };
    Some(Ok(match (function, other) {
        ("sign", None) => Value::Int(sign(quantity.cmp(&Quantity::default()))),
        ("isInteger", None) => Value::Bool(quantity.as_i64().is_some()),
        ("asInteger", None) => match quantity.as_i64() {
            Some(whole) => Value::Int(whole),
            None => return Some(Err(EvalError::function("cannot convert value to integer"))),
        },
        ("asApproximateFloat", None) => Value::Double(quantity.as_f64()),
        ("add", Some(other)) => made(OpaqueValue::Quantity(quantity.add(other))),
        ("sub", Some(other)) => made(OpaqueValue::Quantity(quantity.sub(other))),
        (function, Some(other)) => return compared(function, quantity.cmp(&other)),
        _ => return None,
    }))
}

fn of_semver<'a>(function: &str, version: &Version, args: &[Value<'a>]) -> Called<'a> {
    let number = |number: u64| Some(Ok(Value::Int(i64::try_from(number).unwrap_or(i64::MAX))));
    match (function, args) {
        ("major", []) => number(version.major),
        ("minor", []) => number(version.minor),
        ("patch", []) => number(version.patch),
        (function, [Value::Opaque(other)]) => match &**other {
            OpaqueValue::Semver(other) => compared(function, version.cmp_precedence(other)),
            _ => None,
        },
        _ => None,
    }
}
