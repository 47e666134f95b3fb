//! The seam between kubelet and pod network: namespaces and addresses for pods.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use async_trait::async_trait;

/// A port of a pod that is reachable through the node's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// Port on the node.
    pub host_port: u16,
    /// Address on the node; any when `None`.
    pub host_ip: Option<IpAddr>,
    /// Port in the pod.
    pub container_port: u16,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
}

/// Who asks for a network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkRequest {
    /// UID of the pod.
    pub uid: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Ports to open on the node.
    pub host_ports: Vec<HostPort>,
}

/// A pod's place in the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// Path of the network namespace.
    pub netns: PathBuf,
    /// The pod's addresses, the primary one first.
    pub ips: Vec<IpAddr>,
}

/// Why the network did not do as asked.
#[derive(Debug, thiserror::Error)]
#[error("{doing}: {cause}")]
pub struct NetworkError {
    /// What was being done.
    pub doing: String,
    /// Why it failed.
    pub cause: String,
}

/// Gives pods a network namespace with addresses. Every method is idempotent.
#[async_trait]
pub trait PodNetwork: Send + Sync + 'static {
    /// Makes the pod's namespace and attaches it; a pod that has one gets the same again.
    async fn attach(&self, request: &NetworkRequest) -> Result<Attachment, NetworkError>;

    /// What a pod has, after a restart.
    async fn attachment(&self, uid: &str) -> Result<Option<Attachment>, NetworkError>;

    /// Frees the pod's addresses and removes its namespace.
    async fn detach(&self, uid: &str) -> Result<(), NetworkError>;

    /// Frees what belongs to pods other than `live`.
    async fn retain(&self, live: BTreeSet<String>) -> Result<(), NetworkError>;

    /// Opens a TCP connection to `port` on the loopback of the pod, from inside its namespace.
    async fn dial(&self, uid: &str, port: u16) -> Result<tokio::net::TcpStream, NetworkError>;
}

fn failed(doing: &str, cause: impl Display) -> NetworkError {
    NetworkError { doing: doing.to_owned(), cause: cause.to_string() }
}

/// The name of a pod's network namespace.
fn netns_name(uid: &str) -> String {
    format!("pod-{uid}")
}

impl HostPort {
    fn of_network(&self) -> Result<pod_network::HostPort, NetworkError> {
        let host_ip = match self.host_ip {
            Some(IpAddr::V4(ip)) => Some(ip).filter(|ip| !ip.is_unspecified()),
            Some(IpAddr::V6(ip)) => return Err(failed("opening a host port", format!("{ip} is not an IPv4 address"))),
            None => None,
        };
        let protocol = pod_network::HostPort::protocol_number(&self.protocol)
            .ok_or_else(|| failed("opening a host port", format!("protocol {} is not known", self.protocol)))?;
        Ok(pod_network::HostPort { host_ip, host_port: self.host_port, container_port: self.container_port, protocol })
    }
}

#[async_trait]
impl PodNetwork for pod_network::PodNetwork {
    async fn attach(&self, request: &NetworkRequest) -> Result<Attachment, NetworkError> {
        let ports: Vec<_> = request.host_ports.iter().map(HostPort::of_network).collect::<Result<_, _>>()?;
        let making = |err| failed("making the pod's network namespace", err);
        let netns = self.create_netns(&netns_name(&request.uid)).await.map_err(making)?;
        let address = pod_network::PodNetwork::attach(self, &request.uid, &netns, &ports)
            .await
            .map_err(|err| failed("attaching the pod to the network", err))?;
        Ok(Attachment { netns, ips: vec![address.ip.into()] })
    }

    async fn attachment(&self, uid: &str) -> Result<Option<Attachment>, NetworkError> {
        let netns = self.netns_path(&netns_name(uid));
        Ok(self.address(uid).map(|ip| Attachment { netns, ips: vec![ip.into()] }))
    }

    async fn detach(&self, uid: &str) -> Result<(), NetworkError> {
        pod_network::PodNetwork::detach(self, uid).await.map_err(|err| failed("detaching the pod", err))?;
        let removing = |err| failed("removing the pod's network namespace", err);
        self.delete_netns(&netns_name(uid)).await.map_err(removing)
    }

    async fn retain(&self, live: BTreeSet<String>) -> Result<(), NetworkError> {
        let freeing = |err| failed("freeing addresses of gone pods", err);
        let gone = pod_network::PodNetwork::retain(self, live).await.map_err(freeing)?;
        for uid in gone {
            let removing = |err| failed("removing the pod's network namespace", err);
            self.delete_netns(&netns_name(&uid)).await.map_err(removing)?;
        }
        Ok(())
    }

    async fn dial(&self, uid: &str, port: u16) -> Result<tokio::net::TcpStream, NetworkError> {
        let connecting = |err| failed("connecting to the pod", err);
        let socket = pod_network::netns::tcp_socket(&self.netns_path(&netns_name(uid))).await.map_err(connecting)?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        socket.connect(address).await.map_err(connecting)
    }
}
