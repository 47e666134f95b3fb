//! Every namespace has a ServiceAccount `default` (upstream: pkg/controller/serviceaccount/serviceaccounts_controller.go).

use std::sync::Arc;

use client::controller::{Requeue, run_workers};
use client::{ApiError, Event, ObjectKey, WorkQueue};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::Api;
use kube::api::{ObjectMeta, PostParams};

use crate::context::Context;

const NAME: &str = "default";

/// Why a pass did not complete.
#[derive(Debug, thiserror::Error)]
#[error("create service account {namespace}/default: {err}")]
struct SyncError {
    namespace: String,
    err: kube::Error,
}

/// Whether objects may be made in a namespace.
pub(crate) fn is_open(namespace: &Namespace) -> bool {
    let phase = namespace.status.as_ref().and_then(|status| status.phase.as_deref());
    namespace.metadata.deletion_timestamp.is_none() && phase != Some("Terminating")
}

/// Starts the controller.
pub async fn run(cx: Context) {
    let namespaces = cx.informer::<Namespace>();
    let accounts = cx.informers.informer_where::<ServiceAccount>(&format!("metadata.name={NAME}"));
    let queue: WorkQueue<String> = WorkQueue::new();
    let waiting = queue.clone();
    namespaces.on_event(move |event| {
        if !matches!(event, Event::Deleted(_)) && is_open(event.object()) {
            waiting.add(event.object().metadata.name.clone().unwrap_or_default());
        }
    });
    let waiting = queue.clone();
    accounts.on_event(move |event| {
        if let Event::Deleted(account) = event {
            waiting.add(account.metadata.namespace.clone().unwrap_or_default());
        }
    });
    tokio::join!(namespaces.synced(), accounts.synced());
    let shared = Arc::new((cx.client.clone(), namespaces.lister(), accounts.lister()));
    run_workers("serviceaccount", &cx.scope, &queue, 1, move |namespace: String| {
        let shared = shared.clone();
        async move {
            let (client, namespaces, accounts) = &*shared;
            let open = namespaces.get(&ObjectKey::new("", namespace.clone())).is_some_and(|one| is_open(&one));
            if !open || accounts.get(&ObjectKey::new(namespace.clone(), NAME)).is_some() {
                return Ok(Requeue::No);
            }
            let metadata = ObjectMeta { name: Some(NAME.into()), ..ObjectMeta::default() };
            let account = ServiceAccount { metadata, ..ServiceAccount::default() };
            let api: Api<ServiceAccount> = Api::namespaced(client.clone(), &namespace);
            match api.create(&PostParams::default(), &account).await {
                Err(err) if !err.is_already_exists() && !err.is_namespace_terminating() => {
                    Err(SyncError { namespace, err })
                }
                _ => Ok(Requeue::No),
            }
        }
    });
}
