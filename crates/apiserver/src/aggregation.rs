//! Aggregation: groups and versions that other servers answer, behind this one
//! (upstream: staging/src/k8s.io/kube-aggregator).
//!
//! ```text
//! APIService ──► controller ──► is it available? ──► condition, Table
//! /apis/<group>/<version>/... ──► Table ──► proxy, as X-Remote-User ──► the Service's server
//! /apis, /openapi/v3 ──► what is here, merged with the Table
//! ```
//!
//! Guarantees: an extension server is believed only when its certificate is signed by the APIService's CA for
//! `<service>.<namespace>.svc`, or the APIService says not to look; who asks is told to it in headers that no client can
//! set, over a connection with the front proxy's certificate. What this server answers itself is never taken over.

use std::sync::Arc;

use arc_swap::ArcSwap;
use serde_json::Value;
use store::Revision;

use crate::connections::Connections;
use crate::registry::Rows;
use crate::service_resolver::ServicePort;

mod availability;
pub(crate) mod controller;
pub(crate) mod merge;
pub(crate) mod proxy;
mod tls;

pub(crate) use tls::ProxyClient;
pub use tls::{ProxyClientConfig, ProxyClientError};

/// The group of APIServices.
const GROUP: &str = "apiregistration.k8s.io";

/// A group version that another server answers.
#[derive(Clone, Debug)]
pub(crate) struct Remote {
    /// The APIService.
    pub(crate) name: String,
    /// The revision of it that was looked at.
    revision: Revision,
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) group_priority: i64,
    pub(crate) version_priority: i64,
    pub(crate) service: ServicePort,
    /// The way there.
    connections: Arc<Connections>,
    pub(crate) available: bool,
    /// The `APIResourceList` it answered last.
    pub(crate) resources: Option<Arc<Value>>,
    /// The hash of its OpenAPI 3 document, if it has one.
    pub(crate) openapi_hash: Option<String>,
    /// What its OpenAPI 2 document says of the group version.
    spec: Option<Spec>,
}

/// The part of a document of version 2 that is about one group version.
#[derive(Clone, Debug)]
struct Spec {
    /// What the server calls this state of the document.
    etag: String,
    document: Arc<Value>,
}

/// The group versions of other servers, as they are known now.
#[derive(Debug, Default)]
pub(crate) struct Table {
    pub(crate) remotes: Vec<Remote>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Aggregator {
    table: ArcSwap<Table>,
    client: ProxyClient,
}

impl Aggregator {
    /// Speaks to extension servers with this certificate.
    pub(crate) fn new(client: ProxyClient) -> Self {
        Self { table: ArcSwap::default(), client }
    }

    /// What is known of other servers.
    pub(crate) fn table(&self) -> Arc<Table> {
        self.table.load_full()
    }

    fn set(&self, table: Table) {
        self.table.store(Arc::new(table));
    }

    /// Who answers a path, if not this server.
    pub(crate) fn route(&self, path: &str, rows: &Rows) -> Option<Remote> {
        let table = self.table.load();
        if table.remotes.is_empty() {
            return None;
        }
        let path = path.strip_prefix("/openapi/v3").unwrap_or(path);
        let mut steps = path.strip_prefix("/apis/")?.split('/');
        let (group, version) = (steps.next()?, steps.next().filter(|version| !version.is_empty())?);
        let remote = table.remotes.iter().find(|remote| remote.group == group && remote.version == version)?;
        (!rows.has_version(group, version)).then(|| remote.clone())
    }
}
