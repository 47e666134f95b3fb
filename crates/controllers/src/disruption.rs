//! How many pods a PodDisruptionBudget lets go now (upstream: pkg/controller/disruption/disruption.go).
//!
//! The eviction of the API server takes from `disruptionsAllowed` and notes the pod in `disruptedPods`; this controller
//! brings both back in line with what runs.

pub mod plan;

use std::collections::BTreeMap;
use std::sync::Arc;

use client::controller::{Requeue, run_workers};
use client::corev1::pod::is_ready;
use client::labels::{self, Labels};
use client::{ApiError, Event, EventType, Lister, ObjectKey, WorkQueue};
use component_base::now;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::{Pod, ReplicationController};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::PostParams;
use kube::{Api, ResourceExt};

use self::plan::{Expected, plan};
use crate::context::Context;
use crate::owners::controller_of;

/// Why a pass did not complete.
#[derive(Debug, thiserror::Error)]
enum SyncError {
    #[error("write the status of {key}: {err}")]
    Status { key: ObjectKey, err: kube::Error },
}

struct Controller {
    cx: Context,
    budgets: Lister<PodDisruptionBudget>,
    pods: Lister<Pod>,
    replica_sets: Lister<ReplicaSet>,
    deployments: Lister<Deployment>,
    replication_controllers: Lister<ReplicationController>,
    queue: WorkQueue<ObjectKey>,
}

/// Starts the controller.
pub async fn run(cx: Context) {
    let (budgets, pods) = (cx.informer::<PodDisruptionBudget>(), cx.pods());
    let (replica_sets, deployments) = (cx.informer::<ReplicaSet>(), cx.informer::<Deployment>());
    let replication_controllers = cx.informer::<ReplicationController>();
    let controller = Arc::new(Controller {
        budgets: budgets.lister(),
        pods: pods.lister(),
        replica_sets: replica_sets.lister(),
        deployments: deployments.lister(),
        replication_controllers: replication_controllers.lister(),
        queue: WorkQueue::new(),
        cx,
    });
    let this = controller.clone();
    budgets.on_event(move |event| this.queue.add(ObjectKey::of(&**event.object())));
    let this = controller.clone();
    pods.on_event(move |event| this.on_pod(event));
    // The number of replicas that percentages are of.
    let this = controller.clone();
    deployments.on_event(move |event| {
        if let Event::Updated { old, new } = event
            && old.spec.replicas != new.spec.replicas
        {
            this.wake_namespace(new.namespace());
        }
    });
    let this = controller.clone();
    replica_sets.on_event(move |event| {
        if let Event::Updated { old, new } = event
            && old.spec.replicas != new.spec.replicas
            && controller_of(&new.metadata).is_none()
        {
            this.wake_namespace(new.namespace());
        }
    });
    tokio::join!(budgets.synced(), pods.synced(), replica_sets.synced(), deployments.synced());
    replication_controllers.synced().await;
    let (scope, queue) = (controller.cx.scope.clone(), controller.queue.clone());
    run_workers("disruption", &scope, &queue, 1, move |key| {
        let this = controller.clone();
        async move { this.sync(key).await }
    });
}

fn selects(budget: &PodDisruptionBudget, pod: &Pod) -> bool {
    let empty = Labels::new();
    let pod_labels = pod.metadata.labels.as_ref().unwrap_or(&empty);
    let selector = budget.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    selector.is_some_and(|selector| labels::matches(selector, pod_labels))
}

impl Controller {
    fn on_pod(&self, event: &Event<Pod>) {
        if let Event::Updated { old, new } = event {
            let same = old.metadata.labels == new.metadata.labels
                && old.metadata.deletion_timestamp.is_some() == new.metadata.deletion_timestamp.is_some()
                && is_ready(old) == is_ready(new);
            if same {
                return;
            }
        }
        let namespace = event.object().metadata.namespace.as_deref().unwrap_or_default();
        for budget in self.budgets.list_in(namespace) {
            let before = matches!(event, Event::Updated { old, .. } if selects(&budget, old));
            if before || selects(&budget, event.object()) {
                self.queue.add(ObjectKey::of(&*budget));
            }
        }
    }

    fn wake_namespace(&self, namespace: Option<String>) {
        let budgets = self.budgets.list_in(&namespace.unwrap_or_default());
        budgets.iter().for_each(|budget| self.queue.add(ObjectKey::of(&**budget)));
    }

    async fn sync(&self, key: ObjectKey) -> Result<Requeue, SyncError> {
        let Some(budget) = self.budgets.get(&key) else { return Ok(Requeue::No) };
        if budget.metadata.deletion_timestamp.is_some() {
            return Ok(Requeue::No);
        }
        let selected = self.pods.list_in(&key.namespace).into_iter().filter(|pod| selects(&budget, pod));
        let pods: Vec<Arc<Pod>> = selected.collect();
        let expected = self.expected(&pods).await;
        if let Err(message) = &expected
            && plan::needs_scale(&budget)
        {
            let told = format!("Failed to calculate the number of expected pods: {message}");
            self.cx.recorder.event(&*budget, EventType::Warning, "CalculateExpectedPodCountFailed", told);
        }
        let planned = plan(&budget, &pods, expected, now());
        if pods.is_empty() && budget.status.is_none() {
            self.cx.recorder.event(&*budget, EventType::Normal, "NoPods", "No matching pods found");
        }
        if budget.status.as_ref() != Some(&planned.status) {
            let mut changed = (*budget).clone();
            changed.status = Some(planned.status);
            let api: Api<PodDisruptionBudget> = Api::namespaced(self.cx.client.clone(), &key.namespace);
            match api.replace_status(&key.name, &PostParams::default(), &changed).await {
                Err(err) if !err.is_not_found() => return Err(SyncError::Status { key, err }),
                _ => {}
            }
        }
        Ok(planned.look_again.map_or(Requeue::No, Requeue::After))
    }

    /// The replicas that the owners of the pods want together.
    async fn expected(&self, pods: &[Arc<Pod>]) -> Expected {
        let mut scales: BTreeMap<String, i32> = BTreeMap::new();
        for pod in pods {
            let owner = controller_of(&pod.metadata);
            let owner = owner.ok_or_else(|| format!("found no controller ref for pod {:?}", pod.name_any()))?;
            if scales.contains_key(&owner.uid) {
                continue;
            }
            let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
            let key = ObjectKey::new(namespace, owner.name.clone());
            let (uid, replicas) = match owner.kind.as_str() {
                "ReplicaSet" => self.scale_of_replica_set(&key),
                "ReplicationController" => {
                    let found = self.replication_controllers.get(&key);
                    found.map(|rc| (owner.uid.clone(), rc.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)))
                }
                "StatefulSet" => {
                    let api: Api<StatefulSet> = Api::namespaced(self.cx.client.clone(), namespace);
                    let scale = api.get_scale(&owner.name).await.map_err(|err| err.to_string())?;
                    Some((owner.uid.clone(), scale.spec.and_then(|spec| spec.replicas).unwrap_or(0)))
                }
                other => return Err(format!("{other}.{} does not implement the scale subresource", owner.api_version)),
            }
            .ok_or_else(|| format!("{} {key} of pod {:?} is not there", owner.kind, pod.name_any()))?;
            scales.insert(uid, replicas);
        }
        Ok(scales.values().sum())
    }

    /// A ReplicaSet of a deployment counts as the deployment.
    fn scale_of_replica_set(&self, key: &ObjectKey) -> Option<(String, i32)> {
        let rs = self.replica_sets.get(key)?;
        match controller_of(&rs.metadata).filter(|owner| owner.kind == "Deployment") {
            None => Some((rs.metadata.uid.clone()?, rs.spec.replicas.unwrap_or(1))),
            Some(owner) => {
                let deployment = self.deployments.get(&ObjectKey::new(key.namespace.clone(), owner.name.clone()))?;
                Some((deployment.metadata.uid.clone()?, deployment.spec.replicas.unwrap_or(1)))
            }
        }
    }
}
