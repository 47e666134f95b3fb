//! [`ApiServer`]: what is built once and shared by every request.

use std::sync::Arc;

use apimachinery::{StatusError, UserInfo};
use component_base::Scope;
use component_base::health::Health;
use component_base::metrics::Metrics;
use store::RangeRequest;

use crate::admission::{Chain, policy};
use crate::aggregation::{self, Aggregator, ProxyClient};
use crate::allocation::Allocators;
use crate::authenticator::Authenticator;
use crate::authorizer::Authorizer;
use crate::config::{Config, Deps};
use crate::custom::{self, Definitions};
use crate::discovery::Discovery;
use crate::flow::{self, Gate};
use crate::handler::Handlers;
use crate::kubelet_client::KubeletClient;
use crate::openapi::Documents;
use crate::registry::watch::Frames;
use crate::registry::{Registry, decode_entry};
use crate::request_metrics::RequestMetrics;
use crate::service::ApiService;
use crate::{bootstrap, event_expiry, special, status};

/// The API server.
pub struct ApiServer {
    /// Its settings.
    pub config: Config,
    /// Kinds and store.
    pub registry: Registry,
    /// Plugins that complete and judge writes.
    pub admission: Chain,
    /// Cluster IPs and node ports.
    pub allocators: Allocators,
    /// Kinds that are defined at run time.
    pub definitions: Definitions,
    /// Special subresources and reviews.
    pub handlers: Handlers,
    /// Discovery documents.
    pub discovery: Discovery,
    /// OpenAPI documents.
    pub openapi: Documents,
    /// The way to the kubelets.
    pub kubelets: Option<KubeletClient>,
    pub(crate) authenticator: Arc<dyn Authenticator>,
    pub(crate) authorizer: Arc<dyn Authorizer>,
    pub(crate) health: Health,
    pub(crate) metrics: Metrics,
    pub(crate) request_metrics: RequestMetrics,
    pub(crate) scope: Scope,
    pub(crate) gate: Gate,
    pub(crate) aggregator: Aggregator,
    pub(crate) frames: Frames,
}

/// Why the server cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The stored Services cannot be read.
    #[error("read the stored services: {0}")]
    Restore(#[source] StatusError),
    /// The objects every cluster begins with cannot be written.
    #[error("write {object}: {cause}")]
    Bootstrap {
        /// Which object.
        object: String,
        /// What went wrong.
        #[source]
        cause: StatusError,
    },
    /// The stored definitions cannot be put into effect.
    #[error("read the custom resource definitions: {0}")]
    Definitions(#[source] StatusError),
    /// The configuration of admission is no good.
    #[error(transparent)]
    Admission(#[from] crate::admission::ConfigError),
    /// The default flow schemas and priority levels cannot be written.
    #[error("set up flow control: {0}")]
    FlowControl(#[source] StatusError),
    /// The certificate for extension servers is no good.
    #[error("set up the way to extension servers: {0}")]
    ProxyClient(#[from] aggregation::ProxyClientError),
    /// The certificates for the kubelets are no good.
    #[error("set up the way to the kubelets: {0}")]
    Kubelet(#[from] crate::kubelet_client::KubeletClientError),
}

impl ApiServer {
    /// Builds the server, reads what it keeps in memory and writes the objects every cluster begins with.
    pub async fn build(config: Config, deps: Deps) -> Result<Arc<Self>, BuildError> {
        let mut handlers = deps.handlers;
        handlers.extend(special::built_in());
        let mut plugins = deps.plugins;
        plugins.extend(policy::plugins(&deps.store, &deps.metrics));
        let proxy_client = config.proxy_client.as_ref().map(ProxyClient::new).transpose()?.unwrap_or_default();
        if let Some(audit) = &config.audit {
            audit.metrics().register(&deps.metrics);
        }
        let gate = Gate::new(&config, &deps.metrics, &deps.scope);
        let kubelets = config.kubelet.as_ref().map(KubeletClient::new).transpose()?;
        let admission = Chain::build(&config.admission, &deps.store, plugins)?.measured(&deps.metrics);
        let compiler = custom::compiler();
        let (definitions, waiting) = Definitions::new(&deps.metrics);
        let server = Arc::new(Self {
            allocators: Allocators::new(config.service_cidr, config.node_ports.clone()),
            registry: Registry::new(deps.store, custom::with_rules(deps.rows, compiler.as_ref())),
            definitions,
            admission,
            handlers,
            discovery: Discovery::default(),
            openapi: Documents::default(),
            kubelets,
            authenticator: deps.authenticator,
            authorizer: deps.authorizer,
            health: deps.health,
            request_metrics: RequestMetrics::register(&deps.metrics),
            metrics: deps.metrics,
            scope: deps.scope,
            gate,
            aggregator: Aggregator::new(proxy_client),
            frames: Frames::default(),
            config,
        });
        custom::start(&server, compiler, waiting).await.map_err(BuildError::Definitions)?;
        server.restore_allocations().await.map_err(BuildError::Restore)?;
        bootstrap::run(&server).await?;
        if let Some(control) = server.gate.flow_control() {
            flow::controller::start(&server, control).await.map_err(BuildError::FlowControl)?;
        }
        aggregation::controller::start(&server);
        policy::type_checking::start(&server);
        server.scope.spawn("apiserver/event-expiry", event_expiry::run(server.registry.store().clone()));
        server.health.pass("poststarthook/bootstrap");
        Ok(server)
    }

    /// The server as a service: requests in, answers out. An [`UserInfo`] among a request's extensions is its identity;
    /// only a transport within the process can put one there.
    pub fn service(self: &Arc<Self>) -> ApiService {
        ApiService::new(self.clone())
    }

    async fn restore_allocations(&self) -> Result<(), StatusError> {
        let Ok(services) = self.registry.row("", "v1", "services") else { return Ok(()) };
        let request = RangeRequest { prefix: services.key_prefix(), ..RangeRequest::default() };
        let range = self.registry.store().range(&request).await.map_err(|error| status::of_store(&error))?;
        for entry in &range.entries {
            self.allocators.restore(&decode_entry(entry)?);
        }
        Ok(())
    }
}

/// The identity of the server itself.
pub fn own_identity() -> UserInfo {
    UserInfo::new("system:apiserver", ["system:masters"])
}

impl std::fmt::Debug for ApiServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiServer").field("config", &self.config).finish_non_exhaustive()
    }
}
