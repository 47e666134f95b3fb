//! DaemonSet: one pod on every node that it fits.
//!
//! [`nodes`] says where a pod belongs, [`plan`] what to create and delete (rolling updates included), [`sync`] does it.
//! upstream: pkg/controller/daemon

pub mod nodes;
pub mod plan;
mod sync;

use std::sync::Arc;
use std::time::Duration;

use client::controller::run_workers;
use client::corev1::pod::is_ready;
use client::labels::{self, Labels};
use client::{Event, Lister, ObjectKey, WorkQueue};
use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet};
use k8s_openapi::api::core::v1::{Node, Pod};

use crate::context::Context;
use crate::expectations::Expectations;
use crate::owners::{BY_CONTROLLER, controller_index, controller_of};

const WORKERS: usize = 2;

struct Controller {
    cx: Context,
    sets: Lister<DaemonSet>,
    pods: Lister<Pod>,
    nodes: Lister<Node>,
    revisions: Lister<ControllerRevision>,
    expectations: Expectations,
    queue: WorkQueue<ObjectKey>,
}

/// Starts the controller.
pub async fn run(cx: Context) {
    let (sets, pods, nodes) = (cx.informer::<DaemonSet>(), cx.pods(), cx.informer::<Node>());
    let revisions = cx.informer::<ControllerRevision>();
    revisions.add_index(BY_CONTROLLER, controller_index);
    let controller = Arc::new(Controller {
        sets: sets.lister(),
        pods: pods.lister(),
        nodes: nodes.lister(),
        revisions: revisions.lister(),
        expectations: Expectations::default(),
        queue: WorkQueue::new(),
        cx,
    });
    sets.synced().await;
    let this = controller.clone();
    sets.on_event(move |event| {
        let key = ObjectKey::of(&**event.object());
        if matches!(event, Event::Deleted(_)) {
            this.expectations.forget(&key);
        }
        this.queue.add(key);
    });
    let this = controller.clone();
    pods.on_event(move |event| this.on_pod(event));
    let this = controller.clone();
    nodes.on_event(move |event| this.on_node(event));
    tokio::join!(pods.synced(), nodes.synced(), revisions.synced());
    let (scope, queue) = (controller.cx.scope.clone(), controller.queue.clone());
    run_workers("daemonset", &scope, &queue, WORKERS, move |key| {
        let this = controller.clone();
        async move { this.sync(key).await }
    });
}

impl Controller {
    fn on_pod(&self, event: &Event<Pod>) {
        let pod = event.object();
        let Some(key) = self.controller_key(pod) else {
            if controller_of(&pod.metadata).is_none() && !matches!(event, Event::Deleted(_)) {
                self.wake_those_who_may_adopt(pod);
            }
            return;
        };
        match event {
            Event::Added(_) => self.expectations.creation_observed(&key),
            Event::Updated { old, new } if !is_ready(old) && is_ready(new) => {
                let delay = self.sets.get(&key).and_then(|set| set.spec.min_ready_seconds).unwrap_or(0);
                if delay > 0 {
                    self.queue.add_after(key.clone(), Duration::from_secs(delay.unsigned_abs().into()));
                }
            }
            _ => {}
        }
        if matches!(event, Event::Deleted(_)) || pod.metadata.deletion_timestamp.is_some() {
            self.expectations.deletion_observed(&key, pod.metadata.uid.as_deref().unwrap_or_default());
        }
        self.queue.add(key);
    }

    /// A node concerns the sets whose opinion of it changes.
    fn on_node(&self, event: &Event<Node>) {
        for set in self.sets.list() {
            let concerned = match event {
                Event::Added(node) => nodes::verdict(&set, node).should_run,
                Event::Updated { old, new } => nodes::verdict(&set, old) != nodes::verdict(&set, new),
                // Its pods are left to the pod garbage collector.
                Event::Deleted(_) => true,
            };
            if concerned {
                self.queue.add(ObjectKey::of(&*set));
            }
        }
    }

    fn controller_key(&self, pod: &Pod) -> Option<ObjectKey> {
        let owner = controller_of(&pod.metadata).filter(|owner| owner.kind == "DaemonSet")?;
        let key = ObjectKey::new(pod.metadata.namespace.clone()?, owner.name.clone());
        let known = self.sets.get(&key)?;
        (known.metadata.uid.as_ref() == Some(&owner.uid)).then_some(key)
    }

    fn wake_those_who_may_adopt(&self, pod: &Pod) {
        let empty = Labels::new();
        let pod_labels = pod.metadata.labels.as_ref().unwrap_or(&empty);
        for set in self.sets.list_in(pod.metadata.namespace.as_deref().unwrap_or_default()) {
            if !labels::is_empty(&set.spec.selector) && labels::matches(&set.spec.selector, pod_labels) {
                self.queue.add(ObjectKey::of(&*set));
            }
        }
    }
}
