//! Does what was decided, through the API.

use client::ApiError;
use client::controller::Requeue;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Api;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, Preconditions};
use serde_json::{Value, json};

use super::Collector;
use super::decide::{Decision, Owner, Propagation, decide, owner};
use super::graph::{FOREGROUND, Identity, Location, Named, Node, ORPHAN, Work};

/// Why a pass did not complete.
#[derive(Debug, thiserror::Error)]
pub(super) enum CollectError {
    #[error("no resource is served for the owner kind {api_version} {kind}")]
    UnknownKind { api_version: String, kind: String },
    #[error("look for owner {name}: {err}")]
    Look { name: String, err: kube::Error },
    #[error("{action} {name}: {err}")]
    Act { action: &'static str, name: String, err: kube::Error },
}

impl Collector {
    pub(super) async fn process(&self, work: Work) -> Result<Requeue, CollectError> {
        match work {
            Work::Delete(uid) => self.attempt_delete(&uid).await?,
            Work::Orphan(uid) => self.orphan(&uid).await?,
        }
        Ok(Requeue::No)
    }

    async fn attempt_delete(&self, uid: &str) -> Result<(), CollectError> {
        let Some(node) = self.graph.lock().get(uid).cloned() else { return Ok(()) };
        let location = match &node.identity {
            Identity::Seen(location) => location.clone(),
            Identity::Virtual(named) => return self.look_for(uid, named).await,
        };
        if node.waits_for_dependents() {
            return self.go_on_in_foreground(uid, &node, &location).await;
        }
        if node.deleting {
            return Ok(());
        }
        if self.decide(&node, &location).await? == Decision::Keep {
            return Ok(());
        }
        // The graph may be behind: what is done to an object depends on the owners it has now.
        let Some(node) = self.live(uid, node, &location).await? else { return Ok(()) };
        match self.decide(&node, &location).await? {
            Decision::Keep => Ok(()),
            Decision::Unreference(uids) => {
                let kept = without(&node.owners, &uids);
                self.patch(&location, "drop owners of", owners_patch(&node, &kept)).await.map(drop)
            }
            Decision::Delete { propagation, unblock } => {
                let node = if unblock { self.unblock(node, &location).await? } else { Some(node) };
                match node {
                    Some(node) => self.delete(uid, &node, &location, propagation).await,
                    None => Ok(()),
                }
            }
        }
    }

    async fn decide(&self, node: &Node, location: &Location) -> Result<Decision, CollectError> {
        let mut owners = Vec::new();
        for reference in &node.owners {
            owners.push((reference.uid.clone(), self.state_of(reference, &location.namespace).await?));
        }
        Ok(decide(&self.graph.lock(), node, &owners))
    }

    /// The node as the API has it now. None when it is gone.
    async fn live(&self, uid: &str, node: Node, location: &Location) -> Result<Option<Node>, CollectError> {
        let live = self.api(location).get_metadata_opt(&location.name).await;
        let live = live.map_err(|err| CollectError::Look { name: location.name.clone(), err })?;
        let live = live.filter(|live| live.metadata.uid.as_deref() == Some(uid));
        Ok(live.map(|live| node.updated(&live.metadata)))
    }

    /// An owner that was only named: is it there?
    async fn look_for(&self, uid: &str, named: &Named) -> Result<(), CollectError> {
        if self.is_absent(&named.reference, &named.namespace).await? {
            self.change(|graph| match graph.get(uid).map(|node| &node.identity) {
                Some(Identity::Virtual(_)) => graph.get(uid).map(dependents_work).unwrap_or_default(),
                _ => Vec::new(),
            });
        }
        Ok(())
    }

    async fn state_of(&self, reference: &OwnerReference, namespace: &str) -> Result<Owner, CollectError> {
        let known = owner(&self.graph.lock(), &reference.uid);
        if known != Owner::Unknown {
            return Ok(known);
        }
        Ok(if self.is_absent(reference, namespace).await? { Owner::Dangling } else { Owner::Solid })
    }

    async fn is_absent(&self, reference: &OwnerReference, namespace: &str) -> Result<bool, CollectError> {
        if self.absent.lock().contains(&reference.uid) {
            return Ok(true);
        }
        let served = self.monitors.resource_of(&reference.api_version, &reference.kind);
        let served = served.ok_or_else(|| CollectError::UnknownKind {
            api_version: reference.api_version.clone(),
            kind: reference.kind.clone(),
        })?;
        // A cluster-wide object cannot name a namespaced owner; upstream warns and keeps it.
        if served.namespaced && namespace.is_empty() {
            return Ok(false);
        }
        let location = Location { served, namespace: namespace.to_owned(), name: reference.name.clone() };
        let live = self.api(&location).get_metadata_opt(&location.name).await;
        let live = live.map_err(|err| CollectError::Look { name: location.name.clone(), err })?;
        let absent = live.is_none_or(|live| live.metadata.uid.as_ref() != Some(&reference.uid));
        if absent {
            let mut cache = self.absent.lock();
            if cache.len() >= ABSENT_LIMIT {
                cache.clear();
            }
            cache.insert(reference.uid.clone());
        }
        Ok(absent)
    }

    /// Sends the dependents away; when none holds it up, lets the owner go.
    async fn go_on_in_foreground(&self, uid: &str, node: &Node, location: &Location) -> Result<(), CollectError> {
        let blocked = {
            let graph = self.graph.lock();
            let mut blocked = false;
            for (dependent, state) in graph.dependents(node).filter(|(_, state)| state.blocks(uid)) {
                blocked = true;
                if !state.waits_for_dependents() {
                    self.queue.add(Work::Delete(dependent.clone()));
                }
            }
            blocked
        };
        if blocked {
            return Ok(());
        }
        self.remove_finalizer(node, location, FOREGROUND).await
    }

    async fn orphan(&self, uid: &str) -> Result<(), CollectError> {
        let (node, dependents): (Node, Vec<Node>) = {
            let graph = self.graph.lock();
            let Some(node) = graph.get(uid) else { return Ok(()) };
            (node.clone(), graph.dependents(node).map(|(_, dependent)| dependent.clone()).collect())
        };
        let Identity::Seen(location) = &node.identity else { return Ok(()) };
        for dependent in &dependents {
            let Identity::Seen(at) = &dependent.identity else { continue };
            let kept = without(&dependent.owners, &[uid.to_owned()]);
            self.patch(at, "orphan", owners_patch(dependent, &kept)).await?;
        }
        self.remove_finalizer(&node, location, ORPHAN).await
    }

    /// Stops the node from holding up its owners, and tells what it is then. None when it is gone.
    async fn unblock(&self, node: Node, location: &Location) -> Result<Option<Node>, CollectError> {
        let unblocked: Vec<OwnerReference> = node
            .owners
            .iter()
            .cloned()
            .map(|owner| OwnerReference { block_owner_deletion: Some(false), ..owner })
            .collect();
        let patched = self.patch(location, "unblock owners of", owners_patch(&node, &unblocked)).await?;
        Ok(patched.map(|meta| node.updated(&meta)))
    }

    async fn remove_finalizer(&self, node: &Node, location: &Location, finalizer: &str) -> Result<(), CollectError> {
        let kept: Vec<&String> = node.finalizers.iter().filter(|one| *one != finalizer).collect();
        let patch = json!({"metadata": {"resourceVersion": node.resource_version, "finalizers": kept}});
        self.patch(location, "finish the deletion of", patch).await.map(drop)
    }

    /// Deletes the object that `node` describes. When it has changed since, it is deleted all the same if its owners
    /// are as they were; else the decision is due again.
    ///
    /// upstream: pkg/controller/garbagecollector/operations.go `deleteObject`
    async fn delete(
        &self,
        uid: &str,
        node: &Node,
        location: &Location,
        propagation: Propagation,
    ) -> Result<(), CollectError> {
        let params = match propagation {
            Propagation::Background => DeleteParams::background(),
            Propagation::Foreground => DeleteParams::foreground(),
            Propagation::Orphan => DeleteParams::orphan(),
        };
        let api = self.api(location);
        let failed = |err| CollectError::Act { action: "delete", name: location.name.clone(), err };
        let mut same =
            Preconditions { uid: Some(uid.to_owned()), resource_version: Some(node.resource_version.clone()) };
        loop {
            let deleted = api.delete(&location.name, &params.clone().preconditions(same.clone())).await;
            match deleted {
                Err(err) if err.is_not_found() => return Ok(()),
                Err(err) if err.is_conflict() && same.resource_version.take().is_some() => {
                    match self.live(uid, node.clone(), location).await? {
                        // Another object has the name by now: this one is gone.
                        None => return Ok(()),
                        Some(live) if live.owners != node.owners => return Err(failed(err)),
                        Some(_) => {}
                    }
                }
                Err(err) if err.is_conflict() => return Ok(()),
                Err(err) => return Err(failed(err)),
                Ok(_) => return Ok(()),
            }
        }
    }

    /// The metadata after the patch; none when the object is gone. A conflict means that the graph is behind; the
    /// work comes again with its back-off.
    async fn patch(
        &self,
        location: &Location,
        action: &'static str,
        patch: Value,
    ) -> Result<Option<ObjectMeta>, CollectError> {
        let result =
            self.api(location).patch_metadata(&location.name, &PatchParams::default(), &Patch::Merge(patch)).await;
        match result {
            Ok(patched) => Ok(Some(patched.metadata)),
            Err(err) if err.is_not_found() => Ok(None),
            Err(err) => Err(CollectError::Act { action, name: location.name.clone(), err }),
        }
    }

    fn api(&self, location: &Location) -> Api<DynamicObject> {
        let client = self.cx.client.clone();
        if location.served.namespaced && !location.namespace.is_empty() {
            Api::namespaced_with(client, &location.namespace, &location.served.resource)
        } else {
            Api::all_with(client, &location.served.resource)
        }
    }
}

/// So many absent owners are remembered.
const ABSENT_LIMIT: usize = 500;

fn dependents_work(node: &Node) -> Vec<Work> {
    node.dependents.iter().cloned().map(Work::Delete).collect()
}

/// Replaces the owners of what `node` describes, if it is still as described.
fn owners_patch(node: &Node, owners: &[OwnerReference]) -> Value {
    json!({"metadata": {"resourceVersion": node.resource_version, "ownerReferences": owners}})
}

fn without(owners: &[OwnerReference], gone: &[String]) -> Vec<OwnerReference> {
    owners.iter().filter(|owner| !gone.contains(&owner.uid)).cloned().collect()
}
