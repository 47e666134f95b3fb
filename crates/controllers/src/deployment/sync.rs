//! One pass: claim ReplicaSets, plan, write what changed.

use client::controller::Requeue;
use client::corev1::pod::is_terminal;
use client::labels;
use client::{ApiError, EventType, ObjectKey};
use component_base::now;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus, ReplicaSet};
use kube::api::{DeleteParams, PostParams, Preconditions};
use kube::{Api, ResourceExt};

use super::conditions::{self, PROGRESSING, condition};
use super::plan::{Plan, plan};
use super::replica_sets::{Planned, ReplicaSets, equal_but_for_hash};
use super::{Controller, revision, status};
use crate::owners::{self, BY_CONTROLLER, is_controlled_by};
use crate::writes::replace_status;

/// Why a pass did not complete.
#[derive(Debug, thiserror::Error)]
pub(super) enum SyncError {
    #[error("claim replica sets of {key}: {err}")]
    Claim { key: ObjectKey, err: owners::ClaimError },
    #[error("create a replica set of {key}: {err}")]
    Create { key: ObjectKey, err: kube::Error },
    #[error("the name of a new replica set of {key} is taken; another one is tried")]
    Collision { key: ObjectKey },
    #[error("update or delete a replica set of {key}: {err}")]
    Change { key: ObjectKey, err: kube::Error },
    #[error("write the status of {key}: {err}")]
    Status { key: ObjectKey, err: kube::Error },
}

impl Controller {
    pub(super) async fn sync(&self, key: ObjectKey) -> Result<Requeue, SyncError> {
        let Some(deployment) = self.deployments.get(&key) else { return Ok(Requeue::No) };
        if labels::is_empty(&deployment.spec.selector) {
            let message = "This deployment is selecting all pods. A non-empty selector is required.";
            self.cx.recorder.event(&*deployment, EventType::Warning, "SelectingAll", message);
            return Ok(Requeue::No);
        }
        let selector = &deployment.spec.selector;
        let owned = owners::claim_all(&self.cx.client, &*deployment, selector, &self.replica_sets, |_| true).await;
        let owned = owned.map_err(|err| SyncError::Claim { key: key.clone(), err })?;
        let mut plan = plan(&deployment, owned, |sets| self.old_pods_run(sets), now());
        self.apply(&key, &deployment, &mut plan).await?;
        let check = status::next_check(&deployment, &plan.status, now());
        self.write_status(&deployment, plan.status, plan.revision)
            .await
            .map_err(|err| SyncError::Status { key, err })?;
        Ok(check.map_or(Requeue::No, Requeue::After))
    }

    fn old_pods_run(&self, sets: &ReplicaSets) -> bool {
        sets.old.iter().any(|old| {
            let uid = old.after.metadata.uid.as_deref().unwrap_or_default();
            old.actual() > 0 || self.pods.by_index(BY_CONTROLLER, uid).iter().any(|pod| !is_terminal(pod))
        })
    }

    async fn apply(&self, key: &ObjectKey, deployment: &Deployment, plan: &mut Plan) -> Result<(), SyncError> {
        let api: Api<ReplicaSet> = Api::namespaced(self.cx.client.clone(), &key.namespace);
        if let Some(newest) = plan.sets.newest.as_mut().filter(|newest| newest.before.is_none()) {
            self.create(&api, key, deployment, newest, &mut plan.status).await?;
        }
        for one in plan.sets.all().filter(|one| one.before.is_some() && one.is_changed()) {
            let replaced = api.replace(one.name(), &PostParams::default(), &one.after).await;
            replaced.map_err(|err| SyncError::Change { key: key.clone(), err })?;
            if one.is_scaled() {
                self.say_scaled(deployment, one);
            }
        }
        for rs in &plan.delete {
            let same = Preconditions { uid: rs.uid(), resource_version: None };
            match api.delete(&rs.name_any(), &DeleteParams::background().preconditions(same)).await {
                Err(err) if !err.is_not_found() => return Err(SyncError::Change { key: key.clone(), err }),
                _ => {}
            }
        }
        Ok(())
    }

    fn say_scaled(&self, deployment: &Deployment, one: &Planned) {
        let (from, to) = (one.replicas_before(), one.replicas());
        let direction = if to > from { "up" } else { "down" };
        let message = format!("Scaled {direction} replica set {} from {from} to {to}", one.name());
        self.cx.recorder.event(deployment, EventType::Normal, "ScalingReplicaSet", message);
    }

    async fn create(
        &self,
        api: &Api<ReplicaSet>,
        key: &ObjectKey,
        deployment: &Deployment,
        newest: &mut Planned,
        status: &mut DeploymentStatus,
    ) -> Result<(), SyncError> {
        match api.create(&PostParams::default(), &newest.after).await {
            Ok(created) => {
                newest.after = created;
                if newest.replicas() > 0 {
                    self.say_scaled(deployment, newest);
                }
                Ok(())
            }
            Err(err) if err.is_already_exists() => self.settle_existing(api, key, deployment, newest).await,
            Err(err) if err.is_namespace_terminating() => Ok(()),
            Err(err) => {
                let message = format!("Failed to create new replica set {:?}: {err}", newest.name());
                conditions::set(status, condition(PROGRESSING, "False", "ReplicaSetCreateError", &message, now()));
                self.cx.recorder.event(deployment, EventType::Warning, "ReplicaSetCreateError", message);
                let written = self.write_status(deployment, status.clone(), None).await;
                written.map_err(|err| SyncError::Status { key: key.clone(), err })?;
                Err(SyncError::Create { key: key.clone(), err })
            }
        }
    }

    /// The name is taken: by our own ReplicaSet that the cache does not show yet, or by another template's.
    async fn settle_existing(
        &self,
        api: &Api<ReplicaSet>,
        key: &ObjectKey,
        deployment: &Deployment,
        newest: &mut Planned,
    ) -> Result<(), SyncError> {
        let found = api.get_opt(newest.name()).await.map_err(|err| SyncError::Create { key: key.clone(), err })?;
        let template = |rs: &ReplicaSet| rs.spec.template.clone();
        let ours = found.filter(|found| {
            let same =
                matches!((template(found), template(&newest.after)), (Some(a), Some(b)) if equal_but_for_hash(&a, &b));
            is_controlled_by(&found.metadata, &deployment.metadata) && same
        });
        if let Some(found) = ours {
            newest.after = found;
            return Ok(());
        }
        let mut status = deployment.status.clone().unwrap_or_default();
        status.collision_count = Some(status.collision_count.unwrap_or(0) + 1);
        let written = self.write_status(deployment, status, None).await;
        written.map_err(|err| SyncError::Status { key: key.clone(), err })?;
        Err(SyncError::Collision { key: key.clone() })
    }

    /// Writes the status, and with it the annotation of the revision, as upstream does.
    async fn write_status(
        &self,
        deployment: &Deployment,
        status: DeploymentStatus,
        revision: Option<i64>,
    ) -> Result<(), kube::Error> {
        let mut changed = deployment.clone();
        changed.status = Some(status);
        if let Some(revision) = revision {
            let annotations = changed.metadata.annotations.get_or_insert_default();
            annotations.insert(revision::REVISION.into(), revision.to_string());
        }
        if changed.status == deployment.status && changed.metadata.annotations == deployment.metadata.annotations {
            return Ok(());
        }
        replace_status(&self.cx.client, &changed).await
    }
}
