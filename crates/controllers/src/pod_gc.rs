//! Removes pods that nobody else removes: of nodes that are gone, never bound but deleted, too many ended ones.
//!
//! upstream: pkg/controller/podgc/gc_controller.go (there every 20 seconds; here when it happens)

use std::sync::Arc;
use std::time::Duration;

use client::controller::{Requeue, run_workers};
use client::corev1::pod::{is_terminal, node_name};
use client::{ApiError, Event, Lister, ObjectKey, WorkQueue};
use component_base::now;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, ResourceExt};
use serde_json::json;

use crate::context::{Context, PODS_BY_NODE};

/// A node must be gone for this long before its pods are given up (upstream: `quarantineTime`).
const QUARANTINE: Duration = Duration::from_secs(40);

/// What may have to be removed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Work {
    /// The pods of a node that went.
    Node(String),
    /// A pod.
    Pod(ObjectKey),
    /// The oldest ended pods.
    Ended,
}

impl std::fmt::Display for Work {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Node(name) => write!(f, "node {name}"),
            Self::Pod(key) => write!(f, "pod {key}"),
            Self::Ended => f.write_str("ended pods"),
        }
    }
}

/// Why a pass did not complete.
#[derive(Debug, thiserror::Error)]
enum SyncError {
    #[error("look for node {node}: {err}")]
    Node { node: String, err: kube::Error },
    #[error("remove pod {pod}: {err}")]
    Remove { pod: ObjectKey, err: kube::Error },
}

struct Controller {
    cx: Context,
    threshold: usize,
    pods: Lister<Pod>,
    nodes: Lister<Node>,
    queue: WorkQueue<Work>,
}

/// Starts the controller.
pub async fn run(cx: Context, threshold: usize) {
    let (pods, nodes) = (cx.pods(), cx.informer::<Node>());
    let scope = cx.scope.clone();
    let queue = WorkQueue::new();
    let controller =
        Arc::new(Controller { cx, threshold, pods: pods.lister(), nodes: nodes.lister(), queue: queue.clone() });
    nodes.synced().await;
    let this = controller.clone();
    nodes.on_event(move |event| {
        if let Event::Deleted(node) = event {
            this.queue.add_after(Work::Node(node.name_any()), QUARANTINE);
        }
    });
    let this = controller.clone();
    pods.on_event(move |event| this.on_pod(event));
    pods.synced().await;
    run_workers("pod-gc", &scope, &queue, 1, move |work| {
        let this = controller.clone();
        async move { this.sync(work).await }
    });
}

impl Controller {
    fn on_pod(&self, event: &Event<Pod>) {
        let pod = match event {
            Event::Deleted(_) => return,
            Event::Added(pod) | Event::Updated { new: pod, .. } => pod,
        };
        let key = ObjectKey::of(&**pod);
        match node_name(pod) {
            None if pod.metadata.deletion_timestamp.is_some() => self.queue.add(Work::Pod(key)),
            Some(node) if self.nodes.get(&ObjectKey::new("", node)).is_none() => {
                self.queue.add_after(Work::Node(node.to_owned()), QUARANTINE);
            }
            _ => {}
        }
        let ended = match event {
            Event::Updated { old, .. } => !is_terminal(old) && is_terminal(pod),
            _ => is_terminal(pod),
        };
        if ended && self.threshold > 0 && self.pods.len() > self.threshold {
            self.queue.add(Work::Ended);
        }
    }

    async fn sync(&self, work: Work) -> Result<Requeue, SyncError> {
        match work {
            Work::Pod(key) => match self.pods.get(&key) {
                Some(pod) if node_name(&pod).is_none() && pod.metadata.deletion_timestamp.is_some() => {
                    self.remove(&pod, "PodGC: unscheduled terminating pod").await?;
                }
                _ => {}
            },
            Work::Node(node) => self.remove_pods_of(node).await?,
            Work::Ended => self.remove_ended().await?,
        }
        Ok(Requeue::No)
    }

    async fn remove_pods_of(&self, node: String) -> Result<(), SyncError> {
        let api: Api<Node> = Api::all(self.cx.client.clone());
        let live = api.get_metadata_opt(&node).await.map_err(|err| SyncError::Node { node: node.clone(), err })?;
        if live.is_some() {
            return Ok(());
        }
        for pod in self.pods.by_index(PODS_BY_NODE, &node) {
            self.remove(&pod, "PodGC: node no longer exists").await?;
        }
        Ok(())
    }

    async fn remove_ended(&self) -> Result<(), SyncError> {
        let mut ended: Vec<Arc<Pod>> = self.pods.list();
        ended.retain(|pod| is_terminal(pod));
        let surplus = ended.len().saturating_sub(self.threshold);
        ended.sort_by_key(|pod| pod.metadata.creation_timestamp.as_ref().map(|time| time.0));
        for pod in ended.iter().take(surplus) {
            self.remove(pod, "").await?;
        }
        Ok(())
    }

    /// Marks a pod that has not ended as failed, and removes it at once.
    async fn remove(&self, pod: &Pod, why: &str) -> Result<(), SyncError> {
        let key = ObjectKey::of(pod);
        let api: Api<Pod> = Api::namespaced(self.cx.client.clone(), &key.namespace);
        if !is_terminal(pod) && node_name(pod).is_some() {
            let condition = json!({
                "type": "DisruptionTarget",
                "status": "True",
                "reason": "DeletionByPodGC",
                "message": why,
                "lastTransitionTime": Time(now()),
            });
            let patch =
                json!({"metadata": {"uid": pod.uid()}, "status": {"phase": "Failed", "conditions": [condition]}});
            let patched = api.patch_status(&key.name, &PatchParams::default(), &Patch::Strategic(patch)).await;
            settled(patched.map(drop)).map_err(|err| SyncError::Remove { pod: key.clone(), err })?;
        }
        let same = Preconditions { uid: pod.uid(), resource_version: None };
        let params = DeleteParams::default().grace_period(0).preconditions(same);
        let deleted = api.delete(&key.name, &params).await;
        settled(deleted.map(drop)).map_err(|err| SyncError::Remove { pod: key, err })
    }
}

/// Gone, or another pod of that name: nothing to do.
fn settled(result: Result<(), kube::Error>) -> Result<(), kube::Error> {
    match result {
        Err(err) if err.is_not_found() || err.is_conflict() => Ok(()),
        other => other,
    }
}
