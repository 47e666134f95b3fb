//! What the scheduler knows about nodes and bound pods, kept current event by event.
//!
//! A pod is *assumed* on its node as soon as it was decided, until the API says the same (or the binding failed). A
//! [`Snapshot`] shares every `NodeInfo` with the cache; one that changes later is copied then, so taking a snapshot costs
//! only the nodes that changed since the one before.
//! upstream: pkg/scheduler/backend/cache/{cache,snapshot,node_tree}.go

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use client::labels::Labels;
use k8s_openapi::api::core::v1::Node;

use crate::node_info::NodeInfo;
use crate::pod_info::PodInfo;

struct Placed {
    node: String,
    assumed: bool,
}

/// The scheduler's view of the cluster.
#[derive(Default)]
pub struct Cache {
    nodes: HashMap<String, Arc<NodeInfo>>,
    pods: HashMap<String, Placed>,
    namespaces: Arc<HashMap<String, Labels>>,
    changed: HashSet<String>,
    order_changed: bool,
}

impl Cache {
    /// Adds a node or takes over its new state.
    pub fn set_node(&mut self, node: &Arc<Node>) {
        let name = node.metadata.name.clone().unwrap_or_default();
        let info = Arc::make_mut(self.nodes.entry(name.clone()).or_default());
        let zone_before = info.node.as_ref().map(|_| zone(info));
        info.set_node(node.clone());
        self.order_changed |= zone_before != Some(zone(info));
        self.changed.insert(name);
    }

    /// Forgets a node; its pods stay known until they go themselves.
    pub fn remove_node(&mut self, name: &str) {
        let Some(info) = self.nodes.get_mut(name) else { return };
        Arc::make_mut(info).node = None;
        if info.is_empty() {
            self.nodes.remove(name);
        }
        self.order_changed = true;
    }

    /// Takes over a pod that the API says is bound; an assumption about it ends.
    pub fn set_pod(&mut self, pod: &Arc<PodInfo>, node: &str) {
        self.remove_pod(&pod.uid);
        self.place(pod, node, false);
    }

    /// Counts a decided pod in before the API knows.
    pub fn assume(&mut self, pod: &Arc<PodInfo>, node: &str) {
        self.place(pod, node, true);
    }

    /// Ends an assumption that did not come true.
    pub fn forget(&mut self, uid: &str) {
        if self.is_assumed(uid) {
            self.remove_pod(uid);
        }
    }

    /// Whether a pod is decided or bound.
    pub fn is_placed(&self, uid: &str) -> bool {
        self.pods.contains_key(uid)
    }

    /// Whether a pod is decided, but not yet seen as bound.
    pub fn is_assumed(&self, uid: &str) -> bool {
        self.pods.get(uid).is_some_and(|placed| placed.assumed)
    }

    /// Counts a pod out.
    pub fn remove_pod(&mut self, uid: &str) {
        let Some(placed) = self.pods.remove(uid) else { return };
        if let Some(info) = self.nodes.get_mut(&placed.node) {
            Arc::make_mut(info).remove_pod(uid);
            if info.is_empty() {
                self.nodes.remove(&placed.node);
            }
        }
        self.changed.insert(placed.node);
    }

    /// Takes over a namespace's labels; `None` when it is gone.
    pub fn set_namespace(&mut self, name: &str, labels: Option<Labels>) {
        let namespaces = Arc::make_mut(&mut self.namespaces);
        match labels {
            Some(labels) => namespaces.insert(name.to_owned(), labels),
            None => namespaces.remove(name),
        };
    }

    fn place(&mut self, pod: &Arc<PodInfo>, node: &str, assumed: bool) {
        Arc::make_mut(self.nodes.entry(node.to_owned()).or_default()).add_pod(pod.clone());
        self.pods.insert(pod.uid.clone(), Placed { node: node.to_owned(), assumed });
        self.changed.insert(node.to_owned());
    }

    /// Brings `snapshot` up to date.
    pub fn update_snapshot(&mut self, snapshot: &mut Snapshot) {
        snapshot.namespaces = self.namespaces.clone();
        if std::mem::take(&mut self.order_changed) {
            self.changed.clear();
            *snapshot = Snapshot::new(self.nodes_by_zone(), self.namespaces.clone());
            return;
        }
        for name in self.changed.drain() {
            let at = snapshot.by_name.get(&name).copied();
            if let (Some(at), Some(info)) = (at, self.nodes.get(&name)) {
                snapshot.nodes[at] = info.clone();
            }
        }
    }

    /// The nodes in turn from each zone, so that the first ones looked at are spread.
    fn nodes_by_zone(&self) -> Vec<Arc<NodeInfo>> {
        let mut zones: BTreeMap<String, VecDeque<Arc<NodeInfo>>> = BTreeMap::new();
        let mut known: Vec<_> = self.nodes.iter().filter(|(_, info)| info.node.is_some()).collect();
        known.sort_by_key(|(name, _)| *name);
        for (_, info) in known {
            zones.entry(zone(info)).or_default().push_back(info.clone());
        }
        let mut order = Vec::new();
        while !zones.is_empty() {
            order.extend(zones.values_mut().filter_map(VecDeque::pop_front));
            zones.retain(|_, nodes| !nodes.is_empty());
        }
        order
    }
}

fn zone(info: &NodeInfo) -> String {
    let label = |key| info.label(key).unwrap_or_default();
    format!("{}:{}", label("topology.kubernetes.io/region"), label("topology.kubernetes.io/zone"))
}

/// The cluster at one moment.
#[derive(Clone, Default)]
pub struct Snapshot {
    /// The nodes, spread over the zones.
    pub nodes: Vec<Arc<NodeInfo>>,
    by_name: HashMap<String, usize>,
    namespaces: Arc<HashMap<String, Labels>>,
}

static NO_LABELS: Labels = Labels::new();

impl Snapshot {
    /// A snapshot of the given nodes and namespaces' labels.
    pub fn new(nodes: Vec<Arc<NodeInfo>>, namespaces: Arc<HashMap<String, Labels>>) -> Self {
        let by_name = nodes.iter().enumerate().map(|(at, info)| (info.name().to_owned(), at)).collect();
        Self { nodes, by_name, namespaces }
    }

    /// The node of a name.
    pub fn node(&self, name: &str) -> Option<&Arc<NodeInfo>> {
        self.by_name.get(name).and_then(|at| self.nodes.get(*at))
    }

    /// The labels of a namespace.
    pub fn namespace_labels(&self, name: &str) -> &Labels {
        self.namespaces.get(name).unwrap_or(&NO_LABELS)
    }

    /// The same cluster with one node as it would be.
    pub fn with_node(&self, info: NodeInfo) -> Self {
        let mut imagined = self.clone();
        if let Some(at) = self.by_name.get(info.name()) {
            imagined.nodes[*at] = Arc::new(info);
        }
        imagined
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{node, pod};

    fn info(value: serde_json::Value) -> Arc<PodInfo> {
        Arc::new(pod(value))
    }

    #[test]
    fn an_assumed_pod_counts_until_it_is_forgotten_or_confirmed() {
        let mut cache = Cache::default();
        let mut snapshot = Snapshot::default();
        cache.set_node(&node("a", "4"));
        let web = info(serde_json::json!({"name": "web", "cpu": "1"}));
        cache.assume(&web, "a");
        cache.update_snapshot(&mut snapshot);
        assert_eq!(snapshot.nodes[0].requested.milli_cpu, 1000);
        cache.forget(&web.uid);
        cache.update_snapshot(&mut snapshot);
        assert_eq!(snapshot.nodes[0].requested.milli_cpu, 0);
        cache.assume(&web, "a");
        cache.set_pod(&web, "a");
        cache.forget(&web.uid);
        cache.update_snapshot(&mut snapshot);
        assert_eq!(snapshot.nodes[0].requested.milli_cpu, 1000, "a confirmed pod is not forgotten");
    }

    #[test]
    fn a_snapshot_does_not_change_under_its_reader() {
        let mut cache = Cache::default();
        let mut snapshot = Snapshot::default();
        cache.set_node(&node("a", "4"));
        cache.update_snapshot(&mut snapshot);
        let before = snapshot.clone();
        cache.assume(&info(serde_json::json!({"name": "web", "cpu": "1"})), "a");
        cache.update_snapshot(&mut snapshot);
        assert_eq!((before.nodes[0].pods.len(), snapshot.nodes[0].pods.len()), (0, 1));
    }

    #[test]
    fn pods_of_an_unknown_node_are_counted_when_it_comes() {
        let mut cache = Cache::default();
        let mut snapshot = Snapshot::default();
        cache.set_pod(&info(serde_json::json!({"name": "web", "cpu": "1"})), "a");
        cache.update_snapshot(&mut snapshot);
        assert!(snapshot.nodes.is_empty());
        cache.set_node(&node("a", "4"));
        cache.update_snapshot(&mut snapshot);
        assert_eq!(snapshot.nodes[0].requested.milli_cpu, 1000);
    }
}
