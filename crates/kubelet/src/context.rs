//! What every pod's worker shares.

use std::sync::Arc;

use client::{Client, EventType, Informer, Lister, Recorder};
use component_base::Scope;
use cri::cgroup::CgroupManager;
use cri::{ImageService, RuntimeService};
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::Resource;
use tokio::sync::{Notify, Semaphore, watch};

use crate::config::Config;
use crate::container::dns::Resolver;
use crate::container::fields::NodeFacts;
use crate::network::PodNetwork;
use crate::node::machine::MachineInfo;
use crate::pod::spec::Sort;
use crate::sources::Sources;
use crate::volumes::token::TokenSource;

/// Most image pulls at a time (upstream: maxParallelImagePulls).
pub const PULLS: usize = 5;

/// What every pod's worker shares.
pub struct Context {
    /// Settings.
    pub config: Config,
    /// Sandboxes and containers.
    pub runtime: Arc<dyn RuntimeService>,
    /// Images.
    pub images: Arc<dyn ImageService>,
    /// Namespaces and addresses.
    pub network: Arc<dyn PodNetwork>,
    /// Control groups.
    pub cgroups: Arc<dyn CgroupManager>,
    /// The API, as this node.
    pub client: Client,
    /// Events.
    pub recorder: Recorder,
    /// Services, for environment variables.
    pub services: Informer<Service>,
    /// ConfigMaps and Secrets.
    pub sources: Sources,
    /// Tokens of service accounts.
    pub tokens: Arc<dyn TokenSource>,
    /// What this machine has.
    pub machine: MachineInfo,
    /// The node's resolver.
    pub resolver: Resolver,
    /// Told when something that the Node shows changed, as the images.
    pub node_changed: Arc<Notify>,
    /// Told when images came or went.
    pub images_changed: watch::Sender<()>,
    /// Slots for image pulls.
    pub pulls: Semaphore,
    /// Where tasks and blocking work run.
    pub scope: Scope,
}

impl Context {
    /// Services, from the cache.
    pub fn service_lister(&self) -> Lister<Service> {
        self.services.lister()
    }

    /// The node's addresses, the primary one first.
    pub fn host_ips(&self) -> Vec<String> {
        vec![self.config.node_ip.to_string()]
    }

    /// What the downward API knows beside the pod.
    pub fn facts(&self, pod_ips: Vec<String>) -> NodeFacts {
        NodeFacts { host_ips: self.host_ips(), pod_ips, allocatable: self.machine.allocatable(self.config.max_pods) }
    }

    /// Records an event on a pod, or on one of its containers.
    pub fn event(&self, pod: &Pod, container: Option<(&str, Sort)>, event_type: EventType, reason: &str, text: String) {
        let mut reference = pod.object_ref(&());
        reference.field_path = container.map(|(name, sort)| {
            let list = match sort {
                Sort::Init | Sort::Sidecar => "initContainers",
                Sort::App => "containers",
                Sort::Ephemeral => "ephemeralContainers",
            };
            format!("spec.{list}{{{name}}}")
        });
        self.recorder.event_on(reference, event_type, reason, text);
    }
}
