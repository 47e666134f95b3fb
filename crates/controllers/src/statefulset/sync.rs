//! One pass: settle the revisions, claim pods, plan, act, write the status.

use client::controller::Requeue;
use client::corev1::pod::phase;
use client::{ApiError, EventType, ObjectKey};
use component_base::now;
use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet, StatefulSetStatus};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::api::PostParams;
use kube::{Api, ResourceExt};

use super::Controller;
use super::identity::{claims, new_pod, ordinal_of, revision_of, template_of};
use super::plan::{Action, Revisions, plan, status};
use crate::availability;
use crate::history;
use crate::owners::{self, BY_CONTROLLER};
use crate::writes::{delete_pod, ignore_gone, replace_status};

/// Revisions that are kept when the set does not say.
const DEFAULT_HISTORY: i32 = 10;

/// Why a pass did not complete.
#[derive(Debug, thiserror::Error)]
pub(super) enum SyncError {
    #[error("settle the revision of {key}: {err}")]
    Revision { key: ObjectKey, err: history::SettleError },
    #[error("claim pods of {key}: {err}")]
    Claim { key: ObjectKey, err: owners::ClaimError },
    #[error("create or delete pods of {key}: {err}")]
    Act { key: ObjectKey, err: kube::Error },
    #[error("write the status of {key}: {err}")]
    Status { key: ObjectKey, err: kube::Error },
}

impl Controller {
    pub(super) async fn sync(&self, key: ObjectKey) -> Result<Requeue, SyncError> {
        let Some(set) = self.sets.get(&key).filter(|set| set.metadata.deletion_timestamp.is_none()) else {
            return Ok(Requeue::No);
        };
        let revisions = self.revisions.by_index(BY_CONTROLLER, set.metadata.uid.as_deref().unwrap_or_default());
        let settled = history::settle(&self.cx.client, &*set, &revisions).await;
        let update = settled.map_err(|err| SyncError::Revision { key: key.clone(), err })?;
        let written = set.status.as_ref().and_then(|status| status.current_revision.clone());
        let current =
            revisions.iter().find(|one| Some(one.name_any()) == written).cloned().unwrap_or_else(|| update.clone());
        let (current_name, update_name) = (current.name_any(), update.name_any());
        let names = Revisions { current: &current_name, update: &update_name };
        // Only a pod with one of the set's names can be one of its.
        let has_its_name = |pod: &Pod| ordinal_of(&set, pod).is_some();
        let claimed = owners::claim_all(&self.cx.client, &*set, &set.spec.selector, &self.pods, has_its_name).await;
        let pods = claimed.map_err(|err| SyncError::Claim { key: key.clone(), err })?;
        let mut failure = None;
        for action in plan(&set, &pods, names, now()) {
            if let Err(err) = self.act(&key, &set, action, &current, &update).await {
                failure = Some(err);
                break;
            }
        }
        let collisions = set.status.as_ref().and_then(|status| status.collision_count);
        self.write_status(&set, status(&set, &pods, names, collisions, now()))
            .await
            .map_err(|err| SyncError::Status { key: key.clone(), err })?;
        if let Some(err) = failure {
            return Err(SyncError::Act { key, err });
        }
        let in_use = |one: &ControllerRevision| {
            let name = one.name_any();
            name == current_name || name == update_name || pods.iter().any(|pod| revision_of(pod) == name)
        };
        let limit = set.spec.revision_history_limit.unwrap_or(DEFAULT_HISTORY);
        let truncated = history::truncate(&self.cx.client, &revisions, limit, in_use).await;
        truncated.map_err(|err| SyncError::Revision { key, err: err.into() })?;
        let seconds = set.spec.min_ready_seconds.unwrap_or(0);
        Ok(availability::requeue(&pods, seconds, now()))
    }

    async fn act(
        &self,
        key: &ObjectKey,
        set: &StatefulSet,
        action: Action,
        current: &ControllerRevision,
        update: &ControllerRevision,
    ) -> Result<(), kube::Error> {
        let api: Api<Pod> = Api::namespaced(self.cx.client.clone(), &key.namespace);
        match action {
            Action::Create { ordinal, updated } => {
                self.ensure_claims(key, set, ordinal).await?;
                let revision = if updated { update } else { current };
                let template = template_of(revision).unwrap_or_else(|| set.spec.template.clone());
                let pod = new_pod(set, &template, &revision.name_any(), ordinal);
                match api.create(&PostParams::default(), &pod).await {
                    Ok(pod) => {
                        let message = format!("create Pod {} in StatefulSet {} successful", pod.name_any(), key.name);
                        self.cx.recorder.event(set, EventType::Normal, "SuccessfulCreate", message);
                        Ok(())
                    }
                    // The cache is behind: the event that brings the pod wakes us.
                    Err(err) if err.is_already_exists() || err.is_namespace_terminating() => Ok(()),
                    Err(err) => {
                        let name = pod.name_any();
                        let message = format!("create Pod {name} in StatefulSet {} failed error: {err}", key.name);
                        self.cx.recorder.event(set, EventType::Warning, "FailedCreate", message);
                        Err(err)
                    }
                }
            }
            Action::Delete(pod) => {
                if phase(&pod) == "Failed" {
                    let message = format!("StatefulSet {key} is recreating failed Pod {}", pod.name_any());
                    self.cx.recorder.event(set, EventType::Warning, "RecreatingFailedPod", message);
                }
                ignore_gone(delete_pod(&self.cx.client, &pod).await)?;
                let message = format!("delete Pod {} in StatefulSet {} successful", pod.name_any(), key.name);
                self.cx.recorder.event(set, EventType::Normal, "SuccessfulDelete", message);
                Ok(())
            }
        }
    }

    async fn ensure_claims(&self, key: &ObjectKey, set: &StatefulSet, ordinal: i32) -> Result<(), kube::Error> {
        let api: Api<PersistentVolumeClaim> = Api::namespaced(self.cx.client.clone(), &key.namespace);
        for claim in claims(set, ordinal) {
            if self.claims.get(&ObjectKey::new(key.namespace.clone(), claim.name_any())).is_some() {
                continue;
            }
            match api.create(&PostParams::default(), &claim).await {
                Err(err) if !err.is_already_exists() => return Err(err),
                _ => {}
            }
        }
        Ok(())
    }

    async fn write_status(&self, set: &StatefulSet, status: StatefulSetStatus) -> Result<(), kube::Error> {
        if set.status.as_ref() == Some(&status) {
            return Ok(());
        }
        let mut changed = set.clone();
        changed.status = Some(status);
        replace_status(&self.cx.client, &changed).await
    }
}
