//! Store, API server, scheduler and controllers.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use api::RESOURCES;
use apimachinery::UserInfo;
use apiserver::access::{Access, Cel};
use apiserver::aggregation::ProxyClientConfig;
use apiserver::authentication::legacy::LegacyClaims;
use apiserver::authentication::{ServiceAccountTokens, SigningKey};
use apiserver::serve::TlsConfig;
use apiserver::{ApiServer, ApiService, Canonical, Deps, KubeletClientConfig};
use arc_swap::ArcSwap;
use client::{Client, Informers, Recorder};
use cluster::pki::Leaf;
use component_base::Scope;
use component_base::health::Health;
use component_base::metrics::Metrics;
use controllers::{ClientBuilder, Controllers, Signing, TOKENS_CONTROLLER, TokenGenerator};
use k8s_openapi::api::core::v1::Service;
use kube::Api;
use kube::api::PostParams;
use scheduler::Scheduler;
use serde_json::json;

use super::{Settings, access, listeners};
use crate::cli::ServerArgs;

/// Prefix length of a node's part of the pods' network (upstream: `--node-cidr-mask-size`).
pub const NODE_CIDR_MASK: u8 = 24;
/// So many ended pods are kept (upstream: `--terminated-pod-gc-threshold`).
const TERMINATED_PODS: usize = 12500;
const CONTROLLER_MANAGER: &str = "system:kube-controller-manager";
const NO_GROUPS: [&str; 0] = [];

/// A running control plane.
pub struct ControlPlane {
    service: ApiService,
}

impl ControlPlane {
    /// A client that calls the API server directly, as `user`.
    pub fn client(&self, user: UserInfo) -> Client {
        client::in_process(self.service.clone(), user)
    }
}

/// Opens the store, serves the API, and starts what acts through it.
pub async fn start(settings: &Settings, health: &Health, scope: &Scope) -> anyhow::Result<ControlPlane> {
    let (service, accounts) = serve(settings, health, scope).await?;
    let plane = ControlPlane { service };
    ensure_dns_service(settings, &plane).await?;
    // One cache of each kind for everything that acts for the control plane.
    let informers = Informers::new(plane.client(UserInfo::new(CONTROLLER_MANAGER, NO_GROUPS)), scope);
    if !settings.args.disable_scheduler {
        start_scheduler(&plane, &informers, scope)?;
    }
    if !settings.args.disable_controller_manager {
        start_controllers(settings, &plane, accounts, &informers, scope)?;
    }
    Ok(plane)
}

async fn serve(
    settings: &Settings,
    health: &Health,
    scope: &Scope,
) -> anyhow::Result<(ApiService, Arc<ServiceAccountTokens>)> {
    let args = &settings.args;
    let ca_pem = settings.pki.ca_pem()?;
    let serving = settings.pki.ensure_leaf(&settings.serving_leaf())?;
    let kubelet_client = Leaf::client("apiserver-kubelet-client", "kube-apiserver-kubelet-client", "system:masters");
    let kubelet_client = settings.pki.ensure_leaf(&kubelet_client)?;
    // The socket first: whoever asks early waits for us instead of being refused.
    let listeners = listeners::all(SocketAddr::new(args.bind_address, args.https_listen_port)).await?;

    let finish = Canonical::new(RESOURCES.iter().map(Arc::as_ref));
    let options = store::Options { health: health.clone(), ..store::Options::new(Arc::new(Canonical::default())) };
    let store = access::open_store(&args.data_dir.join("store"), &args.encryption, options, finish, scope)
        .context("open the database")?;
    let key = SigningKey::from_pem(&settings.pki.service_account_key_pem()?)?;
    let access_options = access::options(settings)?;
    let access = Access::configured(access_options.clone(), key, store.clone(), Arc::new(Cel))?;
    access.start(scope).await.context("write the default roles")?;
    let config = apiserver::Config {
        admission: admission(args)?,
        service_cidr: args.service_cidr,
        advertise_addresses: vec![settings.node_ip],
        secure_port: args.https_listen_port,
        client_ca_pem: ca_pem.clone(),
        kubelet: Some(KubeletClientConfig {
            ca_pem: ca_pem.clone(),
            cert_pem: kubelet_client.cert_pem,
            key_pem: kubelet_client.key_pem,
        }),
        audit: access::audit(&args.audit, scope)?,
        proxy_client: Some(front_proxy(settings)?),
        max_requests_inflight: args.serving.max_requests_inflight,
        max_mutating_requests_inflight: args.serving.max_mutating_requests_inflight,
        enable_priority_and_fairness: args.serving.enable_priority_and_fairness,
        request_timeout: args.serving.request_timeout,
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
    // Front proxies come in by the same door; whose certificate is whose, authentication says.
    let front_proxy_ca = access_options.request_header.map(|header| header.client_ca_pem).unwrap_or_default();
    let tls =
        apiserver::serve::tls_config(&serving.cert_pem, &serving.key_pem, &format!("{ca_pem}\n{front_proxy_ca}"))?;
    let tls = Arc::new(ArcSwap::from_pointee(tls));
    follow_certificates(settings, &tls, front_proxy_ca, scope)?;
    apiserver::serve::serve(&service, listeners, &tls, scope);
    Ok((service, access.accounts().clone()))
}

/// What the command line says about admission.
fn admission(args: &ServerArgs) -> anyhow::Result<apiserver::admission::Config> {
    let mut config = apiserver::admission::Config {
        enable_admission_plugins: args.enable_admission_plugins.clone(),
        disable_admission_plugins: args.disable_admission_plugins.clone(),
        ..apiserver::admission::Config::default()
    };
    if let Some(path) = &args.admission_control_config_file {
        config.load(path).context("read --admission-control-config-file")?;
    }
    Ok(config)
}

/// New certificates in the directory of keys are taken without a restart.
fn follow_certificates(
    settings: &Settings,
    tls: &TlsConfig,
    front_proxy_ca: String,
    scope: &Scope,
) -> anyhow::Result<()> {
    let [cert, key, ca] = ["apiserver.crt", "apiserver.key", "ca.crt"].map(|file| settings.pki.path(file));
    let files = [cert.clone(), key.clone(), ca.clone()];
    let load = move || -> anyhow::Result<_> {
        let read = |path: &Path| std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()));
        let authorities = format!("{}\n{front_proxy_ca}", read(&ca)?);
        Ok(apiserver::serve::tls_config(&read(&cert)?, &read(&key)?, &authorities)?)
    };
    Ok(apiserver::serve::reload_on_change(tls, &files, load, scope)?)
}

/// The certificate with which the server speaks to extension servers (upstream: kubeadm's `front-proxy-client`).
fn front_proxy(settings: &Settings) -> anyhow::Result<ProxyClientConfig> {
    const NAME: &str = "front-proxy-client";
    let issued = settings.pki.ensure_front_proxy_leaf(&Leaf::client(NAME, NAME, ""))?;
    Ok(ProxyClientConfig {
        cert_pem: issued.cert_pem,
        key_pem: issued.key_pem,
        ca_pem: settings.pki.front_proxy_ca_pem()?,
        allowed_names: vec![NAME.into()],
    })
}

fn start_scheduler(plane: &ControlPlane, informers: &Informers, scope: &Scope) -> anyhow::Result<()> {
    let client = plane.client(UserInfo::new("system:kube-scheduler", NO_GROUPS));
    let recorder = Recorder::new(client.clone(), "default-scheduler", None, scope);
    Scheduler::build(scheduler::Config::default(), client, informers, recorder)?.run(scope);
    Ok(())
}

fn start_controllers(
    settings: &Settings,
    plane: &ControlPlane,
    accounts: Arc<ServiceAccountTokens>,
    informers: &Informers,
    scope: &Scope,
) -> anyhow::Result<()> {
    let generator = move |namespace: &str, secret: &str, account: &str, uid: &str| {
        accounts.issue_legacy(&LegacyClaims::new(namespace, secret, account, uid)).map_err(|err| err.to_string())
    };
    let config = controllers::Config {
        root_ca_pem: settings.pki.ca_pem()?,
        cluster_cidr: settings.args.cluster_cidr.into(),
        node_cidr_mask: NODE_CIDR_MASK,
        terminated_pod_threshold: TERMINATED_PODS,
        signing: Some(Signing {
            ca_pem: settings.pki.ca_pem()?,
            key_pem: settings.pki.ca_key_pem()?,
            duration: access::span(settings.args.access.cluster_signing_duration),
        }),
        token_generator: Some(TokenGenerator(Arc::new(generator))),
    };
    let service = plane.service.clone();
    let clients: ClientBuilder = Arc::new(move |name| client::in_process(service.clone(), controller_identity(name)));
    Controllers::build(config, clients, informers)?.run(scope);
    Ok(())
}

/// Each controller has an account of its own, as with upstream's `--use-service-account-credentials`.
fn controller_identity(name: &str) -> UserInfo {
    if name == TOKENS_CONTROLLER {
        return UserInfo::new(CONTROLLER_MANAGER, NO_GROUPS);
    }
    let groups = ["system:serviceaccounts", "system:serviceaccounts:kube-system"];
    UserInfo::new(format!("system:serviceaccount:kube-system:{name}"), groups)
}

/// Makes Service `kube-system/kube-dns`, whose address the node's DNS server answers at.
async fn ensure_dns_service(settings: &Settings, plane: &ControlPlane) -> anyhow::Result<()> {
    let labels = json!({
        "k8s-app": "kube-dns", "kubernetes.io/cluster-service": "true", "kubernetes.io/name": "CoreDNS",
    });
    let port = |name: &str, protocol: &str| json!({"name": name, "port": 53, "targetPort": 53, "protocol": protocol});
    let service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "kube-dns", "namespace": "kube-system", "labels": labels},
        "spec": {"clusterIP": settings.dns_ip, "ports": [port("dns", "UDP"), port("dns-tcp", "TCP")]},
    });
    let service: Service = serde_json::from_value(service)?;
    let api: Api<Service> = Api::namespaced(plane.client(apiserver::server::own_identity()), "kube-system");
    // Asked first: a create would be refused for the address that the Service itself holds.
    if api.get_opt("kube-dns").await.context("look for Service kube-dns")?.is_none() {
        api.create(&PostParams::default(), &service).await.context("make Service kube-dns")?;
    }
    Ok(())
}
