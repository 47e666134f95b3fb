//! One pass: settle the revision, claim pods, plan, create and delete, write the status.

use std::sync::Arc;

use client::controller::Requeue;
use client::labels;
use client::{ApiError, EventType, ObjectKey};
use component_base::now;
use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet, DaemonSetStatus};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt;

use super::Controller;
use super::nodes::new_pod;
use super::plan::{Plan, plan, status};
use crate::availability;
use crate::history::{self, REVISION_HASH};
use crate::owners::{self, BY_CONTROLLER};
use crate::writes::{PodControl, replace_status};

/// Revisions that are kept when the set does not say.
const DEFAULT_HISTORY: i32 = 10;
/// Creations and deletions of one pass (upstream: `BurstReplicas`).
const BURST: usize = 250;

/// Why a pass did not complete.
#[derive(Debug, thiserror::Error)]
pub(super) enum SyncError {
    #[error("settle the revision of {key}: {err}")]
    Revision { key: ObjectKey, err: history::SettleError },
    #[error("claim pods of {key}: {err}")]
    Claim { key: ObjectKey, err: owners::ClaimError },
    #[error("create or delete pods of {key}: {err}")]
    Manage { key: ObjectKey, err: kube::Error },
    #[error("write the status of {key}: {err}")]
    Status { key: ObjectKey, err: kube::Error },
}

impl Controller {
    pub(super) async fn sync(&self, key: ObjectKey) -> Result<Requeue, SyncError> {
        let Some(set) = self.sets.get(&key) else {
            self.expectations.forget(&key);
            return Ok(Requeue::No);
        };
        if labels::is_empty(&set.spec.selector) {
            let message = "This daemon set is selecting all pods. A non-empty selector is required.";
            self.cx.recorder.event(&*set, EventType::Warning, "SelectingAll", message);
            return Ok(Requeue::No);
        }
        if set.metadata.deletion_timestamp.is_some() {
            return Ok(Requeue::No);
        }
        let may_manage = self.expectations.are_satisfied(&key);
        let revisions = self.revisions.by_index(BY_CONTROLLER, set.metadata.uid.as_deref().unwrap_or_default());
        let settled = history::settle(&self.cx.client, &*set, &revisions).await;
        let current = settled.map_err(|err| SyncError::Revision { key: key.clone(), err })?;
        let hash = history::hash_of(&current);
        let claimed = owners::claim_all(&self.cx.client, &*set, &set.spec.selector, &self.pods, |_| true).await;
        let pods = claimed.map_err(|err| SyncError::Claim { key: key.clone(), err })?;
        let nodes: Vec<Arc<Node>> = self.nodes.list();
        let managed = if may_manage {
            let planned = plan(&set, &nodes, &pods, &hash, now());
            self.apply(&key, &set, planned, &hash).await
        } else {
            Ok(())
        };
        let limit = set.spec.revision_history_limit.unwrap_or(DEFAULT_HISTORY);
        let in_use = |one: &ControllerRevision| {
            let its = history::hash_of(one);
            its == hash || pods.iter().any(|pod| pod.labels().get(REVISION_HASH) == Some(&its))
        };
        let truncated = history::truncate(&self.cx.client, &revisions, limit, in_use).await;
        truncated.map_err(|err| SyncError::Revision { key: key.clone(), err: err.into() })?;
        self.write_status(&set, status(&set, &nodes, &pods, &hash, now()))
            .await
            .map_err(|err| SyncError::Status { key: key.clone(), err })?;
        managed.map_err(|err| SyncError::Manage { key, err })?;
        let seconds = set.spec.min_ready_seconds.unwrap_or(0);
        Ok(availability::requeue(&pods, seconds, now()))
    }

    async fn apply(&self, key: &ObjectKey, set: &DaemonSet, mut plan: Plan, hash: &str) -> Result<(), kube::Error> {
        plan.create.truncate(BURST);
        plan.delete.truncate(BURST);
        for pod in &plan.ended {
            let (reason, event_type) = match client::corev1::pod::phase(pod) {
                "Failed" => ("FailedDaemonPod", EventType::Warning),
                _ => ("SucceededDaemonPod", EventType::Normal),
            };
            let node = client::corev1::pod::node_name(pod).unwrap_or_default();
            let message = format!(
                "Found {} daemon pod {} on node {node}, will try to kill it",
                if reason == "FailedDaemonPod" { "failed" } else { "succeeded" },
                ObjectKey::of(&**pod)
            );
            self.cx.recorder.event(set, event_type, reason, message);
        }
        let pods: Vec<Pod> = plan.create.iter().map(|node| new_pod(set, node, hash)).collect();
        self.expectations.expect_creations(key, pods.len());
        let control = PodControl { cx: &self.cx, expectations: &self.expectations, key, owner: set };
        let created = match control.create(&pods).await {
            Err(err) if err.is_namespace_terminating() => Ok(()),
            created => created,
        };
        control.delete(&plan.delete).await.and(created)
    }

    async fn write_status(&self, set: &DaemonSet, status: DaemonSetStatus) -> Result<(), kube::Error> {
        if set.status.as_ref() == Some(&status) {
            return Ok(());
        }
        let mut changed = set.clone();
        changed.status = Some(status);
        replace_status(&self.cx.client, &changed).await
    }
}
