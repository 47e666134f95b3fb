//! What of an EndpointSlice matters to a node, and which endpoints take new connections.
//!
//! upstream: pkg/proxy/endpointslicecache.go, pkg/proxy/topology.go (KEP-1669 for terminating endpoints)

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};

use client::ObjectKey;
use k8s_openapi::api::discovery::v1::EndpointSlice;

use crate::service::{PortInfo, TrafficPolicy, number, protocol};

const SERVICE_NAME: &str = "kubernetes.io/service-name";
const SERVICE_PROXY_NAME: &str = "service.kubernetes.io/service-proxy-name";

/// An endpoint of one port of a Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Where it listens.
    pub address: SocketAddrV4,
    /// How it is.
    pub state: State,
}

/// How an endpoint is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// It takes new connections.
    pub ready: bool,
    /// It answers, though it may be about to go.
    pub serving: bool,
    /// It is about to go.
    pub terminating: bool,
    /// It is on this node.
    pub local: bool,
}

impl State {
    /// The better of two reports of the same endpoint, as while it moves between slices.
    fn or(self, other: Self) -> Self {
        Self {
            ready: self.ready || other.ready,
            serving: self.serving || other.serving,
            terminating: self.terminating && other.terminating,
            local: self.local || other.local,
        }
    }
}

/// An EndpointSlice as a node sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    /// The Service it belongs to.
    pub service: ObjectKey,
    /// Its ports: name, protocol, number.
    ports: Vec<(String, u8, u16)>,
    /// Its addresses.
    endpoints: Vec<(Ipv4Addr, State)>,
}

impl Slice {
    /// What a slice says to a node; `None` when nothing.
    pub fn of(slice: &EndpointSlice, node: &str) -> Option<Self> {
        let labels = slice.metadata.labels.as_ref()?;
        if slice.address_type != "IPv4" || labels.contains_key(SERVICE_PROXY_NAME) {
            return None;
        }
        let service = labels.get(SERVICE_NAME).filter(|name| !name.is_empty())?;
        let ports = slice.ports.iter().flatten().filter_map(|port| {
            let name = port.name.clone().unwrap_or_default();
            Some((name, protocol(port.protocol.as_deref())?, number(port.port?)?))
        });
        let endpoints = slice.endpoints.iter().flatten().filter_map(|endpoint| {
            // All addresses of an endpoint mean the same; upstream takes the first.
            let ip: Ipv4Addr = endpoint.addresses.first()?.parse().ok()?;
            let conditions = endpoint.conditions.as_ref();
            let ready = conditions.and_then(|conditions| conditions.ready).unwrap_or(true);
            let state = State {
                ready,
                serving: conditions.and_then(|conditions| conditions.serving).unwrap_or(ready),
                terminating: conditions.and_then(|conditions| conditions.terminating).unwrap_or(false),
                local: endpoint.node_name.as_deref() == Some(node),
            };
            let usable = !ip.is_unspecified() && !ip.is_loopback() && !ip.is_multicast();
            usable.then_some((ip, state))
        });
        Some(Self {
            service: ObjectKey::new(slice.metadata.namespace.clone().unwrap_or_default(), service.clone()),
            ports: ports.collect(),
            endpoints: endpoints.collect(),
        })
    }
}

/// The endpoints of one port of a Service over all its slices, in order of their addresses.
pub fn of_port<'a>(slices: impl IntoIterator<Item = &'a Slice>, port: &PortInfo) -> Vec<Endpoint> {
    let mut endpoints: BTreeMap<SocketAddrV4, State> = BTreeMap::new();
    for slice in slices {
        let same = slice.ports.iter().filter(|(name, proto, _)| *name == port.name && *proto == port.proto);
        for (_, _, number) in same {
            for (ip, state) in &slice.endpoints {
                let address = SocketAddrV4::new(*ip, *number);
                endpoints.entry(address).and_modify(|known| *known = known.or(*state)).or_insert(*state);
            }
        }
    }
    endpoints.into_iter().map(|(address, state)| Endpoint { address, state }).collect()
}

/// The endpoints that new connections go to: the ready ones, or, where there is none, those that still answer
/// while they go.
pub fn in_rotation(endpoints: &[Endpoint], policy: TrafficPolicy) -> Vec<Endpoint> {
    let allowed = |endpoint: &&Endpoint| policy == TrafficPolicy::Cluster || endpoint.state.local;
    let ready: Vec<Endpoint> =
        endpoints.iter().filter(allowed).filter(|endpoint| endpoint.state.ready).copied().collect();
    if !ready.is_empty() {
        return ready;
    }
    let going = |endpoint: &&Endpoint| endpoint.state.serving && endpoint.state.terminating;
    endpoints.iter().filter(allowed).filter(going).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Endpoints by a word each: r(eady), s(erving), t(erminating), l(ocal).
    fn rotation(words: &str, policy: TrafficPolicy) -> String {
        let endpoints: Vec<Endpoint> = (1..)
            .zip(words.split(' '))
            .map(|(at, word)| Endpoint {
                address: SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, at), 80),
                state: State {
                    ready: word.contains('r'),
                    serving: word.contains('s'),
                    terminating: word.contains('t'),
                    local: word.contains('l'),
                },
            })
            .collect();
        let chosen = in_rotation(&endpoints, policy);
        chosen.iter().map(|endpoint| endpoint.address.ip().octets()[3].to_string()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn ready_endpoints_first_and_terminating_ones_only_without_them() {
        use TrafficPolicy::{Cluster, Local};
        for (words, policy, expected) in [
            ("rs rs", Cluster, "1 2"),
            ("rs st", Cluster, "1"),
            ("- st", Cluster, "2"),
            ("s t", Cluster, ""),
            ("rst st", Cluster, "1"),
            ("rs rsl", Local, "2"),
            ("rs stl", Local, "2"),
            ("rs -l", Local, ""),
        ] {
            assert_eq!(rotation(words, policy), expected, "{words} {policy:?}");
        }
    }
}
