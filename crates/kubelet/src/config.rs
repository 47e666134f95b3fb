//! What one kubelet is told: plain data, validated once.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tokio_rustls::rustls::ServerConfig;

/// Settings of a kubelet (upstream: KubeletConfiguration, as far as Kaji has the choice).
#[derive(Clone)]
pub struct Config {
    /// Name of the Node object.
    pub node_name: String,
    /// The node's address inside the cluster.
    pub node_ip: IpAddr,
    /// Pods' volumes, hosts files and termination logs live in `<data_dir>/kubelet/pods/<uid>`.
    pub data_dir: PathBuf,
    /// Container logs live in `<pod_log_dir>/<ns>_<name>_<uid>/<container>/<attempt>.log`.
    pub pod_log_dir: PathBuf,
    /// cgroup of all pods, absolute from the root of the hierarchies, as `/kaji/node/kubepods`.
    pub cgroup_root: String,
    /// Address of the cluster's DNS; pods get the node's resolver when there is none.
    pub cluster_dns: Option<IpAddr>,
    /// The cluster's DNS domain, as `cluster.local`.
    pub cluster_domain: String,
    /// The resolver configuration that `dnsPolicy: Default` hands on.
    pub resolv_conf: PathBuf,
    /// Most pods on this node.
    pub max_pods: u32,
    /// Pod network of this node, written to `spec.podCIDR` when the Node is created.
    pub pod_cidr: Option<String>,
    /// Further labels of the Node, as `node-role.kubernetes.io/control-plane`.
    pub node_labels: Vec<(String, String)>,
    /// Port of the HTTPS endpoint.
    pub port: u16,
    /// Serving certificate, and verification of clients' certificates by the cluster's CA (without making them
    /// mandatory: bearer tokens are the other way in). No endpoint is opened without it.
    pub tls: Option<Arc<ServerConfig>>,
    /// The API server's address for pods without Services, as (`10.96.0.1`, 443); env falls back to it.
    pub kubernetes_service: Option<(IpAddr, u16)>,
}

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A node needs a name.
    #[error("the node name is empty")]
    NoNodeName,
    /// The cgroup root must be absolute.
    #[error("the cgroup root {0:?} is not an absolute path")]
    CgroupRoot(String),
}

impl Config {
    /// Checks what the types cannot.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.node_name.is_empty() {
            return Err(ConfigError::NoNodeName);
        }
        if !self.cgroup_root.starts_with('/') {
            return Err(ConfigError::CgroupRoot(self.cgroup_root.clone()));
        }
        Ok(())
    }

    /// Directory of a pod's own files.
    pub fn pod_dir(&self, uid: &str) -> PathBuf {
        self.pods_dir().join(uid)
    }

    /// Directory with one entry for each pod.
    pub fn pods_dir(&self) -> PathBuf {
        self.data_dir.join("kubelet/pods")
    }
}
