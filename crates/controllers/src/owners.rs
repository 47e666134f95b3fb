//! Who controls an object, and taking or letting go of that control.
//!
//! upstream: pkg/controller/controller_ref_manager.go

use client::Client;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::{Patch, PatchParams};
use kube::{Api, Resource, ResourceExt};
use serde_json::json;

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
