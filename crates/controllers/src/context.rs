//! What every controller is given: its own identity, the shared caches, a recorder.

use std::sync::Arc;

use client::corev1::pod::node_name;
use client::informer::Cacheable;
use client::{Client, Informer, Informers, Recorder};
use component_base::Scope;
use k8s_openapi::api::core::v1::Pod;

use crate::owners::controller_of;

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

    /// The shared cache of pods, indexed by [`PODS_BY_CONTROLLER`] and [`PODS_BY_NODE`].
    pub fn pods(&self) -> Informer<Pod> {
        let pods = self.informers.informer::<Pod>();
        pods.add_index(PODS_BY_CONTROLLER, controller_index);
        pods.add_index(PODS_BY_NODE, |pod| node_name(pod).map(str::to_owned).into_iter().collect());
        pods
    }
}

/// The index of pods by their controller's uid; those without one are under [`orphans_of`] their namespace.
pub const PODS_BY_CONTROLLER: &str = "controller";

/// The index of pods by the name of their node.
pub const PODS_BY_NODE: &str = "node";

/// The index value of a namespace's pods that nobody controls.
pub fn orphans_of(namespace: &str) -> String {
    format!("orphans/{namespace}")
}

fn controller_index(pod: &Pod) -> Vec<String> {
    let namespace = || pod.metadata.namespace.as_deref().unwrap_or_default();
    vec![controller_of(&pod.metadata).map_or_else(|| orphans_of(namespace()), |owner| owner.uid.clone())]
}
