//! One pass: claim, plan, create or delete, write the status.

use std::sync::Arc;
use std::time::Duration;

use client::controller::Requeue;
use client::corev1::pod::is_active;
use client::labels::{self, Labels};
use client::{ApiError, EventType, ObjectKey};
use component_base::now;
use futures::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ObjectMeta, PostParams, Preconditions};
use kube::{Api, ResourceExt};

use super::plan::{Change, Failure, next_available, plan, status};
use super::workload::Workload;
use super::{Controller, OWNER};
use crate::context::{PODS_BY_CONTROLLER, orphans_of};
use crate::owners::{self, Claim, controller_of, controller_ref};

/// Why a pass did not complete.
#[derive(Debug, thiserror::Error)]
pub(super) enum SyncError {
    #[error("adopt or release pods of {key}: {err}")]
    Claim { key: ObjectKey, err: kube::Error },
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
        let pods = self.claim_pods(&key, &workload).await.map_err(|err| SyncError::Claim { key: key.clone(), err })?;
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
        let wait = next_available(&pods, workload.min_ready_seconds(), now());
        Ok(wait.map_or(Requeue::No, |wait| Requeue::After(wait.max(Duration::from_millis(100)))))
    }

    async fn claim_pods(&self, key: &ObjectKey, workload: &W) -> Result<Vec<Arc<Pod>>, kube::Error> {
        let selector = workload.selector();
        let empty = Labels::new();
        let uid = workload.meta().uid.as_deref().unwrap_or_default();
        let mut candidates = self.pods.by_index(PODS_BY_CONTROLLER, uid);
        candidates.extend(self.pods.by_index(PODS_BY_CONTROLLER, &orphans_of(&key.namespace)));
        let mut owned = Vec::new();
        let mut may_adopt = None;
        for pod in candidates {
            let pod_labels = pod.metadata.labels.as_ref().unwrap_or(&empty);
            let matches = !labels::is_empty(&selector) && labels::matches(&selector, pod_labels);
            match owners::claim(workload.meta(), &pod.metadata, matches) {
                Claim::Keep => owned.push(pod),
                Claim::Release => ignore_gone(owners::release(&self.cx.client, workload, &*pod).await)?,
                Claim::Adopt if is_active(&pod) => {
                    let allowed = match may_adopt {
                        Some(allowed) => allowed,
                        None => *may_adopt.insert(self.is_still_there(key, workload).await?),
                    };
                    if allowed {
                        ignore_gone(owners::adopt(&self.cx.client, workload, &*pod).await)?;
                        owned.push(pod);
                    }
                }
                Claim::Adopt | Claim::Ignore => {}
            }
        }
        Ok(owned)
    }

    /// Asks the API, not the cache: one that is being deleted must not adopt.
    async fn is_still_there(&self, key: &ObjectKey, workload: &W) -> Result<bool, kube::Error> {
        let live = self.api(&key.namespace).get_metadata_opt(&key.name).await?;
        Ok(live
            .is_some_and(|live| live.metadata.uid == workload.meta().uid && live.metadata.deletion_timestamp.is_none()))
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
            Some(owner) => self.workloads.by_index(OWNER, &owner.uid),
            None => self.workloads.get(key).into_iter().collect(),
        };
        let pods = siblings
            .iter()
            .flat_map(|one| self.pods.by_index(PODS_BY_CONTROLLER, one.meta().uid.as_deref().unwrap_or_default()));
        pods.filter(|pod| is_active(pod)).collect()
    }

    /// Creates in batches of 1, 2, 4, ...: when the first fails (a quota, say), not hundreds more are tried.
    async fn create_pods(&self, key: &ObjectKey, workload: &W, count: usize) -> Result<(), Failure> {
        let Some(template) = new_pod(workload) else { return Ok(()) };
        let api: Api<Pod> = Api::namespaced(self.cx.client.clone(), &key.namespace);
        self.expectations.expect_creations(key, count);
        let (mut left, mut batch) = (count, 1);
        while left > 0 {
            batch = left.min(batch);
            let params = PostParams::default();
            let created = join_all((0..batch).map(|_| api.create(&params, &template))).await;
            left -= batch;
            let mut failed = None;
            for result in created {
                match result {
                    Ok(pod) => {
                        let message = format!("Created pod: {}", pod.name_any());
                        self.cx.recorder.event(workload, EventType::Normal, "SuccessfulCreate", message);
                    }
                    Err(err) => {
                        self.expectations.creation_observed(key);
                        failed = Some(err);
                    }
                }
            }
            if let Some(err) = failed {
                (0..left).for_each(|_| self.expectations.creation_observed(key));
                return self.creation_failed(workload, err);
            }
            batch *= 2;
        }
        Ok(())
    }

    fn creation_failed(&self, workload: &W, err: kube::Error) -> Result<(), Failure> {
        // Nothing helps until the namespace is gone, and with it the workload.
        if err.is_namespace_terminating() {
            return Ok(());
        }
        let message = api_message(&err);
        self.cx.recorder.event(workload, EventType::Warning, "FailedCreate", format!("Error creating: {message}"));
        Err(Failure { reason: "FailedCreate", message })
    }

    async fn delete_pods(&self, key: &ObjectKey, workload: &W, pods: Vec<Arc<Pod>>) -> Result<(), Failure> {
        let api: Api<Pod> = Api::namespaced(self.cx.client.clone(), &key.namespace);
        self.expectations.expect_deletions(key, pods.iter().filter_map(|pod| pod.uid()));
        let deleted = join_all(pods.iter().map(|pod| delete_pod(&api, pod))).await;
        let mut failure = None;
        for (pod, result) in pods.iter().zip(deleted) {
            let name = pod.name_any();
            match result {
                Ok(()) => {
                    let message = format!("Deleted pod: {name}");
                    self.cx.recorder.event(workload, EventType::Normal, "SuccessfulDelete", message);
                }
                Err(err) => {
                    self.expectations.deletion_observed(key, pod.metadata.uid.as_deref().unwrap_or_default());
                    if !err.is_not_found() {
                        let message = api_message(&err);
                        let told = format!("Error deleting: {message}");
                        self.cx.recorder.event(workload, EventType::Warning, "FailedDelete", told);
                        failure = Some(Failure { reason: "FailedDelete", message });
                    }
                }
            }
        }
        failure.map_or(Ok(()), Err)
    }

    async fn write_status(&self, workload: &W, new: super::workload::Status) -> Result<(), kube::Error> {
        let changed = workload.with_status(new);
        if changed.status() == workload.status() {
            return Ok(());
        }
        let api = self.api(&workload.namespace().unwrap_or_default());
        ignore_gone(api.replace_status(&workload.name_any(), &PostParams::default(), &changed).await.map(drop))
    }

    fn api(&self, namespace: &str) -> Api<W> {
        Api::namespaced(self.cx.client.clone(), namespace)
    }
}

async fn delete_pod(api: &Api<Pod>, pod: &Pod) -> Result<(), kube::Error> {
    let same = Preconditions { uid: pod.uid(), resource_version: None };
    api.delete(&pod.name_any(), &DeleteParams::default().preconditions(same)).await.map(drop)
}

fn ignore_gone(result: Result<(), kube::Error>) -> Result<(), kube::Error> {
    match result {
        Err(err) if err.is_not_found() => Ok(()),
        other => other,
    }
}

/// What the API said, as upstream prints it.
fn api_message(err: &kube::Error) -> String {
    match err {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
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
