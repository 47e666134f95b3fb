//! [`Config`]: what the server is told, and [`Deps`]: what it is given.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use component_base::health::Health;
use component_base::{Scope, metrics::Metrics};
use ipnet::Ipv4Net;
use store::Store;

use crate::admission::{self, Plugin};
use crate::aggregation::ProxyClientConfig;
use crate::authenticator::Authenticator;
use crate::authorizer::Authorizer;
use crate::handler::Handlers;

/// The server's settings: plain data.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where cluster IPs come from; its first address is the API's own Service.
    pub service_cidr: Ipv4Net,
    /// Where node ports come from.
    pub node_ports: RangeInclusive<u16>,
    /// Addresses under which pods reach this server.
    pub advertise_addresses: Vec<IpAddr>,
    /// The port at those addresses.
    pub secure_port: u16,
    /// The CA that signs client certificates, in PEM; published for extension servers.
    pub client_ca_pem: String,
    /// How the server reaches kubelets; without it logs, exec and the proxies answer 503.
    pub kubelet: Option<KubeletClientConfig>,
    /// Whether the proxies of nodes, pods and services lead to this machine's loopback, where backends of tests listen
    /// (upstream: `FilteredDialOptions.AllowLocalLoopback`).
    pub allow_local_loopback: bool,
    /// What is written down about requests.
    pub audit: Option<Arc<audit::Audit>>,
    /// Which admission plugins run.
    pub admission: admission::Config,
    /// The certificate with which the server speaks to extension servers.
    pub proxy_client: Option<ProxyClientConfig>,
    /// Reads that are served at a time (`--max-requests-inflight`).
    pub max_requests_inflight: usize,
    /// Writes that are served at a time (`--max-mutating-requests-inflight`).
    pub max_mutating_requests_inflight: usize,
    /// Whether both together are divided by flow schemas and priority levels (`--enable-priority-and-fairness`).
    pub enable_priority_and_fairness: bool,
    /// How long a request may take that does not last as long as its client likes (`--request-timeout`).
    pub request_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            service_cidr: Ipv4Net::new_assert(std::net::Ipv4Addr::new(10, 96, 0, 0), 16),
            node_ports: 30000..=32767,
            advertise_addresses: Vec::new(),
            secure_port: 6443,
            client_ca_pem: String::new(),
            kubelet: None,
            allow_local_loopback: false,
            audit: None,
            admission: admission::Config::default(),
            proxy_client: None,
            max_requests_inflight: 400,
            max_mutating_requests_inflight: 200,
            enable_priority_and_fairness: true,
            request_timeout: Duration::from_secs(60),
        }
    }
}

/// The certificates with which the server speaks to kubelets.
#[derive(Clone)]
pub struct KubeletClientConfig {
    /// The CA that signs the kubelets' serving certificates, in PEM.
    pub ca_pem: String,
    /// The server's client certificate, in PEM.
    pub cert_pem: String,
    /// Its key, in PEM.
    pub key_pem: String,
}

impl std::fmt::Debug for KubeletClientConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KubeletClientConfig").finish_non_exhaustive()
    }
}

/// What the server stands on.
pub struct Deps {
    /// Where objects live; opened with the [`Canonical`](crate::registry::finish::Canonical) hook of the same rows.
    pub store: Arc<dyn Store>,
    /// The kinds to serve.
    pub rows: Vec<Arc<api::Resource>>,
    /// Who asks.
    pub authenticator: Arc<dyn Authenticator>,
    /// Whether they may.
    pub authorizer: Arc<dyn Authorizer>,
    /// Handlers of special subresources and reviews, besides the built-in ones.
    pub handlers: Handlers,
    /// Admission plugins besides those that the server makes itself; upstream's names have upstream's places.
    pub plugins: Vec<Box<dyn Plugin>>,
    /// Named checks behind `/readyz`.
    pub health: Health,
    /// What `/metrics` shows.
    pub metrics: Metrics,
    /// Owns the server's tasks.
    pub scope: Scope,
}
