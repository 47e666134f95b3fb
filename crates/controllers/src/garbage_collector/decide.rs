//! What becomes of an object, given its owners. Pure.
//!
//! upstream: pkg/controller/garbagecollector/garbagecollector.go `attemptToDeleteItem`

use super::graph::{FOREGROUND, Graph, Identity, Node, ORPHAN};

/// What is known of an owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// It is there.
    Solid,
    /// It is there, and waits for its dependents to go.
    Waiting,
    /// It is not there.
    Dangling,
    /// The graph cannot tell: the API must be asked.
    Unknown,
}

/// How the dependents of a deleted object fare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// They go later.
    Background,
    /// They go first.
    Foreground,
    /// They stay.
    Orphan,
}

/// What to do with an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing.
    Keep,
    /// It stays, but these owners are no more: their references go.
    Unreference(Vec<String>),
    /// It goes. `unblock` tells to first stop it from holding up its owners, which it would for ever in a circle.
    Delete {
        /// How its dependents fare.
        propagation: Propagation,
        /// Whether its references must stop blocking.
        unblock: bool,
    },
}

/// What the graph knows of an owner.
pub fn owner(graph: &Graph, uid: &str) -> Owner {
    match graph.get(uid) {
        Some(node) if matches!(node.identity, Identity::Virtual(_)) => Owner::Unknown,
        Some(node) if node.waits_for_dependents() => Owner::Waiting,
        Some(_) => Owner::Solid,
        None => Owner::Unknown,
    }
}

/// Decides about an object whose owners are known.
pub fn decide(graph: &Graph, node: &Node, owners: &[(String, Owner)]) -> Decision {
    let of = |wanted: Owner| owners.iter().filter(move |(_, owner)| *owner == wanted).map(|(uid, _)| uid.clone());
    if owners.is_empty() {
        return Decision::Keep;
    }
    if of(Owner::Solid).next().is_some() {
        let others: Vec<String> = of(Owner::Dangling).chain(of(Owner::Waiting)).collect();
        return if others.is_empty() { Decision::Keep } else { Decision::Unreference(others) };
    }
    if of(Owner::Waiting).next().is_some() && !node.dependents.is_empty() {
        let unblock = graph.dependents(node).any(|(_, dependent)| dependent.waits_for_dependents());
        return Decision::Delete { propagation: Propagation::Foreground, unblock };
    }
    let has = |finalizer: &str| node.finalizers.iter().any(|one| one == finalizer);
    let propagation = if has(ORPHAN) {
        Propagation::Orphan
    } else if has(FOREGROUND) {
        Propagation::Foreground
    } else {
        Propagation::Background
    };
    Decision::Delete { propagation, unblock: false }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::discovery::ServedResource;
    use crate::garbage_collector::graph::{Location, Work};
    use kube::core::ApiResource;
    use serde_json::{Value, json};

    fn see(graph: &mut Graph, uid: &str, owners: &[&str], more: Value) -> Vec<Work> {
        let references: Vec<Value> = owners
            .iter()
            .map(|uid| {
                json!({
            "apiVersion": "v1", "kind": "ConfigMap", "name": uid, "uid": uid, "blockOwnerDeletion": true})
            })
            .collect();
        let mut meta = more;
        meta["uid"] = uid.into();
        meta["ownerReferences"] = references.into();
        let resource = ApiResource {
            group: String::new(),
            version: "v1".into(),
            api_version: "v1".into(),
            kind: "ConfigMap".into(),
            plural: "configmaps".into(),
        };
        let served = Arc::new(ServedResource { resource, namespaced: true, verbs: vec![] });
        let location = Location { served, namespace: "default".into(), name: uid.into() };
        graph.observe(location, &serde_json::from_value(meta).expect("metadata"))
    }

    fn decided(graph: &Graph, uid: &str) -> Decision {
        let node = graph.get(uid).expect("a node");
        let owners: Vec<_> = node.owners.iter().map(|one| (one.uid.clone(), owner(graph, &one.uid))).collect();
        decide(graph, node, &owners)
    }

    const LEAVING: &str = "2026-01-01T00:00:00Z";

    #[test]
    fn an_owner_seen_later_is_no_longer_virtual() {
        let mut graph = Graph::default();
        let work = see(&mut graph, "pod", &["set"], json!({}));
        assert_eq!(work, [Work::Delete("pod".into()), Work::Delete("set".into())]);
        assert_eq!(owner(&graph, "set"), Owner::Unknown);
        see(&mut graph, "set", &[], json!({}));
        assert_eq!(decided(&graph, "pod"), Decision::Keep);
    }

    #[test]
    fn dependents_are_looked_at_when_their_owner_goes() {
        let mut graph = Graph::default();
        see(&mut graph, "set", &[], json!({}));
        see(&mut graph, "other", &[], json!({}));
        see(&mut graph, "pod", &["set"], json!({}));
        see(&mut graph, "shared", &["set", "other"], json!({}));
        let mut work = graph.forget("set");
        work.sort_by_key(|one| format!("{one}"));
        assert_eq!(work, [Work::Delete("pod".into()), Work::Delete("shared".into())]);
        let owners =
            |list: &[(&str, Owner)]| list.iter().map(|(uid, owner)| ((*uid).to_owned(), *owner)).collect::<Vec<_>>();
        let pod = graph.get("pod").expect("a node");
        assert_eq!(
            decide(&graph, pod, &owners(&[("set", Owner::Dangling)])),
            Decision::Delete { propagation: Propagation::Background, unblock: false }
        );
        assert_eq!(
            decide(&graph, pod, &owners(&[("set", Owner::Dangling), ("other", Owner::Solid)])),
            Decision::Unreference(vec!["set".into()])
        );
    }

    #[test]
    fn foreground_deletion_takes_the_dependents_first() {
        let mut graph = Graph::default();
        see(&mut graph, "deployment", &[], json!({}));
        see(&mut graph, "set", &["deployment"], json!({}));
        see(&mut graph, "pod", &["set"], json!({}));
        let leaving = json!({"deletionTimestamp": LEAVING, "finalizers": [FOREGROUND]});
        let work = see(&mut graph, "deployment", &[], leaving);
        assert_eq!(work, [Work::Delete("set".into()), Work::Delete("deployment".into())]);
        assert_eq!(decided(&graph, "set"), Decision::Delete { propagation: Propagation::Foreground, unblock: false });
        assert!(graph.get("set").expect("a node").blocks("deployment"));
        assert_eq!(
            graph.forget("set").last(),
            Some(&Work::Delete("deployment".into())),
            "the owner is looked at again"
        );
    }

    #[test]
    fn orphaning_is_work_of_its_own() {
        let mut graph = Graph::default();
        see(&mut graph, "set", &[], json!({}));
        see(&mut graph, "pod", &["set"], json!({}));
        let work = see(&mut graph, "set", &[], json!({"deletionTimestamp": LEAVING, "finalizers": [ORPHAN]}));
        assert_eq!(work, [Work::Orphan("set".into())]);
    }
}
