//! The way to the kubelets: TLS with the server's own client certificate
//! (upstream: pkg/kubelet/client/kubelet_client.go).

use std::sync::Arc;

use apimachinery::{Object, StatusError};
use rustls_pki_types::ServerName;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use webhook::{Trust, TrustError};

use crate::config::KubeletClientConfig;
use crate::forward::{CONNECT_TIMEOUT, Io, dialing};

/// The kubelet's port where the node does not name one.
const DEFAULT_PORT: u64 = 10250;

/// Connects to kubelets.
#[derive(Clone, Debug)]
pub struct KubeletClient {
    tls: Arc<ClientConfig>,
}

/// Why the certificates for the kubelets cannot be used.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct KubeletClientError(#[from] TrustError);

/// Where a node's kubelet listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KubeletAddress {
    /// An address or a host name.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl KubeletAddress {
    /// Reads a node's status: the internal address first (upstream: `GetPreferredNodeAddress`).
    pub fn of(node: &Object) -> Option<Self> {
        let addresses = node.at(&["status", "addresses"]).and_then(Value::as_array)?;
        let find = |kind: &str| addresses.iter().find(|address| address["type"] == kind)?["address"].as_str();
        let host = ["InternalIP", "ExternalIP", "InternalDNS", "Hostname"].into_iter().find_map(find)?.to_owned();
        let port = node.at(&["status", "daemonEndpoints", "kubeletEndpoint", "Port"]).and_then(Value::as_u64);
        Some(Self { host, port: u16::try_from(port.unwrap_or(DEFAULT_PORT)).ok()? })
    }

    /// `host:port`, as a Host header names it.
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl KubeletClient {
    /// A client with these certificates.
    pub fn new(config: &KubeletClientConfig) -> Result<Self, KubeletClientError> {
        let trust = Trust {
            ca_pem: Some(config.ca_pem.clone()),
            identity: Some((config.cert_pem.clone(), config.key_pem.clone())),
            insecure: false,
        };
        let mut tls = trust.config()?;
        // Only HTTP/1.1 changes protocols.
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { tls: Arc::new(tls) })
    }

    /// Opens a connection to a kubelet and checks its certificate.
    pub async fn connect(&self, address: &KubeletAddress) -> Result<Box<dyn Io>, StatusError> {
        let name = ServerName::try_from(address.host.clone()).map_err(|error| dialing(&error))?;
        let connect = async {
            let stream = TcpStream::connect((address.host.as_str(), address.port)).await?;
            stream.set_nodelay(true)?;
            TlsConnector::from(self.tls.clone()).connect(name, stream).await
        };
        match tokio::time::timeout(CONNECT_TIMEOUT, connect).await {
            Ok(Ok(stream)) => Ok(Box::new(stream)),
            Ok(Err(error)) => Err(dialing(&format!("dial tcp {}: {error}", address.authority()))),
            Err(_) => Err(dialing(&format!("dial tcp {}: i/o timeout", address.authority()))),
        }
    }
}
