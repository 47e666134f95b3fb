//! One pass: claim, plan, create or delete, write the status.

use std::sync::Arc;

use client::controller::Requeue;
use client::corev1::pod::is_active;
use client::{ApiError, ObjectKey};
use component_base::now;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::ObjectMeta;

use super::Controller;
use super::plan::{Change, Failure, plan, status};
use super::workload::Workload;
use crate::availability;
use crate::owners::{self, BY_CONTROLLER, controller_of, controller_ref};
use crate::writes::{PodControl, api_message, replace_status};

/// Why a pass did not complete.
#[derive(Debug, thiserror::Error)]
pub(super) enum SyncError {
    #[error("adopt or release pods of {key}: {err}")]
    Claim { key: ObjectKey, err: owners::ClaimError },
    #[error("{}: {}", .0.reason, .0.message)]
    Manage(Failure),
    #[error("write the status of {key}: {err}")]
    Status { key: ObjectKey, err: kube::Error },
}

impl<W: Workload> Controller<W> {
    pub(super) async fn sync(&self, key: ObjectKey) -> Result<Requeue, SyncError> {
        let Some(workload) = self.workloads.get(&key) else {
            self.expectations.forget(&key);
            return Ok(Requeue::No);
        };
        // Before the cache is read: what is seen later than this only adds to what is known.
        let may_manage = self.expectations.are_satisfied(&key);
        let claimed = owners::claim_all(&self.cx.client, &*workload, &workload.selector(), &self.pods, is_active).await;
        let pods = claimed.map_err(|err| SyncError::Claim { key: key.clone(), err })?;
        let failure = if may_manage && workload.meta().deletion_timestamp.is_none() {
            self.manage(&key, &workload, &pods).await.err()
        } else {
            None
        };
        let new = status(&*workload, &pods, failure.as_ref(), now());
        self.write_status(&workload, new).await.map_err(|err| SyncError::Status { key, err })?;
        if let Some(failure) = failure {
            return Err(SyncError::Manage(failure));
        }
        Ok(availability::requeue(&pods, workload.min_ready_seconds(), now()))
    }

    async fn manage(&self, key: &ObjectKey, workload: &W, pods: &[Arc<Pod>]) -> Result<(), Failure> {
        let active = pods.iter().filter(|pod| is_active(pod)).cloned().collect();
        match plan(workload.desired(), active, &self.related(key, workload), now()) {
            Change::None => Ok(()),
            Change::Create(count) => self.create_pods(key, workload, count).await,
            Change::Delete(pods) => self.delete_pods(key, workload, pods).await,
        }
    }

    /// The active pods of all workloads that share this one's owner.
    fn related(&self, key: &ObjectKey, workload: &W) -> Vec<Arc<Pod>> {
        let siblings = match controller_of(workload.meta()) {
            Some(owner) => self.workloads.by_index(BY_CONTROLLER, &owner.uid),
            None => self.workloads.get(key).into_iter().collect(),
        };
        let pods = siblings
            .iter()
            .flat_map(|one| self.pods.by_index(BY_CONTROLLER, one.meta().uid.as_deref().unwrap_or_default()));
        pods.filter(|pod| is_active(pod)).collect()
    }

    /// Creates in batches of 1, 2, 4, ...: when the first fails (a quota, say), not hundreds more are tried.
    async fn create_pods(&self, key: &ObjectKey, workload: &W, count: usize) -> Result<(), Failure> {
        let Some(template) = new_pod(workload) else { return Ok(()) };
        self.expectations.expect_creations(key, count);
        let (mut left, mut batch) = (count, 1);
        while left > 0 {
            batch = left.min(batch);
            left -= batch;
            if let Err(err) = self.pod_control(key, workload).create(&vec![template.clone(); batch]).await {
                (0..left).for_each(|_| self.expectations.creation_observed(key));
                let failure = || Failure { reason: "FailedCreate", message: api_message(&err) };
                return if err.is_namespace_terminating() { Ok(()) } else { Err(failure()) };
            }
            batch *= 2;
        }
        Ok(())
    }

    async fn delete_pods(&self, key: &ObjectKey, workload: &W, pods: Vec<Arc<Pod>>) -> Result<(), Failure> {
        let deleted = self.pod_control(key, workload).delete(&pods).await;
        deleted.map_err(|err| Failure { reason: "FailedDelete", message: api_message(&err) })
    }

    fn pod_control<'a>(&'a self, key: &'a ObjectKey, owner: &'a W) -> PodControl<'a, W> {
        PodControl { cx: &self.cx, expectations: &self.expectations, key, owner }
    }

    async fn write_status(&self, workload: &W, new: super::workload::Status) -> Result<(), kube::Error> {
        let changed = workload.with_status(new);
        if changed.status() == workload.status() {
            return Ok(());
        }
        replace_status(&self.cx.client, &changed).await
    }
}

/// The pod a workload makes (upstream: pkg/controller/controller_utils.go `GetPodFromTemplate`).
fn new_pod<W: Workload>(workload: &W) -> Option<Pod> {
    let template = workload.template()?;
    let meta = template.metadata.clone().unwrap_or_default();
    Some(Pod {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", workload.name_any())),
            namespace: workload.namespace(),
            labels: meta.labels,
            annotations: meta.annotations,
            finalizers: meta.finalizers,
            owner_references: Some(vec![controller_ref(workload)]),
            ..ObjectMeta::default()
        },
        spec: template.spec.clone(),
        status: None,
    })
}
