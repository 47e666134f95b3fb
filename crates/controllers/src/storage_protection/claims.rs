//! Claims stay while a pod on a node uses them (upstream: pkg/controller/volume/pvcprotection).

use std::sync::Arc;

use client::controller::{Requeue, run_workers};
use client::corev1::pod::{node_name, phase};
use client::{Event, Lister, ObjectKey, WorkQueue};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::api::ListParams;
use kube::{Api, ResourceExt};

use super::{SyncError, Wanted, wanted, write};
use crate::context::Context;

const FINALIZER: &str = "kubernetes.io/pvc-protection";

struct Controller {
    cx: Context,
    claims: Lister<PersistentVolumeClaim>,
    pods: Lister<Pod>,
}

/// Starts the controller.
pub async fn run(cx: Context) {
    let (claims, pods) = (cx.informer::<PersistentVolumeClaim>(), cx.pods());
    let queue: WorkQueue<ObjectKey> = WorkQueue::new();
    let waiting = queue.clone();
    claims.on_event(move |event| {
        let claim = event.object();
        if !matches!(event, Event::Deleted(_)) && wanted(&claim.metadata, FINALIZER) != Wanted::Nothing {
            waiting.add(ObjectKey::of(&**claim));
        }
    });
    let waiting = queue.clone();
    pods.on_event(move |event| {
        let pod = event.object();
        let runs = node_name(pod).is_some() && !matches!(phase(pod), "Succeeded" | "Failed");
        if runs && !matches!(event, Event::Deleted(_)) {
            return;
        }
        let namespace = pod.namespace().unwrap_or_default();
        claim_names(pod).for_each(|name| waiting.add(ObjectKey::new(namespace.clone(), name)));
    });
    tokio::join!(claims.synced(), pods.synced());
    let scope = cx.scope.clone();
    let controller = Arc::new(Controller { cx, claims: claims.lister(), pods: pods.lister() });
    run_workers("pvc-protection", &scope, &queue, 1, move |key| {
        let this = controller.clone();
        async move { this.sync(key).await }
    });
}

/// The claims that a pod's volumes name, those made for the pod alone included.
fn claim_names(pod: &Pod) -> impl Iterator<Item = String> {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    volumes.filter_map(|volume| match (&volume.persistent_volume_claim, &volume.ephemeral) {
        (Some(claim), _) => Some(claim.claim_name.clone()),
        (None, Some(_)) => Some(format!("{}-{}", pod.name_any(), volume.name)),
        (None, None) => None,
    })
}

/// Only pods on a node use a claim: no kubelet starts one whose claim is going.
fn uses(pod: &Pod, claim: &str) -> bool {
    node_name(pod).is_some() && claim_names(pod).any(|name| name == claim)
}

impl Controller {
    async fn sync(&self, key: ObjectKey) -> Result<Requeue, SyncError> {
        let Some(claim) = self.claims.get(&key) else { return Ok(Requeue::No) };
        let api: Api<PersistentVolumeClaim> = Api::namespaced(self.cx.client.clone(), &key.namespace);
        match wanted(&claim.metadata, FINALIZER) {
            Wanted::Add => write(&api, &*claim, FINALIZER, Wanted::Add).await?,
            Wanted::RemoveIfUnused if !self.is_used(&key).await? => {
                write(&api, &*claim, FINALIZER, Wanted::RemoveIfUnused).await?;
            }
            _ => {}
        }
        Ok(Requeue::No)
    }

    /// The cache is asked first; that nobody uses the claim must be true of the API itself.
    async fn is_used(&self, key: &ObjectKey) -> Result<bool, SyncError> {
        if self.pods.list_in(&key.namespace).iter().any(|pod| uses(pod, &key.name)) {
            return Ok(true);
        }
        let pods: Api<Pod> = Api::namespaced(self.cx.client.clone(), &key.namespace);
        let listed = pods.list(&ListParams::default()).await;
        let pods = listed.map_err(|err| SyncError::Users { name: key.name.clone(), err })?;
        Ok(pods.items.iter().any(|pod| uses(pod, &key.name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn pods_on_a_node_use_their_claims() {
        let pod = |spec: Value| -> Pod {
            serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": spec})).expect("a pod")
        };
        let volume = json!([{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]);
        assert!(uses(&pod(json!({"nodeName": "n", "containers": [], "volumes": volume})), "c"));
        assert!(!uses(&pod(json!({"containers": [], "volumes": volume})), "c"), "it waits for a node");
        assert!(!uses(&pod(json!({"nodeName": "n", "containers": [], "volumes": volume})), "d"));
        let own = json!([{"name": "v", "ephemeral": {}}]);
        assert!(uses(&pod(json!({"nodeName": "n", "containers": [], "volumes": own})), "p-v"));
    }
}
