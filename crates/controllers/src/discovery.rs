//! Which kinds the API serves now, custom ones included.

use std::collections::BTreeMap;

use client::Client;
use kube::core::ApiResource;
use kube::core::discovery::v2::{APIGroupDiscovery, APIResourceDiscovery};

/// A kind as it is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServedResource {
    /// Its names.
    pub resource: ApiResource,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
    /// What can be done with it.
    pub verbs: Vec<String>,
}

impl ServedResource {
    /// Whether all of `verbs` are offered.
    pub fn offers(&self, verbs: &[&str]) -> bool {
        verbs.iter().all(|verb| self.verbs.iter().any(|offered| offered == verb))
    }

    /// `deployments.apps`, as people write it.
    pub fn group_resource(&self) -> String {
        let ApiResource { group, plural, .. } = &self.resource;
        if group.is_empty() { plural.clone() } else { format!("{plural}.{group}") }
    }
}

/// Every resource in the version its group prefers.
pub async fn served(client: &Client) -> Result<Vec<ServedResource>, kube::Error> {
    let core = client.list_core_api_versions_aggregated().await?;
    let groups = client.list_api_groups_aggregated().await?;
    Ok(core.items.iter().chain(&groups.items).flat_map(preferred).collect())
}

/// A group's resources, each in the first version that has it.
fn preferred(group: &APIGroupDiscovery) -> Vec<ServedResource> {
    let name = group.metadata.as_ref().and_then(|meta| meta.name.clone()).unwrap_or_default();
    let mut found: BTreeMap<String, ServedResource> = BTreeMap::new();
    for version in &group.versions {
        let version_name = version.version.clone().unwrap_or_default();
        for resource in &version.resources {
            if let Some(served) = read(&name, &version_name, resource) {
                found.entry(served.resource.plural.clone()).or_insert(served);
            }
        }
    }
    found.into_values().collect()
}

fn read(group: &str, version: &str, resource: &APIResourceDiscovery) -> Option<ServedResource> {
    let api_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    Some(ServedResource {
        resource: ApiResource {
            group: group.to_owned(),
            version: version.to_owned(),
            api_version,
            kind: resource.response_kind.as_ref()?.kind.clone()?,
            plural: resource.resource.clone()?,
        },
        namespaced: resource.scope.as_deref() == Some("Namespaced"),
        verbs: resource.verbs.clone(),
    })
}
