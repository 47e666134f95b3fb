//! Writes that several controllers make alike (upstream: pkg/controller/controller_utils.go).

use std::fmt::Debug;
use std::sync::Arc;

use client::{ApiError, Client, EventType, ObjectKey};
use futures::future::join_all;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, PostParams, Preconditions};
use kube::{Api, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::context::Context;
use crate::expectations::Expectations;

/// What is gone needs no write.
pub fn ignore_gone(result: Result<(), kube::Error>) -> Result<(), kube::Error> {
    match result {
        Err(err) if err.is_not_found() => Ok(()),
        other => other,
    }
}

/// What the API said, as upstream prints it.
pub fn api_message(err: &kube::Error) -> String {
    match err {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

/// Writes the status that `object` has.
pub async fn replace_status<K>(client: &Client, object: &K) -> Result<(), kube::Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + Serialize,
{
    let api: Api<K> = Api::namespaced(client.clone(), &object.namespace().unwrap_or_default());
    ignore_gone(api.replace_status(&object.name_any(), &PostParams::default(), object).await.map(drop))
}

/// Deletes this very pod, not another one of its name.
pub async fn delete_pod(client: &Client, pod: &Pod) -> Result<(), kube::Error> {
    let api: Api<Pod> = Api::namespaced(client.clone(), &pod.namespace().unwrap_or_default());
    let same = Preconditions { uid: pod.uid(), resource_version: None };
    api.delete(&pod.name_any(), &DeleteParams::default().preconditions(same)).await.map(drop)
}

/// Creates and deletes an owner's pods side by side, counts them as expected and says so in events.
pub struct PodControl<'a, O> {
    /// The controller's own.
    pub cx: &'a Context,
    /// Where the pods are counted.
    pub expectations: &'a Expectations,
    /// The owner's key.
    pub key: &'a ObjectKey,
    /// What the pods belong to.
    pub owner: &'a O,
}

impl<O: Resource<DynamicType = ()>> PodControl<'_, O> {
    /// Creates pods that are expected already; answers the last failure.
    pub async fn create(&self, pods: &[Pod]) -> Result<(), kube::Error> {
        let api: Api<Pod> = Api::namespaced(self.cx.client.clone(), &self.key.namespace);
        let params = PostParams::default();
        let mut failure = None;
        for result in join_all(pods.iter().map(|pod| api.create(&params, pod))).await {
            match result {
                Ok(pod) => {
                    let message = format!("Created pod: {}", pod.name_any());
                    self.cx.recorder.event(self.owner, EventType::Normal, "SuccessfulCreate", message);
                }
                Err(err) => {
                    self.expectations.creation_observed(self.key);
                    failure = Some(err);
                }
            }
        }
        let Some(err) = failure else { return Ok(()) };
        // Nothing helps until the namespace is gone, and with it the owner.
        if !err.is_namespace_terminating() {
            let message = format!("Error creating: {}", api_message(&err));
            self.cx.recorder.event(self.owner, EventType::Warning, "FailedCreate", message);
        }
        Err(err)
    }

    /// Deletes pods; answers the last failure.
    pub async fn delete(&self, pods: &[Arc<Pod>]) -> Result<(), kube::Error> {
        self.expectations.expect_deletions(self.key, pods.iter().filter_map(|pod| pod.uid()));
        let deleted = join_all(pods.iter().map(|pod| delete_pod(&self.cx.client, pod))).await;
        let mut failure = None;
        for (pod, result) in pods.iter().zip(deleted) {
            match result {
                Ok(()) => {
                    let message = format!("Deleted pod: {}", pod.name_any());
                    self.cx.recorder.event(self.owner, EventType::Normal, "SuccessfulDelete", message);
                }
                Err(err) => {
                    self.expectations.deletion_observed(self.key, pod.metadata.uid.as_deref().unwrap_or_default());
                    if !err.is_not_found() {
                        let message = format!("Error deleting: {}", api_message(&err));
                        self.cx.recorder.event(self.owner, EventType::Warning, "FailedDelete", message);
                        failure = Some(err);
                    }
                }
            }
        }
        failure.map_or(Ok(()), Err)
    }
}
