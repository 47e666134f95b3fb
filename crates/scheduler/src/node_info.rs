//! A node with the sums over its pods that the filters and scores ask for.
//!
//! upstream: pkg/scheduler/framework/types.go (`NodeInfo`).

use std::collections::HashMap;
use std::sync::Arc;

use client::labels::Labels;
use k8s_openapi::api::core::v1::{Node, Taint};

use crate::pod_info::PodInfo;
use crate::resources::Resources;

/// A node and what runs on it.
#[derive(Clone, Debug, Default)]
pub struct NodeInfo {
    /// The node; `None` while pods are known whose node is not (yet, or any more).
    pub node: Option<Arc<Node>>,
    /// The pods bound, or assumed to be bound, to it.
    pub pods: Vec<Arc<PodInfo>>,
    /// The sum of the pods' requests.
    pub requested: Resources,
    /// The sum of the pods' requests with assumptions, for scoring.
    pub scored: Resources,
    /// What the node offers to pods.
    pub allocatable: Resources,
    /// Sizes of the images on the node, by every name.
    pub images: HashMap<String, i64>,
}

static NO_LABELS: Labels = Labels::new();

impl NodeInfo {
    /// The node's name.
    pub fn name(&self) -> &str {
        self.node.as_ref().and_then(|node| node.metadata.name.as_deref()).unwrap_or_default()
    }

    /// The node's labels.
    pub fn labels(&self) -> &Labels {
        self.node.as_ref().and_then(|node| node.metadata.labels.as_ref()).unwrap_or(&NO_LABELS)
    }

    /// The value of one label.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels().get(key).map(String::as_str)
    }

    /// The node's taints.
    pub fn taints(&self) -> &[Taint] {
        let spec = self.node.as_ref().and_then(|node| node.spec.as_ref());
        spec.and_then(|spec| spec.taints.as_deref()).unwrap_or_default()
    }

    /// Takes over the node's own facts.
    pub fn set_node(&mut self, node: Arc<Node>) {
        let status = node.status.as_ref();
        self.allocatable = status.and_then(|status| status.allocatable.as_ref()).map(Resources::of).unwrap_or_default();
        let images = status.and_then(|status| status.images.as_ref()).into_iter().flatten();
        let named = images.flat_map(|image| {
            let size = image.size_bytes.unwrap_or_default();
            image.names.iter().flatten().map(move |name| (name.clone(), size))
        });
        self.images = named.collect();
        self.node = Some(node);
    }

    /// Counts a pod in.
    pub fn add_pod(&mut self, pod: Arc<PodInfo>) {
        self.requested.add(&pod.requests);
        self.scored.add(&pod.scored);
        self.pods.push(pod);
    }

    /// Counts a pod out.
    pub fn remove_pod(&mut self, uid: &str) -> Option<Arc<PodInfo>> {
        let at = self.pods.iter().position(|pod| pod.uid == uid)?;
        let pod = self.pods.swap_remove(at);
        self.requested.subtract(&pod.requests);
        self.scored.subtract(&pod.scored);
        Some(pod)
    }

    /// Whether nothing is known any more.
    pub fn is_empty(&self) -> bool {
        self.node.is_none() && self.pods.is_empty()
    }
}
