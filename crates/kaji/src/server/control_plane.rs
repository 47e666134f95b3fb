//! Store, API server, scheduler and controllers.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use api::RESOURCES;
use apimachinery::UserInfo;
use apiserver::access::Access;
use apiserver::authentication::SigningKey;
use apiserver::{ApiServer, ApiService, Canonical, Deps, KubeletClientConfig};
use arc_swap::ArcSwap;
use client::{Client, Informers, Recorder};
use cluster::pki::Leaf;
use component_base::Scope;
use component_base::health::Health;
use component_base::metrics::Metrics;
use controllers::Controllers;
use scheduler::Scheduler;
use store::Embedded;

use super::{Settings, listeners};

/// Who issues service account tokens, and for whom they are by default (upstream: kubeadm's `--service-account-issuer`).
const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// A running control plane.
pub struct ControlPlane {
    service: ApiService,
    /// The health of the process.
    pub health: Health,
}

impl ControlPlane {
    /// A client that calls the API server directly, as `user`.
    pub fn client(&self, user: UserInfo) -> Client {
        client::in_process(self.service.clone(), user)
    }
}

/// Opens the store, serves the API, and starts what acts through it.
pub async fn start(settings: &Settings, scope: &Scope) -> anyhow::Result<ControlPlane> {
    let health = Health::default();
    let plane = ControlPlane { service: serve(settings, &health, scope).await?, health };
    start_scheduler(&plane, scope)?;
    start_controllers(settings, &plane, scope)?;
    Ok(plane)
}

async fn serve(settings: &Settings, health: &Health, scope: &Scope) -> anyhow::Result<ApiService> {
    let args = &settings.args;
    let ca_pem = settings.pki.ca_pem()?;
    let serving = settings.pki.ensure_leaf(&settings.serving_leaf())?;
    let kubelet_client = Leaf::client("apiserver-kubelet-client", "kube-apiserver-kubelet-client", "system:masters");
    let kubelet_client = settings.pki.ensure_leaf(&kubelet_client)?;
    // The socket first: whoever asks early waits for us instead of being refused.
    let listeners = listeners::all(SocketAddr::new(args.bind_address, args.https_listen_port)).await?;

    let finish = Arc::new(Canonical::new(RESOURCES.iter().map(Arc::as_ref)));
    let options = store::Options { health: health.clone(), ..store::Options::new(finish) };
    let store: Arc<dyn store::Store> =
        Embedded::open(&args.data_dir.join("store"), options, scope).context("open the database")?;
    let key = SigningKey::from_pem(&settings.pki.service_account_key_pem()?)?;
    let access = Access::new(ISSUER, key, store.clone());
    access.start(scope).await.context("write the default roles")?;
    let config = apiserver::Config {
        service_cidr: args.service_cidr,
        advertise_addresses: vec![settings.node_ip],
        secure_port: args.https_listen_port,
        client_ca_pem: ca_pem.clone(),
        kubelet: Some(KubeletClientConfig {
            ca_pem: ca_pem.clone(),
            cert_pem: kubelet_client.cert_pem,
            key_pem: kubelet_client.key_pem,
        }),
        ..apiserver::Config::default()
    };
    let deps = Deps {
        store,
        rows: RESOURCES.clone(),
        authenticator: access.authenticator(),
        authorizer: access.authorizer(),
        handlers: access.handlers(),
        plugins: access.plugins(),
        health: health.clone(),
        metrics: Metrics::global().clone(),
        scope: scope.clone(),
    };
    let server = ApiServer::build(config, deps).await.context("start the API server")?;
    let service = server.service();
    let tls = apiserver::serve::tls_config(&serving.cert_pem, &serving.key_pem, &ca_pem)?;
    apiserver::serve::serve(&service, listeners, &Arc::new(ArcSwap::from_pointee(tls)), scope);
    Ok(service)
}

fn start_scheduler(plane: &ControlPlane, scope: &Scope) -> anyhow::Result<()> {
    let client = plane.client(UserInfo::new("system:kube-scheduler", Vec::<String>::new()));
    let informers = Informers::new(client.clone(), scope);
    let recorder = Recorder::new(client.clone(), "default-scheduler", None, scope);
    Scheduler::build(scheduler::Config::default(), client, &informers, recorder)?.run(scope);
    Ok(())
}
