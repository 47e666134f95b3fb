//! What changes of the cluster mean to the cache and the queues (upstream: pkg/scheduler/eventhandlers.go).

use std::sync::Arc;

use client::corev1::pod::{is_terminal, node_name};
use client::{Event, Informer};
use k8s_openapi::api::core::v1::{Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod};
use tokio::time::Instant;

use super::Shared;
use super::core::Core;
use crate::framework::ClusterEvent;
use crate::pod_info::PodInfo;

/// Keeps `shared` current from now on.
pub(super) fn watch(
    shared: &Arc<Shared>,
    pods: &Informer<Pod>,
    nodes: &Informer<Node>,
    namespaces: &Informer<Namespace>,
    claims: &Informer<PersistentVolumeClaim>,
    volumes: &Informer<PersistentVolume>,
) {
    let this = shared.clone();
    nodes.on_event(move |event| this.on_node(event));
    let this = shared.clone();
    namespaces.on_event(move |event| this.on_namespace(event));
    let this = shared.clone();
    claims.on_event(move |event| {
        if !matches!(event, Event::Deleted(_)) {
            this.tell(&mut this.core.lock(), ClusterEvent::ClaimChanged(event.object().clone()));
        }
    });
    let this = shared.clone();
    volumes.on_event(move |event| {
        if !matches!(event, Event::Deleted(_)) {
            this.tell(&mut this.core.lock(), ClusterEvent::VolumeChanged(event.object().clone()));
        }
    });
    let this = shared.clone();
    pods.on_event(move |event| this.on_pod(event));
}

impl Shared {
    /// Tells the waiting pods of an event.
    pub(super) fn tell(&self, core: &mut Core, event: ClusterEvent) {
        let hint = |event: &_, pod: &_, by: &[&'static str]| self.framework.helps(event, pod, by);
        core.queue.on_event(event, Instant::now(), &hint);
        self.wake.notify_one();
    }

    fn on_node(&self, event: &Event<Node>) {
        let mut core = self.core.lock();
        let told = match event {
            Event::Added(node) => {
                core.cache.set_node(node);
                Some(ClusterEvent::NodeAdded(node.clone()))
            }
            Event::Updated { old, new } => {
                core.cache.set_node(new);
                let change = || ClusterEvent::NodeUpdated { old: old.clone(), new: new.clone() };
                concerns_pods(old, new).then(change)
            }
            Event::Deleted(node) => {
                core.cache.remove_node(node.metadata.name.as_deref().unwrap_or_default());
                Some(ClusterEvent::NodeDeleted(node.clone()))
            }
        };
        if let Some(event) = told {
            self.tell(&mut core, event);
        }
    }

    fn on_namespace(&self, event: &Event<Namespace>) {
        let namespace = event.object();
        let name = namespace.metadata.name.as_deref().unwrap_or_default();
        let labels = namespace.metadata.labels.clone().unwrap_or_default();
        let gone = matches!(event, Event::Deleted(_));
        let mut core = self.core.lock();
        core.cache.set_namespace(name, (!gone).then_some(labels));
        if let Event::Updated { old, new } = event
            && old.metadata.labels != new.metadata.labels
        {
            self.tell(&mut core, ClusterEvent::NamespaceChanged);
        }
    }

    fn on_pod(&self, event: &Event<Pod>) {
        let mut core = self.core.lock();
        match event {
            Event::Deleted(pod) => self.pod_gone(&mut core, pod),
            Event::Added(pod) | Event::Updated { new: pod, .. } if is_terminal(pod) => self.pod_gone(&mut core, pod),
            Event::Added(pod) => self.pod_came(&mut core, None, pod),
            Event::Updated { old, new } => self.pod_came(&mut core, Some(old), new),
        }
    }

    fn pod_gone(&self, core: &mut Core, pod: &Arc<Pod>) {
        let info = Arc::new(PodInfo::new(pod.clone()));
        core.nominated.set(&info, None);
        core.queue.remove(&info.uid);
        if core.cache.is_placed(&info.uid) {
            core.cache.remove_pod(&info.uid);
            self.tell(core, ClusterEvent::BoundPodGone(info));
        }
    }

    fn pod_came(&self, core: &mut Core, old: Option<&Arc<Pod>>, pod: &Arc<Pod>) {
        match node_name(pod) {
            Some(node) => self.bound_pod(core, old, pod, node),
            None if self.is_responsible(pod) => self.waiting_pod(core, old, pod),
            None => {}
        }
    }

    fn bound_pod(&self, core: &mut Core, old: Option<&Arc<Pod>>, pod: &Arc<Pod>, node: &str) {
        let was_bound = old.filter(|old| node_name(old).is_some());
        if was_bound.is_some_and(|old| !weighs_differently(old, pod)) {
            return;
        }
        let info = Arc::new(PodInfo::new(pod.clone()));
        core.cache.set_pod(&info, node);
        core.queue.remove(&info.uid);
        core.nominated.set(&info, None);
        let event = match was_bound {
            None => ClusterEvent::PodBound(info),
            Some(old) => ClusterEvent::BoundPodUpdated { old: Arc::new(PodInfo::new(old.clone())), new: info },
        };
        self.tell(core, event);
    }

    fn waiting_pod(&self, core: &mut Core, old: Option<&Arc<Pod>>, pod: &Arc<Pod>) {
        let info = Arc::new(PodInfo::new(pod.clone()));
        if core.cache.is_assumed(&info.uid) {
            return;
        }
        core.nominated.set(&info, info.nominated_node());
        let same = |old: &Arc<Pod>| old.spec == pod.spec && old.metadata.labels == pod.metadata.labels;
        if old.is_some_and(same) {
            core.queue.refresh(info);
        } else {
            core.queue.add(info, Instant::now());
            self.wake.notify_one();
        }
    }

    fn is_responsible(&self, pod: &Pod) -> bool {
        let wanted = pod.spec.as_ref().and_then(|spec| spec.scheduler_name.as_deref()).unwrap_or("default-scheduler");
        wanted == self.scheduler_name
    }
}

/// Whether a node changed in what any plugin looks at: not a mere heartbeat.
fn concerns_pods(old: &Node, new: &Node) -> bool {
    let allocatable = |node: &Node| node.status.as_ref().and_then(|status| status.allocatable.clone());
    old.spec != new.spec || old.metadata.labels != new.metadata.labels || allocatable(old) != allocatable(new)
}

/// Whether a bound pod changed in what others are judged by.
fn weighs_differently(old: &Pod, new: &Pod) -> bool {
    let allocated = |pod: &Pod| crate::resources::pod_requests(pod);
    old.metadata.labels != new.metadata.labels
        || old.metadata.deletion_timestamp != new.metadata.deletion_timestamp
        || old.spec != new.spec
        || allocated(old) != allocated(new)
}
