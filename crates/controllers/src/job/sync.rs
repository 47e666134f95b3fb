//! One pass: plan, write the status, then release, create and delete pods.

use std::sync::Arc;
use std::time::Duration;

use client::controller::Requeue;
use client::{ApiError, EventType, ObjectKey};
use component_base::now;
use k8s_openapi::api::batch::v1::{Job, JobStatus};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;

use super::Controller;
use super::plan::{Plan, holds, is_finished, plan};
use super::pods::{TRACKING, is_indexed, is_tracked, new_pod};
use crate::owners::BY_CONTROLLER;
use crate::writes::{PodControl, delete_pod, ignore_gone, replace_status};

/// The first wait after a failure; it doubles with each (upstream: `DefaultJobPodFailureBackOff`).
const BACKOFF: Duration = Duration::from_secs(10);
const MAX_BACKOFF: Duration = Duration::from_secs(600);

/// Why a pass did not complete.
#[derive(Debug, thiserror::Error)]
pub(super) enum SyncError {
    #[error("write the status of {key}: {err}")]
    Status { key: ObjectKey, err: kube::Error },
    #[error("{action} pods of {key}: {err}")]
    Pods { key: ObjectKey, action: &'static str, err: kube::Error },
}

impl Controller {
    pub(super) async fn sync(&self, key: ObjectKey) -> Result<Requeue, SyncError> {
        let Some(job) = self.jobs.get(&key) else {
            self.expectations.forget(&key);
            return Ok(Requeue::No);
        };
        let may_manage = self.expectations.are_satisfied(&key) && job.metadata.deletion_timestamp.is_none();
        let pods = self.pods.by_index(BY_CONTROLLER, job.metadata.uid.as_deref().unwrap_or_default());
        let old = job.status.clone().unwrap_or_default();
        if is_finished(&old) || job.metadata.deletion_timestamp.is_some() {
            // Nothing is counted any more; no pod may be held.
            let held: Vec<_> = pods.into_iter().filter(|pod| is_tracked(pod)).collect();
            self.release(&key, &held).await?;
            return Ok(Requeue::No);
        }
        let planned = plan(&job, &pods, may_manage, self.backoff(&key), now());
        if planned.status != old {
            self.write_status(&job, &planned.status)
                .await
                .map_err(|err| SyncError::Status { key: key.clone(), err })?;
            self.say(&job, &old, &planned.status);
        }
        self.release(&key, &planned.release).await?;
        self.apply(&key, &job, &planned).await?;
        Ok(planned.look_again.map_or(Requeue::No, Requeue::After))
    }

    /// What is left of the wait after failures in a row.
    fn backoff(&self, key: &ObjectKey) -> Duration {
        let Some(failures) = self.failures.lock().get(key).copied() else { return Duration::ZERO };
        let factor = 2_u32.saturating_pow(failures.count.saturating_sub(1).min(30));
        BACKOFF.saturating_mul(factor).min(MAX_BACKOFF).saturating_sub(failures.last.elapsed())
    }

    /// Takes the finalizer off pods whose end is noted.
    async fn release(&self, key: &ObjectKey, pods: &[Arc<Pod>]) -> Result<(), SyncError> {
        for pod in pods {
            self.release_one(pod).await.map_err(|err| SyncError::Pods { key: key.clone(), action: "release", err })?;
        }
        Ok(())
    }

    async fn release_one(&self, pod: &Pod) -> Result<(), kube::Error> {
        let kept: Vec<&String> = pod.finalizers().iter().filter(|one| *one != TRACKING).collect();
        let patch =
            json!({"metadata": {"uid": pod.uid(), "resourceVersion": pod.resource_version(), "finalizers": kept}});
        let patched =
            self.pods_of(pod).patch_metadata(&pod.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await;
        ignore_gone(patched.map(drop))
    }

    async fn apply(&self, key: &ObjectKey, job: &Job, planned: &Plan) -> Result<(), SyncError> {
        let failed = |action, err| SyncError::Pods { key: key.clone(), action, err };
        let going: Vec<&Arc<Pod>> = planned.discard.iter().chain(&planned.abort).collect();
        self.expectations.expect_deletions(key, going.iter().filter_map(|pod| pod.uid()));
        for pod in &going {
            let deleted = self.delete(pod, planned.discard.iter().any(|one| one.uid() == pod.uid())).await;
            if let Err(err) = deleted {
                self.expectations.deletion_observed(key, pod.metadata.uid.as_deref().unwrap_or_default());
                if !err.is_not_found() {
                    return Err(failed("delete", err));
                }
            }
        }
        self.create(key, job, &planned.create).await.map_err(|err| failed("create", err))
    }

    async fn delete(&self, pod: &Pod, uncounted: bool) -> Result<(), kube::Error> {
        if uncounted && is_tracked(pod) {
            self.release_one(pod).await?;
        }
        delete_pod(&self.cx.client, pod).await
    }

    async fn create(&self, key: &ObjectKey, job: &Job, indexes: &[Option<i32>]) -> Result<(), kube::Error> {
        let indexed = is_indexed(job);
        let pods: Vec<Pod> = indexes.iter().filter_map(|index| new_pod(job, index.filter(|_| indexed))).collect();
        self.expectations.expect_creations(key, pods.len());
        let control = PodControl { cx: &self.cx, expectations: &self.expectations, key, owner: job };
        match control.create(&pods).await {
            Err(err) if err.is_namespace_terminating() => Ok(()),
            created => created,
        }
    }

    fn say(&self, job: &Job, old: &JobStatus, new: &JobStatus) {
        let came = |type_: &str| holds(new, type_) && !holds(old, type_);
        if came("Complete") {
            self.cx.recorder.event(job, EventType::Normal, "Completed", "Job completed");
        }
        if came("Suspended") {
            self.cx.recorder.event(job, EventType::Normal, "Suspended", "Job suspended");
        }
        if holds(old, "Suspended") && !holds(new, "Suspended") {
            self.cx.recorder.event(job, EventType::Normal, "Resumed", "Job resumed");
        }
        if came("Failed") {
            let failed = new.conditions.iter().flatten().find(|one| one.type_ == "Failed");
            let (reason, message) = failed.map(|one| (one.reason.clone(), one.message.clone())).unwrap_or_default();
            let reason = reason.unwrap_or_default();
            self.cx.recorder.event(job, EventType::Warning, &reason, message.unwrap_or_default());
        }
    }

    async fn write_status(&self, job: &Job, status: &JobStatus) -> Result<(), kube::Error> {
        let mut changed = job.clone();
        changed.status = Some(status.clone());
        replace_status(&self.cx.client, &changed).await
    }

    fn pods_of(&self, pod: &Pod) -> Api<Pod> {
        Api::namespaced(self.cx.client.clone(), &pod.namespace().unwrap_or_default())
    }
}
