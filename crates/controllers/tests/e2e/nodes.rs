//! Nodes are given their range and their taints.

use client::ObjectKey;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;

use crate::harness::{Cluster, template};

fn taints(node: &Node) -> Vec<String> {
    let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    taints.map(|taint| format!("{}:{}", taint.key.trim_start_matches("node.kubernetes.io/"), taint.effect)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_gets_its_range_and_its_taints_follow_its_conditions() {
    let cluster = Cluster::with_node().await;
    let cidr = cluster
        .until::<Node, _>("a range and no taint", |all| {
            let node = all.list().pop()?;
            let cidr = node.spec.as_ref()?.pod_cidr.clone()?;
            taints(&node).is_empty().then_some(cidr)
        })
        .await;
    assert_eq!(cidr, "10.244.0.0/24");
    let mut pod = template("web", "app:1");
    pod["metadata"]["name"] = "web".into();
    pod["spec"]["tolerations"] = json!([{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 0}]);
    cluster.create::<Pod>(Some("default"), pod).await;
    cluster
        .until::<Pod, _>("a ready pod", |all| {
            all.list().iter().any(|pod| client::corev1::pod::is_ready(pod)).then_some(())
        })
        .await;

    let status = json!({"status": {"conditions": [{"type": "Ready", "status": "False"}]}});
    let api: Api<Node> = Api::all(cluster.client.clone());
    api.patch_status("kaji", &PatchParams::default(), &Patch::Strategic(status)).await.expect("the node is not ready");
    cluster
        .until::<Node, _>("taints", |all| {
            let node = all.list().pop()?;
            (taints(&node) == ["not-ready:NoSchedule", "not-ready:NoExecute"]).then_some(())
        })
        .await;
    cluster
        .until::<Pod, _>("the pod to leave", |all| all.list().iter().all(|pod| pod.name_any() != "web").then_some(()))
        .await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leases_of_nodes_are_seen_apart_from_others() {
    let cluster = Cluster::start().await;
    for namespace in ["kube-node-lease", "default"] {
        let lease =
            json!({"metadata": {"name": "kaji"}, "spec": {"holderIdentity": "kaji", "leaseDurationSeconds": 40}});
        cluster.create::<Lease>(Some(namespace), lease).await;
    }
    let leases = cluster.informers.informer_where::<Lease>("metadata.namespace=kube-node-lease");
    leases.synced().await;
    let seen: Vec<String> = leases.lister().list().iter().map(|one| ObjectKey::of(&**one).to_string()).collect();
    assert_eq!(seen, ["kube-node-lease/kaji"]);
    cluster.stop().await;
}
