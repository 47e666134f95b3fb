//! Volumes stay while they are bound to a claim (upstream: pkg/controller/volume/pvprotection).

use std::sync::Arc;

use client::controller::{Requeue, run_workers};
use client::{Event, ObjectKey, WorkQueue};
use k8s_openapi::api::core::v1::PersistentVolume;
use kube::Api;

use super::{Wanted, wanted, write};
use crate::context::Context;

const FINALIZER: &str = "kubernetes.io/pv-protection";

fn is_bound(volume: &PersistentVolume) -> bool {
    volume.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound")
}

/// Starts the controller.
pub async fn run(cx: Context) {
    let volumes = cx.informer::<PersistentVolume>();
    let queue: WorkQueue<ObjectKey> = WorkQueue::new();
    let waiting = queue.clone();
    volumes.on_event(move |event| {
        let volume = event.object();
        if !matches!(event, Event::Deleted(_)) && wanted(&volume.metadata, FINALIZER) != Wanted::Nothing {
            waiting.add(ObjectKey::of(&**volume));
        }
    });
    volumes.synced().await;
    let api: Api<PersistentVolume> = Api::all(cx.client.clone());
    let shared = Arc::new((api, volumes.lister()));
    run_workers("pv-protection", &cx.scope, &queue, 1, move |key: ObjectKey| {
        let shared = shared.clone();
        async move {
            let (api, volumes) = &*shared;
            let Some(volume) = volumes.get(&key) else { return Ok(Requeue::No) };
            match wanted(&volume.metadata, FINALIZER) {
                Wanted::RemoveIfUnused if is_bound(&volume) => {}
                Wanted::Nothing => {}
                change => write(api, &*volume, FINALIZER, change).await?,
            }
            Ok::<_, super::SyncError>(Requeue::No)
        }
    });
}
