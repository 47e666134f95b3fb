//! Forgets UDP flows that lead to endpoints which are no more, or that began before there was one.
//!
//! Without it a client that keeps its socket sends to a dead pod for as long as it sends at all.
//! upstream: pkg/proxy/conntrack/cleanup.go

use std::collections::{BTreeSet, HashMap};
use std::net::{Ipv4Addr, SocketAddrV4};

use netlink::conntrack::{self, Flow};
use netlink::nft::proto;
use netlink::{Error, Socket, route};

use crate::fragment::Frontend;

/// The endpoints that flows to each UDP frontend may lead to.
pub type UdpEndpoints = HashMap<Frontend, BTreeSet<SocketAddrV4>>;

/// Whether a flow goes to one of the frontends and its answers come from none of its endpoints.
fn is_stale(flow: &Flow, endpoints: &UdpEndpoints, node: &BTreeSet<Ipv4Addr>) -> bool {
    if flow.original.protocol != proto::UDP {
        return false;
    }
    let (ip, port) = flow.original.destination;
    let by_address = endpoints.get(&Frontend::Address(ip, proto::UDP, port));
    let by_port = || node.contains(&ip).then(|| endpoints.get(&Frontend::NodePort(proto::UDP, port))).flatten();
    let (answers_from, answers_port) = flow.reply.source;
    let answers_from = SocketAddrV4::new(answers_from, answers_port);
    by_address.or_else(by_port).is_some_and(|allowed| !allowed.contains(&answers_from))
}

/// Forgets the stale flows of this network namespace; returns how many.
pub(crate) fn forget_stale(socket: &mut Socket, endpoints: &UdpEndpoints) -> Result<usize, Error> {
    let addresses = route::addresses(&mut Socket::route()?)?;
    let node = addresses.into_iter().map(|(_, address)| address.addr()).collect();
    conntrack::forget(socket, |flow| is_stale(flow, endpoints, &node))
}

#[cfg(test)]
mod tests {
    use super::*;
    use netlink::conntrack::Tuple;

    fn flow(protocol: u8, to: (Ipv4Addr, u16), answered_by: (Ipv4Addr, u16)) -> Flow {
        let client = (Ipv4Addr::new(10, 244, 0, 9), 5000);
        Flow {
            original: Tuple { protocol, source: client, destination: to },
            reply: Tuple { protocol, source: answered_by, destination: client },
        }
    }

    #[test]
    fn only_udp_flows_of_services_to_wrong_endpoints_are_stale() {
        let service = Ipv4Addr::new(10, 96, 0, 53);
        let (alive, dead) = (Ipv4Addr::new(10, 244, 0, 2), Ipv4Addr::new(10, 244, 0, 3));
        let endpoints = UdpEndpoints::from([
            (Frontend::Address(service, proto::UDP, 53), BTreeSet::from([SocketAddrV4::new(alive, 5353)])),
            (Frontend::NodePort(proto::UDP, 30053), BTreeSet::from([SocketAddrV4::new(alive, 5353)])),
        ]);
        let node = Ipv4Addr::new(192, 0, 2, 1);
        for (flow, stale) in [
            (flow(proto::UDP, (service, 53), (alive, 5353)), false),
            (flow(proto::UDP, (service, 53), (dead, 5353)), true),
            (flow(proto::UDP, (service, 53), (service, 53)), true),
            (flow(proto::TCP, (service, 53), (dead, 5353)), false),
            (flow(proto::UDP, (service, 54), (dead, 5353)), false),
            (flow(proto::UDP, (node, 30053), (dead, 5353)), true),
            (flow(proto::UDP, (node, 30053), (alive, 5353)), false),
            // The same number on another machine is none of ours.
            (flow(proto::UDP, (dead, 30053), (dead, 30053)), false),
        ] {
            assert_eq!(is_stale(&flow, &endpoints, &BTreeSet::from([node])), stale, "{flow:?}");
        }
    }
}
