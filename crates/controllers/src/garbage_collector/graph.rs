//! Who owns whom, by uid. Pure.
//!
//! An owner that was named but not seen stands in the graph as *virtual* until it is seen or found absent.
//! upstream: pkg/controller/garbagecollector/{graph,graph_builder}.go

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use crate::discovery::ServedResource;

/// Holds an owner until its dependents are gone.
pub const FOREGROUND: &str = "foregroundDeletion";
/// Holds an owner until its dependents are let go.
pub const ORPHAN: &str = "orphan";

/// Where an object is in the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// Its kind.
    pub served: Arc<ServedResource>,
    /// Its namespace, or "".
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// How an owner was named by the first dependent that did.
#[derive(Clone, Debug, PartialEq)]
pub struct Named {
    /// As in the owner reference.
    pub reference: OwnerReference,
    /// The dependent's namespace, which is the owner's too if it has one.
    pub namespace: String,
}

/// Whether an object was seen.
#[derive(Clone, Debug, PartialEq)]
pub enum Identity {
    /// By a watch.
    Seen(Location),
    /// Only as somebody's owner.
    Virtual(Named),
}

/// An object.
#[derive(Clone, Debug)]
pub struct Node {
    /// What is known of it.
    pub identity: Identity,
    /// Its owners.
    pub owners: Vec<OwnerReference>,
    /// Its finalizers.
    pub finalizers: Vec<String>,
    /// The version this describes.
    pub resource_version: String,
    /// Whether its deletion has begun.
    pub deleting: bool,
    /// Those that name it as owner.
    pub dependents: HashSet<String>,
}

impl Node {
    /// Whether it goes when its dependents have gone.
    pub fn waits_for_dependents(&self) -> bool {
        self.deleting && self.finalizers.iter().any(|one| one == FOREGROUND)
    }

    fn waits_for_orphans(&self) -> bool {
        self.deleting && self.finalizers.iter().any(|one| one == ORPHAN)
    }

    /// Whether it holds up the deletion of an owner.
    pub fn blocks(&self, owner: &str) -> bool {
        self.owners.iter().any(|one| one.uid == owner && one.block_owner_deletion == Some(true))
    }
}

/// Something to look at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Work {
    /// Whether this object must go.
    Delete(String),
    /// The dependents of this object must be let go.
    Orphan(String),
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delete(uid) => write!(f, "delete {uid}"),
            Self::Orphan(uid) => write!(f, "orphan dependents of {uid}"),
        }
    }
}

/// All objects.
#[derive(Debug, Default)]
pub struct Graph {
    nodes: HashMap<String, Node>,
}

impl Graph {
    /// The object of a uid.
    pub fn get(&self, uid: &str) -> Option<&Node> {
        self.nodes.get(uid)
    }

    /// The dependents of an object.
    pub fn dependents<'a>(&'a self, node: &'a Node) -> impl Iterator<Item = (&'a String, &'a Node)> {
        node.dependents.iter().filter_map(|uid| self.nodes.get_key_value(uid))
    }

    /// An object came or changed.
    pub fn observe(&mut self, location: Location, meta: &ObjectMeta) -> Vec<Work> {
        let Some(uid) = meta.uid.clone() else { return Vec::new() };
        let namespace = location.namespace.clone();
        let owners = meta.owner_references.clone().unwrap_or_default();
        let old = self.nodes.remove(&uid);
        let dependents = old.as_ref().map(|old| old.dependents.clone()).unwrap_or_default();
        let node = Node::new(Identity::Seen(location), dependents).updated(meta);
        let mut work = Vec::new();
        if node.waits_for_orphans() && !old.as_ref().is_some_and(Node::waits_for_orphans) {
            work.push(Work::Orphan(uid.clone()));
        }
        if node.waits_for_dependents() && !old.as_ref().is_some_and(Node::waits_for_dependents) {
            work.extend(node.dependents.iter().cloned().map(Work::Delete));
            work.push(Work::Delete(uid.clone()));
        }
        // A dependent that no longer holds its owner up may have been the last.
        let before = old.as_ref().map(|old| old.owners.clone()).unwrap_or_default();
        for owner in before.iter().filter(|owner| owner.block_owner_deletion == Some(true)) {
            if !node.blocks(&owner.uid) && self.nodes.get(&owner.uid).is_some_and(Node::waits_for_dependents) {
                work.push(Work::Delete(owner.uid.clone()));
            }
        }
        if !owners.is_empty() && owners != before {
            work.push(Work::Delete(uid.clone()));
        }
        self.nodes.insert(uid.clone(), node);
        self.unlink(&uid, before.iter().filter(|old| !owners.iter().any(|new| new.uid == old.uid)));
        work.extend(self.link(&uid, &namespace, &owners));
        work
    }

    /// An object is gone, or was found never to have been.
    pub fn forget(&mut self, uid: &str) -> Vec<Work> {
        let Some(node) = self.nodes.remove(uid) else { return Vec::new() };
        self.unlink(uid, node.owners.iter());
        let mut work: Vec<Work> = node.dependents.iter().cloned().map(Work::Delete).collect();
        let waiting =
            node.owners.iter().filter(|owner| self.nodes.get(&owner.uid).is_some_and(Node::waits_for_dependents));
        work.extend(waiting.map(|owner| Work::Delete(owner.uid.clone())));
        // It may still be named by those who are left: then it stands for something to be looked for again.
        if let Some((dependent, reference)) = self.naming(uid, &node) {
            let namespace = self.namespace_of(&dependent);
            self.nodes.insert(uid.to_owned(), Node::named(reference, namespace, node.dependents));
        }
        work
    }

    fn naming(&self, uid: &str, node: &Node) -> Option<(String, OwnerReference)> {
        self.dependents(node).find_map(|(dependent, it)| {
            let reference = it.owners.iter().find(|owner| owner.uid == uid)?;
            Some((dependent.clone(), reference.clone()))
        })
    }

    fn namespace_of(&self, uid: &str) -> String {
        match self.nodes.get(uid).map(|node| &node.identity) {
            Some(Identity::Seen(location)) => location.namespace.clone(),
            Some(Identity::Virtual(named)) => named.namespace.clone(),
            None => String::new(),
        }
    }

    fn link(&mut self, uid: &str, namespace: &str, owners: &[OwnerReference]) -> Vec<Work> {
        let mut work = Vec::new();
        for owner in owners {
            let node = self.nodes.entry(owner.uid.clone()).or_insert_with(|| {
                work.push(Work::Delete(owner.uid.clone()));
                Node::named(owner.clone(), namespace.to_owned(), HashSet::new())
            });
            node.dependents.insert(uid.to_owned());
        }
        work
    }

    fn unlink<'a>(&mut self, uid: &str, owners: impl Iterator<Item = &'a OwnerReference>) {
        for owner in owners {
            let Some(node) = self.nodes.get_mut(&owner.uid) else { continue };
            node.dependents.remove(uid);
            if node.dependents.is_empty() && matches!(node.identity, Identity::Virtual(_)) {
                self.nodes.remove(&owner.uid);
            }
        }
    }
}

impl Node {
    fn new(identity: Identity, dependents: HashSet<String>) -> Self {
        Self {
            identity,
            owners: Vec::new(),
            finalizers: Vec::new(),
            resource_version: String::new(),
            deleting: false,
            dependents,
        }
    }

    fn named(reference: OwnerReference, namespace: String, dependents: HashSet<String>) -> Self {
        Self::new(Identity::Virtual(Named { reference, namespace }), dependents)
    }

    /// The same object with other metadata.
    pub fn updated(self, meta: &ObjectMeta) -> Self {
        Self {
            owners: meta.owner_references.clone().unwrap_or_default(),
            finalizers: meta.finalizers.clone().unwrap_or_default(),
            resource_version: meta.resource_version.clone().unwrap_or_default(),
            deleting: meta.deletion_timestamp.is_some(),
            ..self
        }
    }
}
