//! Which pod has which address: a pure allocator.
//!
//! Guarantees: an address belongs to one pod at a time; a pod keeps its address until it is released; an address that
//! was released is the last to be handed out again (next fit), so that peers forget it first.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use crate::HostPort;

/// What a pod was given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Allocation {
    /// Its address.
    pub ip: Ipv4Addr,
    /// The node's ports that lead to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub host_ports: Vec<HostPort>,
}

/// The addresses of one node's pod network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ipam {
    net: Ipv4Net,
    /// Where the search for a free address starts.
    next: Ipv4Addr,
    /// By the pod's UID.
    pods: BTreeMap<String, Allocation>,
}

/// Every address is taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no free address in {net}: {taken} pods have one")]
pub struct Exhausted {
    /// The node's pod network.
    pub net: Ipv4Net,
    /// How many pods have an address.
    pub taken: usize,
}

impl Ipam {
    /// No pod has an address yet. The first host address is the gateway's.
    pub fn new(net: Ipv4Net) -> Self {
        Self { net, next: Ipv4Addr::from(u32::from(net.network()) + 2), pods: BTreeMap::new() }
    }

    /// The network that addresses are taken from.
    pub fn net(&self) -> Ipv4Net {
        self.net
    }

    /// The gateway's address: the first of the network.
    pub fn gateway(net: Ipv4Net) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(net.network()) + 1)
    }

    /// The pod's allocation: the one it has, or a new one. `host_ports` replace those it had.
    pub fn allocate(&mut self, uid: &str, host_ports: &[HostPort]) -> Result<Allocation, Exhausted> {
        let ip = match self.pods.get(uid) {
            Some(known) => known.ip,
            None => self.next_free()?,
        };
        let allocation = Allocation { ip, host_ports: host_ports.to_vec() };
        self.pods.insert(uid.to_owned(), allocation.clone());
        Ok(allocation)
    }

    /// Takes the pod's address back.
    pub fn release(&mut self, uid: &str) -> Option<Allocation> {
        self.pods.remove(uid)
    }

    /// What a pod has.
    pub fn get(&self, uid: &str) -> Option<&Allocation> {
        self.pods.get(uid)
    }

    /// Every pod with its allocation.
    pub fn pods(&self) -> impl Iterator<Item = (&str, &Allocation)> {
        self.pods.iter().map(|(uid, allocation)| (uid.as_str(), allocation))
    }

    fn next_free(&mut self) -> Result<Ipv4Addr, Exhausted> {
        let taken: BTreeSet<Ipv4Addr> = self.pods.values().map(|allocation| allocation.ip).collect();
        let (first, last) = (u32::from(self.net.network()) + 2, u32::from(self.net.broadcast()).saturating_sub(1));
        let start = u32::from(self.next).clamp(first, last.max(first));
        let free = (start..=last).chain(first..start).map(Ipv4Addr::from).find(|ip| !taken.contains(ip));
        let ip = free.ok_or(Exhausted { net: self.net, taken: taken.len() })?;
        self.next = if u32::from(ip) >= last { Ipv4Addr::from(first) } else { Ipv4Addr::from(u32::from(ip) + 1) };
        Ok(ip)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ipam(net: &str) -> Ipam {
        Ipam::new(net.parse().expect("a network"))
    }

    fn take(ipam: &mut Ipam, uid: &str) -> String {
        ipam.allocate(uid, &[]).map_or_else(|err| err.to_string(), |allocation| allocation.ip.to_string())
    }

    #[test]
    fn a_pod_keeps_its_address_and_the_gateways_is_never_given() {
        let mut ipam = ipam("10.244.0.0/24");
        assert_eq!(take(&mut ipam, "a"), "10.244.0.2");
        assert_eq!(take(&mut ipam, "b"), "10.244.0.3");
        assert_eq!(take(&mut ipam, "a"), "10.244.0.2");
    }

    #[test]
    fn a_released_address_is_the_last_to_return() {
        let mut ipam = ipam("10.244.0.0/29");
        let given: Vec<String> = ["a", "b", "c"].iter().map(|uid| take(&mut ipam, uid)).collect();
        assert_eq!(given, ["10.244.0.2", "10.244.0.3", "10.244.0.4"]);
        ipam.release("a");
        let given: Vec<String> = ["d", "e", "f"].iter().map(|uid| take(&mut ipam, uid)).collect();
        assert_eq!(given, ["10.244.0.5", "10.244.0.6", "10.244.0.2"]);
    }

    #[test]
    fn a_full_network_says_so() {
        let mut ipam = ipam("10.244.0.0/30");
        assert_eq!(take(&mut ipam, "a"), "10.244.0.2");
        assert_eq!(take(&mut ipam, "b"), "no free address in 10.244.0.0/30: 1 pods have one");
        ipam.release("a");
        assert_eq!(take(&mut ipam, "b"), "10.244.0.2");
    }

    #[test]
    fn no_address_is_given_twice_whatever_happens() {
        let mut ipam = ipam("10.244.0.0/27");
        let mut seed = 7_u32;
        for step in 0..5000 {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let uid = format!("{}", (seed >> 16) % 40);
            if seed & 0x8000 == 0 {
                drop(ipam.release(&uid))
            } else {
                drop(ipam.allocate(&uid, &[]))
            }
            let taken: BTreeSet<_> = ipam.pods().map(|(_, allocation)| allocation.ip).collect();
            assert_eq!(taken.len(), ipam.pods().count(), "step {step}");
            let allowed: Ipv4Net = "10.244.0.0/27".parse().expect("a network");
            let gateway = Ipam::gateway(allowed);
            assert!(taken.iter().all(|ip| allowed.contains(ip) && *ip != gateway && *ip != allowed.broadcast()));
        }
    }
}
