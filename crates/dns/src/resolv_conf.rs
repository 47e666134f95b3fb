//! The resolvers that a resolv.conf(5) names.

use std::net::{IpAddr, SocketAddr};

const PORT: u16 = 53;

/// The name servers in order, without those that are `ours`: asking ourselves would never end.
pub fn nameservers(text: &str, ours: &[IpAddr]) -> Vec<SocketAddr> {
    let mut found = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        if words.next() != Some("nameserver") {
            continue;
        }
        // An IPv6 address may carry a scope, which we have no use for.
        let address = words.next().and_then(|word| word.split('%').next()?.parse::<IpAddr>().ok());
        if let Some(address) = address.filter(|address| !ours.contains(address) && !address.is_unspecified()) {
            let server = SocketAddr::new(address, PORT);
            if !found.contains(&server) {
                found.push(server);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_taken_in_order_without_our_own_and_without_rubbish() {
        let text = "# comment\nsearch example.com\nnameserver 192.0.2.1\nnameserver\nnameserver nonsense\n\
                    nameserver 10.96.0.10\n  nameserver 2001:db8::1%eth0 # x\nnameserver 192.0.2.1\n";
        let ours = ["10.96.0.10".parse().expect("an address")];
        let found: Vec<String> = nameservers(text, &ours).iter().map(SocketAddr::to_string).collect();
        assert_eq!(found, ["192.0.2.1:53", "[2001:db8::1]:53"]);
    }
}
