//! Namespaces come with what pods need, and go with all they hold.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod};
use kube::ResourceExt;
use kube::api::DeleteParams;
use serde_json::json;

use crate::harness::{Cluster, deployment};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_is_filled_and_emptied() {
    let cluster = Cluster::with_node().await;
    cluster.create::<Namespace>(None, json!({"metadata": {"name": "shop"}})).await;
    cluster.ready("shop").await;
    let ca = cluster
        .until::<ConfigMap, _>("the CA", |all| {
            all.list_in("shop").into_iter().find(|one| one.name_any() == "kube-root-ca.crt")
        })
        .await;
    assert_eq!(ca.data.as_ref().and_then(|data| data.get("ca.crt")).map(String::as_str), Some("the CA"));
    cluster.create::<Deployment>(Some("shop"), deployment("web", 2, json!({}))).await;
    cluster
        .create::<ConfigMap>(Some("shop"), json!({"metadata": {"name": "held", "finalizers": ["example.com/hold"]}}))
        .await;
    cluster
        .until::<Pod, _>("pods", |all| {
            (all.list_in("shop").iter().filter(|pod| client::corev1::pod::is_ready(pod)).count() == 2).then_some(())
        })
        .await;
    cluster.delete::<Namespace>("", "shop", DeleteParams::default()).await;
    let message = cluster
        .until::<Namespace, _>("a word about what is left", |all| {
            let namespace = all.list().into_iter().find(|one| one.name_any() == "shop")?;
            let conditions = namespace.status.as_ref()?.conditions.as_ref()?;
            let held =
                conditions.iter().find(|one| one.type_ == "NamespaceFinalizersRemaining" && one.status == "True")?;
            held.message.clone()
        })
        .await;
    assert_eq!(
        message,
        "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances"
    );
    assert_eq!(cluster.informers.informer::<Pod>().lister().list_in("shop").len(), 0, "pods went first");
    cluster.patch::<ConfigMap>("shop", "held", json!({"metadata": {"finalizers": null}})).await;
    cluster
        .until::<Namespace, _>("no namespace", |all| {
            all.list().iter().all(|one| one.name_any() != "shop").then_some(())
        })
        .await;
    cluster.stop().await;
}
