//! Pods find their node, or say why not.

use k8s_openapi::api::core::v1::{Event, Node, Pod};
use k8s_openapi::api::scheduling::v1::PriorityClass;
use kube::ResourceExt;
use serde_json::{Value, json};

use crate::harness::{Cluster, template};

fn pod(name: &str, cpu: &str, more: Value) -> Value {
    let mut pod = template(name, "app:1");
    pod["metadata"]["name"] = name.into();
    pod["spec"]["containers"][0]["resources"]["requests"]["cpu"] = cpu.into();
    for (key, value) in more.as_object().into_iter().flatten() {
        pod["spec"][key] = value.clone();
    }
    pod
}

async fn node_of(cluster: &Cluster, name: &str) -> String {
    cluster
        .until::<Pod, _>("a bound pod", |all| {
            let pod = all.list_in("default").into_iter().find(|pod| pod.name_any() == name)?;
            client::corev1::pod::node_name(&pod).map(str::to_owned)
        })
        .await
}

async fn event(cluster: &Cluster, reason: &str, message: &str) {
    cluster
        .until::<Event, _>("an event", |all| {
            let says =
                |event: &Event| event.reason.as_deref() == Some(reason) && event.message.as_deref() == Some(message);
            all.list_in("default").iter().any(|event| says(event)).then_some(())
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_waits_with_a_reason_until_there_is_room() {
    let cluster = Cluster::start().await;
    cluster.add_node("small", "1").await;
    cluster.create::<Pod>(Some("default"), pod("large", "2", json!({}))).await;
    // Seen too early the node is still tainted; the reason that stays is this one.
    let told = "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: 1 Preemption is not \
                helpful for scheduling.";
    let condition = cluster
        .until::<Pod, _>("a reason", |all| {
            let pod = all.list_in("default").pop()?;
            let condition = client::corev1::pod::condition(&pod, "PodScheduled")?;
            (condition.message.as_deref() == Some(told)).then(|| condition.clone())
        })
        .await;
    assert_eq!((condition.status.as_str(), condition.reason.as_deref()), ("False", Some("Unschedulable")));
    event(&cluster, "FailedScheduling", told).await;
    cluster.add_node("big", "4").await;
    assert_eq!(node_of(&cluster, "large").await, "big");
    event(&cluster, "Scheduled", "Successfully assigned default/large to big").await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn anti_affinity_spreads_and_another_schedulers_pod_is_left_alone() {
    let cluster = Cluster::start().await;
    cluster.add_node("a", "4").await;
    cluster.add_node("b", "4").await;
    cluster.create::<Pod>(Some("default"), pod("foreign", "1", json!({"schedulerName": "other"}))).await;
    let term = json!({"labelSelector": {"matchLabels": {"team": "x"}}, "topologyKey": "kubernetes.io/hostname"});
    let apart = json!({"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}});
    let mut nodes = Vec::new();
    for name in ["one", "two"] {
        let mut pod = pod(name, "1", apart.clone());
        pod["metadata"]["labels"]["team"] = "x".into();
        cluster.create::<Pod>(Some("default"), pod).await;
        nodes.push(node_of(&cluster, name).await);
    }
    nodes.sort();
    assert_eq!(nodes, ["a", "b"]);
    let foreign = cluster.informers.informer::<Pod>().lister().list_in("default");
    let foreign = foreign.iter().find(|pod| pod.name_any() == "foreign").expect("it is there");
    assert_eq!(client::corev1::pod::node_name(foreign), None);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_important_drive_out_the_less_important() {
    let cluster = Cluster::start().await;
    cluster.add_node("only", "1").await;
    cluster.create::<PriorityClass>(None, json!({"metadata": {"name": "high"}, "value": 1000})).await;
    cluster.create::<Pod>(Some("default"), pod("low", "1", json!({}))).await;
    node_of(&cluster, "low").await;
    cluster
        .create::<Pod>(Some("default"), pod("urgent", "1", json!({"priorityClassName": "high", "priority": 1000})))
        .await;
    assert_eq!(node_of(&cluster, "urgent").await, "only");
    cluster
        .until::<Pod, _>("the victim to be gone", |all| {
            all.list().iter().all(|pod| pod.name_any() != "low").then_some(())
        })
        .await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cordoned_node_takes_pods_again_after_uncordon() {
    let cluster = Cluster::with_node().await;
    cluster.patch::<Node>("", "kaji", json!({"spec": {"unschedulable": true}})).await;
    cluster
        .until::<Node, _>("the taint", |all| {
            let node = all.list().pop()?;
            node.spec.as_ref()?.taints.as_ref()?.iter().any(|taint| taint.key.ends_with("unschedulable")).then_some(())
        })
        .await;
    cluster.create::<Pod>(Some("default"), pod("web", "1", json!({}))).await;
    let told = "0/1 nodes are available: 1 node(s) were unschedulable. preemption: 0/1 nodes are available: 1 Preemption \
                is not helpful for scheduling.";
    event(&cluster, "FailedScheduling", told).await;
    cluster.patch::<Node>("", "kaji", json!({"spec": {"unschedulable": false}})).await;
    assert_eq!(node_of(&cluster, "web").await, "kaji");
    cluster.stop().await;
}
