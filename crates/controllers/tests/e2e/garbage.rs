//! Owners and what goes with them.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::ResourceExt;
use kube::api::DeleteParams;
use serde_json::json;

use crate::harness::{Cluster, deployment, labeled};

async fn running(cluster: &Cluster, count: usize) {
    cluster
        .until::<Pod, _>("running pods", |all| {
            let pods = labeled(all, "default", "app", "web");
            let ready = pods.iter().filter(|pod| client::corev1::pod::is_ready(pod)).count();
            (ready == count).then_some(())
        })
        .await;
}

async fn nothing_left(cluster: &Cluster) {
    cluster.until::<Deployment, _>("no deployment", |all| all.list_in("default").is_empty().then_some(())).await;
    cluster.until::<ReplicaSet, _>("no replica set", |all| all.list_in("default").is_empty().then_some(())).await;
    cluster.until::<Pod, _>("no pod", |all| all.list_in("default").is_empty().then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dependents_go_with_their_owner_in_the_background_and_in_the_foreground() {
    let cluster = Cluster::with_node().await;
    for params in [DeleteParams::background(), DeleteParams::foreground()] {
        cluster.create::<Deployment>(Some("default"), deployment("web", 2, json!({}))).await;
        running(&cluster, 2).await;
        cluster.delete::<Deployment>("default", "web", params).await;
        nothing_left(&cluster).await;
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orphans_stay_without_their_owner() {
    let cluster = Cluster::with_node().await;
    cluster.create::<Deployment>(Some("default"), deployment("web", 2, json!({}))).await;
    running(&cluster, 2).await;
    cluster.delete::<Deployment>("default", "web", DeleteParams::orphan()).await;
    cluster.until::<Deployment, _>("no deployment", |all| all.list_in("default").is_empty().then_some(())).await;
    cluster
        .until::<ReplicaSet, _>("a set without owner", |all| {
            let set = all.list_in("default").pop()?;
            set.owner_references().is_empty().then_some(())
        })
        .await;
    running(&cluster, 2).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_that_never_was_takes_its_dependents_and_one_of_two_is_enough_to_stay() {
    let cluster = Cluster::start().await;
    let owner: ConfigMap = cluster.create(Some("default"), json!({"metadata": {"name": "owner"}})).await;
    let reference = |name: &str, uid: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": uid});
    let real = reference("owner", &owner.uid().unwrap_or_default());
    let none = reference("nobody", "0b7b0c9e-0000-4000-8000-000000000000");
    for (name, owners) in [("lost", json!([none])), ("kept", json!([real, none]))] {
        cluster
            .create::<ConfigMap>(Some("default"), json!({"metadata": {"name": name, "ownerReferences": owners}}))
            .await;
    }
    cluster
        .until::<ConfigMap, _>("the lost one to go and the kept one to lose a reference", |all| {
            let names: Vec<_> = all.list_in("default").iter().map(|one| one.name_any()).collect();
            let kept = all.list_in("default").into_iter().find(|one| one.name_any() == "kept")?;
            (!names.contains(&"lost".to_owned()) && kept.owner_references().len() == 1).then_some(())
        })
        .await;
    cluster.delete::<ConfigMap>("default", "owner", DeleteParams::default()).await;
    cluster
        .until::<ConfigMap, _>("the kept one to go", |all| {
            all.list_in("default").iter().all(|one| one.name_any() != "kept").then_some(())
        })
        .await;
    cluster.stop().await;
}
