//! An API server in memory: what the tests of its clients stand on.
//!
//! [`TestServer`] is one with access control as a cluster has it; [`deps`] is for tests that put a server together
//! themselves; [`Placed`] finds the objects of a kind wherever it lives. It listens nowhere: requests are function calls.

use std::net::Ipv4Addr;
use std::sync::Arc;

use apimachinery::UserInfo;
use apiserver::access::{Access, Cel, Options};
use apiserver::authentication::SigningKey;
use apiserver::authenticator::NobodyKnown;
use apiserver::authorizer::PrivilegedGroup;
use apiserver::handler::Handlers;
use apiserver::{ApiServer, ApiService, Canonical, Config, Deps};
use client::Client;
use component_base::Scope;
use store::Store;

mod placed;

pub use placed::{Place, Placed};

/// See the module. What it started ends with its scope.
#[derive(Clone)]
pub struct TestServer {
    /// The server.
    pub server: Arc<ApiServer>,
    service: ApiService,
}

impl TestServer {
    /// A server with upstream's defaults.
    pub async fn start(scope: &Scope) -> Self {
        Self::with(Options::default(), config(), scope).await
    }

    /// A server as the options say.
    ///
    /// # Panics
    /// When they contradict each other.
    pub async fn with(options: Options, config: Config, scope: &Scope) -> Self {
        let store = memory();
        let (key, _) = SigningKey::generate().expect("a key");
        let access = Access::configured(options, key, store.clone(), Arc::new(Cel)).expect("usable options");
        access.start(scope).await.expect("the roles are written");
        let deps = Deps {
            authenticator: access.authenticator(),
            authorizer: access.authorizer(),
            handlers: access.handlers(),
            plugins: access.plugins(),
            ..deps(store, scope)
        };
        let server = ApiServer::build(config, deps).await.expect("the server is built");
        Self { service: server.service(), server }
    }

    /// What answers its requests.
    pub fn service(&self) -> ApiService {
        self.service.clone()
    }

    /// A client that acts as a user.
    pub fn client(&self, user: UserInfo) -> Client {
        client::in_process(self.service(), user)
    }

    /// A client that may do anything.
    pub fn admin(&self) -> Client {
        self.client(UserInfo::new("admin", ["system:masters"]))
    }
}

/// A store in memory for all kinds there are.
pub fn memory() -> Arc<dyn Store> {
    store::Embedded::in_memory(Arc::new(Canonical::new(api::RESOURCES.iter().map(|row| &**row))))
}

/// Settings with an address for the `kubernetes` Service to lead to (RFC 5737: it is nobody's).
pub fn config() -> Config {
    Config { advertise_addresses: vec![Ipv4Addr::new(192, 0, 2, 1).into()], ..Config::default() }
}

/// What a server over `store` needs: all kinds, nobody known by their tokens, and `system:masters` may do anything.
pub fn deps(store: Arc<dyn Store>, scope: &Scope) -> Deps {
    Deps {
        store,
        rows: api::RESOURCES.to_vec(),
        authenticator: Arc::new(NobodyKnown),
        authorizer: Arc::new(PrivilegedGroup),
        handlers: Handlers::default(),
        plugins: Vec::new(),
        health: component_base::health::Health::default(),
        metrics: component_base::metrics::Metrics::default(),
        scope: scope.clone(),
    }
}
