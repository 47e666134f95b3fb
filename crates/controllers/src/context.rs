//! What every controller is given: its own identity, the shared caches, a recorder.

use std::sync::Arc;

use client::corev1::pod::node_name;
use client::informer::Cacheable;
use client::{Client, Informer, Informers, Recorder};
use component_base::Scope;
use k8s_openapi::api::core::v1::Pod;

use crate::owners::{BY_CONTROLLER, controller_index};

/// Makes the client of a controller, by the controller's name (`deployment-controller`, ...): the identity
/// `system:serviceaccount:kube-system:<name>`, for which RBAC has a role of its own.
pub type ClientBuilder = Arc<dyn Fn(&str) -> Client + Send + Sync>;

/// What a controller works with.
#[derive(Clone)]
pub struct Context {
    /// Acts as the controller.
    pub client: Client,
    /// The caches that all controllers share.
    pub informers: Informers,
    /// Says what happened.
    pub recorder: Recorder,
    /// Ends the controller.
    pub scope: Scope,
}

impl Context {
    /// The context of one controller.
    pub fn new(name: &str, clients: &ClientBuilder, informers: &Informers, scope: &Scope) -> Self {
        let client = clients(name);
        let recorder = Recorder::new(client.clone(), name, None, scope);
        Self { client, informers: informers.clone(), recorder, scope: scope.clone() }
    }

    /// The shared cache of a kind.
    pub fn informer<K: Cacheable>(&self) -> Informer<K> {
        self.informers.informer()
    }

    /// The shared cache of pods, indexed by [`BY_CONTROLLER`] and [`PODS_BY_NODE`].
    pub fn pods(&self) -> Informer<Pod> {
        let pods = self.informers.informer::<Pod>();
        pods.add_index(BY_CONTROLLER, controller_index);
        pods.add_index(PODS_BY_NODE, |pod| node_name(pod).map(str::to_owned).into_iter().collect());
        pods
    }
}

/// The index of pods by the name of their node.
pub const PODS_BY_NODE: &str = "node";
