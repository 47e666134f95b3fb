//! What a namespace's quotas say is used (upstream: pkg/controller/resourcequota/resource_quota_controller.go).
//!
//! Admission charges quotas for what is made; this controller gives back what is gone, and finds what was charged and
//! not made after all. Only what quotas are about is watched: pods, services and claims through the shared caches, and
//! of other kinds, once a quota counts them, their names.

mod counts;
pub mod plan;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use client::controller::{Requeue, run_workers};
use client::corev1::pod::phase;
use client::{ApiError, Event, Lister, ObjectKey, WorkQueue};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, ResourceQuota, Service};
use kube::api::PostParams;
use kube::{Api, ResourceExt};

use self::counts::Counts;
use self::plan::{Resource, Used, objects};
use crate::context::Context;

/// Everything is reckoned anew so often (upstream: `--resource-quota-sync-period`).
const RESYNC: Duration = Duration::from_secs(5 * 60);

/// Why a pass did not complete.
#[derive(Debug, thiserror::Error)]
enum SyncError {
    #[error("look at quota {key}: {err}")]
    Look { key: ObjectKey, err: kube::Error },
    #[error("write the status of {key}: {err}")]
    Status { key: ObjectKey, err: kube::Error },
    #[error("quota {key} cannot be read: {err}")]
    Read { key: ObjectKey, err: serde_json::Error },
}

struct Controller {
    cx: Context,
    quotas: Lister<ResourceQuota>,
    pods: Lister<Pod>,
    services: Lister<Service>,
    claims: Lister<PersistentVolumeClaim>,
    counts: Counts,
    queue: WorkQueue<ObjectKey>,
}

/// Starts the controller.
pub async fn run(cx: Context) {
    let (quotas, pods) = (cx.informer::<ResourceQuota>(), cx.pods());
    let (services, claims) = (cx.informer::<Service>(), cx.informer::<PersistentVolumeClaim>());
    let controller = Arc::new(Controller {
        quotas: quotas.lister(),
        pods: pods.lister(),
        services: services.lister(),
        claims: claims.lister(),
        counts: Counts::new(&cx),
        queue: WorkQueue::new(),
        cx,
    });
    let this = controller.clone();
    quotas.on_event(move |event| match event {
        // Its usage is what this controller and admission write.
        Event::Updated { old, new } if old.spec == new.spec => {}
        Event::Deleted(_) => {}
        _ => this.queue.add(ObjectKey::of(&**event.object())),
    });
    let this = controller.clone();
    pods.on_event(move |event| {
        if frees_pod(event) {
            this.wake(event.object().namespace(), "pods");
        }
    });
    let this = controller.clone();
    services.on_event(move |event| {
        let changed = matches!(event, Event::Updated { old, new } if old.spec != new.spec);
        if changed || matches!(event, Event::Deleted(_)) {
            this.wake(event.object().namespace(), "services");
        }
    });
    let this = controller.clone();
    claims.on_event(move |event| {
        let changed = matches!(event, Event::Updated { old, new } if old.spec != new.spec || old.status != new.status);
        if changed || matches!(event, Event::Deleted(_)) {
            this.wake(event.object().namespace(), "persistentvolumeclaims");
        }
    });
    tokio::join!(quotas.synced(), pods.synced(), services.synced(), claims.synced());
    let (scope, queue) = (controller.cx.scope.clone(), controller.queue.clone());
    let this = controller.clone();
    scope.spawn("resourcequota-resync", async move {
        loop {
            tokio::time::sleep(RESYNC).await;
            this.quotas.list().iter().for_each(|quota| this.queue.add(ObjectKey::of(&**quota)));
        }
    });
    run_workers("resourcequota", &scope, &queue, 1, move |key| {
        let this = controller.clone();
        async move { this.sync(key).await }
    });
}

/// Whether a pod counts for less from now on.
fn frees_pod(event: &Event<Pod>) -> bool {
    let ended = |pod: &Pod| matches!(phase(pod), "Succeeded" | "Failed");
    match event {
        Event::Added(_) => false,
        Event::Deleted(_) => true,
        Event::Updated { old, new } => !ended(old) && ended(new) || resources(old) != resources(new),
    }
}

fn resources(pod: &Pod) -> Vec<Option<&k8s_openapi::api::core::v1::ResourceRequirements>> {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    containers.map(|container| container.resources.as_ref()).collect()
}

impl Controller {
    /// Wakes the quotas of a namespace that are about a resource of the core group.
    fn wake(&self, namespace: Option<String>, resource: &str) {
        let resource = Resource { group: String::new(), resource: resource.to_owned() };
        wake(&self.quotas, &self.queue, &namespace.unwrap_or_default(), &resource);
    }

    async fn sync(&self, key: ObjectKey) -> Result<Requeue, SyncError> {
        let Some(quota) = self.quotas.get(&key) else { return Ok(Requeue::No) };
        if quota.metadata.deletion_timestamp.is_some() {
            return Ok(Requeue::No);
        }
        let object = plan::object(&*quota).map_err(|err| SyncError::Read { key: key.clone(), err })?;
        let mut used = Used::new(object);
        for resource in used.resources() {
            match (resource.group.as_str(), resource.resource.as_str()) {
                ("", "pods") => used.measure(&resource, objects(self.pods.list_in(&key.namespace))),
                ("", "services") => used.measure(&resource, objects(self.services.list_in(&key.namespace))),
                ("", "persistentvolumeclaims") => {
                    used.measure(&resource, objects(self.claims.list_in(&key.namespace)));
                }
                _ => {
                    let (quotas, queue) = (self.quotas.clone(), self.queue.clone());
                    let counted = resource.clone();
                    let wake = move |namespace: &str| wake(&quotas, &queue, namespace, &counted);
                    if let Some(number) = self.counts.count(&resource, &key.namespace, wake).await {
                        used.count(&resource, number);
                    }
                }
            }
        }
        let api: Api<ResourceQuota> = Api::namespaced(self.cx.client.clone(), &key.namespace);
        let mut wanted = (*quota).clone();
        if used.changed_status().is_none() {
            // The cache may not know yet what admission has charged for what is gone again.
            let live = api.get_opt(&key.name).await.map_err(|err| SyncError::Look { key: key.clone(), err })?;
            let Some(live) = live.filter(|live| live.spec == quota.spec) else { return Ok(Requeue::No) };
            used = used.beside(plan::object(&live).map_err(|err| SyncError::Read { key: key.clone(), err })?);
            wanted = live;
        }
        let Some(status) = used.changed_status() else { return Ok(Requeue::No) };
        wanted.status = serde_json::from_value(status).ok();
        match api.replace_status(&key.name, &PostParams::default(), &wanted).await {
            Err(err) if !err.is_not_found() => Err(SyncError::Status { key, err }),
            _ => Ok(Requeue::No),
        }
    }
}

fn wake(quotas: &Lister<ResourceQuota>, queue: &WorkQueue<ObjectKey>, namespace: &str, resource: &Resource) {
    for quota in quotas.list_in(namespace) {
        let hard = quota.spec.as_ref().and_then(|spec| spec.hard.as_ref());
        let about: BTreeSet<Resource> =
            hard.into_iter().flat_map(|hard| hard.keys()).filter_map(|name| Resource::of(name)).collect();
        if about.contains(resource) {
            queue.add(ObjectKey::of(&*quota));
        }
    }
}
