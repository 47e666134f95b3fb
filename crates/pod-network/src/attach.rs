//! One pod's link: three round trips to the kernel, of which one makes the pair in both namespaces.

use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::path::Path;

use ipnet::Ipv4Net;
use netlink::Socket;
use netlink::names::stable_hash;
use netlink::route::{self, Changes, Mac, PortOptions, Tolerate, VethPair};

use crate::{Error, PodAddress};

/// The pod's end.
const POD_LINK: &str = "eth0";
const PREFIX: &str = "veth";
/// Interface names have 15 bytes.
const HASH_DIGITS: usize = 11;

/// The node's end of a pod's link.
pub(crate) struct Port<'a> {
    pub(crate) name: &'a str,
    pub(crate) bridge: &'a str,
    pub(crate) mtu: u32,
}

/// The hardware address that goes with an address, so that a neighbour entry stays true when the address moves on.
pub(crate) fn mac_of(ip: Ipv4Addr) -> Mac {
    let [a, b, c, d] = ip.octets();
    [0x0a, 0x58, a, b, c, d]
}

/// The name of a pod's link on the node.
pub(crate) fn link_name(uid: &str) -> String {
    let digits = format!("{:016x}", stable_hash(uid.as_bytes()));
    format!("{PREFIX}{}", &digits[digits.len() - HASH_DIGITS..])
}

/// Whether [`link_name`] makes such names.
pub(crate) fn is_pod_link(name: &str) -> bool {
    name.strip_prefix(PREFIX).is_some_and(|rest| {
        rest.len() == HASH_DIGITS && rest.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    })
}

/// Connects the namespace at `netns`; mends a link that was left half made.
pub(crate) fn attach(port: &Port<'_>, netns: &Path, address: &PodAddress) -> Result<(), Error> {
    let failed = |err| Error::Namespace { path: netns.to_owned(), err };
    let namespace = File::open(netns).map_err(failed)?;
    let mut here = Socket::route()?;
    let inside = netlink::netns::run(netns, || {
        relax_privileges();
        Ok(Socket::route())
    });
    let mut inside = inside.map_err(failed)??;

    let made = make_pair(&mut here, port, &namespace, address);
    let existed =
        matches!(&made, Err(Error::Netlink(err)) if err.errno() == Some(rustix::io::Errno::EXIST.raw_os_error()));
    if !existed {
        made?;
    } else if route::link(&mut inside, POD_LINK)?.is_none() {
        // The pair of an earlier namespace of this pod.
        let mut changes = Changes::new();
        changes.delete_link(port.name, Tolerate::Missing);
        changes.apply(&mut here)?;
        make_pair(&mut here, port, &namespace, address)?;
    }
    configure_pod(&mut inside, address)?;
    let mut changes = Changes::new();
    changes.set_port(port.name, PortOptions { hairpin: true, isolated: true });
    changes.without_link_local(port.name);
    changes.set_up(port.name);
    Ok(changes.apply(&mut here)?)
}

/// Containers may bind every port and send pings without being root, for the namespace is the pod's alone.
///
/// upstream: containerd's defaults `enable_unprivileged_ports` and `enable_unprivileged_icmp`
fn relax_privileges() {
    for (setting, value) in [("ip_unprivileged_port_start", "0"), ("ping_group_range", "0 2147483647")] {
        if let Err(err) = std::fs::write(format!("/proc/sys/net/ipv4/{setting}"), value) {
            tracing::debug!(setting, error = %err, "a pod keeps the kernel's default");
        }
    }
}

fn make_pair(here: &mut Socket, port: &Port<'_>, namespace: &File, address: &PodAddress) -> Result<(), Error> {
    let bridge = route::link(here, port.bridge)?;
    let bridge = bridge.ok_or_else(|| Error::NoLink { name: port.bridge.to_owned() })?;
    let mut changes = Changes::new();
    let pair = VethPair {
        name: port.name,
        peer: POD_LINK,
        peer_mac: address.mac,
        peer_namespace: Some(namespace.as_raw_fd()),
        master: Some(bridge.index),
        mtu: port.mtu,
    };
    changes.add_veth(pair, Tolerate::Nothing);
    Ok(changes.apply(here)?)
}

fn configure_pod(inside: &mut Socket, address: &PodAddress) -> Result<(), Error> {
    let link = route::link(inside, POD_LINK)?;
    let link = link.ok_or_else(|| Error::NoLink { name: POD_LINK.to_owned() })?.index;
    let mut changes = Changes::new();
    changes.set_up("lo");
    changes.without_link_local(POD_LINK);
    changes.set_up(POD_LINK);
    changes.add_address(link, Ipv4Net::from(address.ip));
    changes.add_link_route(Ipv4Net::from(address.gateway), link, None);
    changes.add_gateway_route(Ipv4Net::default(), address.gateway, link);
    Ok(changes.apply(inside)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_and_are_known_again() {
        for uid in ["", "a", "4b3b6c1e-8b0a-4a44-9b5e-0f0d6d0c1a11"] {
            let name = link_name(uid);
            assert_eq!(name.len(), 15, "{name}");
            assert!(is_pod_link(&name), "{name}");
        }
        assert_ne!(link_name("a"), link_name("b"));
        for name in ["veth0", "vethxxxxxxxxxxx", "eth0", "kaji0"] {
            assert!(!is_pod_link(name), "{name}");
        }
    }

    #[test]
    fn the_hardware_address_is_local_and_follows_the_address() {
        assert_eq!(mac_of(Ipv4Addr::new(10, 244, 0, 7)), [0x0a, 0x58, 10, 244, 0, 7]);
    }
}
