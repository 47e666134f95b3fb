//! The command line.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use ipnet::Ipv4Net;

mod access;
mod serving;

pub use access::{AccessArgs, AuditArgs, EncryptionArgs};
pub use serving::ServingArgs;

/// Kubernetes in one binary.
#[derive(Debug, Parser)]
#[command(name = "kaji", version = component_base::VERSION, disable_help_subcommand = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create, list, start, stop and delete clusters on this machine
    #[command(subcommand)]
    Cluster(ClusterCommand),
    /// Run the control plane, and a node unless told otherwise, in this process
    Server(Box<ServerArgs>),
    /// Look at and change the images of a cluster's node
    #[command(subcommand)]
    Image(ImageCommand),
    /// Say whether this machine can run clusters, and what is missing
    Check,
    /// First process of a node (started by 'kaji cluster')
    #[command(hide = true)]
    NodeInit {
        /// The node's description.
        spec: PathBuf,
        /// The inherited socket of the API.
        #[arg(long)]
        listener_fd: i32,
    },
    /// Holds one pod's processes (started by the kubelet)
    #[command(hide = true)]
    Shim {
        /// See `cri::shim`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<std::ffi::OsString>,
    },
}

/// `kaji cluster ...`
#[derive(Debug, Subcommand)]
pub enum ClusterCommand {
    /// Create a cluster; returns when its node is Ready
    Create {
        #[command(flatten)]
        cluster: ClusterName,
        /// How many nodes (this version makes one)
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1))]
        nodes: u16,
        /// Port of the API on 127.0.0.1 [default: a free one]
        #[arg(long)]
        api_port: Option<u16>,
        /// The kubeconfig to merge the context into [default: $KUBECONFIG or ~/.kube/config]
        #[arg(long)]
        kubeconfig: Option<PathBuf>,
        /// A registry (host:port) to be reached by plain HTTP; may be given several times
        #[arg(long, value_name = "HOST:PORT")]
        insecure_registry: Vec<String>,
        /// A PEM file with a certificate authority that registries are trusted by; may be given several times
        #[arg(long, value_name = "FILE")]
        registry_ca: Vec<PathBuf>,
    },
    /// Delete a cluster and everything it left on this machine
    Delete {
        #[command(flatten)]
        cluster: ClusterName,
    },
    /// List the clusters of this machine
    List,
    /// Start a stopped cluster
    Start {
        #[command(flatten)]
        cluster: ClusterName,
    },
    /// Stop a cluster; its data stays
    Stop {
        #[command(flatten)]
        cluster: ClusterName,
    },
    /// Put the images of an archive ('docker save' or OCI) into the cluster's node
    LoadImage {
        /// The archive
        archive: PathBuf,
        #[command(flatten)]
        cluster: ClusterName,
    },
}

/// Which cluster.
#[derive(Args, Debug)]
pub struct ClusterName {
    /// The cluster
    #[arg(long, default_value = "kaji")]
    pub name: String,
}

/// `kaji image ...`
#[derive(Debug, Subcommand)]
pub enum ImageCommand {
    /// List the images
    List {
        #[command(flatten)]
        cluster: ClusterName,
    },
    /// Put the images of an archive ('docker save' or OCI) into the store
    Import {
        /// The archive
        archive: PathBuf,
        #[command(flatten)]
        cluster: ClusterName,
    },
    /// Fetch an image from a registry
    Pull {
        /// Its reference, as registry.example/app:1.0
        reference: String,
        #[command(flatten)]
        cluster: ClusterName,
    },
    /// Remove an image
    Remove {
        /// Its reference or id
        reference: String,
        #[command(flatten)]
        cluster: ClusterName,
    },
}

/// `kaji server ...`
#[derive(Args, Clone, Debug)]
pub struct ServerArgs {
    /// Where everything that lasts is kept
    #[arg(long, default_value = "/var/lib/kaji/server")]
    pub data_dir: PathBuf,
    /// Where sockets and what a reboot may forget is kept
    #[arg(long, default_value = "/run/kaji")]
    pub run_dir: PathBuf,
    /// Where keys and certificates are kept [default: <data-dir>/pki]
    #[arg(long)]
    pub pki_dir: Option<PathBuf>,
    /// The address the API listens on
    #[arg(long, default_value = "127.0.0.1")]
    pub bind_address: IpAddr,
    /// The port the API listens on
    #[arg(long, default_value_t = 6443)]
    pub https_listen_port: u16,
    /// Write an administrator's kubeconfig to this file
    #[arg(long)]
    pub write_kubeconfig: Option<PathBuf>,
    /// Run only the control plane
    #[arg(long)]
    pub disable_agent: bool,
    /// Leave scheduling to somebody else
    #[arg(long)]
    pub disable_scheduler: bool,
    /// Run no controllers
    #[arg(long)]
    pub disable_controller_manager: bool,
    /// Name of the node [default: the host name]
    #[arg(long)]
    pub node_name: Option<String>,
    /// Address of the node [default: the bind address]
    #[arg(long)]
    pub node_ip: Option<IpAddr>,
    /// Addresses of pods
    #[arg(long, default_value = "10.244.0.0/16")]
    pub cluster_cidr: Ipv4Net,
    /// Addresses of Services
    #[arg(long, default_value = "10.96.0.0/16")]
    pub service_cidr: Ipv4Net,
    /// Domain of the cluster's DNS
    #[arg(long, default_value = "cluster.local")]
    pub cluster_domain: String,
    /// The cgroup that the node's cgroups are made in
    #[arg(long, default_value = "/kaji/node")]
    pub cgroup_root: String,
    /// The resolv.conf with the name servers for names outside the cluster
    #[arg(long, default_value = "/etc/resolv.conf")]
    pub resolv_conf: PathBuf,
    /// A registry (host:port) to be reached by plain HTTP; may be given several times
    #[arg(long, value_name = "HOST:PORT")]
    pub insecure_registry: Vec<String>,
    /// A PEM file with a certificate authority that registries are trusted by; may be given several times
    #[arg(long, value_name = "FILE")]
    pub registry_ca: Vec<PathBuf>,
    #[command(flatten)]
    pub access: AccessArgs,
    #[command(flatten)]
    pub audit: AuditArgs,
    #[command(flatten)]
    pub encryption: EncryptionArgs,
    #[command(flatten)]
    pub serving: ServingArgs,
    /// Admission plugins to run besides those that are on by default
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub enable_admission_plugins: Vec<String>,
    /// Admission plugins not to run although they are on by default
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub disable_admission_plugins: Vec<String>,
    /// A file that configures admission plugins (AdmissionConfiguration)
    #[arg(long, value_name = "FILE")]
    pub admission_control_config_file: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
