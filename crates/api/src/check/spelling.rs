//! Words about addresses and networks that are spelled in other ways than others spell them, or that older rules let
//! pass (upstream: apimachinery/pkg/util/validation/ip.go, `GetWarningsForIP`, `GetWarningsForCIDR`).

use std::net::IpAddr;

use apimachinery::field::Path;
use ipnet::IpNet;

/// What is odd about an address.
pub(crate) fn of_ip(found: &mut Vec<String>, value: &str, path: &Path) {
    let Some(ip) = lenient_ip(value) else { return };
    let plain = value.parse::<IpAddr>();
    if plain != Ok(ip) {
        found.push(format!("{path}: non-standard IP address {value:?} is invalid: use \"{ip}\""));
    } else if ip.is_ipv6() && ip.to_string() != value {
        found.push(format!("{path}: IPv6 address {value:?} should be in RFC 5952 canonical format (\"{ip}\")"));
    }
}

/// What is odd about a network.
pub(crate) fn of_cidr(found: &mut Vec<String>, value: &str, path: &Path) {
    let Some(net) = lenient_cidr(value) else { return };
    let before = found.len();
    if net.addr() != net.network() {
        let (net, one) = (net.trunc(), format!("{}/{}", net.addr(), net.max_prefix_len()));
        found.push(format!(
            "{path}: CIDR value {value:?} is ambiguous in this context (should be \"{net}\" or \"{one}\"?)"
        ));
    }
    let (address, length) = value.split_once('/').unwrap_or_default();
    let zeros = length.len() > 1 && length.starts_with('0');
    if zeros || address.parse::<IpAddr>() != Ok(net.addr()) {
        let net = net.trunc();
        found.push(format!("{path}: non-standard CIDR value {value:?} is invalid: use \"{net}\""));
    }
    if found.len() == before && net.addr().is_ipv6() && net.to_string() != value {
        found.push(format!("{path}: IPv6 CIDR value {value:?} should be in RFC 5952 canonical format (\"{net}\")"));
    }
}

/// An address as it was once read: zeros before numbers are nothing, and an IPv4 address is one in either spelling.
fn lenient_ip(value: &str) -> Option<IpAddr> {
    let (before, numbers) = value.rfind(':').map_or(("", value), |colon| value.split_at(colon + 1));
    let plain = |number: &str| match number.trim_start_matches('0') {
        "" if !number.is_empty() => "0".to_owned(),
        rest => rest.to_owned(),
    };
    let parsed = value.parse::<IpAddr>().or_else(|_| {
        let numbers: Vec<String> = numbers.split('.').map(plain).collect();
        format!("{before}{}", numbers.join(".")).parse()
    });
    parsed.ok().map(|ip| ip.to_canonical())
}

fn lenient_cidr(value: &str) -> Option<IpNet> {
    let (address, length) = value.split_once('/')?;
    let digits = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
    let length: u8 = length.parse().ok().filter(|_| digits)?;
    let ip = lenient_ip(address)?;
    let mapped = ip.is_ipv4() && address.contains(':');
    IpNet::new(ip, if mapped { length.checked_sub(96)? } else { length }).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_spellings_are_told() {
        for (value, expected) in [
            ("10.0.0.1", None),
            ("2001:db8::1", None),
            ("nonsense", None),
            ("010.0.0.1", Some("a: non-standard IP address \"010.0.0.1\" is invalid: use \"10.0.0.1\"")),
            ("::ffff:1.2.3.4", Some("a: non-standard IP address \"::ffff:1.2.3.4\" is invalid: use \"1.2.3.4\"")),
            (
                "2001:DB8::1",
                Some("a: IPv6 address \"2001:DB8::1\" should be in RFC 5952 canonical format (\"2001:db8::1\")"),
            ),
        ] {
            let mut found = Vec::new();
            of_ip(&mut found, value, &Path::new("a"));
            assert_eq!(found.first().map(String::as_str), expected, "{value}");
        }
        for (value, expected) in [
            ("10.0.0.0/8", vec![]),
            ("2001:db8::/64", vec![]),
            ("10.0.0.0/33", vec![]),
            (
                "10.0.0.1/8",
                vec![
                    "a: CIDR value \"10.0.0.1/8\" is ambiguous in this context (should be \"10.0.0.0/8\" or \"10.0.0.1/32\"?)",
                ],
            ),
            ("10.0.0.0/08", vec!["a: non-standard CIDR value \"10.0.0.0/08\" is invalid: use \"10.0.0.0/8\""]),
            (
                "::ffff:1.2.3.0/120",
                vec!["a: non-standard CIDR value \"::ffff:1.2.3.0/120\" is invalid: use \"1.2.3.0/24\""],
            ),
            (
                "2001:DB8::/64",
                vec!["a: IPv6 CIDR value \"2001:DB8::/64\" should be in RFC 5952 canonical format (\"2001:db8::/64\")"],
            ),
        ] {
            let mut found = Vec::new();
            of_cidr(&mut found, value, &Path::new("a"));
            assert_eq!(found, expected, "{value}");
        }
    }
}
