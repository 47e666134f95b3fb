//! The node's side: bridge, routes, kernel settings.

use std::fs;
use std::io;

use ipnet::Ipv4Net;
use netlink::Socket;
use netlink::route::{self, Changes, Tolerate};

use crate::attach::mac_of;
use crate::ipam::Ipam;
use crate::{Config, Error};

/// Makes what is missing and corrects what differs.
pub(crate) fn ensure(config: &Config) -> Result<(), Error> {
    let gateway = Ipam::gateway(config.pod_cidr);
    let mut socket = Socket::route()?;
    let mut changes = Changes::new();
    changes.add_bridge(&config.bridge, mac_of(gateway), config.mtu, Tolerate::Exists);
    changes.apply(&mut socket)?;
    settings(config)?;

    let bridge = route::link(&mut socket, &config.bridge)?;
    let bridge = bridge.ok_or_else(|| Error::NoLink { name: config.bridge.clone() })?.index;
    let mut changes = Changes::new();
    changes.without_link_local(&config.bridge);
    changes.set_up("lo");
    changes.set_up(&config.bridge);
    // With the prefix of the node's network, so that the kernel itself adds the route to the pods.
    let address = Ipv4Net::new(gateway, config.pod_cidr.prefix_len());
    changes.add_address(bridge, address.expect("a prefix length that was one stays one"));
    // Pods of no known node, and Services that kube-proxy does not know: never the way out of the cluster.
    changes.add_unreachable_route(config.cluster_cidr);
    changes.add_link_route(config.service_cidr, bridge, Some(gateway));
    Ok(changes.apply(&mut socket)?)
}

fn settings(config: &Config) -> Result<(), Error> {
    let bridge = &config.bridge;
    set("net/ipv4/ip_forward", "1")?;
    // Every packet between two pods comes in and goes out by the bridge; there is no shorter way to tell them of.
    set("net/ipv4/conf/all/send_redirects", "0")?;
    set(&format!("net/ipv4/conf/{bridge}/send_redirects"), "0")?;
    // 127.0.0.1:<host port> reaches a pod; the nftables table keeps 127/8 from coming in.
    set(&format!("net/ipv4/conf/{bridge}/route_localnet"), "1")?;
    // Pods' frames are routed, never bridged, so the bridge need not call netfilter a second time.
    match set("net/bridge/bridge-nf-call-iptables", "0") {
        Err(Error::Setting { err, .. }) if err.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// `/proc/sys/net` shows the namespace of the thread that opens it, which is the node's.
fn set(setting: &str, value: &str) -> Result<(), Error> {
    let path = format!("/proc/sys/{setting}");
    // Written only when it differs: /proc/sys may be read-only where somebody prepared the node.
    let write = || match fs::read_to_string(&path)?.trim() {
        present if present == value => Ok(()),
        _ => fs::write(&path, value),
    };
    write().map_err(|err| Error::Setting { setting: setting.to_owned(), err })
}
