//! The network between a cluster's nodes and this machine: one bridge, one link a node.
//!
//! It has no route to anywhere else: nodes see each other and this machine, nothing more.

use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd;
use std::path::PathBuf;

use futures::TryStreamExt;
use ipnet::Ipv4Net;
use netlink_packet_route::address::AddressAttribute;
use netlink_packet_route::link::LinkAttribute;
use netlink_packet_route::route::{RouteAddress, RouteAttribute};
use rtnetlink::{Handle, LinkBridge, LinkUnspec, LinkVeth, RouteMessageBuilder};
use sha2::{Digest, Sha256};

/// Networks are taken from here, a /24 a cluster.
const POOL: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(172, 30, 0, 0), 16);

/// Why the network could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel refused.
    #[error("{doing}")]
    Kernel {
        /// What was being done.
        doing: String,
        /// Why.
        #[source]
        err: rtnetlink::Error,
    },
    /// The socket to the kernel could not be opened, or a namespace not entered.
    #[error("cannot reach the kernel's network configuration")]
    Socket(#[source] std::io::Error),
    /// Every network of the pool overlaps one that is in use.
    #[error("no free network in {POOL}: delete a cluster with 'kaji cluster delete'")]
    Exhausted,
}

fn kernel(doing: impl Into<String>) -> impl FnOnce(rtnetlink::Error) -> Error {
    let doing = doing.into();
    move |err| Error::Kernel { doing, err }
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

/// The first network of the pool that overlaps none of `used`.
pub fn pick_network(used: &[Ipv4Net]) -> Result<Ipv4Net, Error> {
    let overlaps = |net: &Ipv4Net, other: &Ipv4Net| net.contains(other) || other.contains(net);
    let mut nets = POOL.subnets(24).expect("24 is longer than the pool's prefix");
    nets.find(|net| !used.iter().any(|other| other.prefix_len() > 0 && overlaps(net, other))).ok_or(Error::Exhausted)
}

/// A connection to the kernel's network configuration in the namespace it was opened in.
pub struct Network {
    handle: Handle,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Network {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The socket's task ends with its owner.
#[expect(clippy::disallowed_methods, reason = "the command that asks has no scope; the handle ends the task")]
fn drive(connection: impl Future<Output = ()> + Send + 'static) -> tokio::task::JoinHandle<()> {
    tokio::spawn(connection)
}

impl Network {
    /// The network of this process.
    pub fn here() -> Result<Self, Error> {
        let (connection, handle, _) = rtnetlink::new_connection().map_err(Error::Socket)?;
        Ok(Self { handle, task: drive(connection) })
    }

    /// The network of the process `pid`. The socket is opened by a thread inside it and keeps belonging to it.
    pub fn of_process(pid: i32) -> Result<Self, Error> {
        let path = PathBuf::from(format!("/proc/{pid}/ns/net"));
        let runtime = tokio::runtime::Handle::current();
        let opened = std::thread::spawn(move || {
            let _guard = runtime.enter();
            let namespace = std::fs::File::open(path)?;
            rustix::thread::move_into_link_name_space(
                namespace.as_fd(),
                Some(rustix::thread::LinkNameSpaceType::Network),
            )?;
            rtnetlink::new_connection()
        });
        let opened = opened.join().map_err(|_| std::io::Error::other("the thread that enters the namespace died"));
        let (connection, handle, _) = opened.and_then(|opened| opened).map_err(Error::Socket)?;
        Ok(Self { handle, task: drive(connection) })
    }

    /// The IPv4 networks that are in use here: destinations of routes.
    pub async fn used(&self) -> Result<Vec<Ipv4Net>, Error> {
        let all = RouteMessageBuilder::<Ipv4Addr>::new().build();
        let mut routes = self.handle.route().get(all).execute();
        let mut used = Vec::new();
        while let Some(route) = routes.try_next().await.map_err(kernel("list routes"))? {
            let prefix = route.header.destination_prefix_length;
            for attribute in &route.attributes {
                if let RouteAttribute::Destination(RouteAddress::Inet(address)) = attribute
                    && let Ok(net) = Ipv4Net::new(*address, prefix)
                {
                    used.push(net);
                }
            }
        }
        Ok(used)
    }

    /// Makes the bridge with the first address of `net`, unless it is there.
    pub async fn ensure_bridge(&self, name: &str, net: Ipv4Net) -> Result<(), Error> {
        let index = match self.index_of(name).await? {
            Some(index) => index,
            None => {
                let bridge = LinkBridge::new(name).build();
                self.handle.link().add(bridge).execute().await.map_err(kernel(format!("make bridge {name}")))?;
                self.index_of(name).await?.unwrap_or_default()
            }
        };
        let address = net.hosts().next().unwrap_or(net.addr());
        self.ensure_address(index, address, net.prefix_len()).await?;
        self.up(index).await
    }

    /// Makes the link of a node: one end on the bridge, the other, `eth0`, in the network of process `pid`.
    pub async fn add_link(&self, bridge: &str, link: &str, pid: i32) -> Result<(), Error> {
        self.remove_link(link).await?;
        let bridge = self.index_of(bridge).await?.unwrap_or_default();
        // The peer has a name of its own until it has moved: there may be an `eth0` here.
        let peer = format!("{link}p");
        let veth = LinkVeth::new(link, &peer).build();
        self.handle.link().add(veth).execute().await.map_err(kernel(format!("make link {link}")))?;
        let ours = self.index_of(link).await?.unwrap_or_default();
        let theirs = self.index_of(&peer).await?.unwrap_or_default();
        let join = LinkUnspec::new_with_index(ours).controller(bridge).up().build();
        self.handle.link().change(join).execute().await.map_err(kernel(format!("join {link} to its bridge")))?;
        let pid = u32::try_from(pid).unwrap_or_default();
        let give = LinkUnspec::new_with_index(theirs).name("eth0".to_owned()).setns_by_pid(pid).build();
        self.handle.link().change(give).execute().await.map_err(kernel(format!("move {peer} into the node")))
    }

    /// Inside the node: brings `lo` and `eth0` up with the node's address. There is no default route.
    pub async fn configure_node(&self, address: Ipv4Addr, prefix: u8) -> Result<(), Error> {
        for name in ["lo", "eth0"] {
            let index = self.index_of(name).await?.unwrap_or_default();
            if name == "eth0" {
                self.ensure_address(index, address, prefix).await?;
            }
            self.up(index).await?;
        }
        Ok(())
    }

    /// Removes a link; one that is not there is no error.
    pub async fn remove_link(&self, name: &str) -> Result<(), Error> {
        let Some(index) = self.index_of(name).await? else { return Ok(()) };
        match self.handle.link().del(index).execute().await {
            Err(err) if !is_missing(&err) => Err(kernel(format!("remove link {name}"))(err)),
            _ => Ok(()),
        }
    }

    async fn up(&self, index: u32) -> Result<(), Error> {
        let up = LinkUnspec::new_with_index(index).up().build();
        self.handle.link().change(up).execute().await.map_err(kernel("bring a link up"))
    }

    async fn ensure_address(&self, index: u32, address: Ipv4Addr, prefix: u8) -> Result<(), Error> {
        let mut present = self.handle.address().get().set_link_index_filter(index).execute();
        while let Some(found) = present.try_next().await.map_err(kernel("list addresses"))? {
            if found.attributes.contains(&AddressAttribute::Local(IpAddr::V4(address))) {
                return Ok(());
            }
        }
        let add = self.handle.address().add(index, IpAddr::V4(address), prefix).execute();
        add.await.map_err(kernel(format!("give a link the address {address}")))
    }

    async fn index_of(&self, name: &str) -> Result<Option<u32>, Error> {
        let mut links = self.handle.link().get().match_name(name.to_owned()).execute();
        match links.try_next().await {
            Ok(Some(link)) => {
                let named = link.attributes.contains(&LinkAttribute::IfName(name.to_owned()));
                Ok(named.then_some(link.header.index))
            }
            Ok(None) => Ok(None),
            Err(err) if is_missing(&err) => Ok(None),
            Err(err) => Err(kernel(format!("look up link {name}"))(err)),
        }
    }
}

fn is_missing(err: &rtnetlink::Error) -> bool {
    matches!(err, rtnetlink::Error::NetlinkError(message) if message.raw_code() == -libc::ENODEV)
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
            assert!(link_name(name).len() <= 14, "the peer's name is one longer");
        }
    }
}
