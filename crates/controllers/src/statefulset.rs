//! StatefulSet: pods with names that stay, started and stopped in order.
//!
//! [`identity`] gives each ordinal its pod and its claims, [`plan`] says what to do next, [`sync`] does it.
//! Not here yet: `persistentVolumeClaimRetentionPolicy`, `maxUnavailable` of rolling updates.
//! upstream: pkg/controller/statefulset

pub mod identity;
pub mod plan;
mod sync;

use std::sync::Arc;
use std::time::Duration;

use client::controller::run_workers;
use client::corev1::pod::is_ready;
use client::{Event, Lister, ObjectKey, WorkQueue};
use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};

use crate::context::Context;
use crate::owners::{BY_CONTROLLER, controller_index, controller_of};

const WORKERS: usize = 2;

struct Controller {
    cx: Context,
    sets: Lister<StatefulSet>,
    pods: Lister<Pod>,
    claims: Lister<PersistentVolumeClaim>,
    revisions: Lister<ControllerRevision>,
    queue: WorkQueue<ObjectKey>,
}

/// Starts the controller.
pub async fn run(cx: Context) {
    let (sets, pods) = (cx.informer::<StatefulSet>(), cx.pods());
    let (claims, revisions) = (cx.informer::<PersistentVolumeClaim>(), cx.informer::<ControllerRevision>());
    revisions.add_index(BY_CONTROLLER, controller_index);
    let controller = Arc::new(Controller {
        sets: sets.lister(),
        pods: pods.lister(),
        claims: claims.lister(),
        revisions: revisions.lister(),
        queue: WorkQueue::new(),
        cx,
    });
    let this = controller.clone();
    sets.on_event(move |event| this.queue.add(ObjectKey::of(&**event.object())));
    sets.synced().await;
    let this = controller.clone();
    pods.on_event(move |event| this.on_pod(event));
    tokio::join!(pods.synced(), claims.synced(), revisions.synced());
    let (scope, queue) = (controller.cx.scope.clone(), controller.queue.clone());
    run_workers("statefulset", &scope, &queue, WORKERS, move |key| {
        let this = controller.clone();
        async move { this.sync(key).await }
    });
}

impl Controller {
    fn on_pod(&self, event: &Event<Pod>) {
        let pod = event.object();
        let namespace = pod.metadata.namespace.clone().unwrap_or_default();
        let Some(owner) = controller_of(&pod.metadata) else {
            // One that a set could adopt has a name of its.
            let name =
                pod.metadata.name.as_deref().and_then(|name| name.rsplit_once('-')).map(|(set, _)| set.to_owned());
            let key = name.map(|name| ObjectKey::new(namespace, name));
            key.filter(|key| self.sets.get(key).is_some()).into_iter().for_each(|key| self.queue.add(key));
            return;
        };
        if owner.kind != "StatefulSet" {
            return;
        }
        let key = ObjectKey::new(namespace, owner.name.clone());
        if let Event::Updated { old, new } = event {
            let delay = self.sets.get(&key).and_then(|set| set.spec.min_ready_seconds).unwrap_or(0);
            if delay > 0 && !is_ready(old) && is_ready(new) {
                self.queue.add_after(key.clone(), Duration::from_secs(delay.unsigned_abs().into()));
            }
        }
        self.queue.add(key);
    }
}
