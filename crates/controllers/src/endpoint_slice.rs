//! EndpointSlices of services with a selector.
//!
//! A slice that is right stays untouched; one write shows one change. Until the cache shows a service's own writes its
//! slices are left alone: the event that brings them wakes it. upstream: pkg/controller/endpointslice,
//! staging/src/k8s.io/endpointslice/reconciler.go

pub mod endpoint;
pub mod mirroring;
pub mod plan;

use std::collections::HashMap;
use std::sync::Arc;

use client::controller::{Requeue, run_workers};
use client::{ApiError, Event, Lister, ObjectKey, WorkQueue};
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{DeleteParams, PostParams};
use kube::{Api, ResourceExt};
use parking_lot::Mutex;

use self::plan::{MANAGED_BY, MANAGER, SERVICE_NAME, plan};
use crate::context::Context;
use crate::service_endpoints;

const WORKERS: usize = 4;
/// The index of our slices by `<namespace>/<service>`.
const BY_SERVICE: &str = "service";

/// Why a pass did not complete.
#[derive(Debug, thiserror::Error)]
enum SyncError {
    #[error("write endpoint slices of {key}: {err}")]
    Write { key: ObjectKey, err: kube::Error },
}

struct Controller {
    cx: Context,
    services: Lister<Service>,
    pods: Lister<Pod>,
    nodes: Lister<Node>,
    slices: Lister<EndpointSlice>,
    /// Our writes that the cache may not show yet: by service, the slices' names and resource versions.
    written: Mutex<HashMap<ObjectKey, HashMap<String, u64>>>,
    queue: WorkQueue<ObjectKey>,
}

/// Starts the controller.
pub async fn run(cx: Context) {
    let (services, pods) = (cx.informer::<Service>(), cx.pods());
    let (nodes, slices) = (cx.informer::<Node>(), cx.informer::<EndpointSlice>());
    slices.add_index(BY_SERVICE, |slice| service_of(slice).map(|key| key.to_string()).into_iter().collect());
    let controller = Arc::new(Controller {
        services: services.lister(),
        pods: pods.lister(),
        nodes: nodes.lister(),
        slices: slices.lister(),
        written: Mutex::default(),
        queue: WorkQueue::new(),
        cx,
    });
    let this = controller.clone();
    services.on_event(move |event| this.queue.add(ObjectKey::of(&**event.object())));
    let this = controller.clone();
    slices.on_event(move |event| this.on_slice(event));
    let this = controller.clone();
    pods.on_event(move |event| {
        service_endpoints::affected(event, &this.services).into_iter().for_each(|key| this.queue.add(key));
    });
    let this = controller.clone();
    nodes.on_event(move |event| this.on_node(event));
    tokio::join!(services.synced(), pods.synced(), nodes.synced(), slices.synced());
    let (scope, queue) = (controller.cx.scope.clone(), controller.queue.clone());
    run_workers("endpointslice", &scope, &queue, WORKERS, move |key| {
        let this = controller.clone();
        async move { this.sync(key).await }
    });
}

/// The service whose slice this is, when we manage it.
fn service_of(slice: &EndpointSlice) -> Option<ObjectKey> {
    let labels = slice.metadata.labels.as_ref()?;
    (labels.get(MANAGED_BY).map(String::as_str) == Some(MANAGER)).then_some(())?;
    Some(ObjectKey::new(slice.metadata.namespace.clone()?, labels.get(SERVICE_NAME)?.clone()))
}

fn version(slice: &EndpointSlice) -> u64 {
    slice.metadata.resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or(0)
}

impl Controller {
    fn on_slice(&self, event: &Event<EndpointSlice>) {
        let Some(key) = service_of(event.object()) else { return };
        let (name, seen) = (event.object().name_any(), version(event.object()));
        let mut written = self.written.lock();
        if let Some(names) = written.get_mut(&key) {
            if matches!(event, Event::Deleted(_)) || names.get(&name).is_some_and(|version| *version <= seen) {
                names.remove(&name);
            }
            if names.is_empty() {
                written.remove(&key);
            }
        }
        drop(written);
        self.queue.add(key);
    }

    /// A node's zone is in the endpoints of the pods on it.
    fn on_node(&self, event: &Event<Node>) {
        let Event::Updated { old, new } = event else { return };
        if endpoint::zone(old) != endpoint::zone(new) {
            self.services.list().iter().for_each(|service| self.queue.add(ObjectKey::of(&**service)));
        }
    }

    async fn sync(&self, key: ObjectKey) -> Result<Requeue, SyncError> {
        let Some(service) = self.services.get(&key) else {
            self.written.lock().remove(&key);
            return Ok(Requeue::No);
        };
        let waits = self.written.lock().contains_key(&key);
        if waits || service_endpoints::selector(&service).is_none() || service.metadata.deletion_timestamp.is_some() {
            return Ok(Requeue::No);
        }
        let existing = self.slices.by_index(BY_SERVICE, &key.to_string());
        let pods = service_endpoints::pods(&service, &self.pods, true);
        let node = |name: &str| self.nodes.get(&ObjectKey::new("", name));
        let changes = plan(&service, &pods, &node, existing);
        self.apply(&key, changes).await.map_err(|err| SyncError::Write { key, err })?;
        Ok(Requeue::No)
    }

    async fn apply(&self, key: &ObjectKey, changes: plan::Changes) -> Result<(), kube::Error> {
        let api: Api<EndpointSlice> = Api::namespaced(self.cx.client.clone(), &key.namespace);
        for slice in changes.create {
            match api.create(&PostParams::default(), &slice).await {
                Ok(created) => self.note(key, &created),
                Err(err) if err.is_namespace_terminating() => return Ok(()),
                Err(err) => return Err(err),
            }
        }
        for slice in changes.update {
            let updated = api.replace(&slice.name_any(), &PostParams::default(), &slice).await?;
            self.note(key, &updated);
        }
        for slice in changes.delete {
            match api.delete(&slice.name_any(), &DeleteParams::default()).await {
                Err(err) if !err.is_not_found() => return Err(err),
                _ => {}
            }
        }
        Ok(())
    }

    fn note(&self, key: &ObjectKey, slice: &EndpointSlice) {
        let name = slice.name_any();
        let mut written = self.written.lock();
        // Looked up under the lock: either the event comes later and finds the note, or the cache shows it already.
        let shown = self.slices.get(&ObjectKey::new(key.namespace.clone(), name.clone()));
        if shown.is_none_or(|shown| version(&shown) < version(slice)) {
            written.entry(key.clone()).or_default().insert(name, version(slice));
        }
    }
}
