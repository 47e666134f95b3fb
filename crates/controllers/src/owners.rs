//! Who controls an object, and taking or letting go of that control.
//!
//! upstream: pkg/controller/controller_ref_manager.go

use std::sync::Arc;

use client::informer::Cacheable;
use client::labels::{self, Labels};
use client::{Client, Lister};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};
use kube::api::{Patch, PatchParams};
use kube::{Api, Resource, ResourceExt};
use serde_json::json;

use crate::writes::ignore_gone;

/// The reference to the controller of an object.
pub fn controller_of(meta: &ObjectMeta) -> Option<&OwnerReference> {
    meta.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))
}

/// Whether the object of this identity controls the one with `meta`.
pub fn is_controlled_by(meta: &ObjectMeta, owner: &ObjectMeta) -> bool {
    controller_of(meta).is_some_and(|reference| Some(&reference.uid) == owner.uid.as_ref())
}

/// The reference that makes `owner` the controller of what carries it.
pub fn controller_ref<K: Resource<DynamicType = ()>>(owner: &K) -> OwnerReference {
    OwnerReference {
        api_version: K::api_version(&()).into_owned(),
        kind: K::kind(&()).into_owned(),
        name: owner.name_any(),
        uid: owner.uid().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// What a controller does with an object it comes across.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It is its own.
    Keep,
    /// It matches and has no controller.
    Adopt,
    /// It is its own, but matches no more.
    Release,
    /// It is none of its business.
    Ignore,
}

/// Decides about an object; `matches` tells whether the owner's selector means it.
pub fn claim(owner: &ObjectMeta, object: &ObjectMeta, matches: bool) -> Claim {
    let owner_leaves = owner.deletion_timestamp.is_some();
    match controller_of(object) {
        Some(_) if !is_controlled_by(object, owner) => Claim::Ignore,
        Some(_) if matches || owner_leaves => Claim::Keep,
        Some(_) => Claim::Release,
        None if !matches || owner_leaves || object.deletion_timestamp.is_some() => Claim::Ignore,
        None => Claim::Adopt,
    }
}

/// The index of objects by their controller's uid; those without one are under their namespace.
pub const BY_CONTROLLER: &str = "controller";

/// The value of an object in [`BY_CONTROLLER`].
pub fn controller_index<K: Resource>(object: &K) -> Vec<String> {
    let orphan = || orphans_of(object.meta().namespace.as_deref().unwrap_or_default());
    vec![controller_of(object.meta()).map_or_else(orphan, |owner| owner.uid.clone())]
}

fn orphans_of(namespace: &str) -> String {
    format!("orphans/{namespace}")
}

/// Why a claim did not complete.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// What it owned it lets go, and the cache does not know it yet: it must replace none of them.
    #[error("the owner has just been deleted")]
    Leaving,
    /// The API refused.
    #[error(transparent)]
    Api(#[from] kube::Error),
}

/// What of `objects` is controlled by `owner` once those that its selector means are adopted and those that it means no
/// more are released; only what `may_be_its` says is adopted (upstream: `ClaimPods`, `ClaimReplicaSets`).
pub async fn claim_all<K, O>(
    client: &Client,
    owner: &O,
    selector: &LabelSelector,
    objects: &Lister<K>,
    may_be_its: impl Fn(&K) -> bool,
) -> Result<Vec<Arc<K>>, ClaimError>
where
    K: Cacheable + Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    O: Cacheable + Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    let empty = Labels::new();
    let mut candidates = objects.by_index(BY_CONTROLLER, owner.meta().uid.as_deref().unwrap_or_default());
    candidates
        .extend(objects.by_index(BY_CONTROLLER, &orphans_of(owner.meta().namespace.as_deref().unwrap_or_default())));
    let mut owned = Vec::new();
    let mut is_there = false;
    for object in candidates {
        let its_labels = object.meta().labels.as_ref().unwrap_or(&empty);
        let matches = !labels::is_empty(selector) && labels::matches(selector, its_labels);
        match claim(owner.meta(), object.meta(), matches) {
            Claim::Keep => owned.push(object),
            Claim::Release => ignore_gone(release(client, owner, &*object).await)?,
            Claim::Adopt if may_be_its(&object) => {
                is_there = is_there || is_still_there(client, owner).await?;
                if !is_there {
                    return Err(ClaimError::Leaving);
                }
                ignore_gone(adopt(client, owner, &*object).await)?;
                owned.push(object);
            }
            Claim::Adopt | Claim::Ignore => {}
        }
    }
    Ok(owned)
}

/// Asks the API, not the cache: one that is being deleted must not adopt (upstream:
/// pkg/controller/controller_ref_manager.go `RecheckDeletionTimestamp`).
async fn is_still_there<O>(client: &Client, owner: &O) -> Result<bool, kube::Error>
where
    O: Cacheable + Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    let api: Api<O> = Api::namespaced(client.clone(), &owner.namespace().unwrap_or_default());
    let live = api.get_metadata_opt(&owner.name_any()).await?;
    Ok(live.is_some_and(|live| live.metadata.uid == owner.meta().uid && live.metadata.deletion_timestamp.is_none()))
}

/// Makes `owner` the controller of an object of the same namespace.
pub async fn adopt<K, O>(client: &Client, owner: &O, object: &K) -> Result<(), kube::Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + serde::de::DeserializeOwned
        + std::fmt::Debug,
    O: Resource<DynamicType = ()>,
{
    let patch = json!({"metadata": {"ownerReferences": [controller_ref(owner)], "uid": object.uid()}});
    patch_owners(client, object, patch).await
}

/// Ends `owner`'s control of an object.
pub async fn release<K, O>(client: &Client, owner: &O, object: &K) -> Result<(), kube::Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + serde::de::DeserializeOwned
        + std::fmt::Debug,
    O: Resource<DynamicType = ()>,
{
    let gone = json!({"$patch": "delete", "uid": owner.uid()});
    patch_owners(client, object, json!({"metadata": {"ownerReferences": [gone], "uid": object.uid()}})).await
}

async fn patch_owners<K>(client: &Client, object: &K, patch: serde_json::Value) -> Result<(), kube::Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + serde::de::DeserializeOwned
        + std::fmt::Debug,
{
    let api: Api<K> = Api::namespaced(client.clone(), &object.namespace().unwrap_or_default());
    api.patch_metadata(&object.name_any(), &PatchParams::default(), &Patch::Strategic(patch)).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(uid: &str, controller: Option<&str>) -> ObjectMeta {
        let reference =
            |uid: &str| OwnerReference { uid: uid.into(), controller: Some(true), ..OwnerReference::default() };
        ObjectMeta {
            uid: Some(uid.into()),
            owner_references: controller.map(|uid| vec![reference(uid)]),
            ..ObjectMeta::default()
        }
    }

    #[test]
    fn claims() {
        let owner = meta("me", None);
        for (controller, matches, expected) in [
            (Some("me"), true, Claim::Keep),
            (Some("me"), false, Claim::Release),
            (Some("other"), true, Claim::Ignore),
            (None, true, Claim::Adopt),
            (None, false, Claim::Ignore),
        ] {
            assert_eq!(claim(&owner, &meta("it", controller), matches), expected, "{controller:?} {matches}");
        }
    }
}
