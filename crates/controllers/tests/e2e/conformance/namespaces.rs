//! Namespaces take with them what they hold.

use client::informer::Cacheable;
use k8s_openapi::api::core::v1::{Namespace, Pod, Service};
use kube::ResourceExt;
use kube::api::DeleteParams;
use serde_json::{Value, json};
use testserver::Placed;

use crate::harness::{Cluster, Made, template};

const NAME: &str = "nsdeletetest";

async fn make(cluster: &Cluster) {
    cluster.create::<Namespace>(None, json!({"metadata": {"name": NAME}})).await;
    cluster.ready(NAME).await;
}

/// Deletes a namespace that holds this object, makes it again, and finds nothing.
async fn goes_with_its_namespace<K: Made + Cacheable>(cluster: &Cluster, object: Value) {
    make(cluster).await;
    cluster.create::<K>(Some(NAME), object).await;
    cluster.until::<K, _>("the object", |all| (!all.list_in(NAME).is_empty()).then_some(())).await;
    cluster.delete::<Namespace>("", NAME, DeleteParams::default()).await;
    cluster
        .until::<Namespace, _>("no namespace", |all| all.list().iter().all(|one| one.name_any() != NAME).then_some(()))
        .await;
    make(cluster).await;
    let found = K::api(&cluster.client, NAME).list(&Default::default()).await.expect("a list");
    assert!(found.items.is_empty(), "{:?}", found.items);
}

/// Conformance: namespace-deletion-removes-pods.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_go_with_their_namespace() {
    let cluster = Cluster::with_node().await;
    let mut pod = template("test-pod", "app:1");
    pod["metadata"]["name"] = "test-pod".into();
    goes_with_its_namespace::<Pod>(&cluster, pod).await;
    cluster.stop().await;
}

/// Conformance: namespace-deletion-removes-services.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_go_with_their_namespace() {
    let cluster = Cluster::start().await;
    let spec = json!({"selector": {"app": "x"}, "ports": [{"port": 80}]});
    goes_with_its_namespace::<Service>(&cluster, json!({"metadata": {"name": "test-service"}, "spec": spec})).await;
    cluster.stop().await;
}

/// Conformance: Namespace patching.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_is_labelled() {
    let cluster = Cluster::start().await;
    make(&cluster).await;
    cluster.patch::<Namespace>("", NAME, json!({"metadata": {"labels": {"testLabel": "testValue"}}})).await;
    let found = Namespace::api(&cluster.client, "").get(NAME).await.expect("there");
    assert_eq!(found.labels().get("testLabel").map(String::as_str), Some("testValue"));
    cluster.stop().await;
}
