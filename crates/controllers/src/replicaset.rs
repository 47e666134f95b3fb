//! ReplicaSet and ReplicationController: so many pods of one template.
//!
//! One code for both kinds, as upstream: [`workload`] tells what differs. [`plan`] decides, [`sync`] does.
//! upstream: pkg/controller/replicaset/replica_set.go, pkg/controller/replication

pub mod plan;
pub mod rank;
mod sync;
pub mod workload;

use std::sync::Arc;

use client::controller::run_workers;
use client::corev1::pod::is_ready;
use client::labels::{self, Labels};
use client::{Event, Lister, ObjectKey, WorkQueue};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use std::time::Duration;

use crate::context::Context;
use crate::expectations::Expectations;
use crate::owners::{BY_CONTROLLER, controller_index, controller_of};
use crate::replicaset::workload::Workload;

const WORKERS: usize = 4;

/// The controller of one of the two kinds.
struct Controller<W: Workload> {
    cx: Context,
    workloads: Lister<W>,
    pods: Lister<Pod>,
    expectations: Expectations,
    queue: WorkQueue<ObjectKey>,
}

/// Starts the controller of `W`.
pub async fn run<W: Workload>(cx: Context) {
    let (workloads, pods) = (cx.informer::<W>(), cx.pods());
    workloads.add_index(BY_CONTROLLER, controller_index);
    let controller = Arc::new(Controller {
        workloads: workloads.lister(),
        pods: pods.lister(),
        expectations: Expectations::default(),
        queue: WorkQueue::new(),
        cx,
    });
    workloads.synced().await;
    let this = controller.clone();
    workloads.on_event(move |event| this.on_workload(event));
    let this = controller.clone();
    pods.on_event(move |event| this.on_pod(event));
    pods.synced().await;
    let (scope, queue) = (controller.cx.scope.clone(), controller.queue.clone());
    run_workers(W::CONTROLLER, &scope, &queue, WORKERS, move |key| {
        let this = controller.clone();
        async move { this.sync(key).await }
    });
}

impl<W: Workload> Controller<W> {
    fn on_workload(&self, event: &Event<W>) {
        let key = ObjectKey::of(&**event.object());
        if matches!(event, Event::Deleted(_)) {
            self.expectations.forget(&key);
        }
        self.queue.add(key);
    }

    fn on_pod(&self, event: &Event<Pod>) {
        match event {
            Event::Added(pod) if pod.metadata.deletion_timestamp.is_some() => self.pod_leaves(pod),
            Event::Added(pod) => self.pod_came(pod),
            Event::Deleted(pod) => self.pod_leaves(pod),
            Event::Updated { old, new } => self.pod_changed(old, new),
        }
    }

    fn pod_came(&self, pod: &Pod) {
        match self.controller_key(pod) {
            Some(key) => {
                self.expectations.creation_observed(&key);
                self.queue.add(key);
            }
            None => self.wake_those_who_may_adopt(pod),
        }
    }

    fn pod_changed(&self, old: &Pod, new: &Pod) {
        let (before, after) = (self.controller_key(old), self.controller_key(new));
        if before != after {
            before.clone().into_iter().for_each(|key| self.queue.add(key));
        }
        if new.metadata.deletion_timestamp.is_some() {
            self.pod_leaves(new);
        }
        match after {
            Some(key) => {
                let delay = self.workloads.get(&key).map_or(0, |workload| workload.min_ready_seconds());
                self.queue.add(key.clone());
                if delay > 0 && !is_ready(old) && is_ready(new) {
                    // A second more, as clocks are compared in whole seconds.
                    self.queue
                        .add_after(key, Duration::from_secs(delay.unsigned_abs().into()) + Duration::from_secs(1));
                }
            }
            None if old.labels() != new.labels() || before != after => self.wake_those_who_may_adopt(new),
            None => {}
        }
    }

    fn pod_leaves(&self, pod: &Pod) {
        if let Some(key) = self.controller_key(pod) {
            self.expectations.deletion_observed(&key, pod.metadata.uid.as_deref().unwrap_or_default());
            self.queue.add(key);
        }
    }

    fn controller_key(&self, pod: &Pod) -> Option<ObjectKey> {
        let owner = controller_of(&pod.metadata).filter(|owner| owner.kind == W::kind(&()))?;
        let key = ObjectKey::new(pod.namespace()?, owner.name.clone());
        // The name may by now belong to another object; while it is not in the cache nothing can be synced anyway.
        let known = self.workloads.get(&key)?;
        (known.meta().uid.as_ref() == Some(&owner.uid)).then_some(key)
    }

    fn wake_those_who_may_adopt(&self, pod: &Pod) {
        if controller_of(&pod.metadata).is_some() {
            return;
        }
        let empty = Labels::new();
        let pod_labels = pod.metadata.labels.as_ref().unwrap_or(&empty);
        for workload in self.workloads.list_in(pod.metadata.namespace.as_deref().unwrap_or_default()) {
            let selector = workload.selector();
            if !labels::is_empty(&selector) && labels::matches(&selector, pod_labels) {
                self.queue.add(ObjectKey::of(&*workload));
            }
        }
    }
}
