//! The part of the table that is the same for all Services: maps, hooks, masquerade, and the shared `lb-<n>` chains.
//!
//! upstream: pkg/proxy/nftables/proxier.go (whose chains and sets have the same names where they do the same)

use std::sync::LazyLock;

use ipnet::Ipv4Net;
use netlink::nft::{Chain, Field, Hook, HookKind, Kind, Name, Rule, Set, SetKind, Table, TableId};

use crate::NodeView;
use crate::fragment::tries;

/// The mark that upstream gives to packets to be masqueraded.
pub(crate) const MASQUERADE_MARK: u32 = 0x4000;
pub(crate) const REJECT_CHAIN: &str = "reject-chain";
const SERVICES_CHAIN: &str = "services";
const ENDPOINTS_CHECK: &str = "service-endpoints-check";
const CLUSTER_IPS_CHECK: &str = "cluster-ips-check";
/// Upstream's: filters before destination NAT, so that what is refused is never translated.
const FILTER: i32 = -110;
const DESTINATION_NAT: i32 = -100;
const BEHIND_DESTINATION_NAT: i32 = -90;
const SOURCE_NAT: i32 = 100;
const FILTER_FORWARD: i32 = 0;

/// The names of the sets that Services share.
pub(crate) struct Sets {
    /// Address, protocol and port of a Service to a chain.
    pub(crate) service_ips: Name,
    /// Protocol and node port to a chain.
    pub(crate) service_nodeports: Name,
    /// The same keys, with an index, to an endpoint.
    pub(crate) endpoints: Name,
    /// Protocol and node port, with an index, to an endpoint.
    pub(crate) nodeport_endpoints: Name,
    /// Address, protocol and port of Services that nobody serves.
    pub(crate) no_endpoint_services: Name,
    /// Protocol and node port that nobody serves.
    pub(crate) no_endpoint_nodeports: Name,
    /// Every cluster address.
    pub(crate) cluster_ips: Name,
    /// Endpoints of this node, twice each: connections to oneself.
    pub(crate) hairpin: Name,
}

pub(crate) static SETS: LazyLock<Sets> = LazyLock::new(|| Sets {
    service_ips: "service-ips".into(),
    service_nodeports: "service-nodeports".into(),
    endpoints: "endpoints".into(),
    nodeport_endpoints: "nodeport-endpoints".into(),
    no_endpoint_services: "no-endpoint-services".into(),
    no_endpoint_nodeports: "no-endpoint-nodeports".into(),
    cluster_ips: "cluster-ips".into(),
    hairpin: "hairpin-connections".into(),
});

pub(crate) fn table_id() -> TableId {
    TableId("kube-proxy".into())
}

const BY_ADDRESS: [Field; 3] = [Field::DestinationAddress, Field::Protocol, Field::DestinationPort];
const BY_NODE_PORT: [Field; 2] = [Field::Protocol, Field::DestinationPort];

/// How a shared balancing chain treats its traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Balancing {
    /// To a cluster address: masqueraded when it comes from outside the pods' network.
    Internal,
    /// To an address from outside: always masqueraded.
    External,
    /// To a node port: always masqueraded, endpoints found without the address.
    NodePort,
}

/// One shared balancing chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Balancer {
    /// For which traffic.
    pub balancing: Balancing,
    /// Over how many endpoints.
    pub endpoints: u32,
}

impl Balancer {
    pub(crate) fn name(self) -> Name {
        let Self { balancing, endpoints } = self;
        match balancing {
            Balancing::Internal => format!("lb-{endpoints}").into(),
            Balancing::External => format!("lb-external-{endpoints}").into(),
            Balancing::NodePort => format!("lb-nodeport-{endpoints}").into(),
        }
    }

    pub(crate) fn chain(self, node: &NodeView) -> Chain {
        let (key, map): (&[Field], &Name) = match self.balancing {
            Balancing::Internal | Balancing::External => (&BY_ADDRESS, &SETS.endpoints),
            Balancing::NodePort => (&BY_NODE_PORT, &SETS.nodeport_endpoints),
        };
        let pick = |among: u32| Rule::new().dnat_from(&[key, &[Field::Random(among)]].concat(), map.clone());
        let mark = match self.balancing {
            Balancing::Internal => masquerade_from_outside(node),
            Balancing::External | Balancing::NodePort => masquerade(),
        };
        let rules = [mark].into_iter().chain(tries(self.endpoints).map(pick)).collect();
        Chain { hook: None, rules }
    }
}

/// Marks what comes from outside the pods' network.
pub(crate) fn masquerade_from_outside(node: &NodeView) -> Rule {
    Rule::new().not_from_net(node.cluster_cidr).set_mark(MASQUERADE_MARK)
}

/// Marks everything.
pub(crate) fn masquerade() -> Rule {
    Rule::new().set_mark(MASQUERADE_MARK)
}

/// The table without any Service.
pub(crate) fn table(node: &NodeView) -> Table {
    let mut table = Table::default();
    sets(&mut table);
    let mut chain = |name: &str, hook, rules| table.chains.insert(name.into(), Chain { hook, rules });
    let loopback = Ipv4Net::new_assert([127, 0, 0, 0].into(), 8);

    chain(
        SERVICES_CHAIN,
        None,
        vec![
            Rule::new().verdict_of(&BY_ADDRESS, SETS.service_ips.clone()),
            Rule::new().to_local().not_to_net(loopback).verdict_of(&BY_NODE_PORT, SETS.service_nodeports.clone()),
        ],
    );
    for (name, at) in [("nat-prerouting", HookKind::Prerouting), ("nat-output", HookKind::Output)] {
        chain(name, Some(Hook::nat(at, DESTINATION_NAT)), vec![Rule::new().jump(SERVICES_CHAIN)]);
    }
    chain(
        "nat-postrouting",
        Some(Hook::nat(HookKind::Postrouting, SOURCE_NAT)),
        vec![
            Rule::new().has_mark(MASQUERADE_MARK).clear_mark(MASQUERADE_MARK).masquerade(),
            Rule::new()
                .destination_translated()
                .key_in(&[Field::SourceAddress, Field::DestinationAddress], SETS.hairpin.clone())
                .masquerade(),
        ],
    );

    chain(REJECT_CHAIN, None, vec![Rule::new().reject()]);
    chain(
        ENDPOINTS_CHECK,
        None,
        vec![
            Rule::new().verdict_of(&BY_ADDRESS, SETS.no_endpoint_services.clone()),
            Rule::new().to_local().not_to_net(loopback).verdict_of(&BY_NODE_PORT, SETS.no_endpoint_nodeports.clone()),
        ],
    );
    for (name, at) in
        [("filter-input", HookKind::Input), ("filter-forward", HookKind::Forward), ("filter-output", HookKind::Output)]
    {
        chain(name, Some(Hook::filter(at, FILTER)), vec![Rule::new().new_flow().jump(ENDPOINTS_CHECK)]);
    }

    // What is left for the Services' network behind translation is for nobody: a wrong port, or no Service at all.
    let mut check: Vec<Rule> = node.served_here.iter().map(|address| Rule::new().to(*address).back()).collect();
    check.push(Rule::new().key_in(&[Field::DestinationAddress], SETS.cluster_ips.clone()).reject());
    check.push(Rule::new().to_net(node.service_cidr).discard());
    chain(CLUSTER_IPS_CHECK, None, check);
    for (name, hook) in [
        ("filter-forward-post-dnat", Hook::filter(HookKind::Forward, FILTER_FORWARD)),
        ("filter-output-post-dnat", Hook::filter(HookKind::Output, BEHIND_DESTINATION_NAT)),
    ] {
        chain(name, Some(hook), vec![Rule::new().new_flow().jump(CLUSTER_IPS_CHECK)]);
    }
    table
}

fn sets(table: &mut Table) {
    let service = [Kind::Address, Kind::Proto, Kind::Port];
    let node_port = [Kind::Proto, Kind::Port];
    let indexed = |key: &[Kind]| [key, &[Kind::Mark]].concat();
    let endpoint = || SetKind::Map(vec![Kind::Address, Kind::Port]);
    for (name, key, kind) in [
        (&SETS.service_ips, service.to_vec(), SetKind::VerdictMap),
        (&SETS.service_nodeports, node_port.to_vec(), SetKind::VerdictMap),
        (&SETS.endpoints, indexed(&service), endpoint()),
        (&SETS.nodeport_endpoints, indexed(&node_port), endpoint()),
        (&SETS.no_endpoint_services, service.to_vec(), SetKind::VerdictMap),
        (&SETS.no_endpoint_nodeports, node_port.to_vec(), SetKind::VerdictMap),
        (&SETS.cluster_ips, vec![Kind::Address], SetKind::Set),
        (&SETS.hairpin, vec![Kind::Address, Kind::Address], SetKind::Set),
    ] {
        table.sets.insert(name.clone(), Set { key, kind });
    }
}
