//! Registering the node and keeping its status (upstream: pkg/kubelet/kubelet_node_status.go).

use std::sync::Arc;
use std::time::Duration;

use client::{ApiError, EventType};
use component_base::{Backoff, now};
use k8s_openapi::api::core::v1::{Node, NodeStatus};
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::json;

use super::machine::MachineInfo;
use super::status::{self, Facts, Health};
use crate::context::Context;

/// A status that did not change is written this often.
const HEARTBEAT: Duration = Duration::from_secs(300);

/// Keeps the Node object.
pub struct Registrar {
    cx: Arc<Context>,
}

impl Registrar {
    /// A registrar for this node.
    pub fn new(cx: Arc<Context>) -> Self {
        Self { cx }
    }

    /// Creates the Node, or adopts the one there is, until it succeeds.
    pub async fn register(&self) -> Node {
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(7));
        loop {
            match self.try_register().await {
                Ok(node) => return node,
                Err(err) => tracing::warn!(error = %err, "registering the node failed; trying again"),
            }
            tokio::time::sleep(backoff.next_delay()).await;
        }
    }

    fn api(&self) -> Api<Node> {
        Api::all(self.cx.client.clone())
    }

    async fn try_register(&self) -> Result<Node, kube::Error> {
        let config = &self.cx.config;
        let wanted = self.with_facts(|facts| status::node(config, facts, now())).await;
        let created = match self.api().create(&PostParams::default(), &wanted).await {
            Ok(node) => node,
            Err(err) if err.is_already_exists() || err.is_conflict() => self.api().get(&config.node_name).await?,
            Err(err) => return Err(err),
        };
        let labels = status::labels(config, &self.cx.machine);
        let known = created.metadata.labels.clone().unwrap_or_default();
        let missing: serde_json::Map<_, _> = labels
            .into_iter()
            .filter(|(key, value)| known.get(key) != Some(value))
            .map(|(key, value)| (key, value.into()))
            .collect();
        if !missing.is_empty() {
            let patch = Patch::Merge(json!({"metadata": {"labels": missing}}));
            self.api().patch(&config.node_name, &PatchParams::default(), &patch).await?;
        }
        // Creation may drop the status; writing it is what makes the node Ready.
        self.write(&created.status.clone().unwrap_or_default()).await?;
        Ok(created)
    }

    async fn with_facts<T>(&self, make: impl FnOnce(&Facts<'_>) -> T) -> T {
        let images = self.cx.images.list_images().await;
        let mut health = Health::default();
        if let Err(err) = &images {
            health.problems.push(format!("container runtime is down: {err}"));
        }
        let images = images.unwrap_or_default();
        let machine: &MachineInfo = &self.cx.machine;
        let runtime_version = self.cx.runtime.version();
        make(&Facts { machine, runtime_version, images: &images, health: &health })
    }

    /// Writes the status when it differs from `old`; answers what the API has then.
    async fn write(&self, old: &NodeStatus) -> Result<NodeStatus, kube::Error> {
        let config = &self.cx.config;
        let new = self.with_facts(|facts| status::status(config, facts, old, now())).await;
        let patch = Patch::Strategic(json!({"status": new}));
        let node = self.api().patch_status(&config.node_name, &PatchParams::default(), &patch).await?;
        Ok(node.status.unwrap_or(new))
    }

    /// Keeps the status current.
    pub async fn run(self: Arc<Self>, registered: Node) {
        for (reason, text) in [
            ("Starting", "Starting kubelet.".to_owned()),
            ("NodeReady", format!("Node {} status is now: NodeReady", self.cx.config.node_name)),
        ] {
            self.cx.recorder.event(&registered, EventType::Normal, reason, text);
        }
        let mut old = registered.status.unwrap_or_default();
        loop {
            let heartbeat = tokio::select! {
                () = self.cx.node_changed.notified() => false,
                () = tokio::time::sleep(HEARTBEAT) => true,
            };
            let config = &self.cx.config;
            let new = self.with_facts(|facts| status::status(config, facts, &old, now())).await;
            if !heartbeat && !status::differs(&old, &new) {
                continue;
            }
            match self.write(&old).await {
                Ok(written) => old = written,
                Err(err) => {
                    tracing::warn!(error = %err, "writing the node's status failed; trying again");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    self.cx.node_changed.notify_one();
                }
            }
        }
    }
}
