//! Addresses and networks (upstream: apiserver/pkg/cel/library/{ip,cidr}.go, Go's net/netip).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::opaque::{OpaqueValue, made};
use super::{Called, quote};
use crate::error::EvalError;
use crate::value::Value;

/// Reads an address; none with a zone, and no IPv4 address written as an IPv6 one.
pub(super) fn parse_ip(text: &str) -> Result<IpAddr, EvalError> {
    let shown = || quote(text);
    let address: IpAddr = text.parse().map_err(|_| {
        if text.contains('%') {
            return EvalError::function(format!("IP address {} with zone value is not allowed", shown()));
        }
        let shown = shown();
        EvalError::function(format!(
            "IP Address {shown} parse error during conversion from string: ParseAddr({shown}): unable to parse IP"
        ))
    })?;
    match address {
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => {
            Err(EvalError::function(format!("IPv4-mapped IPv6 address {} is not allowed", shown())))
        }
        other => Ok(other),
    }
}

/// Calls a function of an address.
pub(super) fn of_ip<'a>(function: &str, ip: IpAddr) -> Called<'a> {
    let is_local = |ip: IpAddr| match ip {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    Some(Ok(match function {
        "family" => Value::Int(if ip.is_ipv4() { 4 } else { 6 }),
        "isUnspecified" => Value::Bool(ip.is_unspecified()),
        "isLoopback" => Value::Bool(ip.is_loopback()),
        "isLinkLocalMulticast" => Value::Bool(match ip {
            IpAddr::V4(v4) => v4.octets()[..3] == [224, 0, 0],
            IpAddr::V6(v6) => v6.segments()[0] & 0xff0f == 0xff02,
        }),
        "isLinkLocalUnicast" => Value::Bool(is_local(ip)),
        "isGlobalUnicast" => {
            let special = ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() || is_local(ip);
            Value::Bool(!special && ip != IpAddr::V4(Ipv4Addr::BROADCAST))
        }
        _ => return None,
    }))
}

/// A network, with the address as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    address: IpAddr,
    bits: u8,
}

/// Reads a network.
pub(super) fn parse_cidr(text: &str) -> Result<Cidr, EvalError> {
    let refuse = |why: &str| {
        EvalError::function(format!(
            "network address parse error during conversion from string: network address parse error during conversion \
             from string: netip.ParsePrefix({}): {why}",
            quote(text)
        ))
    };
    let (address, bits) = text.rsplit_once('/').ok_or_else(|| refuse("no '/'"))?;
    let address: IpAddr = address.parse().map_err(|_| refuse("unable to parse IP"))?;
    if let IpAddr::V6(v6) = address
        && v6.to_ipv4_mapped().is_some()
    {
        return Err(EvalError::function(format!("IPv4-mapped IPv6 address {} is not allowed", quote(text))));
    }
    let is_plain = bits.bytes().all(|digit| digit.is_ascii_digit()) && (bits == "0" || !bits.starts_with('0'));
    let most = if address.is_ipv4() { 32 } else { 128 };
    let bits = bits.parse::<u8>().ok().filter(|bits| is_plain && *bits <= most);
    let bits = bits.ok_or_else(|| refuse("prefix length out of range"))?;
    Ok(Cidr { address, bits })
}

fn mask(address: IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & mask))
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask))
        }
    }
}

impl Cidr {
    fn contains(self, ip: IpAddr) -> bool {
        self.address.is_ipv4() == ip.is_ipv4() && mask(self.address, self.bits) == mask(ip, self.bits)
    }

    /// Calls a function of the network.
    pub(super) fn member<'a>(self, function: &str, args: &[Value<'a>]) -> Called<'a> {
        Some(Ok(match (function, args) {
            ("ip", []) => made(OpaqueValue::Ip(self.address)),
            ("prefixLength", []) => Value::Int(i64::from(self.bits)),
            ("masked", []) => made(OpaqueValue::Cidr(Self { address: mask(self.address, self.bits), bits: self.bits })),
            ("containsIP", [arg]) => match address_of(arg)? {
                Ok(ip) => Value::Bool(self.contains(ip)),
                Err(error) => return Some(Err(error)),
            },
            ("containsCIDR", [arg]) => match network_of(arg)? {
                Ok(other) => Value::Bool(self.bits <= other.bits && self.contains(other.address)),
                Err(error) => return Some(Err(error)),
            },
            _ => return None,
        }))
    }
}

fn address_of(arg: &Value<'_>) -> Option<Result<IpAddr, EvalError>> {
    match arg {
        Value::String(text) => Some(parse_ip(text)),
        Value::Opaque(opaque) => match **opaque {
            OpaqueValue::Ip(ip) => Some(Ok(ip)),
            _ => None,
        },
        _ => None,
    }
}

fn network_of(arg: &Value<'_>) -> Option<Result<Cidr, EvalError>> {
    match arg {
        Value::String(text) => Some(parse_cidr(text)),
        Value::Opaque(opaque) => match **opaque {
            OpaqueValue::Cidr(cidr) => Some(Ok(cidr)),
            _ => None,
        },
        _ => None,
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}
