//! Each node gets its share of the pods' address range (upstream: pkg/controller/nodeipam/ipam/range_allocator.go).

use std::collections::BTreeSet;
use std::sync::Arc;

use client::controller::{Requeue, run_workers};
use client::{ApiError, Event, EventType, Lister, ObjectKey, WorkQueue};
use ipnet::IpNet;
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::{Patch, PatchParams};
use parking_lot::Mutex;
use serde_json::json;

use crate::context::Context;

/// Why a pass did not complete.
#[derive(Debug, thiserror::Error)]
enum SyncError {
    #[error("give node {node} its range: {err}")]
    Patch { node: String, err: kube::Error },
    #[error("no range is left for node {node}")]
    Exhausted { node: String },
}

struct Allocator {
    cx: Context,
    cluster: IpNet,
    mask: u8,
    nodes: Lister<Node>,
    /// Given, though the cache may not show it yet.
    given: Mutex<BTreeSet<IpNet>>,
}

/// Starts the controller.
pub async fn run(cx: Context, cluster: IpNet, mask: u8) {
    let nodes = cx.informer::<Node>();
    let scope = cx.scope.clone();
    let allocator = Arc::new(Allocator { cx, cluster, mask, nodes: nodes.lister(), given: Mutex::default() });
    let queue: WorkQueue<String> = WorkQueue::new();
    let (this, waiting) = (allocator.clone(), queue.clone());
    nodes.on_event(move |event| {
        let node = event.object();
        match (event, cidr_of(node)) {
            (Event::Deleted(_), Some(cidr)) => {
                this.given.lock().remove(&cidr);
            }
            (Event::Deleted(_), None) => {}
            (_, Some(cidr)) => {
                this.given.lock().insert(cidr);
            }
            (_, None) => waiting.add(node.metadata.name.clone().unwrap_or_default()),
        }
    });
    nodes.synced().await;
    run_workers("node-ipam", &scope, &queue, 1, move |node: String| {
        let this = allocator.clone();
        async move { this.sync(node).await }
    });
}

fn cidr_of(node: &Node) -> Option<IpNet> {
    node.spec.as_ref()?.pod_cidr.as_deref()?.parse().ok()
}

/// The lowest subnet of `cluster` that does not overlap any given one.
fn next_free(cluster: IpNet, mask: u8, given: &BTreeSet<IpNet>) -> Option<IpNet> {
    let overlaps = |a: &IpNet, b: &IpNet| a.contains(b) || b.contains(a);
    cluster.subnets(mask).ok()?.find(|subnet| !given.iter().any(|taken| overlaps(taken, subnet)))
}

impl Allocator {
    async fn sync(&self, name: String) -> Result<Requeue, SyncError> {
        let Some(node) = self.nodes.get(&ObjectKey::new("", name.clone())) else { return Ok(Requeue::No) };
        if cidr_of(&node).is_some() {
            return Ok(Requeue::No);
        }
        let cidr = {
            let mut given = self.given.lock();
            let free = next_free(self.cluster, self.mask, &given);
            given.extend(free);
            free
        };
        let Some(cidr) = cidr else {
            let message = "Node status is now: CIDRNotAvailable";
            self.cx.recorder.event(&*node, EventType::Normal, "CIDRNotAvailable", message);
            return Err(SyncError::Exhausted { node: name });
        };
        let patch = json!({"spec": {"podCIDR": cidr.to_string(), "podCIDRs": [cidr.to_string()]}});
        let api: Api<Node> = Api::all(self.cx.client.clone());
        match api.patch(&name, &PatchParams::default(), &Patch::Strategic(patch)).await {
            Ok(_) => Ok(Requeue::No),
            Err(err) => {
                self.given.lock().remove(&cidr);
                if err.is_not_found() { Ok(Requeue::No) } else { Err(SyncError::Patch { node: name, err }) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_free_share() {
        let net = |text: &str| text.parse::<IpNet>().expect("a range");
        let mut given = BTreeSet::new();
        let cluster = net("10.244.0.0/16");
        assert_eq!(next_free(cluster, 24, &given), Some(net("10.244.0.0/24")));
        given.extend([net("10.244.0.0/24"), net("10.244.1.0/24"), net("10.244.3.0/24")]);
        assert_eq!(next_free(cluster, 24, &given), Some(net("10.244.2.0/24")));
        given.insert(net("10.244.2.0/23"));
        assert_eq!(next_free(cluster, 24, &given), Some(net("10.244.4.0/24")));
        assert_eq!(next_free(net("10.0.0.0/24"), 24, &[net("10.0.0.0/24")].into()), None);
    }
}
