//! What a decision does in the API: bindings, reasons, removals.

use std::sync::Arc;

use client::corev1::pod::condition;
use client::{ApiError, Client, EventType, Recorder};
use component_base::{Scope, now};
use k8s_openapi::api::core::v1::{Binding, ObjectReference, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use serde_json::json;

use super::Shared;
use crate::framework::ClusterEvent;
use crate::pod_info::PodInfo;
use crate::queue::{QueuedPod, Setback};

/// Carries decisions out, beside the loop.
#[derive(Clone)]
pub(super) struct Binder {
    client: Client,
    recorder: Recorder,
    shared: Arc<Shared>,
    scope: Scope,
}

impl Binder {
    pub(super) fn new(client: Client, recorder: Recorder, shared: Arc<Shared>, scope: Scope) -> Self {
        Self { client, recorder, shared, scope }
    }

    /// Binds an assumed pod; when that fails the assumption ends and the pod is tried again.
    pub(super) fn bind(&self, pod: QueuedPod, node: String) {
        let this = self.clone();
        self.scope.spawn("bind", async move {
            match this.create_binding(&pod.info, &node).await {
                Ok(()) => {
                    this.shared.core.lock().queue.done(&pod.info.uid);
                    let message = format!("Successfully assigned {} to {node}", pod.info.key);
                    this.recorder.event(&*pod.info.pod, EventType::Normal, "Scheduled", message);
                }
                Err(err) => this.binding_failed(pod, err),
            }
        });
    }

    async fn create_binding(&self, pod: &PodInfo, node: &str) -> Result<(), kube::Error> {
        let metadata = ObjectMeta {
            name: Some(pod.key.name.clone()),
            namespace: Some(pod.key.namespace.clone()),
            uid: Some(pod.uid.clone()),
            ..ObjectMeta::default()
        };
        let target =
            ObjectReference { kind: Some("Node".into()), name: Some(node.to_owned()), ..ObjectReference::default() };
        let binding = Binding { metadata, target };
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &pod.key.namespace);
        let answer: Result<serde_json::Value, _> =
            pods.create_subresource("binding", &pod.key.name, &PostParams::default(), &binding).await;
        answer.map(drop)
    }

    fn binding_failed(&self, pod: QueuedPod, err: kube::Error) {
        let mut core = self.shared.core.lock();
        if core.cache.is_assumed(&pod.info.uid) {
            core.cache.forget(&pod.info.uid);
            self.shared.tell(&mut core, ClusterEvent::BoundPodGone(pod.info.clone()));
        }
        drop(core);
        if err.is_not_found() {
            return self.shared.give_back(pod, Setback::Error);
        }
        self.set_back(pod, Setback::Error, "SchedulerError", format!("binding rejected: {err}"), None);
    }

    /// Says on the pod why it waits, and then lets it wait. Until that is written the pod counts as in flight: its next
    /// attempt must not overtake what is said of this one.
    pub(super) fn set_back(
        &self,
        pod: QueuedPod,
        setback: Setback,
        reason: &'static str,
        message: String,
        nomination: Option<String>,
    ) {
        let Some(status) = self.report(&pod, reason, message, nomination) else {
            return self.shared.give_back(pod, setback);
        };
        let this = self.clone();
        self.scope.spawn("report-unschedulable", async move {
            this.patch_status(&pod.info, status).await;
            this.shared.give_back(pod, setback);
        });
    }

    /// Records why the pod waits, and answers what its status must say of it, if that is something new.
    fn report(
        &self,
        pod: &QueuedPod,
        reason: &'static str,
        message: String,
        nomination: Option<String>,
    ) -> Option<serde_json::Value> {
        self.recorder.event(&*pod.info.pod, EventType::Warning, "FailedScheduling", message.clone());
        let old = condition(&pod.info.pod, "PodScheduled");
        let same = old.is_some_and(|old| {
            old.status == "False" && old.reason.as_deref() == Some(reason) && old.message.as_deref() == Some(&message)
        });
        let nominated = pod.info.nominated_node();
        if same && (nomination.is_none() || nominated == nomination.as_deref()) {
            return None;
        }
        let unchanged_since = old.filter(|old| old.status == "False").and_then(|old| old.last_transition_time.clone());
        let mut status = json!({"conditions": [{
            "type": "PodScheduled",
            "status": "False",
            "reason": reason,
            "message": message,
            "lastTransitionTime": unchanged_since.unwrap_or_else(|| Time(now())),
            "observedGeneration": pod.info.pod.metadata.generation,
        }]});
        if let Some(node) = nomination {
            status["nominatedNodeName"] = node.into();
        }
        Some(status)
    }

    /// Removes the pods that must make room for `pod`.
    pub(super) fn preempt(&self, pod: &QueuedPod, node: &str, victims: Vec<Arc<PodInfo>>) {
        for victim in victims {
            let this = self.clone();
            let (preemptor, node) = (pod.info.clone(), node.to_owned());
            self.scope.spawn("preempt", async move { this.remove_victim(&preemptor, &victim, &node).await });
        }
    }

    async fn remove_victim(&self, preemptor: &PodInfo, victim: &PodInfo, node: &str) {
        let message = format!("{}: preempting to accommodate a higher priority pod", self.shared.scheduler_name);
        let target = json!({"conditions": [{
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "PreemptionByScheduler",
            "message": message,
            "lastTransitionTime": Time(now()),
        }]});
        self.patch_status(victim, target).await;
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &victim.key.namespace);
        let same = Preconditions { uid: Some(victim.uid.clone()), resource_version: None };
        match pods.delete(&victim.key.name, &DeleteParams::default().preconditions(same)).await {
            Ok(_) => {
                let message = format!("Preempted by pod {} on node {node}", preemptor.uid);
                self.recorder.event(&*victim.pod, EventType::Normal, "Preempted", message);
            }
            Err(err) if err.is_not_found() => {}
            Err(err) => tracing::warn!(pod = %victim.key, error = %err, "a pod could not be preempted"),
        }
    }

    async fn patch_status(&self, pod: &PodInfo, status: serde_json::Value) {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &pod.key.namespace);
        let patch = Patch::Strategic(json!({"metadata": {"uid": pod.uid}, "status": status}));
        match pods.patch_status(&pod.key.name, &PatchParams::default(), &patch).await {
            Ok(_) => {}
            Err(err) if err.is_not_found() || err.is_conflict() => {}
            Err(err) => tracing::warn!(pod = %pod.key, error = %err, "a pod's status could not be patched"),
        }
    }
}
