//! What becomes of dependents when their owner is deleted, by each propagation policy.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{Pod, ReplicationController};
use kube::ResourceExt;
use kube::api::{DeleteParams, Preconditions};
use serde_json::{Value, json};

use crate::harness::{Cluster, deployment, labeled, template};

/// So many that a mistake with one of them would show.
const REPLICAS: usize = 10;

async fn controller(cluster: &Cluster, name: &str, replicas: usize) -> ReplicationController {
    let spec = json!({"replicas": replicas, "selector": {"app": name}, "template": template(name, "app:1")});
    cluster.create(Some("default"), json!({"metadata": {"name": name}, "spec": spec})).await
}

/// Waits for so many pods of a label `app`, all with the same owners as made.
async fn pods(cluster: &Cluster, app: &str, count: usize) -> Vec<String> {
    cluster
        .until::<Pod, _>("pods", |all| {
            let pods = labeled(all, "default", "app", app);
            (pods.len() == count).then(|| pods.iter().map(|pod| pod.name_any()).collect())
        })
        .await
}

async fn gone(cluster: &Cluster, name: &str) {
    cluster
        .until::<ReplicationController, _>("the controller to go", |all| {
            all.list_in("default").iter().all(|one| one.name_any() != name).then_some(())
        })
        .await;
}

/// Waits until the pods of a label have this many owners each, and answers how many pods there are.
async fn owners(cluster: &Cluster, app: &str, count: usize) -> usize {
    cluster
        .until::<Pod, _>("owners", |all| {
            let pods = labeled(all, "default", "app", app);
            pods.iter().all(|pod| pod.owner_references().len() == count).then_some(pods.len())
        })
        .await
}

/// Conformance: Garbage Collector, delete replication controller, propagation policy background.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_go_after_their_controller() {
    let cluster = Cluster::with_node().await;
    controller(&cluster, "simpletest", 2).await;
    pods(&cluster, "simpletest", 2).await;
    cluster.delete::<ReplicationController>("default", "simpletest", DeleteParams::background()).await;
    gone(&cluster, "simpletest").await;
    pods(&cluster, "simpletest", 0).await;
    cluster.stop().await;
}

/// Conformance: Garbage Collector, delete replication controller, propagation policy orphan.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orphaned_pods_stay_after_their_controller() {
    let cluster = Cluster::with_node().await;
    controller(&cluster, "simpletest", REPLICAS).await;
    let made = pods(&cluster, "simpletest", REPLICAS).await;
    cluster.delete::<ReplicationController>("default", "simpletest", DeleteParams::orphan()).await;
    gone(&cluster, "simpletest").await;
    assert_eq!(owners(&cluster, "simpletest", 0).await, REPLICAS);
    let mut left = pods(&cluster, "simpletest", REPLICAS).await;
    left.sort();
    let mut made = made;
    made.sort();
    assert_eq!(left, made);
    cluster.stop().await;
}

/// Conformance: Garbage Collector, delete replication controller, after owned pods.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_controller_waits_for_its_last_pod() {
    let cluster = Cluster::with_node().await;
    controller(&cluster, "simpletest", REPLICAS).await;
    let made = pods(&cluster, "simpletest", REPLICAS).await;
    cluster.patch::<Pod>("default", &made[0], json!({"metadata": {"finalizers": ["example.com/hold"]}})).await;
    cluster.delete::<ReplicationController>("default", "simpletest", DeleteParams::foreground()).await;
    let left = pods(&cluster, "simpletest", 1).await;
    assert_eq!(left, made[..1]);
    let waits = cluster
        .until::<ReplicationController, _>("the controller that waits", |all| {
            all.list_in("default").into_iter().find(|one| one.metadata.deletion_timestamp.is_some())
        })
        .await;
    assert_eq!(waits.finalizers(), ["foregroundDeletion"]);
    cluster.patch::<Pod>("default", &made[0], json!({"metadata": {"finalizers": null}})).await;
    gone(&cluster, "simpletest").await;
    pods(&cluster, "simpletest", 0).await;
    cluster.stop().await;
}

/// Conformance: Garbage Collector, multiple owners.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_another_owner_stays() {
    let cluster = Cluster::with_node().await;
    let deleted = controller(&cluster, "to-be-deleted", REPLICAS).await;
    let stays = controller(&cluster, "to-stay", 0).await;
    let made = pods(&cluster, "to-be-deleted", REPLICAS).await;
    let owner = |controller: &ReplicationController, extra: Value| {
        let mut reference = json!({
            "apiVersion": "v1", "kind": "ReplicationController", "name": controller.name_any(), "uid": controller.uid(),
        });
        for (field, value) in extra.as_object().into_iter().flatten() {
            reference[field] = value.clone();
        }
        reference
    };
    let both =
        json!([owner(&deleted, json!({"controller": true, "blockOwnerDeletion": true})), owner(&stays, json!({})),]);
    let (shared, own) = made.split_at(REPLICAS / 2);
    for name in shared {
        cluster.patch::<Pod>("default", name, json!({"metadata": {"ownerReferences": both}})).await;
    }
    cluster.delete::<ReplicationController>("default", "to-be-deleted", DeleteParams::foreground()).await;
    gone(&cluster, "to-be-deleted").await;
    let left = cluster
        .until::<Pod, _>("pods with the other owner alone", |all| {
            let pods = labeled(all, "default", "app", "to-be-deleted");
            let settled = pods.len() == shared.len() && pods.iter().all(|pod| pod.owner_references().len() == 1);
            settled.then_some(pods)
        })
        .await;
    for pod in left {
        assert!(!own.contains(&pod.name_any()), "{}", pod.name_any());
        assert_eq!(pod.metadata.deletion_timestamp, None);
        assert_eq!(pod.owner_references().iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["to-stay"]);
    }
    cluster.stop().await;
}

/// Conformance: Garbage Collector, dependency cycle.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_circle_of_owners_goes_with_one_of_them() {
    let cluster = Cluster::with_node().await;
    let mut made = Vec::new();
    for name in ["pod1", "pod2", "pod3"] {
        let mut pod = template("circle", "app:1");
        pod["metadata"]["name"] = name.into();
        made.push(cluster.create::<Pod>(Some("default"), pod).await);
    }
    for (pod, owner) in [(0, 2), (1, 0), (2, 1)] {
        let owner = &made[owner];
        let reference = json!({
            "apiVersion": "v1", "kind": "Pod", "name": owner.name_any(), "uid": owner.uid(),
            "controller": true, "blockOwnerDeletion": true,
        });
        let patch = json!({"metadata": {"ownerReferences": [reference]}});
        cluster.patch::<Pod>("default", &made[pod].name_any(), patch).await;
    }
    let uid = Preconditions { uid: made[0].uid(), resource_version: None };
    cluster.delete::<Pod>("default", "pod1", DeleteParams::foreground().preconditions(uid)).await;
    pods(&cluster, "circle", 0).await;
    cluster.stop().await;
}

async fn replica_set(cluster: &Cluster) -> String {
    cluster
        .until::<ReplicaSet, _>("a replica set", |all| all.list_in("default").first().map(|set| set.name_any()))
        .await
}

async fn no_deployment(cluster: &Cluster) {
    cluster.until::<Deployment, _>("no deployment", |all| all.list_in("default").is_empty().then_some(())).await;
}

/// Conformance: Garbage Collector, delete deployment,  propagation policy background.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_set_and_its_pods_go_after_the_deployment() {
    let cluster = Cluster::with_node().await;
    cluster.create::<Deployment>(Some("default"), deployment("simpletest", 2, json!({}))).await;
    replica_set(&cluster).await;
    cluster.delete::<Deployment>("default", "simpletest", DeleteParams::background()).await;
    no_deployment(&cluster).await;
    cluster.until::<ReplicaSet, _>("no replica set", |all| all.list_in("default").is_empty().then_some(())).await;
    pods(&cluster, "simpletest", 0).await;
    cluster.stop().await;
}

/// Conformance: Garbage Collector, delete deployment, propagation policy orphan.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_set_and_its_pods_stay_after_the_deployment() {
    let cluster = Cluster::with_node().await;
    cluster.create::<Deployment>(Some("default"), deployment("simpletest", 2, json!({}))).await;
    let made = replica_set(&cluster).await;
    pods(&cluster, "simpletest", 2).await;
    cluster.delete::<Deployment>("default", "simpletest", DeleteParams::orphan()).await;
    no_deployment(&cluster).await;
    let orphan = cluster
        .until::<ReplicaSet, _>("a set without owners", |all| {
            all.list_in("default").into_iter().find(|set| set.owner_references().is_empty())
        })
        .await;
    assert_eq!(orphan.name_any(), made);
    assert_eq!(owners(&cluster, "simpletest", 1).await, 2, "the pods are still the set's");
    cluster.stop().await;
}
