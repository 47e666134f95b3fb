//! The nftables table of the pod network: the way out, and host ports.
//!
//! upstream for host ports: the CNI plugin portmap.

use ipnet::Ipv4Net;
use netlink::Socket;
use netlink::nft::{
    self, Chain, Command, Datum, Field, Hook, HookKind, Kind, Rule, Set, SetKind, Table, TableId, Tuple, Value,
};

use crate::ipam::Allocation;
use crate::{Config, Error};

const ANY_ADDRESS: &str = "host-ports";
const ONE_ADDRESS: &str = "host-ip-ports";
const HAIRPIN: &str = "hairpin";
const CHAIN: &str = "to-host-ports";
/// Before kube-proxy's: a host port wins over a NodePort of the same number.
const DESTINATION_NAT: i32 = -101;
const SOURCE_NAT: i32 = 101;
const RAW: i32 = -300;

fn table_id() -> TableId {
    TableId("kaji-pod-network".into())
}

/// Replaces the whole table at once; flows that exist go on.
pub(crate) fn replace<'a>(
    socket: &mut Socket,
    config: &Config,
    allocations: impl Iterator<Item = &'a Allocation>,
) -> Result<(), Error> {
    let mut commands = vec![Command::AddTable, Command::DeleteTable, Command::AddTable];
    commands.extend(table(config).create());
    commands
        .extend(allocations.flat_map(elements).map(|(set, key, datum)| Command::AddElement(set.into(), key, datum)));
    Ok(nft::apply(socket, &table_id(), &commands)?)
}

/// Changes a pod's host ports from what it had to what it has.
pub(crate) fn change(old: Option<&Allocation>, new: Option<&Allocation>) -> Result<(), Error> {
    let (old, new) = (old.map(elements).unwrap_or_default(), new.map(elements).unwrap_or_default());
    let gone = old.iter().filter(|element| !new.contains(element));
    let gone = gone.flat_map(|(set, key, datum)| {
        // Added first, so that deleting what is already gone is no error.
        let set: nft::Name = (*set).into();
        [Command::AddElement(set.clone(), *key, datum.clone()), Command::DeleteElement(set, *key)]
    });
    let fresh = new.iter().map(|(set, key, datum)| Command::AddElement((*set).into(), *key, datum.clone()));
    let commands: Vec<Command> = gone.chain(fresh).collect();
    if commands.is_empty() {
        return Ok(());
    }
    Ok(nft::apply(&mut Socket::netfilter()?, &table_id(), &commands)?)
}

/// The set elements that a pod's host ports are made of.
fn elements(allocation: &Allocation) -> Vec<(&'static str, Tuple, Option<Datum>)> {
    let mut elements: Vec<_> = allocation
        .host_ports
        .iter()
        .map(|port| {
            let target = Tuple::of([Value::Address(allocation.ip), Value::Port(port.container_port)]);
            let (proto, number) = (Value::Proto(port.protocol), Value::Port(port.host_port));
            match port.host_ip.filter(|ip| !ip.is_unspecified()) {
                Some(ip) => (ONE_ADDRESS, Tuple::of([Value::Address(ip), proto, number]), Some(Datum::Values(target))),
                None => (ANY_ADDRESS, Tuple::of([proto, number]), Some(Datum::Values(target))),
            }
        })
        .collect();
    if !elements.is_empty() {
        let itself = Tuple::of([Value::Address(allocation.ip), Value::Address(allocation.ip)]);
        elements.push((HAIRPIN, itself, None));
    }
    elements
}

fn table(config: &Config) -> Table {
    let mut table = Table::default();
    let mut set = |name: &str, key: &[Kind], kind| table.sets.insert(name.into(), Set { key: key.to_vec(), kind });
    let endpoint = || SetKind::Map(vec![Kind::Address, Kind::Port]);
    set(ANY_ADDRESS, &[Kind::Proto, Kind::Port], endpoint());
    set(ONE_ADDRESS, &[Kind::Address, Kind::Proto, Kind::Port], endpoint());
    set(HAIRPIN, &[Kind::Address, Kind::Address], SetKind::Set);

    let (any, one) = (
        [Field::Protocol, Field::DestinationPort],
        [Field::DestinationAddress, Field::Protocol, Field::DestinationPort],
    );
    let mut chain = |name: &str, hook, rules| table.chains.insert(name.into(), Chain { hook, rules });
    chain(CHAIN, None, vec![Rule::new().dnat_from(&one, ONE_ADDRESS), Rule::new().dnat_from(&any, ANY_ADDRESS)]);
    for (name, at) in [("nat-prerouting", HookKind::Prerouting), ("nat-output", HookKind::Output)] {
        chain(name, Some(Hook::nat(at, DESTINATION_NAT)), vec![Rule::new().to_local().jump(CHAIN)]);
    }
    let loopback: Ipv4Net = Ipv4Net::new_assert([127, 0, 0, 0].into(), 8);
    chain(
        "nat-postrouting",
        Some(Hook::nat(HookKind::Postrouting, SOURCE_NAT)),
        vec![
            Rule::new().out_by(&config.bridge).from_net(loopback).masquerade(),
            Rule::new()
                .destination_translated()
                .key_in(&[Field::SourceAddress, Field::DestinationAddress], HAIRPIN)
                .masquerade(),
            // Out of the cluster nobody knows the pods' addresses.
            Rule::new()
                .from_net(config.pod_cidr)
                .not_to_net(config.cluster_cidr)
                .not_to_net(config.service_cidr)
                .not_out_by(&config.bridge)
                .masquerade(),
        ],
    );
    // The bridge routes 127/8 for host ports; nobody may come in that way (CVE-2020-8558).
    chain(
        "raw-prerouting",
        Some(Hook::filter(HookKind::Prerouting, RAW)),
        vec![Rule::new().not_in_by("lo").to_net(loopback).discard()],
    );
    table
}
