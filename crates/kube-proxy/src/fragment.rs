//! What one Service becomes: elements of the shared maps and, where it needs more, chains and sets of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use client::ObjectKey;
use netlink::names::nft_name;
use netlink::nft::{Chain, Datum, Field, Kind, Name, Rule, Set, SetKind, Table, Tuple, Value, Verdict};

use crate::NodeView;
use crate::base::{self, Balancer, Balancing, SETS};
use crate::endpoints::{self, Endpoint, Slice};
use crate::service::{PortInfo, ServiceInfo, TrafficPolicy};

/// Where traffic to a Service arrives. Two Services that claim the same one cannot both have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Frontend {
    /// An address, protocol and port.
    Address(Ipv4Addr, u8, u16),
    /// A protocol and port of every address of the node.
    NodePort(u8, u16),
}

impl Frontend {
    fn key(self) -> Tuple {
        match self {
            Self::Address(ip, proto, port) => Tuple::of([Value::Address(ip), Value::Proto(proto), Value::Port(port)]),
            Self::NodePort(proto, port) => Tuple::of([Value::Proto(proto), Value::Port(port)]),
        }
    }

    fn endpoint_key(self, index: u32) -> Tuple {
        match self {
            Self::Address(ip, proto, port) => {
                Tuple::of([Value::Address(ip), Value::Proto(proto), Value::Port(port), Value::Mark(index)])
            }
            Self::NodePort(proto, port) => Tuple::of([Value::Proto(proto), Value::Port(port), Value::Mark(index)]),
        }
    }

    /// The maps that know this sort: to a chain, to an endpoint, to a refusal.
    fn maps(self) -> (&'static Name, &'static Name, &'static Name) {
        match self {
            Self::Address(..) => (&SETS.service_ips, &SETS.endpoints, &SETS.no_endpoint_services),
            Self::NodePort(..) => (&SETS.service_nodeports, &SETS.nodeport_endpoints, &SETS.no_endpoint_nodeports),
        }
    }
}

/// Every frontend that a Service claims.
pub fn frontends(service: &ServiceInfo) -> BTreeSet<Frontend> {
    let addresses = || {
        [service.cluster_ip].into_iter().chain(service.external_ips.clone()).chain(service.load_balancer_ips.clone())
    };
    let of_port = |port: &PortInfo| -> Vec<Frontend> {
        let node_port = port.node_port.map(|number| Frontend::NodePort(port.proto, number));
        addresses().map(|ip| Frontend::Address(ip, port.proto, port.port)).chain(node_port).collect()
    };
    service.ports.iter().flat_map(of_port).collect()
}

/// An element's place: the set and the key.
pub type Place = (Name, Tuple);

/// The part of the table that one Service makes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fragment {
    /// Elements, of shared sets and of its own.
    pub elements: BTreeMap<Place, Option<Datum>>,
    /// The shared chains it leads to.
    pub balancers: BTreeSet<Balancer>,
    /// Its own chains and sets.
    pub own: Table,
    /// Endpoints of this node, which may connect to themselves through the Service.
    pub local: BTreeSet<Ipv4Addr>,
    /// UDP frontends with their endpoints, for forgetting stale flows.
    pub udp: BTreeMap<Frontend, BTreeSet<SocketAddrV4>>,
}

impl Fragment {
    /// What a Service becomes that is not there.
    pub const NONE: Self = Self {
        elements: BTreeMap::new(),
        balancers: BTreeSet::new(),
        own: Table { chains: BTreeMap::new(), sets: BTreeMap::new() },
        local: BTreeSet::new(),
        udp: BTreeMap::new(),
    };
}

/// What a Service with these slices becomes on a node. `owns` tells which of its frontends are its own.
pub fn desired(
    key: &ObjectKey,
    service: &ServiceInfo,
    slices: &[&Slice],
    node: &NodeView,
    owns: &dyn Fn(&Frontend) -> bool,
) -> Fragment {
    let mut fragment = Fragment::default();
    let cluster_ip = Tuple::of([Value::Address(service.cluster_ip)]);
    let ports: Vec<(&PortInfo, Vec<Endpoint>)> =
        service.ports.iter().map(|port| (port, endpoints::of_port(slices.iter().copied(), port))).collect();
    // A Service that this process itself serves at its address, as the cluster's DNS, and nobody else.
    let is_served_here = node.served_here.contains(&service.cluster_ip);
    if is_served_here && ports.iter().all(|(_, endpoints)| endpoints.is_empty()) {
        return fragment;
    }
    fragment.elements.insert((SETS.cluster_ips.clone(), cluster_ip), None);
    for (port, all) in &ports {
        let builder = PortBuilder {
            identity: format!("{}/{}/{}/{}", key.namespace, key.name, Value::Proto(port.proto), port.name),
            service,
            port,
            cluster: endpoints::in_rotation(all, TrafficPolicy::Cluster),
            on_node: endpoints::in_rotation(all, TrafficPolicy::Local),
            node,
            owns,
        };
        builder.build(&mut fragment);
    }
    fragment
}

/// Among how many entries to pick: all, and if that entry went in this very moment, the first.
///
/// A packet that found its chain before an update and looks into the map after it may pick an entry that is no more.
/// Entry 0 is there as long as there is any.
pub(crate) fn tries(count: u32) -> impl Iterator<Item = u32> {
    [count].into_iter().chain((count > 1).then_some(1))
}

struct PortBuilder<'a> {
    identity: String,
    service: &'a ServiceInfo,
    port: &'a PortInfo,
    /// In rotation over all nodes.
    cluster: Vec<Endpoint>,
    /// In rotation on this node.
    on_node: Vec<Endpoint>,
    node: &'a NodeView,
    owns: &'a dyn Fn(&Frontend) -> bool,
}

impl PortBuilder<'_> {
    fn build(&self, fragment: &mut Fragment) {
        let at = |ip: &Ipv4Addr| Frontend::Address(*ip, self.port.proto, self.port.port);
        let owned = |frontend: &Frontend| (self.owns)(frontend);
        fragment.local.extend(self.on_node.iter().map(|endpoint| *endpoint.address.ip()));

        let internal = at(&self.service.cluster_ip);
        if owned(&internal) {
            self.internal(fragment, internal);
        }
        let node_port = self.port.node_port.map(|number| Frontend::NodePort(self.port.proto, number));
        for frontend in self.service.external_ips.iter().map(at).chain(node_port).filter(owned) {
            let target = self.external(fragment, frontend);
            self.lead(fragment, frontend, target);
        }
        for frontend in self.service.load_balancer_ips.iter().map(at).filter(owned) {
            let target = self.external(fragment, frontend);
            let guarded = target.map(|target| self.behind_firewall(fragment, target));
            self.lead(fragment, frontend, guarded);
        }
    }

    fn internal(&self, fragment: &mut Fragment, frontend: Frontend) {
        let chosen = match self.service.internal {
            TrafficPolicy::Cluster => &self.cluster,
            TrafficPolicy::Local => &self.on_node,
        };
        if chosen.is_empty() && !self.cluster.is_empty() {
            // Local only, and the endpoints are elsewhere: upstream drops.
            self.refuse(fragment, frontend, Verdict::Drop);
            return;
        }
        let target = match (chosen.is_empty(), self.service.affinity) {
            (true, _) => None,
            (false, None) => Some(self.balance(fragment, frontend, Balancing::Internal, chosen)),
            (false, Some(_)) => {
                let pick = self.pick_chain(fragment, self.service.internal);
                let rules = vec![base::masquerade_from_outside(self.node), Rule::new().goto(pick)];
                Some(self.own_chain(fragment, "service", rules))
            }
        };
        self.remember_udp(fragment, frontend, chosen);
        self.lead(fragment, frontend, target);
    }

    /// The chain for a frontend that is reached from outside; `None` without endpoints.
    fn external(&self, fragment: &mut Fragment, frontend: Frontend) -> Option<Name> {
        if self.cluster.is_empty() {
            return None;
        }
        self.remember_udp(fragment, frontend, &self.cluster);
        let (policy, affinity) = (self.service.external, self.service.affinity);
        if policy == TrafficPolicy::Cluster && affinity.is_none() {
            let balancing = match frontend {
                Frontend::Address(..) => Balancing::External,
                Frontend::NodePort(..) => Balancing::NodePort,
            };
            return Some(self.balance(fragment, frontend, balancing, &self.cluster));
        }
        let cluster = self.pick_chain(fragment, TrafficPolicy::Cluster);
        let rules = match policy {
            TrafficPolicy::Cluster => vec![base::masquerade(), Rule::new().goto(cluster)],
            // Pods and the node itself are inside already: for them the policy is Cluster.
            TrafficPolicy::Local => vec![
                Rule::new().from_net(self.node.cluster_cidr).goto(cluster.clone()),
                Rule::new().from_local().set_mark(base::MASQUERADE_MARK),
                Rule::new().from_local().goto(cluster),
                if self.on_node.is_empty() {
                    Rule::new().discard()
                } else {
                    Rule::new().goto(self.pick_chain(fragment, TrafficPolicy::Local))
                },
            ],
        };
        Some(self.own_chain(fragment, "external", rules))
    }

    /// Entries of the shared endpoint map, and the shared chain for so many.
    fn balance(&self, fragment: &mut Fragment, frontend: Frontend, balancing: Balancing, among: &[Endpoint]) -> Name {
        let (_, map, _) = frontend.maps();
        for (index, endpoint) in (0..).zip(among) {
            let place = (map.clone(), frontend.endpoint_key(index));
            fragment.elements.insert(place, Some(Datum::Values(Tuple::endpoint(endpoint.address))));
        }
        let balancer = Balancer { balancing, endpoints: among.len() as u32 };
        fragment.balancers.insert(balancer);
        balancer.name()
    }

    /// The Service's own chain that picks among the endpoints of a policy.
    fn pick_chain(&self, fragment: &mut Fragment, policy: TrafficPolicy) -> Name {
        let (prefix, among) = match policy {
            TrafficPolicy::Cluster => ("cluster", &self.cluster),
            TrafficPolicy::Local => ("local", &self.on_node),
        };
        // Sets of different types have different names, so that a change of affinity replaces one by the other.
        let contents = if self.service.affinity.is_none() { "endpoints" } else { "picks" };
        let map: Name = nft_name(&format!("{prefix}-{contents}"), &self.identity).into();
        let count = among.len() as u32;
        let index = |at: u32| (map.clone(), Tuple::of([Value::Mark(at)]));
        let mut rules = Vec::new();
        match self.service.affinity {
            None => {
                let kind = SetKind::Map(vec![Kind::Address, Kind::Port]);
                fragment.own.sets.insert(map.clone(), Set { key: vec![Kind::Mark], kind });
                for (at, endpoint) in (0..).zip(among) {
                    let datum = Datum::Values(Tuple::endpoint(endpoint.address));
                    fragment.elements.insert(index(at), Some(datum));
                }
                rules.extend(tries(count).map(|among| Rule::new().dnat_from(&[Field::Random(among)], map.clone())));
            }
            Some(timeout) => {
                let kind = SetKind::VerdictMap;
                fragment.own.sets.insert(map.clone(), Set { key: vec![Kind::Mark], kind });
                for (at, endpoint) in (0..).zip(among) {
                    let (chain, recent) = self.sticky_endpoint(fragment, endpoint.address, timeout);
                    rules.push(Rule::new().key_in(&[Field::SourceAddress], recent).goto(chain.clone()));
                    fragment.elements.insert(index(at), Some(Datum::Verdict(Verdict::Goto(chain))));
                }
                rules.extend(tries(count).map(|among| Rule::new().verdict_of(&[Field::Random(among)], map.clone())));
            }
        }
        self.own_chain(fragment, prefix, rules)
    }

    /// An endpoint's chain, which remembers the client, and the set it remembers it in.
    fn sticky_endpoint(&self, fragment: &mut Fragment, endpoint: SocketAddrV4, timeout: Duration) -> (Name, Name) {
        let identity = format!("{}__{}/{}", self.identity, endpoint.ip(), endpoint.port());
        // The timeout is part of the name: a set with another timeout is another set.
        let recent: Name = nft_name(&format!("affinity-{}", timeout.as_secs()), &identity).into();
        let chain: Name = nft_name("endpoint", &identity).into();
        let set = Set { key: vec![Kind::Address], kind: SetKind::Recent(timeout) };
        fragment.own.sets.insert(recent.clone(), set);
        let rules = vec![Rule::new().remember(&[Field::SourceAddress], recent.clone()), Rule::new().dnat(endpoint)];
        fragment.own.chains.insert(chain.clone(), Chain { hook: None, rules });
        (chain, recent)
    }

    fn behind_firewall(&self, fragment: &mut Fragment, target: Name) -> Name {
        if self.service.source_ranges.is_empty() {
            return target;
        }
        let allowed = self.service.source_ranges.iter().map(|range| Rule::new().from_net(*range).goto(target.clone()));
        let rules = allowed.chain([Rule::new().discard()]).collect();
        self.own_chain(fragment, "firewall", rules)
    }

    fn own_chain(&self, fragment: &mut Fragment, prefix: &str, rules: Vec<Rule>) -> Name {
        let name: Name = nft_name(prefix, &self.identity).into();
        fragment.own.chains.insert(name.clone(), Chain { hook: None, rules });
        name
    }

    /// The frontend leads to a chain, or to a refusal without one.
    fn lead(&self, fragment: &mut Fragment, frontend: Frontend, target: Option<Name>) {
        let (map, _, _) = frontend.maps();
        match target {
            Some(chain) => {
                let datum = Datum::Verdict(Verdict::Goto(chain));
                fragment.elements.insert((map.clone(), frontend.key()), Some(datum));
            }
            None => self.refuse(fragment, frontend, Verdict::Goto(base::REJECT_CHAIN.into())),
        }
    }

    fn refuse(&self, fragment: &mut Fragment, frontend: Frontend, verdict: Verdict) {
        let (_, _, refusals) = frontend.maps();
        fragment.elements.insert((refusals.clone(), frontend.key()), Some(Datum::Verdict(verdict)));
    }

    fn remember_udp(&self, fragment: &mut Fragment, frontend: Frontend, among: &[Endpoint]) {
        if self.port.proto == netlink::nft::proto::UDP && !among.is_empty() {
            fragment.udp.insert(frontend, among.iter().map(|endpoint| endpoint.address).collect());
        }
    }
}
