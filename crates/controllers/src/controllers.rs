//! All controllers, started together.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use client::Informers;
use component_base::Scope;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::ReplicationController;

use crate::certificates::policy::{Authority, AuthorityError};
use crate::certificates::{approver, cleaner, signer};
use crate::context::{ClientBuilder, Context};
use crate::service_account_tokens::{self, TokenGenerator};
use crate::{
    bootstrap, daemonset, deployment, disruption, endpoint_slice, endpoints, garbage_collector, job, namespace,
    node_ipam, node_lifecycle, pod_gc, replicaset, resource_quota, root_ca_publisher, service_account, statefulset,
    storage_protection, ttl_after_finished,
};

/// The controller that acts as kube-controller-manager itself: it has no account, because it makes their tokens.
pub const TOKENS_CONTROLLER: &str = "tokens-controller";

/// What the controllers are told.
#[derive(Clone, Debug)]
pub struct Config {
    /// The cluster's CA in PEM, published to every namespace as ConfigMap `kube-root-ca.crt`.
    pub root_ca_pem: String,
    /// The range that nodes get their pods' addresses from.
    pub cluster_cidr: ipnet::IpNet,
    /// The prefix length of a node's share of it.
    pub node_cidr_mask: u8,
    /// So many ended pods are kept before the oldest are removed.
    pub terminated_pod_threshold: usize,
    /// What signs certificates; without it nothing is signed.
    pub signing: Option<Signing>,
    /// What signs the tokens in Secrets; without it none is.
    pub token_generator: Option<TokenGenerator>,
}

/// The CA that signs requests of the cluster's own signers.
#[derive(Clone)]
pub struct Signing {
    /// Its certificate in PEM (`--cluster-signing-cert-file`).
    pub ca_pem: String,
    /// Its key in PEM (`--cluster-signing-key-file`).
    pub key_pem: String,
    /// How long certificates are good (`--cluster-signing-duration`).
    pub duration: Duration,
}

impl std::fmt::Debug for Signing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signing").field("duration", &self.duration).finish_non_exhaustive()
    }
}

/// What a configuration got wrong.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A node's share must lie within the cluster's range.
    #[error("nodes cannot get a /{mask} each out of {cidr}")]
    NodeMask {
        /// The cluster's range.
        cidr: ipnet::IpNet,
        /// The prefix length of a node's share.
        mask: u8,
    },
    /// The CA that signs certificates cannot be used.
    #[error(transparent)]
    Signing(#[from] AuthorityError),
}

/// All controllers.
pub struct Controllers {
    config: Config,
    authority: Option<Arc<Authority>>,
    clients: ClientBuilder,
    informers: Informers,
}

impl Controllers {
    /// Controllers that get their identities from `clients` and read through `informers`.
    pub fn build(config: Config, clients: ClientBuilder, informers: &Informers) -> Result<Self, ConfigError> {
        let (cluster, node) = (config.cluster_cidr.prefix_len(), config.node_cidr_mask);
        if node < cluster || node > config.cluster_cidr.max_prefix_len() {
            return Err(ConfigError::NodeMask { cidr: config.cluster_cidr, mask: node });
        }
        let authority = |signing: &Signing| Authority::new(&signing.ca_pem, &signing.key_pem, signing.duration);
        let authority = config.signing.as_ref().map(authority).transpose()?.map(Arc::new);
        Ok(Self { config, authority, clients, informers: informers.clone() })
    }

    /// Runs every controller until the scope ends.
    pub fn run(self, scope: &Scope) {
        let Config { root_ca_pem, cluster_cidr, node_cidr_mask, terminated_pod_threshold, .. } = self.config.clone();
        // What pods need to be created and bound comes first.
        self.start(scope, "service-account-controller", service_account::run);
        self.start(scope, "root-ca-cert-publisher", |cx| root_ca_publisher::run(cx, root_ca_pem));
        self.start(scope, "node-controller", node_lifecycle::run);
        self.start(scope, "node-controller", move |cx| node_ipam::run(cx, cluster_cidr, node_cidr_mask));
        self.start(scope, "deployment-controller", deployment::run);
        self.start(scope, "replicaset-controller", replicaset::run::<ReplicaSet>);
        self.start(scope, "replication-controller", replicaset::run::<ReplicationController>);
        self.start(scope, "daemon-set-controller", daemonset::run);
        self.start(scope, "statefulset-controller", statefulset::run);
        self.start(scope, "job-controller", job::run);
        self.start(scope, "ttl-after-finished-controller", ttl_after_finished::run);
        self.start(scope, "endpointslice-controller", endpoint_slice::run);
        self.start(scope, "endpointslicemirroring-controller", endpoint_slice::mirroring::run);
        self.start(scope, "endpoint-controller", endpoints::run);
        self.start(scope, "disruption-controller", disruption::run);
        self.start(scope, "resourcequota-controller", resource_quota::run);
        self.start(scope, "pvc-protection-controller", storage_protection::claims::run);
        self.start(scope, "pv-protection-controller", storage_protection::volumes::run);
        self.start(scope, "volumeattributesclass-protection-controller", storage_protection::classes::run);
        self.start(scope, "namespace-controller", namespace::run);
        self.start(scope, "generic-garbage-collector", garbage_collector::run);
        self.start(scope, "pod-garbage-collector", move |cx| pod_gc::run(cx, terminated_pod_threshold));
        self.start_access(scope);
    }

    /// Certificates and tokens.
    fn start_access(&self, scope: &Scope) {
        self.start(scope, "certificate-controller", approver::run);
        self.start(scope, "certificate-controller", cleaner::run);
        if let Some(authority) = self.authority.clone() {
            self.start(scope, "certificate-controller", |cx| signer::run(cx, authority));
        }
        self.start(scope, "token-cleaner", bootstrap::token_cleaner::run);
        self.start(scope, "bootstrap-signer", bootstrap::signer::run);
        if let Some(generator) = self.config.token_generator.clone() {
            let root_ca_pem = self.config.root_ca_pem.clone();
            // Upstream acts as kube-controller-manager itself here: whoever makes the clients knows that.
            self.start(scope, TOKENS_CONTROLLER, |cx| service_account_tokens::run(cx, generator, root_ca_pem));
        }
    }

    fn start<F, Fut>(&self, scope: &Scope, name: &'static str, run: F)
    where
        F: FnOnce(Context) -> Fut,
        Fut: Future<Output = ()> + Send + 'static,
    {
        scope.spawn(name, run(Context::new(name, &self.clients, &self.informers, scope)));
    }
}
