//! The scheduler's state, under one lock.

use std::collections::HashMap;
use std::sync::Arc;

use crate::cache::Cache;
use crate::decide::Nominated;
use crate::pod_info::PodInfo;
use crate::queue::{Delays, Queue};

/// What is known and who waits.
pub(super) struct Core {
    pub(super) cache: Cache,
    pub(super) queue: Queue,
    pub(super) nominated: Nominations,
}

impl Core {
    pub(super) fn new(delays: Delays) -> Self {
        Self { cache: Cache::default(), queue: Queue::new(delays), nominated: Nominations::default() }
    }
}

/// The pods for which room was made, by node (upstream: backend/queue/nominator.go).
#[derive(Default)]
pub(super) struct Nominations {
    by_node: Arc<Nominated>,
    node_of: HashMap<String, String>,
}

impl Nominations {
    pub(super) fn by_node(&self) -> &Arc<Nominated> {
        &self.by_node
    }

    /// Notes where room was made for a pod; `None` ends it.
    pub(super) fn set(&mut self, pod: &Arc<PodInfo>, node: Option<&str>) {
        if self.node_of.get(&pod.uid).map(String::as_str) == node {
            return;
        }
        let by_node = Arc::make_mut(&mut self.by_node);
        if let Some(old) = self.node_of.remove(&pod.uid)
            && let Some(pods) = by_node.get_mut(&old)
        {
            pods.retain(|other| other.uid != pod.uid);
            if pods.is_empty() {
                by_node.remove(&old);
            }
        }
        if let Some(node) = node {
            by_node.entry(node.to_owned()).or_default().push(pod.clone());
            self.node_of.insert(pod.uid.clone(), node.to_owned());
        }
    }
}
