//! Short forms of nodes and pods for this crate's tables.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::{Value, json};

use crate::cache::{Cache, Snapshot};
use crate::pod_info::PodInfo;

/// A node with so many cores, 8Gi and room for 110 pods; its labels are its hostname and zone `z-<first letter>`.
pub fn node(name: &str, cpu: &str) -> Arc<Node> {
    node_from(json!({
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "status": {"allocatable": {"cpu": cpu, "memory": "8Gi", "pods": "110"}},
    }))
}

/// A node from its JSON.
pub fn node_from(value: Value) -> Arc<Node> {
    Arc::new(serde_json::from_value(value).expect("a node"))
}

/// A pod from `name`, `namespace`, `labels`, `cpu`, `memory`, `node`, and whatever else belongs into its spec.
pub fn pod(mut short: Value) -> PodInfo {
    let mut take = |key: &str| short.as_object_mut().and_then(|fields| fields.remove(key));
    let name = take("name").unwrap_or_else(|| "pod".into());
    let namespace = take("namespace").unwrap_or_else(|| "default".into());
    let labels = take("labels").unwrap_or_else(|| json!({}));
    let node_name = take("node");
    let status = take("status").unwrap_or_else(|| json!({}));
    let mut requests = json!({});
    for resource in ["cpu", "memory"] {
        if let Some(amount) = take(resource) {
            requests[resource] = amount;
        }
    }
    let ports = take("ports").unwrap_or_else(|| json!([]));
    let mut spec = short;
    spec["containers"] =
        json!([{"name": "main", "image": "app:1", "ports": ports, "resources": {"requests": requests}}]);
    if let Some(node_name) = node_name {
        spec["nodeName"] = node_name;
    }
    let uid = format!("uid-of-{}", name.as_str().unwrap_or_default());
    let value = json!({
        "metadata": {"name": name, "namespace": namespace, "labels": labels, "uid": uid},
        "spec": spec,
        "status": status,
    });
    let pod: Pod = serde_json::from_value(value).expect("a pod");
    PodInfo::new(Arc::new(pod))
}

/// A snapshot of nodes with the pods that name them.
pub fn snapshot(nodes: &[Arc<Node>], pods: Vec<PodInfo>) -> Snapshot {
    let mut cache = Cache::default();
    nodes.iter().for_each(|node| cache.set_node(node));
    for pod in pods {
        let node = pod.pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).expect("a bound pod");
        cache.set_pod(&Arc::new(pod), &node);
    }
    let mut snapshot = Snapshot::default();
    cache.update_snapshot(&mut snapshot);
    snapshot
}

/// A cluster without volumes.
pub struct NoVolumes;

impl crate::plugins::Volumes for NoVolumes {
    fn claim(&self, _: &client::ObjectKey) -> Option<Arc<k8s_openapi::api::core::v1::PersistentVolumeClaim>> {
        None
    }

    fn volume(&self, _: &str) -> Option<Arc<k8s_openapi::api::core::v1::PersistentVolume>> {
        None
    }
}
