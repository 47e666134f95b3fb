//! Deployments and what they make.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::DeleteParams;
use serde_json::json;

use crate::harness::{Cluster, deployment, labeled, template};

/// Waits until what `asked` says is done; the cache may still show the time before it.
async fn rolled_out(cluster: &Cluster, asked: &Deployment) -> Deployment {
    let (name, replicas) = (asked.name_any(), asked.spec.replicas.unwrap_or(1));
    cluster
        .until::<Deployment, _>("a complete rollout", |all| {
            let found = all.list_in("default").into_iter().find(|one| one.name_any() == name)?;
            let status = found.status.as_ref()?;
            let complete = found.metadata.generation >= asked.metadata.generation
                && status.observed_generation == found.metadata.generation
                && [status.updated_replicas, status.replicas, status.available_replicas]
                    .iter()
                    .all(|count| count.unwrap_or(0) == replicas)
                && status
                    .conditions
                    .iter()
                    .flatten()
                    .any(|one| one.reason.as_deref() == Some("NewReplicaSetAvailable"));
            complete.then(|| (*found).clone())
        })
        .await
}

fn conditions(deployment: &Deployment) -> Vec<String> {
    let conditions = deployment.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let mut lines: Vec<String> =
        conditions.map(|one| format!("{}={} {}", text(&one.type_), text(&one.status), text(&one.reason))).collect();
    lines.sort();
    lines
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_is_rolled_out_updated_and_scaled() {
    let cluster = Cluster::with_node().await;
    let asked = cluster.create::<Deployment>(Some("default"), deployment("web", 3, json!({}))).await;
    let first = rolled_out(&cluster, &asked).await;
    assert_eq!(
        conditions(&first),
        ["Available=True MinimumReplicasAvailable", "Progressing=True NewReplicaSetAvailable"]
    );
    assert_eq!(first.annotations().get("deployment.kubernetes.io/revision").map(String::as_str), Some("1"));

    let asked =
        cluster.patch::<Deployment>("default", "web", json!({"spec": {"template": template("web", "app:2")}})).await;
    let second = rolled_out(&cluster, &asked).await;
    assert_eq!(second.annotations().get("deployment.kubernetes.io/revision").map(String::as_str), Some("2"));
    let images = cluster
        .until::<Pod, _>("only new pods", |all| {
            let pods = labeled(all, "default", "app", "web");
            let image = |pod: &Pod| pod.spec.as_ref().and_then(|spec| spec.containers[0].image.clone());
            let images: Vec<_> = pods.iter().filter_map(|pod| image(pod)).collect();
            (images.len() == 3 && images.iter().all(|image| image == "app:2")).then_some(images)
        })
        .await;
    assert_eq!(images.len(), 3);
    let sizes = cluster
        .until::<ReplicaSet, _>("an old set without pods", |all| {
            let mut sizes: Vec<_> = labeled(all, "default", "app", "web").iter().map(|rs| rs.spec.replicas).collect();
            sizes.sort();
            (sizes == [Some(0), Some(3)]).then_some(sizes)
        })
        .await;
    assert_eq!(sizes.len(), 2);

    let asked = cluster.patch::<Deployment>("default", "web", json!({"spec": {"replicas": 5}})).await;
    rolled_out(&cluster, &asked).await;
    let asked = cluster.patch::<Deployment>("default", "web", json!({"spec": {"replicas": 1}})).await;
    rolled_out(&cluster, &asked).await;

    // Back to the first template: its set is used again, as the third revision.
    let asked =
        cluster.patch::<Deployment>("default", "web", json!({"spec": {"template": template("web", "app:1")}})).await;
    let third = rolled_out(&cluster, &asked).await;
    assert_eq!(third.annotations().get("deployment.kubernetes.io/revision").map(String::as_str), Some("3"));
    let sets = cluster.informers.informer::<ReplicaSet>().lister();
    assert_eq!(labeled(&sets, "default", "app", "web").len(), 2);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_pod_is_replaced() {
    let cluster = Cluster::with_node().await;
    let asked = cluster.create::<Deployment>(Some("default"), deployment("web", 2, json!({}))).await;
    rolled_out(&cluster, &asked).await;
    let pods = labeled(&cluster.informers.informer::<Pod>().lister(), "default", "app", "web");
    let gone = pods[0].uid();
    cluster.delete::<Pod>("default", &pods[0].name_any(), DeleteParams::default()).await;
    cluster
        .until::<Pod, _>("a new pod", |all| {
            let pods = labeled(all, "default", "app", "web");
            let ready = pods.iter().filter(|pod| client::corev1::pod::is_ready(pod)).count();
            (pods.len() == 2 && ready == 2 && pods.iter().all(|pod| pod.uid() != gone)).then_some(())
        })
        .await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recreate_never_runs_two_revisions_and_a_pause_holds() {
    let cluster = Cluster::with_node().await;
    let recreate = json!({"strategy": {"type": "Recreate"}});
    let asked = cluster.create::<Deployment>(Some("default"), deployment("web", 2, recreate)).await;
    rolled_out(&cluster, &asked).await;
    cluster.patch::<Deployment>("default", "web", json!({"spec": {"paused": true}})).await;
    let asked: Deployment =
        cluster.patch("default", "web", json!({"spec": {"template": template("web", "app:2")}})).await;
    let paused = cluster
        .until::<Deployment, _>("the pause to be noted", |all| {
            let found = all.list_in("default").pop()?;
            let seen = found.status.as_ref()?.observed_generation >= asked.metadata.generation;
            seen.then(|| conditions(&found))
        })
        .await;
    assert_eq!(paused, ["Available=True MinimumReplicasAvailable", "Progressing=Unknown DeploymentPaused"]);
    let asked = cluster.patch::<Deployment>("default", "web", json!({"spec": {"paused": false}})).await;
    rolled_out(&cluster, &asked).await;
    cluster.stop().await;
}
