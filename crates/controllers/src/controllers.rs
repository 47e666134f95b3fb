//! All controllers, started together.

use std::future::Future;

use client::Informers;
use component_base::Scope;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::ReplicationController;

use crate::context::{ClientBuilder, Context};
use crate::{
    daemonset, deployment, disruption, endpoint_slice, endpoints, garbage_collector, job, namespace, node_ipam,
    node_lifecycle, pod_gc, replicaset, resource_quota, root_ca_publisher, service_account, statefulset,
    storage_protection, ttl_after_finished,
};

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
}

/// All controllers.
pub struct Controllers {
    config: Config,
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
        Ok(Self { config, clients, informers: informers.clone() })
    }

    /// Runs every controller until the scope ends.
    pub fn run(self, scope: &Scope) {
        let Config { root_ca_pem, cluster_cidr, node_cidr_mask, terminated_pod_threshold } = self.config.clone();
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
    }

    fn start<F, Fut>(&self, scope: &Scope, name: &'static str, run: F)
    where
        F: FnOnce(Context) -> Fut,
        Fut: Future<Output = ()> + Send + 'static,
    {
        scope.spawn(name, run(Context::new(name, &self.clients, &self.informers, scope)));
    }
}
