//! Links, addresses, routes and neighbours (rtnetlink), many changes in one round trip.

use std::io;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::message::{self, Batch, Body};
use crate::socket::{Error, Refusal, Socket};

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_INFO_SLAVE_KIND: u16 = 4;
const IFLA_INFO_SLAVE_DATA: u16 = 5;
const VETH_INFO_PEER: u16 = 1;
const IFLA_BR_MCAST_SNOOPING: u16 = 23;
const IFLA_BRPORT_MODE: u16 = 4;
const IFLA_BRPORT_ISOLATED: u16 = 33;
const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
const ADDR_GEN_MODE_NONE: u8 = 1;

const IFA_LOCAL: u16 = 2;
const IFA_ADDRESS: u16 = 1;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_PREFSRC: u16 = 7;
const RT_TABLE_MAIN: u8 = 254;
const RTPROT_STATIC: u8 = 4;
const RT_SCOPE_UNIVERSE: u8 = 0;
const RT_SCOPE_LINK: u8 = 253;
const RTN_UNICAST: u8 = 1;
const RTN_UNREACHABLE: u8 = 7;

/// A hardware address.
pub type Mac = [u8; 6];

/// What the kernel may answer without the change having failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tolerate {
    /// Nothing.
    Nothing,
    /// It is there already.
    Exists,
    /// It is gone already.
    Missing,
    /// Anything: the change is welcome but not needed.
    Anything,
}

impl Tolerate {
    fn accepts(self, err: &io::Error) -> bool {
        match self {
            Self::Nothing => false,
            Self::Exists => err.raw_os_error() == Some(libc::EEXIST),
            Self::Missing => matches!(err.raw_os_error(), Some(libc::ENODEV | libc::ESRCH | libc::EADDRNOTAVAIL)),
            Self::Anything => true,
        }
    }
}

/// A link as the kernel describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its number in this namespace.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its hardware address; zeros where it has none.
    pub mac: Mac,
    /// The bridge it is a port of.
    pub master: Option<u32>,
    /// Its largest packet.
    pub mtu: u32,
    /// Whether it is up.
    pub is_up: bool,
}

/// What a bridge port does beyond forwarding.
#[derive(Clone, Copy, Debug, Default)]
pub struct PortOptions {
    /// A frame may leave by the port it came from.
    pub hairpin: bool,
    /// No frame goes from one isolated port to another; all go through the bridge's own address.
    pub isolated: bool,
}

/// A pair of virtual Ethernet links, one end here and one in another namespace.
#[derive(Clone, Copy, Debug)]
pub struct VethPair<'a> {
    /// The end here.
    pub name: &'a str,
    /// The other end.
    pub peer: &'a str,
    /// The other end's hardware address.
    pub peer_mac: Mac,
    /// The namespace of the other end, as an open file; `None` is this one.
    pub peer_namespace: Option<i32>,
    /// The bridge that this end is a port of.
    pub master: Option<u32>,
    /// The largest packet of both ends.
    pub mtu: u32,
}

/// Changes that go to the kernel in one round trip, in order.
#[derive(Debug, Default)]
pub struct Changes {
    batch: Batch,
    /// What each message asks for, and what it may be refused with; message n at n - 1.
    asked: Vec<(String, Tolerate)>,
}

impl Changes {
    /// No change.
    pub fn new() -> Self {
        Self::default()
    }

    /// Applies the changes. The kernel goes on after a refusal; the first that is not tolerated is returned.
    pub fn apply(&self, socket: &mut Socket) -> Result<(), Error> {
        if self.asked.is_empty() {
            return Ok(());
        }
        for Refusal { sequence, err, detail } in socket.transact(&self.batch, self.batch.last())? {
            let asked = self.asked.get((sequence as usize).wrapping_sub(1));
            if asked.is_some_and(|(_, tolerate)| tolerate.accepts(&err)) {
                continue;
            }
            let what = asked.map_or_else(String::new, |(what, _)| what.clone());
            return Err(Error::Refused { what, detail, err });
        }
        Ok(())
    }

    fn add(&mut self, what: String, tolerate: Tolerate, kind: u16, flags: u16, write: impl FnOnce(&mut Body)) {
        self.batch.message(kind, flags | message::ACK, write);
        self.asked.push((what, tolerate));
    }

    /// A bridge, up, that floods multicast rather than learn who listens.
    pub fn add_bridge(&mut self, name: &str, mac: Mac, mtu: u32, tolerate: Tolerate) {
        let flags = message::CREATE | message::EXCL;
        self.add(format!("create bridge {name}"), tolerate, RTM_NEWLINK, flags, |body| {
            body.raw(&link_header(0, Some(true)));
            body.text(IFLA_IFNAME, name);
            body.put(IFLA_ADDRESS, &mac);
            body.u32(IFLA_MTU, mtu);
            body.nest(IFLA_LINKINFO, |body| {
                body.text(IFLA_INFO_KIND, "bridge");
                body.nest(IFLA_INFO_DATA, |body| body.u8(IFLA_BR_MCAST_SNOOPING, 0));
            });
        });
    }

    /// A pair of virtual Ethernet links, both down.
    pub fn add_veth(&mut self, pair: VethPair<'_>, tolerate: Tolerate) {
        let flags = message::CREATE | message::EXCL;
        self.add(format!("create veth {}", pair.name), tolerate, RTM_NEWLINK, flags, |body| {
            body.raw(&link_header(0, None));
            body.text(IFLA_IFNAME, pair.name);
            body.u32(IFLA_MTU, pair.mtu);
            if let Some(master) = pair.master {
                body.u32(IFLA_MASTER, master);
            }
            body.nest(IFLA_LINKINFO, |body| {
                body.text(IFLA_INFO_KIND, "veth");
                body.nest(IFLA_INFO_DATA, |body| {
                    body.nest(VETH_INFO_PEER, |body| {
                        body.raw(&link_header(0, None));
                        body.text(IFLA_IFNAME, pair.peer);
                        body.put(IFLA_ADDRESS, &pair.peer_mac);
                        body.u32(IFLA_MTU, pair.mtu);
                        if let Some(namespace) = pair.peer_namespace {
                            body.put(IFLA_NET_NS_FD, &namespace.to_ne_bytes());
                        }
                    });
                });
            });
        });
    }

    /// What a link that is a bridge's port does beyond forwarding.
    pub fn set_port(&mut self, name: &str, options: PortOptions) {
        self.add(format!("configure bridge port {name}"), Tolerate::Nothing, RTM_NEWLINK, 0, |body| {
            body.raw(&link_header(0, None));
            body.text(IFLA_IFNAME, name);
            body.nest(IFLA_LINKINFO, |body| {
                body.text(IFLA_INFO_SLAVE_KIND, "bridge");
                body.nest(IFLA_INFO_SLAVE_DATA, |body| {
                    body.u8(IFLA_BRPORT_MODE, options.hairpin.into());
                    body.u8(IFLA_BRPORT_ISOLATED, options.isolated.into());
                });
            });
        });
    }

    /// No IPv6 link-local address, and so no duplicate detection or multicast chatter. Call it before the link is up.
    pub fn without_link_local(&mut self, name: &str) {
        self.add(format!("no link-local address on {name}"), Tolerate::Anything, RTM_NEWLINK, 0, |body| {
            body.raw(&link_header(0, None));
            body.text(IFLA_IFNAME, name);
            body.nest(IFLA_AF_SPEC, |body| {
                body.nest(libc::AF_INET6 as u16, |body| body.u8(IFLA_INET6_ADDR_GEN_MODE, ADDR_GEN_MODE_NONE));
            });
        });
    }

    /// A link up.
    pub fn set_up(&mut self, name: &str) {
        self.add(format!("set {name} up"), Tolerate::Nothing, RTM_NEWLINK, 0, |body| {
            body.raw(&link_header(0, Some(true)));
            body.text(IFLA_IFNAME, name);
        });
    }

    /// A link gone; of a pair, both ends.
    pub fn delete_link(&mut self, name: &str, tolerate: Tolerate) {
        self.add(format!("delete link {name}"), tolerate, RTM_DELLINK, 0, |body| {
            body.raw(&link_header(0, None));
            body.text(IFLA_IFNAME, name);
        });
    }

    /// An address on a link.
    pub fn add_address(&mut self, link: u32, address: Ipv4Net) {
        let flags = message::CREATE | message::REPLACE;
        self.add(format!("add address {address}"), Tolerate::Exists, RTM_NEWADDR, flags, |body| {
            body.raw(&[libc::AF_INET as u8, address.prefix_len(), 0, 0]);
            body.raw(&link.to_ne_bytes());
            body.put(IFA_LOCAL, &address.addr().octets());
            body.put(IFA_ADDRESS, &address.addr().octets());
        });
    }

    /// A route to what is on the link itself; `source` is the address that local connections get.
    pub fn add_link_route(&mut self, to: Ipv4Net, link: u32, source: Option<Ipv4Addr>) {
        let header = route_header(to, RT_SCOPE_LINK, RTN_UNICAST);
        self.add_route(to, header, |body| {
            body.u32(RTA_OIF, link);
            if let Some(source) = source {
                body.put(RTA_PREFSRC, &source.octets());
            }
        });
    }

    /// A route through a gateway that is reachable on the link.
    pub fn add_gateway_route(&mut self, to: Ipv4Net, gateway: Ipv4Addr, link: u32) {
        let header = route_header(to, RT_SCOPE_UNIVERSE, RTN_UNICAST);
        self.add_route(to, header, |body| {
            body.put(RTA_GATEWAY, &gateway.octets());
            body.u32(RTA_OIF, link);
        });
    }

    /// A last resort: what no better route takes is answered with "unreachable".
    pub fn add_unreachable_route(&mut self, to: Ipv4Net) {
        let header = route_header(to, RT_SCOPE_UNIVERSE, RTN_UNREACHABLE);
        self.add_route(to, header, |body| body.u32(RTA_PRIORITY, 4_278_198_272));
    }

    fn add_route(&mut self, to: Ipv4Net, header: [u8; 12], write: impl FnOnce(&mut Body)) {
        let flags = message::CREATE | message::REPLACE;
        self.add(format!("add route {to}"), Tolerate::Exists, RTM_NEWROUTE, flags, |body| {
            body.raw(&header);
            if to.prefix_len() > 0 {
                body.put(RTA_DST, &to.network().octets());
            }
            write(body);
        });
    }
}

/// The link of a name in the socket's namespace.
pub fn link(socket: &mut Socket, name: &str) -> Result<Option<Link>, Error> {
    let mut request = Batch::new();
    request.message(RTM_GETLINK, 0, |body| {
        body.raw(&link_header(0, None));
        body.text(IFLA_IFNAME, name);
    });
    socket.get(&request, read_link)
}

/// Every link of the socket's namespace.
pub fn links(socket: &mut Socket) -> Result<Vec<Link>, Error> {
    let mut request = Batch::new();
    request.message(RTM_GETLINK, message::DUMP, |body| body.raw(&link_header(0, None)));
    let mut links = Vec::new();
    socket.dump(&request, |_, body| links.extend(read_link(body)))?;
    Ok(links)
}

/// Every IPv4 address of the socket's namespace with the number of its link.
pub fn addresses(socket: &mut Socket) -> Result<Vec<(u32, Ipv4Net)>, Error> {
    let mut request = Batch::new();
    request.message(RTM_GETADDR, message::DUMP, |body| body.raw(&[libc::AF_INET as u8, 0, 0, 0, 0, 0, 0, 0]));
    let mut addresses = Vec::new();
    socket.dump(&request, |_, body| addresses.extend(read_address(body)))?;
    Ok(addresses)
}

/// Where the IPv4 routes of the socket's namespace lead; a default route is 0.0.0.0/0.
pub fn destinations(socket: &mut Socket) -> Result<Vec<Ipv4Net>, Error> {
    let mut request = Batch::new();
    request.message(RTM_GETROUTE, message::DUMP, |body| {
        body.raw(&[libc::AF_INET as u8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    });
    let mut destinations = Vec::new();
    socket.dump(&request, |_, body| destinations.extend(read_destination(body)))?;
    Ok(destinations)
}

/// `struct ifinfomsg`.
fn link_header(index: u32, up: Option<bool>) -> [u8; 16] {
    let mut header = [0; 16];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    if let Some(up) = up {
        let flag = libc::IFF_UP as u32;
        header[8..12].copy_from_slice(&(if up { flag } else { 0 }).to_ne_bytes());
        header[12..16].copy_from_slice(&flag.to_ne_bytes());
    }
    header
}

/// `struct rtmsg`.
fn route_header(to: Ipv4Net, scope: u8, kind: u8) -> [u8; 12] {
    [libc::AF_INET as u8, to.prefix_len(), 0, 0, RT_TABLE_MAIN, RTPROT_STATIC, scope, kind, 0, 0, 0, 0]
}

fn read_link(body: &[u8]) -> Option<Link> {
    let number = |bytes: &[u8]| Some(u32::from_ne_bytes(bytes.try_into().ok()?));
    let attributes = body.get(16..)?;
    let name = message::attribute(attributes, IFLA_IFNAME)?;
    let mac = message::attribute(attributes, IFLA_ADDRESS).and_then(|bytes| bytes.try_into().ok());
    Some(Link {
        index: number(&body[4..8])?,
        name: String::from_utf8_lossy(name.strip_suffix(b"\0").unwrap_or(name)).into_owned(),
        mac: mac.unwrap_or_default(),
        master: message::attribute(attributes, IFLA_MASTER).and_then(number),
        mtu: message::attribute(attributes, IFLA_MTU).and_then(number).unwrap_or_default(),
        is_up: number(&body[8..12])? & libc::IFF_UP as u32 != 0,
    })
}

fn read_address(body: &[u8]) -> Option<(u32, Ipv4Net)> {
    let attributes = body.get(8..)?;
    let octets: [u8; 4] = message::attribute(attributes, IFA_LOCAL)?.try_into().ok()?;
    let link = u32::from_ne_bytes(body[4..8].try_into().ok()?);
    Some((link, Ipv4Net::new(octets.into(), body[1]).ok()?))
}

fn read_destination(body: &[u8]) -> Option<Ipv4Net> {
    let prefix = *body.get(1)?;
    let octets: [u8; 4] = match message::attribute(body.get(12..)?, RTA_DST) {
        Some(octets) => octets.try_into().ok()?,
        None => [0; 4],
    };
    Ipv4Net::new(octets.into(), prefix).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netns;

    #[test]
    fn a_bridge_with_a_port_whose_peer_is_elsewhere() -> io::Result<()> {
        netns::run_in_new(|| {
            let build = || -> Result<(), Error> {
                let mut here = Socket::route()?;
                let mut there_file = None;
                let mut there = std::thread::scope(|scope| {
                    scope
                        .spawn(|| {
                            // SAFETY: only the network namespace of this short thread changes.
                            unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) }
                                .expect("a new namespace");
                            there_file = std::fs::File::open("/proc/thread-self/ns/net").ok();
                            Socket::route()
                        })
                        .join()
                        .expect("the thread does not panic")
                })?;
                let namespace = there_file.expect("the namespace was opened");

                let mut changes = Changes::new();
                changes.add_bridge("br0", [2, 0, 0, 0, 0, 1], 1400, Tolerate::Nothing);
                changes.add_bridge("br0", [2, 0, 0, 0, 0, 1], 1400, Tolerate::Exists);
                changes.apply(&mut here)?;
                let bridge = link(&mut here, "br0")?.expect("the bridge is there");
                assert!(bridge.is_up);

                let mut changes = Changes::new();
                changes.add_veth(
                    VethPair {
                        name: "a",
                        peer: "eth0",
                        peer_mac: [2, 0, 0, 0, 0, 2],
                        peer_namespace: Some(std::os::fd::AsRawFd::as_raw_fd(&namespace)),
                        master: Some(bridge.index),
                        mtu: 1400,
                    },
                    Tolerate::Nothing,
                );
                changes.set_port("a", PortOptions { hairpin: true, isolated: true });
                changes.without_link_local("a");
                changes.set_up("a");
                changes.add_address(bridge.index, "10.1.0.1/24".parse().expect("an address"));
                changes.add_unreachable_route("10.0.0.0/8".parse().expect("a network"));
                changes.apply(&mut here)?;
                let port = link(&mut here, "a")?.expect("the port is there");
                assert_eq!((port.master, port.mtu, port.is_up), (Some(bridge.index), 1400, true));
                assert!(addresses(&mut here)?.contains(&(bridge.index, "10.1.0.1/24".parse().expect("an address"))));
                let routes = destinations(&mut here)?;
                for to in ["10.1.0.0/24", "10.0.0.0/8"] {
                    assert!(routes.contains(&to.parse().expect("a network")), "{to} is not in {routes:?}");
                }

                let eth0 = link(&mut there, "eth0")?.expect("the peer is there");
                assert_eq!(eth0.mac, [2, 0, 0, 0, 0, 2]);
                assert_eq!(link(&mut here, "eth0")?, None);
                assert!(links(&mut there)?.iter().any(|link| link.name == "lo"));

                let mut changes = Changes::new();
                changes.delete_link("a", Tolerate::Nothing);
                changes.delete_link("a", Tolerate::Missing);
                changes.apply(&mut here)?;
                assert_eq!(link(&mut there, "eth0")?, None);
                let mut changes = Changes::new();
                changes.set_up("a");
                let refused = changes.apply(&mut here).expect_err("the link is gone");
                assert_eq!(refused.errno(), Some(libc::ENODEV));
                Ok(())
            };
            build().map_err(io::Error::other)
        })
    }
}
