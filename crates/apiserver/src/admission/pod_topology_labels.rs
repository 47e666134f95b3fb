//! PodTopologyLabels: a pod that is bound to a node gets the node's zone and region as labels
//! (upstream: plugin/pkg/admission/podtopologylabels/admission.go, KEP-4742).

use apimachinery::{Object, StatusError};
use async_trait::async_trait;
use serde_json::{Value, json};

use super::{Handles, Operation, Plugin, Request};

const LABELS: [&str; 2] = ["topology.k8s.io/zone", "topology.k8s.io/region"];
const KUBERNETES_LABELS: [&str; 2] = ["topology.kubernetes.io/zone", "topology.kubernetes.io/region"];

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub struct PodTopologyLabels;

#[async_trait]
impl Plugin for PodTopologyLabels {
    fn name(&self) -> &'static str {
        "PodTopologyLabels"
    }

    fn handles(&self) -> Handles {
        Handles::NOTHING.admits(Handles::CREATES)
    }

    async fn admit(&self, request: &mut Request<'_>) -> Result<(), StatusError> {
        if request.operation != Operation::Create || !request.is_resource("", "pods") {
            return Ok(());
        }
        let Some(object) = &request.object else { return Ok(()) };
        let node = match request.subresource {
            "" => object.str_at(&["spec", "nodeName"]),
            "binding" if object.str_at(&["target", "kind"]) == Some("Node") => object.str_at(&["target", "name"]),
            _ => None,
        };
        let Some(node) = node.filter(|node| !node.is_empty()) else { return Ok(()) };
        let registry = request.cx.registry();
        let nodes = registry.row("", "v1", "nodes")?;
        let Some(node) = registry.find(&nodes, "", node).await? else { return Ok(()) };
        if let Some(object) = &mut request.object {
            copy_labels(&node, object);
        }
        Ok(())
    }
}

/// Copies the topology of the node; what the object has already stays.
fn copy_labels(node: &Object, object: &mut Object) {
    let is_topology = |key: &str| LABELS.contains(&key) || KUBERNETES_LABELS.contains(&key);
    let topology: Vec<(&str, &str)> = node.labels().filter(|(key, _)| is_topology(key)).collect();
    if topology.is_empty() {
        return;
    }
    let labels = object.metadata_mut().entry("labels").or_insert_with(|| json!({}));
    if labels.is_null() {
        *labels = json!({});
    }
    let Some(labels) = labels.as_object_mut() else { return };
    for (key, value) in topology {
        labels.entry(key).or_insert_with(|| Value::from(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nodes_topology_is_copied_and_nothing_overwritten() {
        let object = |labels: Value| Object::from_value(json!({"metadata": {"labels": labels}})).expect("an object");
        let node = object(json!({"topology.kubernetes.io/zone": "a", "topology.kubernetes.io/region": "r", "x": "y"}));
        let mut pod = object(json!({"topology.kubernetes.io/zone": "mine"}));
        copy_labels(&node, &mut pod);
        let labels: Vec<(&str, &str)> = pod.labels().collect();
        assert_eq!(labels, [("topology.kubernetes.io/region", "r"), ("topology.kubernetes.io/zone", "mine")]);
    }
}
