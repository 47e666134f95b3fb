//! Endpoints: the older form of EndpointSlices, still read by many (upstream: pkg/controller/endpoint).

pub mod plan;

use std::sync::Arc;

use client::controller::{Requeue, run_workers};
use client::{ApiError, Lister, ObjectKey, WorkQueue};
use k8s_openapi::api::core::v1::{Endpoints, Pod, Service};
use kube::Api;
use kube::api::{DeleteParams, PostParams};

use crate::context::Context;
use crate::service_endpoints;

const WORKERS: usize = 2;

/// Why a pass did not complete.
#[derive(Debug, thiserror::Error)]
enum SyncError {
    #[error("write endpoints {key}: {err}")]
    Write { key: ObjectKey, err: kube::Error },
}

struct Controller {
    cx: Context,
    services: Lister<Service>,
    pods: Lister<Pod>,
    endpoints: Lister<Endpoints>,
    queue: WorkQueue<ObjectKey>,
}

/// Starts the controller.
pub async fn run(cx: Context) {
    let (services, pods, endpoints) = (cx.informer::<Service>(), cx.pods(), cx.informer::<Endpoints>());
    let controller = Arc::new(Controller {
        services: services.lister(),
        pods: pods.lister(),
        endpoints: endpoints.lister(),
        queue: WorkQueue::new(),
        cx,
    });
    let this = controller.clone();
    services.on_event(move |event| this.queue.add(ObjectKey::of(&**event.object())));
    let this = controller.clone();
    endpoints.on_event(move |event| this.queue.add(ObjectKey::of(&**event.object())));
    let this = controller.clone();
    pods.on_event(move |event| {
        service_endpoints::affected(event, &this.services).into_iter().for_each(|key| this.queue.add(key));
    });
    tokio::join!(services.synced(), pods.synced(), endpoints.synced());
    let (scope, queue) = (controller.cx.scope.clone(), controller.queue.clone());
    run_workers("endpoint", &scope, &queue, WORKERS, move |key| {
        let this = controller.clone();
        async move { this.sync(&key).await.map_err(|err| SyncError::Write { key, err }) }
    });
}

impl Controller {
    async fn sync(&self, key: &ObjectKey) -> Result<Requeue, kube::Error> {
        let api: Api<Endpoints> = Api::namespaced(self.cx.client.clone(), &key.namespace);
        let existing = self.endpoints.get(key);
        let Some(service) = self.services.get(key) else {
            // Those without our label may be somebody's own (and leader election once used them).
            if existing.is_some_and(|one| plan::is_ours(&one)) {
                ignore(api.delete(&key.name, &DeleteParams::default()).await.map(drop))?;
            }
            return Ok(Requeue::No);
        };
        if service_endpoints::selector(&service).is_none() || service.metadata.deletion_timestamp.is_some() {
            return Ok(Requeue::No);
        }
        let pods = service_endpoints::pods(&service, &self.pods, service_endpoints::publishes_not_ready(&service));
        let Some(wanted) = plan::plan(&service, &pods, existing.as_deref()) else { return Ok(Requeue::No) };
        match existing {
            Some(_) => ignore(api.replace(&key.name, &PostParams::default(), &wanted).await.map(drop))?,
            None => ignore(api.create(&PostParams::default(), &wanted).await.map(drop))?,
        }
        Ok(Requeue::No)
    }
}

/// Gone, made meanwhile, or going away with its namespace: the next event tells.
fn ignore(result: Result<(), kube::Error>) -> Result<(), kube::Error> {
    match result {
        Err(err) if err.is_not_found() || err.is_already_exists() || err.is_namespace_terminating() => Ok(()),
        other => other,
    }
}
