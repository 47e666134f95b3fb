//! NoExecute taints drive pods away: at once, or after as long as they tolerate it.
//!
//! upstream: pkg/controller/tainteviction/taint_eviction.go

use std::sync::Arc;
use std::time::Duration;

use client::controller::{Requeue, run_workers};
use client::corev1::pod::node_name;
use client::corev1::tolerations::tolerates;
use client::{ApiError, Event, EventType, Lister, ObjectKey, WorkQueue};
use component_base::now;
use k8s_openapi::api::core::v1::{Node, Pod, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, ResourceExt};
use serde_json::json;

use crate::context::{Context, PODS_BY_NODE};

/// Why a pass did not complete.
#[derive(Debug, thiserror::Error)]
#[error("evict pod {pod}: {err}")]
struct SyncError {
    pod: ObjectKey,
    err: kube::Error,
}

/// What a node's taints mean to a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may stay.
    Stay,
    /// It goes after this long.
    LeaveAfter(Duration),
}

struct Controller {
    cx: Context,
    pods: Lister<Pod>,
    nodes: Lister<Node>,
}

/// Starts the evictions.
pub(super) async fn run(cx: Context) {
    let (pods, nodes) = (cx.pods(), cx.informer::<Node>());
    let queue: WorkQueue<ObjectKey> = WorkQueue::new();
    let (waiting, lister) = (queue.clone(), pods.lister());
    nodes.on_event(move |event| {
        let changed = match event {
            Event::Added(node) => !driving(node).is_empty(),
            Event::Updated { old, new } => driving(old) != driving(new),
            Event::Deleted(_) => false,
        };
        if changed {
            for pod in lister.by_index(PODS_BY_NODE, &event.object().name_any()) {
                waiting.add(ObjectKey::of(&*pod));
            }
        }
    });
    let (waiting, known) = (queue.clone(), nodes.lister());
    pods.on_event(move |event| {
        let pod = match event {
            Event::Added(pod) => pod,
            Event::Updated { old, new } if old.spec != new.spec => new,
            _ => return,
        };
        let node = node_name(pod).and_then(|name| known.get(&ObjectKey::new("", name)));
        if node.is_some_and(|node| !driving(&node).is_empty()) {
            waiting.add(ObjectKey::of(&**pod));
        }
    });
    let scope = cx.scope.clone();
    let controller = Arc::new(Controller { cx, pods: pods.lister(), nodes: nodes.lister() });
    run_workers("taint-eviction", &scope, &queue, 2, move |key: ObjectKey| {
        let this = controller.clone();
        async move { this.sync(&key).await.map_err(|err| SyncError { pod: key, err }) }
    });
}

/// The taints that drive pods away.
fn driving(node: &Node) -> Vec<Taint> {
    let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    taints.filter(|taint| taint.effect == "NoExecute").cloned().collect()
}

/// How long a pod stays under these taints.
pub fn verdict(pod: &Pod, taints: &[Taint], now: Timestamp) -> Verdict {
    let empty = Vec::new();
    let tolerations = pod.spec.as_ref().and_then(|spec| spec.tolerations.as_ref()).unwrap_or(&empty);
    let mut shortest: Option<Duration> = None;
    for taint in taints {
        let bearing: Vec<_> = tolerations.iter().filter(|toleration| tolerates(toleration, taint)).collect();
        if bearing.is_empty() {
            return Verdict::LeaveAfter(Duration::ZERO);
        }
        // One without an end bears no longer than the shortest that has one.
        let Some(seconds) = bearing.iter().filter_map(|one| one.toleration_seconds).min() else { continue };
        let since = taint.time_added.as_ref().map_or(now, |time| time.0);
        let passed = Duration::try_from(now.duration_since(since)).unwrap_or_default();
        let left = Duration::from_secs(u64::try_from(seconds).unwrap_or(0)).saturating_sub(passed);
        shortest = Some(shortest.map_or(left, |other| other.min(left)));
    }
    shortest.map_or(Verdict::Stay, Verdict::LeaveAfter)
}

impl Controller {
    async fn sync(&self, key: &ObjectKey) -> Result<Requeue, kube::Error> {
        let Some(pod) = self.pods.get(key).filter(|pod| pod.metadata.deletion_timestamp.is_none()) else {
            return Ok(Requeue::No);
        };
        let node = node_name(&pod).and_then(|name| self.nodes.get(&ObjectKey::new("", name)));
        let taints = node.map(|node| driving(&node)).unwrap_or_default();
        match verdict(&pod, &taints, now()) {
            Verdict::Stay => Ok(Requeue::No),
            Verdict::LeaveAfter(wait) if wait.is_zero() => self.evict(key, &pod).await.map(|()| Requeue::No),
            Verdict::LeaveAfter(wait) => Ok(Requeue::After(wait)),
        }
    }

    async fn evict(&self, key: &ObjectKey, pod: &Pod) -> Result<(), kube::Error> {
        let message = format!("Marking for deletion Pod {key}");
        self.cx.recorder.event(pod, EventType::Normal, "TaintManagerEviction", message);
        let api: Api<Pod> = Api::namespaced(self.cx.client.clone(), &key.namespace);
        let condition = json!({
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "DeletionByTaintManager",
            "message": "Taint manager: deleting due to NoExecute taint",
            "lastTransitionTime": Time(now()),
        });
        let patch = json!({"metadata": {"uid": pod.uid()}, "status": {"conditions": [condition]}});
        let patched = api.patch_status(&key.name, &PatchParams::default(), &Patch::Strategic(patch)).await;
        ignore_gone(patched.map(drop))?;
        let same = Preconditions { uid: pod.uid(), resource_version: None };
        ignore_gone(api.delete(&key.name, &DeleteParams::default().preconditions(same)).await.map(drop))
    }
}

fn ignore_gone(result: Result<(), kube::Error>) -> Result<(), kube::Error> {
    match result {
        Err(err) if err.is_not_found() || err.is_conflict() => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_a_pod_stays() {
        let at = |second| Timestamp::from_second(second).expect("a time");
        let taint = |key: &str| Taint {
            key: key.into(),
            effect: "NoExecute".into(),
            time_added: Some(Time(at(0))),
            value: None,
        };
        let pod: Pod = serde_json::from_value(json!({"spec": {"containers": [], "tolerations": [
            {"key": "unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300},
            {"key": "forever", "operator": "Exists"}]}}))
        .expect("a pod");
        let after = |seconds| Verdict::LeaveAfter(Duration::from_secs(seconds));
        for (taints, now, expected) in [
            (vec![], 0, Verdict::Stay),
            (vec![taint("other")], 0, after(0)),
            (vec![taint("forever")], 0, Verdict::Stay),
            (vec![taint("unreachable")], 100, after(200)),
            (vec![taint("unreachable"), taint("forever")], 400, after(0)),
        ] {
            assert_eq!(verdict(&pod, &taints, at(now)), expected, "{taints:?} at {now}");
        }
    }
}
