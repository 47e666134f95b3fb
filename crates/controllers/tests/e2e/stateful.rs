//! Pods whose names stay.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::DeleteParams;
use serde_json::json;

use crate::harness::{Cluster, labeled, template};

/// Waits until exactly these pods run this image.
async fn running(cluster: &Cluster, image: &str, names: &[&str]) {
    cluster
        .until::<Pod, _>("the set's pods", |all| {
            let pods = labeled(all, "default", "app", "db");
            let as_wanted = |pod: &Pod| {
                pod.spec.as_ref().and_then(|spec| spec.containers[0].image.as_deref()) == Some(image)
                    && client::corev1::pod::is_ready(pod)
            };
            let found: Vec<String> = pods.iter().filter(|pod| as_wanted(pod)).map(|pod| pod.name_any()).collect();
            (found == names && pods.len() == names.len()).then_some(())
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_set_grows_in_order_keeps_its_names_and_is_updated() {
    let cluster = Cluster::with_node().await;
    let set = json!({"metadata": {"name": "db"}, "spec": {"serviceName": "db", "replicas": 3,
        "selector": {"matchLabels": {"app": "db"}}, "template": template("db", "app:1")}});
    cluster.create::<StatefulSet>(Some("default"), set).await;
    running(&cluster, "app:1", &["db-0", "db-1", "db-2"]).await;
    let pods = labeled(&cluster.informers.informer::<Pod>().lister(), "default", "app", "db");
    let spec = pods[1].spec.as_ref().expect("a spec");
    assert_eq!((spec.hostname.as_deref(), spec.subdomain.as_deref()), (Some("db-1"), Some("db")));
    let old = pods[1].uid();
    cluster.delete::<Pod>("default", "db-1", DeleteParams::default()).await;
    cluster
        .until::<Pod, _>("the same name again", |all| {
            let pods = labeled(all, "default", "app", "db");
            pods.iter().any(|pod| pod.name_any() == "db-1" && pod.uid() != old).then_some(())
        })
        .await;
    running(&cluster, "app:1", &["db-0", "db-1", "db-2"]).await;
    cluster.patch::<StatefulSet>("default", "db", json!({"spec": {"template": template("db", "app:2")}})).await;
    running(&cluster, "app:2", &["db-0", "db-1", "db-2"]).await;
    let status = cluster
        .until::<StatefulSet, _>("a complete update", |all| {
            let status = all.list_in("default").pop()?.status.clone()?;
            (status.current_revision == status.update_revision && status.updated_replicas == Some(3)).then_some(status)
        })
        .await;
    assert_eq!((status.replicas, status.ready_replicas), (3, Some(3)));
    cluster.patch::<StatefulSet>("default", "db", json!({"spec": {"replicas": 1}})).await;
    running(&cluster, "app:2", &["db-0"]).await;
    cluster.stop().await;
}
