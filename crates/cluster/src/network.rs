//! The network between a cluster's nodes and this machine: one bridge, one link a node.
//!
//! It has no route to anywhere else: nodes see each other and this machine, nothing more.

use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::path::Path;

use ipnet::Ipv4Net;
use netlink::Socket;
use netlink::route::{self, Changes, Mac, Tolerate, VethPair};
use sha2::{Digest, Sha256};

/// Networks are taken from here, a /24 a cluster.
const POOL: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(172, 30, 0, 0), 16);
/// The node's end of its link.
const NODE_LINK: &str = "eth0";
/// The largest packet, in bytes: nothing on the way is smaller than Ethernet.
const MTU: u32 = 1500;

/// Why the network could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel refused.
    #[error(transparent)]
    Kernel(#[from] netlink::Error),
    /// A node's namespace could not be entered.
    #[error("cannot reach the node's network")]
    Namespace(#[source] std::io::Error),
    /// A link that was just made, or that every node has, is not there.
    #[error("there is no link {0:?}")]
    NoLink(String),
    /// Every network of the pool overlaps one that is in use.
    #[error("no free network in {POOL}: delete a cluster with 'kaji cluster delete'")]
    Exhausted,
}

/// The name of a cluster's bridge: `kaji-<name>` where that fits into an interface name, else by its hash.
pub fn bridge_name(cluster: &str) -> String {
    let plain = format!("kaji-{cluster}");
    if plain.len() <= 15 { plain } else { format!("kaji-{}", &hash(cluster)[..10]) }
}

/// The name of a node's link on this machine's side.
pub fn link_name(node: &str) -> String {
    format!("kj{}", &hash(node)[..12])
}

fn hash(text: &str) -> String {
    hex::encode(Sha256::digest(text))
}

/// A locally administered hardware address that stays the same for the same text.
fn mac(text: &str) -> Mac {
    let digest = Sha256::digest(text);
    [0x02, digest[0], digest[1], digest[2], digest[3], digest[4]]
}

/// The first network of the pool that overlaps none of `used`.
pub fn pick_network(used: &[Ipv4Net]) -> Result<Ipv4Net, Error> {
    let overlaps = |net: &Ipv4Net, other: &Ipv4Net| net.contains(other) || other.contains(net);
    let mut nets = POOL.subnets(24).expect("24 is longer than the pool's prefix");
    nets.find(|net| !used.iter().any(|other| other.prefix_len() > 0 && overlaps(net, other))).ok_or(Error::Exhausted)
}

/// The IPv4 networks that are in use on this machine: destinations of routes.
pub fn used() -> Result<Vec<Ipv4Net>, Error> {
    Ok(route::destinations(&mut Socket::route()?)?)
}

/// Makes the bridge with the first address of `net`, unless it is there.
pub fn ensure_bridge(name: &str, net: Ipv4Net) -> Result<(), Error> {
    let mut here = Socket::route()?;
    let mut changes = Changes::new();
    changes.add_bridge(name, mac(name), MTU, Tolerate::Exists);
    changes.set_up(name);
    changes.apply(&mut here)?;
    let address = net.hosts().next().unwrap_or(net.addr());
    give_address(&mut here, name, Ipv4Net::new_assert(address, net.prefix_len()))
}

/// Makes the link of a node: one end on the bridge, the other, `eth0`, in the network of process `pid`, up with the
/// node's address. There is no default route.
pub fn connect_node(bridge: &str, link: &str, pid: i32, address: Ipv4Net) -> Result<(), Error> {
    remove_link(link)?;
    let path = format!("/proc/{pid}/ns/net");
    let namespace = File::open(&path).map_err(Error::Namespace)?;
    let mut inside = netlink::netns::run(Path::new(&path), || Ok(Socket::route())).map_err(Error::Namespace)??;
    let mut here = Socket::route()?;
    let mut changes = Changes::new();
    let pair = VethPair {
        name: link,
        peer: NODE_LINK,
        peer_mac: mac(&format!("{link}/{NODE_LINK}")),
        peer_namespace: Some(namespace.as_raw_fd()),
        master: Some(index_of(&mut here, bridge)?),
        mtu: MTU,
    };
    changes.add_veth(pair, Tolerate::Nothing);
    changes.set_up(link);
    changes.apply(&mut here)?;
    let mut changes = Changes::new();
    changes.set_up("lo");
    changes.set_up(NODE_LINK);
    changes.apply(&mut inside)?;
    give_address(&mut inside, NODE_LINK, address)
}

/// Removes a link; one that is not there is no error.
pub fn remove_link(name: &str) -> Result<(), Error> {
    let mut changes = Changes::new();
    changes.delete_link(name, Tolerate::Missing);
    Ok(changes.apply(&mut Socket::route()?)?)
}

fn give_address(socket: &mut Socket, link: &str, address: Ipv4Net) -> Result<(), Error> {
    let mut changes = Changes::new();
    changes.add_address(index_of(socket, link)?, address);
    Ok(changes.apply(socket)?)
}

fn index_of(socket: &mut Socket, link: &str) -> Result<u32, Error> {
    Ok(route::link(socket, link)?.ok_or_else(|| Error::NoLink(link.to_owned()))?.index)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nets(list: &[&str]) -> Vec<Ipv4Net> {
        list.iter().map(|net| net.parse().expect("a network")).collect()
    }

    #[test]
    fn the_first_free_network_is_picked() {
        let picked = |used: &[&str]| pick_network(&nets(used)).expect("a network").to_string();
        assert_eq!(picked(&[]), "172.30.0.0/24");
        assert_eq!(picked(&["0.0.0.0/0", "172.30.0.0/24", "172.30.1.128/25"]), "172.30.2.0/24");
        assert!(matches!(pick_network(&nets(&["172.16.0.0/12"])), Err(Error::Exhausted)));
    }

    #[test]
    fn interface_names_fit() {
        assert_eq!(bridge_name("kaji"), "kaji-kaji");
        for name in ["a-cluster-with-a-long-name", "kaji"] {
            assert!(bridge_name(name).len() <= 15);
            assert!(link_name(name).len() <= 15);
        }
    }
}
