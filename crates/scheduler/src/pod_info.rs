//! A pod with everything the scheduler asks of it again and again, computed once.
//!
//! upstream: pkg/scheduler/framework/types.go (`PodInfo`, `AffinityTerm`).

use std::collections::BTreeSet;
use std::sync::Arc;

use client::ObjectKey;
use client::labels::{self, Labels};
use k8s_openapi::api::core::v1::{Pod, PodAffinityTerm, PodSpec, Toleration};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use crate::resources::{Resources, pod_requests, pod_requests_for_scoring};

/// Which pods, seen over which topology, a pod wants near or far.
#[derive(Clone, Debug)]
pub struct AffinityTerm {
    selector: Option<LabelSelector>,
    namespaces: BTreeSet<String>,
    namespace_selector: Option<LabelSelector>,
    /// The node label whose equal values make nodes one place.
    pub topology_key: String,
}

impl AffinityTerm {
    fn new(term: &PodAffinityTerm, namespace: &str) -> Self {
        let mut namespaces: BTreeSet<String> = term.namespaces.iter().flatten().cloned().collect();
        if namespaces.is_empty() && term.namespace_selector.is_none() {
            namespaces.insert(namespace.to_owned());
        }
        Self {
            selector: term.label_selector.clone(),
            namespaces,
            namespace_selector: term.namespace_selector.clone(),
            topology_key: term.topology_key.clone(),
        }
    }

    /// Whether the term means `pod`; `namespace_labels` are those of the pod's namespace.
    pub fn selects(&self, pod: &PodInfo, namespace_labels: &Labels) -> bool {
        let in_namespace = self.namespaces.contains(&pod.key.namespace)
            || self.namespace_selector.as_ref().is_some_and(|selector| labels::matches(selector, namespace_labels));
        in_namespace && self.selector.as_ref().is_some_and(|selector| labels::matches(selector, pod.labels()))
    }
}

/// The (anti-)affinity of a pod to other pods.
#[derive(Clone, Debug, Default)]
pub struct PodAffinityTerms {
    /// Must run beside these.
    pub required: Vec<AffinityTerm>,
    /// Must not run beside these.
    pub required_anti: Vec<AffinityTerm>,
    /// Would like to run beside these, by weight.
    pub preferred: Vec<(i32, AffinityTerm)>,
    /// Would rather not run beside these, by weight.
    pub preferred_anti: Vec<(i32, AffinityTerm)>,
}

impl PodAffinityTerms {
    fn of(spec: &PodSpec, namespace: &str) -> Self {
        let term = |term: &PodAffinityTerm| AffinityTerm::new(term, namespace);
        let mut terms = Self::default();
        let Some(affinity) = &spec.affinity else { return terms };
        if let Some(near) = &affinity.pod_affinity {
            terms.required =
                near.required_during_scheduling_ignored_during_execution.iter().flatten().map(term).collect();
            let preferred = near.preferred_during_scheduling_ignored_during_execution.iter().flatten();
            terms.preferred = preferred.map(|one| (one.weight, term(&one.pod_affinity_term))).collect();
        }
        if let Some(far) = &affinity.pod_anti_affinity {
            terms.required_anti =
                far.required_during_scheduling_ignored_during_execution.iter().flatten().map(term).collect();
            let preferred = far.preferred_during_scheduling_ignored_during_execution.iter().flatten();
            terms.preferred_anti = preferred.map(|one| (one.weight, term(&one.pod_affinity_term))).collect();
        }
        terms
    }

    /// Whether the pod asks for nothing here.
    pub fn is_empty(&self) -> bool {
        self.required.is_empty()
            && self.required_anti.is_empty()
            && self.preferred.is_empty()
            && self.preferred_anti.is_empty()
    }
}

/// A port of the node that a pod takes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostPort {
    /// The address; `0.0.0.0` means all.
    pub ip: String,
    /// TCP, UDP or SCTP.
    pub protocol: String,
    /// The number.
    pub port: i32,
}

impl HostPort {
    /// Whether two pods cannot both have theirs on one node.
    pub fn conflicts_with(&self, other: &Self) -> bool {
        let same_address = self.ip == other.ip || self.ip == "0.0.0.0" || other.ip == "0.0.0.0";
        self.port == other.port && self.protocol == other.protocol && same_address
    }
}

/// A pod, read once.
#[derive(Clone, Debug)]
pub struct PodInfo {
    /// The pod itself.
    pub pod: Arc<Pod>,
    /// Its identity over its life.
    pub uid: String,
    /// Namespace and name.
    pub key: ObjectKey,
    /// Larger goes first, and may drive smaller ones out.
    pub priority: i32,
    /// What must be free on its node.
    pub requests: Resources,
    /// The same with assumptions, for scoring.
    pub scored: Resources,
    /// Ports of the node it takes.
    pub host_ports: Vec<HostPort>,
    /// Its wishes about other pods.
    pub affinity: PodAffinityTerms,
}

static NO_LABELS: Labels = Labels::new();

impl PodInfo {
    /// Reads a pod.
    pub fn new(pod: Arc<Pod>) -> Self {
        let key = ObjectKey::of(&*pod);
        let spec = pod.spec.as_ref();
        Self {
            uid: pod.metadata.uid.clone().unwrap_or_default(),
            priority: spec.and_then(|spec| spec.priority).unwrap_or(0),
            requests: pod_requests(&pod),
            scored: pod_requests_for_scoring(&pod),
            host_ports: spec.map(host_ports).unwrap_or_default(),
            affinity: spec.map(|spec| PodAffinityTerms::of(spec, &key.namespace)).unwrap_or_default(),
            key,
            pod,
        }
    }

    /// The pod's labels.
    pub fn labels(&self) -> &Labels {
        self.pod.metadata.labels.as_ref().unwrap_or(&NO_LABELS)
    }

    /// The pod's tolerations.
    pub fn tolerations(&self) -> &[Toleration] {
        self.pod.spec.as_ref().and_then(|spec| spec.tolerations.as_deref()).unwrap_or_default()
    }

    /// The node an earlier preemption made room on.
    pub fn nominated_node(&self) -> Option<&str> {
        let status = self.pod.status.as_ref()?;
        status.nominated_node_name.as_deref().filter(|name| !name.is_empty())
    }

    /// Whether something still holds the pod back from being scheduled at all.
    pub fn is_gated(&self) -> bool {
        let gates = self.pod.spec.as_ref().and_then(|spec| spec.scheduling_gates.as_ref());
        gates.is_some_and(|gates| !gates.is_empty())
    }
}

fn host_ports(spec: &PodSpec) -> Vec<HostPort> {
    let sidecars = spec.init_containers.iter().flatten().filter(|one| one.restart_policy.as_deref() == Some("Always"));
    let containers = spec.containers.iter().chain(sidecars);
    let ports = containers.flat_map(|container| container.ports.iter().flatten());
    let taken = ports.filter_map(|port| {
        let number = port.host_port.filter(|number| *number > 0)?;
        let ip = port.host_ip.clone().filter(|ip| !ip.is_empty()).unwrap_or_else(|| "0.0.0.0".into());
        let protocol = port.protocol.clone().filter(|one| !one.is_empty()).unwrap_or_else(|| "TCP".into());
        Some(HostPort { ip, protocol, port: number })
    });
    taken.collect()
}
