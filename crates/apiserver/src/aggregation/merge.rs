//! Discovery of what other servers answer, beside what is here
//! (upstream: kube-aggregator/pkg/apiserver/{handler_apis,handler_discovery}.go).

use std::sync::Arc;

use api::catalogue::GROUP_VERSIONS;
use serde_json::{Map, Value, json};

use super::{Remote, Table};
use crate::registry::Rows;

/// What CustomResourceDefinitions' groups have.
const CUSTOM_GROUP_PRIORITY: i64 = 1000;

impl Table {
    /// Adds the groups and versions of others to the `groups` of an `APIGroupList`.
    pub(crate) fn add_groups(&self, groups: &mut Vec<Value>) {
        for remote in self.by_priority() {
            let version =
                json!({ "groupVersion": format!("{}/{}", remote.group, remote.version), "version": remote.version });
            match groups.iter_mut().find(|group| group["name"] == remote.group.as_str()) {
                Some(group) => add_version(&mut group["versions"], "version", version),
                None => groups.push(json!({
                    "name": remote.group, "versions": [version], "preferredVersion": version,
                })),
            }
        }
        if !self.remotes.is_empty() {
            groups.sort_by_key(|group| std::cmp::Reverse(self.priority(group["name"].as_str().unwrap_or_default())));
        }
    }

    /// One group as `APIGroup`, of others alone or with what is here.
    pub(crate) fn add_to_group(&self, name: &str, group: Option<Value>) -> Option<Value> {
        let mut groups: Vec<Value> = group.into_iter().collect();
        self.add_groups(&mut groups);
        groups.into_iter().find(|group| group["name"] == name)
    }

    /// Adds them to the `items` of an `APIGroupDiscoveryList`.
    pub(crate) fn add_discovered(&self, items: &mut Vec<Value>) {
        for remote in self.by_priority() {
            let version = discovered(remote);
            match items.iter_mut().find(|item| item["metadata"]["name"] == remote.group.as_str()) {
                Some(item) => add_version(&mut item["versions"], "version", version),
                None => items.push(json!({
                    "metadata": { "name": remote.group, "creationTimestamp": null }, "versions": [version],
                })),
            }
        }
        if !self.remotes.is_empty() {
            let name = |item: &Value| item["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            items.sort_by_key(|item| std::cmp::Reverse(self.priority(&name(item))));
        }
    }

    /// Group, version and hash of each OpenAPI 3 document that others serve.
    pub(crate) fn documents(&self) -> impl Iterator<Item = (&str, &str, String)> {
        let document = |remote: &'_ Remote| remote.openapi_hash.clone();
        self.remotes
            .iter()
            .filter_map(move |remote| Some((remote.group.as_str(), remote.version.as_str(), document(remote)?)))
    }

    /// What others say in OpenAPI 2 of the group versions that they answer.
    pub(crate) fn specs(&self, rows: &Rows) -> Vec<Arc<Value>> {
        let remotes = self.by_priority().into_iter();
        let remotes = remotes.filter(|remote| !rows.has_version(&remote.group, &remote.version));
        remotes.filter_map(|remote| Some(remote.spec.as_ref()?.document.clone())).collect()
    }

    /// Those that clients prefer first.
    fn by_priority(&self) -> Vec<&Remote> {
        let mut remotes: Vec<&Remote> = self.remotes.iter().collect();
        remotes.sort_by_key(|remote| std::cmp::Reverse((remote.group_priority, remote.version_priority)));
        remotes
    }

    fn priority(&self, group: &str) -> i64 {
        let built_in = GROUP_VERSIONS.iter().find(|gv| gv.group == group).map(|gv| i64::from(gv.group_priority));
        let remote = self.remotes.iter().filter(|remote| remote.group == group).map(|remote| remote.group_priority);
        built_in.unwrap_or_else(|| remote.max().unwrap_or(CUSTOM_GROUP_PRIORITY))
    }
}

fn add_version(versions: &mut Value, key: &str, version: Value) {
    let Some(versions) = versions.as_array_mut() else { return };
    // What this server answers itself stands.
    if !versions.iter().any(|present| present[key] == version[key]) {
        versions.push(version);
    }
}

/// The `APIResourceList` that the server answered, as aggregated discovery has it.
fn discovered(remote: &Remote) -> Value {
    let list = remote.resources.as_ref().and_then(|document| document["resources"].as_array());
    let mut resources: Vec<Value> = Vec::new();
    for entry in list.into_iter().flatten() {
        let name = entry["name"].as_str().unwrap_or_default();
        let kind = response_kind(remote, entry);
        if let Some((resource, subresource)) = name.split_once('/') {
            let parent = resources.iter_mut().find(|parent| parent["resource"] == resource);
            let part = json!({ "subresource": subresource, "responseKind": kind, "verbs": entry["verbs"] });
            match parent.map(|parent| &mut parent["subresources"]) {
                Some(Value::Array(parts)) => parts.push(part),
                Some(empty) => *empty = json!([part]),
                None => {}
            }
            continue;
        }
        let scope = if entry["namespaced"] == true { "Namespaced" } else { "Cluster" };
        let mut resource = Map::new();
        resource.insert("resource".into(), name.into());
        resource.insert("responseKind".into(), kind);
        resource.insert("scope".into(), scope.into());
        resource.insert("singularResource".into(), entry["singularName"].clone());
        resource.insert("verbs".into(), entry["verbs"].clone());
        for field in ["shortNames", "categories"] {
            if entry[field].is_array() {
                resource.insert(field.into(), entry[field].clone());
            }
        }
        resources.push(resource.into());
    }
    let freshness = if remote.available { "Current" } else { "Stale" };
    json!({ "version": remote.version, "resources": resources, "freshness": freshness })
}

fn response_kind(remote: &Remote, entry: &Value) -> Value {
    let or = |value: &Value, other: &str| value.as_str().filter(|text| !text.is_empty()).unwrap_or(other).to_owned();
    json!({
        "group": or(&entry["group"], &remote.group), "version": or(&entry["version"], &remote.version),
        "kind": entry["kind"],
    })
}
