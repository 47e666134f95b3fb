//! What a plugin is: it may hold nodes back, rank them, and say which events can help a pod it turned away.
//!
//! For each pod a plugin is asked once to prepare (upstream's PreFilter and PreScore); it answers with a closure over
//! what it computed, which is then called node by node. Plugins are pure: all they know is in the [`Cycle`].
//! upstream: pkg/scheduler/framework/interface.go

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim};

use crate::cache::Snapshot;
use crate::node_info::NodeInfo;
use crate::pod_info::PodInfo;

/// The best score a plugin gives a node.
pub const MAX_NODE_SCORE: i64 = 100;

/// One pod being decided on, and the cluster at that moment.
pub struct Cycle<'a> {
    /// The pod.
    pub pod: &'a PodInfo,
    /// The cluster.
    pub snapshot: &'a Snapshot,
}

/// Why a node is no place for a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The plugin that says so.
    pub plugin: &'static str,
    /// In upstream's words; each is counted over the nodes in the event.
    pub reasons: Vec<String>,
    /// Whether removing pods from the node could help (upstream: Unschedulable against UnschedulableAndUnresolvable).
    pub resolvable: bool,
}

impl Rejection {
    /// A rejection that removing pods could lift.
    pub fn resolvable(plugin: &'static str, reason: impl Into<String>) -> Self {
        Self { plugin, reasons: vec![reason.into()], resolvable: true }
    }

    /// A rejection that no preemption lifts.
    pub fn unresolvable(plugin: &'static str, reason: impl Into<String>) -> Self {
        Self { plugin, reasons: vec![reason.into()], resolvable: false }
    }
}

type NodeFilter<'a> = Box<dyn Fn(&NodeInfo) -> Result<(), Rejection> + Send + Sync + 'a>;
type NodeScore<'a> = Box<dyn Fn(&NodeInfo) -> i64 + Send + Sync + 'a>;

/// A plugin's part in deciding which nodes are possible for a pod.
pub enum Filter<'a> {
    /// The pod asks for nothing that concerns this plugin.
    Skip,
    /// No node is possible, for this reason.
    RejectAll(Rejection),
    /// Ask for each node.
    Each(NodeFilter<'a>),
}

impl<'a> Filter<'a> {
    /// A check of each node.
    pub fn each(check: impl Fn(&NodeInfo) -> Result<(), Rejection> + Send + Sync + 'a) -> Self {
        Self::Each(Box::new(check))
    }
}

/// A plugin's part in ranking the possible nodes.
pub enum Score<'a> {
    /// The plugin has no opinion on this pod.
    Skip,
    /// A raw score for each node, brought into 0..=100 by `normalize` afterwards.
    Each(NodeScore<'a>, Normalize),
}

impl<'a> Score<'a> {
    /// A score of each node.
    pub fn each(normalize: Normalize, score: impl Fn(&NodeInfo) -> i64 + Send + Sync + 'a) -> Self {
        Self::Each(Box::new(score), normalize)
    }
}

/// How raw scores become comparable.
#[derive(Clone, Copy)]
pub enum Normalize {
    /// They are already.
    None,
    /// In proportion to the highest (upstream: `DefaultNormalizeScore`).
    ByMax,
    /// In proportion to the highest, and the lowest is best.
    ByMaxReversed,
    /// As the plugin says.
    With(fn(&mut [i64])),
}

impl Normalize {
    /// Brings raw scores into 0..=100.
    pub fn apply(self, scores: &mut [i64]) {
        let highest = scores.iter().copied().max().unwrap_or(0);
        match self {
            Self::None => {}
            Self::With(normalize) => normalize(scores),
            Self::ByMax if highest == 0 => {}
            Self::ByMaxReversed if highest == 0 => scores.fill(MAX_NODE_SCORE),
            Self::ByMax => scores.iter_mut().for_each(|score| *score = *score * MAX_NODE_SCORE / highest),
            Self::ByMaxReversed => {
                scores.iter_mut().for_each(|score| *score = MAX_NODE_SCORE - *score * MAX_NODE_SCORE / highest);
            }
        }
    }
}

/// A change of the cluster that may make a waiting pod schedulable.
#[derive(Clone, Debug)]
pub enum ClusterEvent {
    /// A node came.
    NodeAdded(Arc<Node>),
    /// A node changed.
    NodeUpdated {
        /// Before.
        old: Arc<Node>,
        /// After.
        new: Arc<Node>,
    },
    /// A node went.
    NodeDeleted(Arc<Node>),
    /// A pod was bound.
    PodBound(Arc<PodInfo>),
    /// A bound pod changed.
    BoundPodUpdated {
        /// Before.
        old: Arc<PodInfo>,
        /// After.
        new: Arc<PodInfo>,
    },
    /// A bound pod went or ended: it holds nothing any more.
    BoundPodGone(Arc<PodInfo>),
    /// A claim came or changed.
    ClaimChanged(Arc<PersistentVolumeClaim>),
    /// A volume came or changed.
    VolumeChanged(Arc<PersistentVolume>),
    /// A namespace's labels changed.
    NamespaceChanged,
}

impl ClusterEvent {
    /// The node that came or changed.
    pub fn new_node(&self) -> Option<&Arc<Node>> {
        match self {
            Self::NodeAdded(node) | Self::NodeUpdated { new: node, .. } => Some(node),
            _ => None,
        }
    }
}

/// One concern of scheduling.
pub trait Plugin: Send + Sync {
    /// Upstream's name.
    fn name(&self) -> &'static str;

    /// Prepares to check nodes for a pod.
    fn filter<'a>(&'a self, _cycle: &'a Cycle<'a>) -> Filter<'a> {
        Filter::Skip
    }

    /// Prepares to rank the `feasible` nodes for a pod.
    fn score<'a>(&'a self, _cycle: &'a Cycle<'a>, _feasible: &'a [Arc<NodeInfo>]) -> Score<'a> {
        Score::Skip
    }

    /// Whether `event` may let a pod pass that this plugin turned away (upstream: queueing hints).
    fn helped_by(&self, _event: &ClusterEvent, _pod: &PodInfo) -> bool {
        false
    }
}

/// A plugin and how much its scores count.
pub struct Registered {
    /// The plugin.
    pub plugin: Box<dyn Plugin>,
    /// The factor of its scores.
    pub weight: i64,
}

/// The plugins in their order.
pub struct Framework {
    plugins: Vec<Registered>,
}

impl Framework {
    /// A framework of these plugins; filters run in this order.
    pub fn new(plugins: Vec<Registered>) -> Self {
        Self { plugins }
    }

    /// The plugins in their order.
    pub fn plugins(&self) -> &[Registered] {
        &self.plugins
    }

    /// Whether `event` may help a pod that the named plugins turned away.
    pub fn helps(&self, event: &ClusterEvent, pod: &PodInfo, rejected_by: &[&'static str]) -> bool {
        // Turned away by nobody in particular (an error): any event is worth a try.
        rejected_by.is_empty()
            || self
                .plugins
                .iter()
                .any(|one| rejected_by.contains(&one.plugin.name()) && one.plugin.helped_by(event, pod))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_become_comparable() {
        for (normalize, raw, expected) in [
            (Normalize::ByMax, vec![0, 5, 10], vec![0, 50, 100]),
            (Normalize::ByMax, vec![0, 0], vec![0, 0]),
            (Normalize::ByMaxReversed, vec![0, 5, 10], vec![100, 50, 0]),
            (Normalize::ByMaxReversed, vec![0, 0], vec![100, 100]),
        ] {
            let mut scores = raw.clone();
            normalize.apply(&mut scores);
            assert_eq!(scores, expected, "{raw:?}");
        }
    }
}
