//! The node's pod network and its one way in.

use std::collections::BTreeSet;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ipnet::Ipv4Net;
use netlink::Socket;
use netlink::nft::proto;
use netlink::route::{self, Changes, Mac, Tolerate};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;

use crate::attach::{self, Port};
use crate::ipam::{Exhausted, Ipam};
use crate::state::{StateError, StateFile};
use crate::{node, rules};

/// What the pod network of a node is made of.
#[derive(Clone, Debug)]
pub struct Config {
    /// This node's part of the pods' network, as 10.244.0.0/24. The first address is the gateway's.
    pub pod_cidr: Ipv4Net,
    /// All nodes' pods, as 10.244.0.0/16.
    pub cluster_cidr: Ipv4Net,
    /// The Services' addresses, as 10.96.0.0/16.
    pub service_cidr: Ipv4Net,
    /// The bridge's name, as kaji0.
    pub bridge: String,
    /// The largest packet of pods.
    pub mtu: u32,
    /// Where the addresses are remembered; it must survive restarts.
    pub state_dir: PathBuf,
    /// Where pods' network namespaces are mounted; it may go with the machine.
    pub run_dir: PathBuf,
}

/// Why the pod network did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration cannot hold.
    #[error("pod network {net}: {why}")]
    Invalid {
        /// The network in question.
        net: Ipv4Net,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The remembered addresses are of another network.
    #[error(
        "this node's pods have addresses in {remembered}, not in {configured}; drain it before changing its pod CIDR"
    )]
    OtherNetwork {
        /// What the state file says.
        remembered: Ipv4Net,
        /// What the configuration says.
        configured: Ipv4Net,
    },
    /// The addresses could not be read or written.
    #[error(transparent)]
    State(#[from] StateError),
    /// No address is free.
    #[error(transparent)]
    Exhausted(#[from] Exhausted),
    /// A kernel setting could not be written.
    #[error("set {setting}")]
    Setting {
        /// The file under /proc/sys.
        setting: String,
        /// The cause.
        #[source]
        err: io::Error,
    },
    /// A pod's namespace could not be made, entered or ended.
    #[error("network namespace {}", path.display())]
    Namespace {
        /// Where it is mounted.
        path: PathBuf,
        /// The cause.
        #[source]
        err: io::Error,
    },
    /// A link that was just made is not there.
    #[error("link {name} is not there")]
    NoLink {
        /// Its name.
        name: String,
    },
    /// The kernel refused.
    #[error(transparent)]
    Netlink(#[from] netlink::Error),
    /// The work was cut off: the process ends.
    #[error("cut off while the process ends")]
    CutOff,
}

/// A port of the node that leads to a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostPort {
    /// The node's address it is bound to; every one without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_ip: Option<Ipv4Addr>,
    /// The node's port.
    pub host_port: u16,
    /// The pod's port.
    pub container_port: u16,
    /// The IP protocol's number.
    pub protocol: u8,
}

impl HostPort {
    /// The number of a protocol by its name in the API; `None` for one that ports do not have.
    pub fn protocol_number(name: &str) -> Option<u8> {
        match name {
            "TCP" => Some(proto::TCP),
            "UDP" => Some(proto::UDP),
            "SCTP" => Some(proto::SCTP),
            _ => None,
        }
    }
}

/// Where a pod is on the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PodAddress {
    /// Its address.
    pub ip: Ipv4Addr,
    /// Where it sends everything.
    pub gateway: Ipv4Addr,
    /// The hardware address of its eth0.
    pub mac: Mac,
}

/// The pod network of this node. Clones share it.
#[derive(Clone, Debug)]
pub struct PodNetwork {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    config: Config,
    file: StateFile,
    ipam: Mutex<Ipam>,
}

impl Config {
    /// Checks the configuration and reads the addresses that pods have from before.
    pub fn build(self) -> Result<PodNetwork, Error> {
        let net = self.pod_cidr.trunc();
        let invalid = |why| Err(Error::Invalid { net, why });
        if net.prefix_len() > 30 {
            return invalid("it has no room for a gateway and a pod");
        }
        if !self.cluster_cidr.contains(&net) {
            return invalid("it lies outside the cluster's pod network");
        }
        if self.cluster_cidr.contains(&self.service_cidr) || self.service_cidr.contains(&self.cluster_cidr) {
            return invalid("pods and Services share addresses");
        }
        let file = StateFile::in_directory(&self.state_dir);
        let ipam = match file.load() {
            Err(err @ StateError::Damaged { .. }) if !has_pod_links()? => {
                tracing::warn!(error = &err as &dyn std::error::Error, "no pod has a link yet: starting anew");
                None
            }
            loaded => loaded?,
        };
        let ipam = ipam.unwrap_or_else(|| Ipam::new(net));
        if ipam.net() != net && ipam.pods().next().is_some() {
            return Err(Error::OtherNetwork { remembered: ipam.net(), configured: net });
        }
        let ipam = if ipam.net() == net { ipam } else { Ipam::new(net) };
        Ok(PodNetwork { shared: Arc::new(Shared { config: self, file, ipam: Mutex::new(ipam) }) })
    }
}

/// Whether any pod is connected, as after a restart of this process but not of the machine.
fn has_pod_links() -> Result<bool, netlink::Error> {
    let links = route::links(&mut Socket::route()?)?;
    Ok(links.iter().any(|link| attach::is_pod_link(&link.name)))
}

impl PodNetwork {
    /// The node's own address among the pods, which is their gateway.
    pub fn gateway(&self) -> Ipv4Addr {
        Ipam::gateway(self.shared.config.pod_cidr)
    }

    /// Where a pod's namespace is mounted.
    pub fn netns_path(&self, name: &str) -> PathBuf {
        self.shared.config.run_dir.join(name)
    }

    /// Makes the bridge, its routes, the kernel settings and the nftables table, or brings them up to date.
    /// Running pods notice nothing.
    pub async fn ensure_node(&self) -> Result<(), Error> {
        self.blocking(|shared| {
            node::ensure(&shared.config)?;
            let ipam = shared.ipam.lock();
            rules::replace(&mut Socket::netfilter()?, &shared.config, ipam.pods().map(|(_, allocation)| allocation))
        })
        .await
    }

    /// Makes a network namespace for a pod and returns where it is mounted. Nothing is done when there is one.
    pub async fn create_netns(&self, name: &str) -> Result<PathBuf, Error> {
        let path = self.netns_path(name);
        self.blocking(move |_| match netlink::netns::create(&path) {
            Ok(()) => Ok(path),
            Err(err) => Err(Error::Namespace { path, err }),
        })
        .await
    }

    /// Ends a pod's namespace. Nothing is done when there is none.
    pub async fn delete_netns(&self, name: &str) -> Result<(), Error> {
        let path = self.netns_path(name);
        self.blocking(move |_| netlink::netns::delete(&path).map_err(|err| Error::Namespace { path, err })).await
    }

    /// Connects the namespace at `netns` to the network: an address, eth0, a default route, loopback, host ports.
    ///
    /// A second call for the same pod gives the same address and mends what is missing.
    pub async fn attach(&self, uid: &str, netns: &Path, host_ports: &[HostPort]) -> Result<PodAddress, Error> {
        let (uid, netns, host_ports) = (uid.to_owned(), netns.to_owned(), host_ports.to_vec());
        self.blocking(move |shared| shared.attach(&uid, &netns, &host_ports)).await
    }

    /// Takes a pod off the network and its address back. Nothing is done when it was not on it.
    pub async fn detach(&self, uid: &str) -> Result<(), Error> {
        let uid = uid.to_owned();
        self.blocking(move |shared| shared.detach(&uid)).await
    }

    /// Detaches every pod that is not among `live`, as after a restart; returns the UIDs of those.
    pub async fn retain(&self, live: BTreeSet<String>) -> Result<Vec<String>, Error> {
        self.blocking(move |shared| shared.retain(&live)).await
    }

    /// The address of a pod that is attached.
    pub fn address(&self, uid: &str) -> Option<Ipv4Addr> {
        self.shared.ipam.lock().get(uid).map(|allocation| allocation.ip)
    }

    async fn blocking<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Shared) -> Result<T, Error> + Send + 'static,
    {
        let shared = self.shared.clone();
        spawn_blocking(move || work(&shared)).await.map_err(|_| Error::CutOff)?
    }
}

impl Shared {
    fn attach(&self, uid: &str, netns: &Path, host_ports: &[HostPort]) -> Result<PodAddress, Error> {
        let (before, allocation) = {
            let mut ipam = self.ipam.lock();
            let before = ipam.get(uid).cloned();
            let allocation = ipam.allocate(uid, host_ports)?;
            if before.as_ref() != Some(&allocation) {
                self.file.save(&ipam)?;
            }
            (before, allocation)
        };
        let gateway = Ipam::gateway(self.config.pod_cidr);
        let address = PodAddress { ip: allocation.ip, gateway, mac: attach::mac_of(allocation.ip) };
        let port = Port { name: &attach::link_name(uid), bridge: &self.config.bridge, mtu: self.config.mtu };
        attach::attach(&port, netns, &address)?;
        let before = before.filter(|before| before != &allocation);
        rules::change(before.as_ref(), Some(&allocation))?;
        Ok(address)
    }

    fn detach(&self, uid: &str) -> Result<(), Error> {
        let mut changes = Changes::new();
        changes.delete_link(&attach::link_name(uid), Tolerate::Missing);
        changes.apply(&mut Socket::route()?)?;
        let mut ipam = self.ipam.lock();
        let Some(allocation) = ipam.get(uid).cloned() else { return Ok(()) };
        rules::change(Some(&allocation), None)?;
        ipam.release(uid);
        Ok(self.file.save(&ipam)?)
    }

    fn retain(&self, live: &BTreeSet<String>) -> Result<Vec<String>, Error> {
        let remembered: Vec<String> = self.ipam.lock().pods().map(|(uid, _)| uid.to_owned()).collect();
        let gone: Vec<String> = remembered.into_iter().filter(|uid| !live.contains(uid)).collect();
        for uid in &gone {
            self.detach(uid)?;
        }
        self.delete_stray_ports()?;
        Ok(gone)
    }

    /// Deletes the bridge's ports that belong to no pod.
    fn delete_stray_ports(&self) -> Result<(), Error> {
        let mut socket = Socket::route()?;
        let Some(bridge) = route::link(&mut socket, &self.config.bridge)? else { return Ok(()) };
        // The links first: a pod has its address before its link, so none that is being attached looks astray.
        let links = route::links(&mut socket)?;
        let ours: BTreeSet<String> = self.ipam.lock().pods().map(|(uid, _)| attach::link_name(uid)).collect();
        let strays = links.iter().filter(|link| {
            link.master == Some(bridge.index) && attach::is_pod_link(&link.name) && !ours.contains(&link.name)
        });
        let mut changes = Changes::new();
        strays.for_each(|link| changes.delete_link(&link.name, Tolerate::Missing));
        Ok(changes.apply(&mut socket)?)
    }
}
