//! One pod on every node.

use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use serde_json::json;

use crate::harness::{Cluster, labeled, template};

async fn on_nodes(cluster: &Cluster, image: &str, nodes: &[&str]) {
    cluster
        .until::<Pod, _>("a pod on each node", |all| {
            let pods = labeled(all, "default", "app", "agent");
            let of_image = |pod: &Pod| {
                pod.spec.as_ref().and_then(|spec| spec.containers[0].image.as_deref()) == Some(image)
                    && client::corev1::pod::is_ready(pod)
            };
            let ready = pods.iter().filter(|pod| of_image(pod));
            let mut found: Vec<&str> = ready.filter_map(|pod| client::corev1::pod::node_name(pod)).collect();
            found.sort_unstable();
            (found == nodes && pods.len() == nodes.len()).then_some(())
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn daemons_follow_the_nodes_and_their_template() {
    let cluster = Cluster::start().await;
    cluster.add_node("a", "4").await;
    let set = json!({"metadata": {"name": "agent"}, "spec": {"selector": {"matchLabels": {"app": "agent"}}, "template": template("agent", "app:1")}});
    cluster.create::<DaemonSet>(Some("default"), set).await;
    on_nodes(&cluster, "app:1", &["a"]).await;
    cluster.add_node("b", "4").await;
    on_nodes(&cluster, "app:1", &["a", "b"]).await;
    cluster.patch::<DaemonSet>("default", "agent", json!({"spec": {"template": template("agent", "app:2")}})).await;
    on_nodes(&cluster, "app:2", &["a", "b"]).await;
    let status = cluster
        .until::<DaemonSet, _>("a complete status", |all| {
            let set = all.list_in("default").pop()?;
            let status = set.status.clone()?;
            (status.updated_number_scheduled == Some(2) && status.number_available == Some(2)).then_some(status)
        })
        .await;
    assert_eq!((status.desired_number_scheduled, status.number_misscheduled), (2, 0));
    let revisions = cluster
        .until::<ControllerRevision, _>("two revisions", |all| {
            let mut numbers: Vec<_> = all.list_in("default").iter().filter_map(|one| one.revision).collect();
            numbers.sort_unstable();
            (numbers.len() == 2).then_some(numbers)
        })
        .await;
    assert_eq!(revisions, [1, 2]);
    let pods = labeled(&cluster.informers.informer::<Pod>().lister(), "default", "app", "agent");
    assert!(pods.iter().all(|pod| pod.labels().contains_key("controller-revision-hash")));
    cluster.stop().await;
}
