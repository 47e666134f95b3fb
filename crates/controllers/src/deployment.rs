//! Deployment: rolls a template out through ReplicaSets, one for each revision.
//!
//! [`plan`] looks at a deployment and its ReplicaSets and says what to change next and what the status is; the shell in
//! [`sync`] does it. Each change of a ReplicaSet wakes the next pass, until nothing is left to change.
//! upstream: pkg/controller/deployment

pub mod conditions;
pub mod plan;
pub mod proportion;
pub mod replica_sets;
pub mod revision;
pub mod rolling;
pub mod status;
mod sync;

use std::sync::Arc;

use client::controller::run_workers;
use client::labels::{self, Labels};
use client::{Event, Lister, ObjectKey, WorkQueue};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;

use crate::context::Context;
use crate::owners::{BY_CONTROLLER, controller_index, controller_of};

const WORKERS: usize = 4;

struct Controller {
    cx: Context,
    deployments: Lister<Deployment>,
    replica_sets: Lister<ReplicaSet>,
    pods: Lister<Pod>,
    queue: WorkQueue<ObjectKey>,
}

/// Starts the controller.
pub async fn run(cx: Context) {
    let (deployments, replica_sets) = (cx.informer::<Deployment>(), cx.informer::<ReplicaSet>());
    let pods = cx.pods();
    replica_sets.add_index(BY_CONTROLLER, controller_index);
    let controller = Arc::new(Controller {
        deployments: deployments.lister(),
        replica_sets: replica_sets.lister(),
        pods: pods.lister(),
        queue: WorkQueue::new(),
        cx,
    });
    let this = controller.clone();
    deployments.on_event(move |event| this.queue.add(ObjectKey::of(&**event.object())));
    deployments.synced().await;
    let this = controller.clone();
    replica_sets.on_event(move |event| this.on_replica_set(event));
    let this = controller.clone();
    pods.on_event(move |event| {
        if let Event::Deleted(pod) = event {
            this.on_pod_gone(pod);
        }
    });
    replica_sets.synced().await;
    pods.synced().await;
    let (scope, queue) = (controller.cx.scope.clone(), controller.queue.clone());
    run_workers("deployment", &scope, &queue, WORKERS, move |key| {
        let this = controller.clone();
        async move { this.sync(key).await }
    });
}

impl Controller {
    fn on_replica_set(&self, event: &Event<ReplicaSet>) {
        if let Event::Updated { old, new } = event
            && controller_of(&old.metadata) != controller_of(&new.metadata)
        {
            self.wake_owner(old);
        }
        let rs = event.object();
        if controller_of(&rs.metadata).is_some() {
            self.wake_owner(rs);
        } else if !matches!(event, Event::Deleted(_)) {
            self.wake_those_who_may_adopt(rs);
        }
    }

    fn wake_owner(&self, rs: &ReplicaSet) {
        let Some(owner) = controller_of(&rs.metadata).filter(|owner| owner.kind == "Deployment") else { return };
        self.queue.add(ObjectKey::new(rs.metadata.namespace.clone().unwrap_or_default(), owner.name.clone()));
    }

    fn wake_those_who_may_adopt(&self, rs: &ReplicaSet) {
        let empty = Labels::new();
        let rs_labels = rs.metadata.labels.as_ref().unwrap_or(&empty);
        for deployment in self.deployments.list_in(rs.metadata.namespace.as_deref().unwrap_or_default()) {
            if labels::matches(&deployment.spec.selector, rs_labels) {
                self.queue.add(ObjectKey::of(&*deployment));
            }
        }
    }

    /// A Recreate deployment goes on when the last old pod is gone.
    fn on_pod_gone(&self, pod: &Pod) {
        let Some(owner) = controller_of(&pod.metadata).filter(|owner| owner.kind == "ReplicaSet") else { return };
        let key = ObjectKey::new(pod.metadata.namespace.clone().unwrap_or_default(), owner.name.clone());
        let Some(rs) = self.replica_sets.get(&key) else { return };
        let deployment =
            controller_of(&rs.metadata).map(|owner| ObjectKey::new(key.namespace.clone(), owner.name.clone()));
        let deployment = deployment.and_then(|key| self.deployments.get(&key));
        if deployment.is_some_and(|deployment| plan::is_recreate(&deployment)) {
            self.wake_owner(&rs);
        }
    }
}
