//! Bootstrap tokens go when their time is over (upstream: pkg/controller/bootstrap/tokencleaner.go).

use std::time::Duration;

use client::controller::{Requeue, run_workers};
use client::{ApiError, Event, ObjectKey, WorkQueue};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{DeleteParams, Preconditions};

use super::{NAMESPACE, TYPE, expires};
use crate::context::Context;

/// Why a pass did not complete.
#[derive(Debug, thiserror::Error)]
#[error("delete bootstrap token {key}: {err}")]
struct SyncError {
    key: ObjectKey,
    err: kube::Error,
}

/// Starts the controller.
pub async fn run(cx: Context) {
    let secrets = cx.informers.informer_where::<Secret>(&format!("type={TYPE}"));
    let queue: WorkQueue<ObjectKey> = WorkQueue::new();
    let waiting = queue.clone();
    secrets.on_event(move |event| {
        if !matches!(event, Event::Deleted(_)) && expires(event.object()).is_some() {
            waiting.add(ObjectKey::of(&**event.object()));
        }
    });
    secrets.synced().await;
    let lister = secrets.lister();
    let client = cx.client.clone();
    run_workers("token-cleaner", &cx.scope, &queue, 1, move |key: ObjectKey| {
        let (secret, client) = (lister.get(&key), client.clone());
        async move {
            let Some(secret) = secret.filter(|_| key.namespace == NAMESPACE) else { return Ok(Requeue::No) };
            let Some(at) = expires(&secret) else { return Ok(Requeue::No) };
            let left = Duration::try_from(at.duration_since(component_base::now())).unwrap_or_default();
            if !left.is_zero() {
                return Ok(Requeue::After(left));
            }
            // The version too: its time may have been prolonged just now.
            let same = Preconditions {
                uid: secret.metadata.uid.clone(),
                resource_version: secret.metadata.resource_version.clone(),
            };
            let params = DeleteParams { preconditions: Some(same), ..DeleteParams::default() };
            let api: Api<Secret> = Api::namespaced(client, NAMESPACE);
            match api.delete(&key.name, &params).await {
                Err(err) if !err.is_not_found() => Err(SyncError { key, err }),
                _ => Ok(Requeue::No),
            }
        }
    });
}
