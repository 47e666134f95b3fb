//! Watches over nodes: one that is not heard of is marked, its pods leave Services, and in time leave it.
//!
//! A node is heard of through its Lease (and its Ready condition). [`health`] says what silence means, [`taints`] which
//! taints follow from conditions, [`eviction`] which pods a NoExecute taint drives away, and when.
//! upstream: pkg/controller/nodelifecycle, pkg/controller/tainteviction

pub mod eviction;
pub mod health;
pub mod taints;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use client::controller::{Requeue, run_workers};
use client::corev1::pod::is_ready;
use client::{ApiError, Event, EventType, Lister, ObjectKey, WorkQueue};
use component_base::now;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use parking_lot::Mutex;
use serde_json::json;
use tokio::time::Instant;

use crate::context::{Context, PODS_BY_NODE};

const WORKERS: usize = 2;
/// A node that was silent for this long is not ready (upstream: `--node-monitor-grace-period`).
const GRACE: Duration = Duration::from_secs(40);
/// A new node has this long until it first reports (upstream: `--node-startup-grace-period`).
const STARTUP_GRACE: Duration = Duration::from_secs(60);
const LEASES: &str = "metadata.namespace=kube-node-lease";

/// Why a pass did not complete.
#[derive(Debug, thiserror::Error)]
enum SyncError {
    #[error("write the status of node {node}: {err}")]
    Status { node: String, err: kube::Error },
    #[error("write the taints of node {node}: {err}")]
    Taints { node: String, err: kube::Error },
    #[error("mark pod {pod} as not ready: {err}")]
    Pod { pod: ObjectKey, err: kube::Error },
}

/// When a node was last heard of, by our own clock.
struct Heard {
    at: Instant,
    lease: Option<MicroTime>,
    heartbeat: Option<Time>,
}

struct Controller {
    cx: Context,
    nodes: Lister<Node>,
    pods: Lister<Pod>,
    heard: Mutex<HashMap<String, Heard>>,
    queue: WorkQueue<String>,
}

/// Starts the controller.
pub async fn run(cx: Context) {
    let (nodes, pods) = (cx.informer::<Node>(), cx.pods());
    let leases = cx.informers.informer_where::<Lease>(LEASES);
    let (scope, queue) = (cx.scope.clone(), WorkQueue::new());
    let controller = Arc::new(Controller {
        nodes: nodes.lister(),
        pods: pods.lister(),
        heard: Mutex::default(),
        queue: queue.clone(),
        cx: cx.clone(),
    });
    let this = controller.clone();
    nodes.on_event(move |event| this.on_node(event));
    let this = controller.clone();
    leases.on_event(move |event| this.on_lease(event));
    tokio::join!(nodes.synced(), pods.synced(), leases.synced());
    run_workers("node-lifecycle", &scope, &queue, WORKERS, move |node| {
        let this = controller.clone();
        async move { this.sync(node).await }
    });
    eviction::run(cx).await;
}

impl Controller {
    fn on_node(&self, event: &Event<Node>) {
        let node = event.object();
        let name = node.name_any();
        if matches!(event, Event::Deleted(_)) {
            self.heard.lock().remove(&name);
            return;
        }
        let heartbeat = health::ready(node).and_then(|ready| ready.last_heartbeat_time.clone());
        let mut heard = self.heard.lock();
        let entry =
            heard.entry(name.clone()).or_insert_with(|| Heard { at: Instant::now(), lease: None, heartbeat: None });
        if entry.heartbeat != heartbeat {
            entry.heartbeat = heartbeat;
            entry.at = Instant::now();
        }
        drop(heard);
        self.queue.add(name);
    }

    fn on_lease(&self, event: &Event<Lease>) {
        if matches!(event, Event::Deleted(_)) {
            return;
        }
        let lease = event.object();
        let renewed = lease.spec.as_ref().and_then(|spec| spec.renew_time.clone());
        let mut heard = self.heard.lock();
        let name = lease.name_any();
        let entry = heard.entry(name).or_insert_with(|| Heard { at: Instant::now(), lease: None, heartbeat: None });
        if entry.lease != renewed {
            entry.lease = renewed;
            entry.at = Instant::now();
        }
    }

    async fn sync(&self, name: String) -> Result<Requeue, SyncError> {
        let Some(node) = self.nodes.get(&ObjectKey::new("", name.clone())) else { return Ok(Requeue::No) };
        let silent = self.heard.lock().get(&name).map_or(Duration::ZERO, |heard| heard.at.elapsed());
        let grace = if health::ready(&node).is_some() { GRACE } else { STARTUP_GRACE };
        let mut current = (*node).clone();
        if silent >= grace && health::mark_unknown(&mut current, now()) {
            current = self.write_status(&name, &current).await?;
        }
        if !health::is_ready(&current) && health::ready(&current).is_some() {
            self.mark_pods_unready(&name).await?;
        }
        self.write_taints(&name, &current).await?;
        // One timer a node: a lease renewed meanwhile only makes it look, and wait on.
        Ok(if silent >= grace { Requeue::No } else { Requeue::After(grace - silent) })
    }

    async fn write_status(&self, name: &str, node: &Node) -> Result<Node, SyncError> {
        let api: Api<Node> = Api::all(self.cx.client.clone());
        let message = format!("Node {name} status is now: NodeNotReady");
        self.cx.recorder.event(node, EventType::Normal, "NodeNotReady", message);
        let written = api.replace_status(name, &PostParams::default(), node).await;
        written.map_err(|err| SyncError::Status { node: name.to_owned(), err })
    }

    async fn write_taints(&self, name: &str, node: &Node) -> Result<(), SyncError> {
        let Some(wanted) = taints::plan(node, now()) else { return Ok(()) };
        let version = &node.metadata.resource_version;
        let wanted = Some(wanted).filter(|taints| !taints.is_empty());
        let patch = json!({"metadata": {"resourceVersion": version}, "spec": {"taints": wanted}});
        let api: Api<Node> = Api::all(self.cx.client.clone());
        match api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await {
            Err(err) if !err.is_not_found() => Err(SyncError::Taints { node: name.to_owned(), err }),
            _ => Ok(()),
        }
    }

    /// Pods that cannot be asked are not ready: Services stop sending to them.
    async fn mark_pods_unready(&self, node: &str) -> Result<(), SyncError> {
        for pod in self.pods.by_index(PODS_BY_NODE, node).into_iter().filter(|pod| is_ready(pod)) {
            let key = ObjectKey::of(&*pod);
            let condition = json!({"type": "Ready", "status": "False", "lastTransitionTime": Time(now())});
            let patch = json!({"metadata": {"uid": pod.uid()}, "status": {"conditions": [condition]}});
            let api: Api<Pod> = Api::namespaced(self.cx.client.clone(), &key.namespace);
            match api.patch_status(&key.name, &PatchParams::default(), &Patch::Strategic(patch)).await {
                Err(err) if !err.is_not_found() && !err.is_conflict() => return Err(SyncError::Pod { pod: key, err }),
                _ => self.cx.recorder.event(&*pod, EventType::Warning, "NodeNotReady", "Node is not ready"),
            }
        }
        Ok(())
    }
}
