//! Deletes what is in a namespace and tells what is left.

use std::collections::BTreeMap;

use client::{ApiError, Client};
use kube::Api;
use kube::api::{DeleteParams, DynamicObject, ListParams};
use kube::core::ApiResource;

use crate::discovery::{ServedResource, served};

/// What is left of a namespace.
#[derive(Debug, Default)]
pub struct Content {
    /// Objects left, by resource.
    pub remaining: BTreeMap<String, usize>,
    /// Finalizers that hold them, and how many each.
    pub finalizers: BTreeMap<String, usize>,
    /// What could not be deleted.
    pub failures: Vec<String>,
}

impl Content {
    /// Whether nothing is left.
    pub fn is_gone(&self) -> bool {
        self.remaining.is_empty() && self.failures.is_empty()
    }

    /// Whether pods are what is waited for.
    pub fn waits_for_pods(&self) -> bool {
        self.remaining.contains_key("pods.")
    }
}

/// Deletes everything in the namespace, pods first; while some are left nothing else is touched.
pub(super) async fn delete_all(client: &Client, namespace: &str) -> Result<Content, kube::Error> {
    let mut resources = served(client).await?;
    resources.retain(|one| one.namespaced && one.offers(&["list", "delete"]));
    let is_pods = |one: &ServedResource| one.resource.group.is_empty() && one.resource.plural == "pods";
    let (pods, others): (Vec<_>, Vec<_>) = resources.into_iter().partition(is_pods);
    let mut content = Content::default();
    for resource in &pods {
        delete_kind(client, namespace, resource, &mut content).await;
    }
    if content.is_gone() {
        for resource in &others {
            delete_kind(client, namespace, resource, &mut content).await;
        }
    }
    Ok(content)
}

async fn delete_kind(client: &Client, namespace: &str, served: &ServedResource, content: &mut Content) {
    if let Err(err) = try_delete_kind(client, namespace, served, content).await {
        // A kind that went meanwhile has no objects.
        if !err.is_not_found() {
            content.failures.push(format!("{}: {err}", served.group_resource()));
        }
    }
}

async fn try_delete_kind(
    client: &Client,
    namespace: &str,
    served: &ServedResource,
    content: &mut Content,
) -> Result<(), kube::Error> {
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &served.resource);
    let list = ListParams::default();
    let objects = api.list_metadata(&list).await?.items;
    if objects.is_empty() {
        return Ok(());
    }
    let params = DeleteParams::background();
    if served.offers(&["deletecollection"]) {
        api.delete_collection(&params, &list).await?;
    } else {
        for object in &objects {
            match api.delete(object.metadata.name.as_deref().unwrap_or_default(), &params).await {
                Err(err) if !err.is_not_found() => return Err(err),
                _ => {}
            }
        }
    }
    let left = api.list_metadata(&list).await?.items;
    if !left.is_empty() {
        content.remaining.insert(group_resource(&served.resource), left.len());
    }
    for finalizer in left.iter().flat_map(|object| object.metadata.finalizers.iter().flatten()) {
        *content.finalizers.entry(finalizer.clone()).or_default() += 1;
    }
    Ok(())
}

/// As upstream prints it here: with the dot even where there is no group.
fn group_resource(resource: &ApiResource) -> String {
    format!("{}.{}", resource.plural, resource.group)
}
