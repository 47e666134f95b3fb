//! Empties a namespace that is being deleted, and then lets it go.
//!
//! Pods go first, and nothing else until the last one is gone: what they use stays while they run. Their events wake the
//! next pass; what other finalizers hold is looked at again after a growing delay.
//! upstream: pkg/controller/namespace, its deletion/namespaced_resources_deleter.go; KEP-5080 (ordered deletion)

pub mod conditions;
mod content;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use client::controller::{Requeue, run_workers};
use client::{ApiError, Event, Lister, WorkQueue};
use component_base::{Backoff, now};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::Api;
use kube::api::PostParams;
use parking_lot::Mutex;

use self::content::Content;
use crate::context::Context;

const WORKERS: usize = 4;
/// The finalizer that holds a namespace until it is empty.
const FINALIZER: &str = "kubernetes";

/// Why a pass did not complete.
#[derive(Debug, thiserror::Error)]
enum SyncError {
    #[error("read namespace {namespace}: {err}")]
    Read { namespace: String, err: kube::Error },
    #[error("find out what namespace {namespace} contains: {err}")]
    Discover { namespace: String, err: kube::Error },
    #[error("write the status of namespace {namespace}: {err}")]
    Status { namespace: String, err: kube::Error },
    #[error("let namespace {namespace} go: {err}")]
    Finalize { namespace: String, err: kube::Error },
}

struct Controller {
    cx: Context,
    pods: Lister<Pod>,
    /// How long to wait before content is looked at again, by namespace.
    delays: Mutex<HashMap<String, Backoff>>,
}

fn is_leaving(namespace: &Namespace) -> bool {
    let finalizers = namespace.spec.iter().flat_map(|spec| spec.finalizers.iter().flatten());
    namespace.metadata.deletion_timestamp.is_some() && finalizers.into_iter().any(|one| one == FINALIZER)
}

/// Starts the controller.
pub async fn run(cx: Context) {
    let (namespaces, pods) = (cx.informer::<Namespace>(), cx.pods());
    let queue: WorkQueue<String> = WorkQueue::new();
    let waiting = queue.clone();
    namespaces.on_event(move |event| {
        if !matches!(event, Event::Deleted(_)) && is_leaving(event.object()) {
            waiting.add(event.object().metadata.name.clone().unwrap_or_default());
        }
    });
    let (waiting, known, left) = (queue.clone(), namespaces.lister(), pods.lister());
    pods.on_event(move |event| {
        let Event::Deleted(pod) = event else { return };
        let namespace = pod.metadata.namespace.clone().unwrap_or_default();
        let leaving = known.get(&client::ObjectKey::new("", namespace.clone())).is_some_and(|one| is_leaving(&one));
        if leaving && left.list_in(&namespace).is_empty() {
            waiting.add(namespace);
        }
    });
    tokio::join!(namespaces.synced(), pods.synced());
    let scope = cx.scope.clone();
    let controller = Arc::new(Controller { cx, pods: pods.lister(), delays: Mutex::default() });
    run_workers("namespace", &scope, &queue, WORKERS, move |namespace: String| {
        let this = controller.clone();
        async move { this.sync(namespace).await }
    });
}

impl Controller {
    async fn sync(&self, name: String) -> Result<Requeue, SyncError> {
        let api: Api<Namespace> = Api::all(self.cx.client.clone());
        let read = api.get_opt(&name).await.map_err(|err| SyncError::Read { namespace: name.clone(), err })?;
        let Some(namespace) = read.filter(is_leaving) else {
            self.delays.lock().remove(&name);
            return Ok(Requeue::No);
        };
        let found = content::delete_all(&self.cx.client, &name).await;
        let found = found.map_err(|err| SyncError::Discover { namespace: name.clone(), err })?;
        if found.is_gone() {
            self.delays.lock().remove(&name);
            return self.finalize(&api, namespace, name).await;
        }
        self.write_status(&api, namespace, &found)
            .await
            .map_err(|err| SyncError::Status { namespace: name.clone(), err })?;
        // The last pod's event wakes us; the delay is for what has no event here.
        if found.waits_for_pods() && !self.pods.list_in(&name).is_empty() {
            return Ok(Requeue::After(Duration::from_secs(15)));
        }
        let first = || Backoff::new(Duration::from_millis(50), Duration::from_secs(15));
        Ok(Requeue::After(self.delays.lock().entry(name).or_insert_with(first).next_delay()))
    }

    async fn finalize(
        &self,
        api: &Api<Namespace>,
        mut namespace: Namespace,
        name: String,
    ) -> Result<Requeue, SyncError> {
        if let Some(finalizers) = namespace.spec.as_mut().and_then(|spec| spec.finalizers.as_mut()) {
            finalizers.retain(|one| one != FINALIZER);
        }
        let result = api.replace_subresource("finalize", &name, &PostParams::default(), &namespace).await;
        match result {
            Err(err) if !err.is_not_found() => Err(SyncError::Finalize { namespace: name, err }),
            _ => Ok(Requeue::No),
        }
    }

    async fn write_status(
        &self,
        api: &Api<Namespace>,
        namespace: Namespace,
        found: &Content,
    ) -> Result<(), kube::Error> {
        let mut changed = namespace.clone();
        let status = changed.status.get_or_insert_default();
        status.phase = Some("Terminating".into());
        conditions::set_all(status, found, now());
        if changed.status == namespace.status {
            return Ok(());
        }
        let name = namespace.metadata.name.as_deref().unwrap_or_default();
        match api.replace_status(name, &PostParams::default(), &changed).await {
            Err(err) if !err.is_not_found() && !err.is_conflict() => Err(err),
            _ => Ok(()),
        }
    }
}
