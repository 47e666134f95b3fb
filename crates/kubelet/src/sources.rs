//! The ConfigMaps and Secrets that pods on this node use: one watch by name for each, shared and counted
//! (upstream: pkg/kubelet/util/manager/watch_based_manager.go).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Weak};
use std::time::Duration;

use client::informer::Cacheable;
use client::{Client, ObjectKey};
use component_base::Scope;
use futures::StreamExt;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{ConfigMap, Container, Pod, Secret};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::watch_object;
use kube::{Api, Resource, ResourceExt};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use crate::container::env::Objects;
use crate::pod::spec;

/// How long a pod waits for the first answer about an object.
const FIRST_ANSWER: Duration = Duration::from_secs(10);

/// What is known of an object: nothing yet, or whether it is there.
type Known<K> = Option<Option<Arc<K>>>;

struct Entry<K> {
    state: watch::Sender<Known<K>>,
    listeners: Mutex<Vec<Weak<Notify>>>,
    scope: Scope,
}

impl<K> Drop for Entry<K> {
    fn drop(&mut self) {
        self.scope.cancel();
    }
}

/// Objects of one kind, watched by name while somebody holds them.
struct ObjectCache<K> {
    client: Client,
    scope: Scope,
    entries: Mutex<HashMap<ObjectKey, Weak<Entry<K>>>>,
}

impl<K> ObjectCache<K>
where
    K: Cacheable + Resource<Scope = NamespaceResourceScope>,
{
    fn new(client: Client, scope: &Scope) -> Self {
        Self { client, scope: scope.clone(), entries: Mutex::default() }
    }

    /// Holds an object; `listener` is told of every change.
    fn hold(&self, key: &ObjectKey, listener: &Arc<Notify>) -> Arc<Entry<K>> {
        let mut entries = self.entries.lock();
        if let Some(entry) = entries.get(key).and_then(Weak::upgrade) {
            entry.listeners.lock().push(Arc::downgrade(listener));
            return entry;
        }
        entries.retain(|_, entry| entry.strong_count() > 0);
        let entry = Arc::new(Entry {
            state: watch::Sender::new(None),
            listeners: Mutex::new(vec![Arc::downgrade(listener)]),
            scope: self.scope.child(),
        });
        entries.insert(key.clone(), Arc::downgrade(&entry));
        let api = Api::namespaced(self.client.clone(), &key.namespace);
        entry.scope.spawn("object-watch", follow(api, key.name.clone(), Arc::downgrade(&entry)));
        entry
    }
}

async fn follow<K>(api: Api<K>, name: String, entry: Weak<Entry<K>>)
where
    K: Cacheable,
{
    let mut changes = Box::pin(watch_object(api, &name).default_backoff());
    while let Some(change) = changes.next().await {
        let Some(entry) = entry.upgrade() else { return };
        match change {
            Ok(object) => {
                entry.state.send_replace(Some(object.map(Arc::new)));
                entry.listeners.lock().retain(|listener| listener.upgrade().inspect(|l| l.notify_one()).is_some());
            }
            Err(err) => tracing::debug!(name, error = %err, "watching an object failed; trying again"),
        }
    }
}

/// The caches behind every pod's sources.
pub struct Sources {
    config_maps: ObjectCache<ConfigMap>,
    secrets: ObjectCache<Secret>,
}

impl Sources {
    /// Caches that read through `client` and end with `scope`.
    pub fn new(client: &Client, scope: &Scope) -> Self {
        Self { config_maps: ObjectCache::new(client.clone(), scope), secrets: ObjectCache::new(client.clone(), scope) }
    }

    /// Holds all that `pod` refers to; `listener` is told when any of it changes.
    pub fn hold(&self, pod: &Pod, listener: &Arc<Notify>) -> PodSources {
        let namespace = pod.namespace().unwrap_or_default();
        let names = references(pod);
        let key = |name: &String| ObjectKey::new(namespace.clone(), name.clone());
        PodSources {
            config_maps: names
                .config_maps
                .iter()
                .map(|name| (name.clone(), self.config_maps.hold(&key(name), listener)))
                .collect(),
            secrets: names.secrets.iter().map(|name| (name.clone(), self.secrets.hold(&key(name), listener))).collect(),
        }
    }
}

/// What one pod refers to.
pub struct PodSources {
    config_maps: BTreeMap<String, Arc<Entry<ConfigMap>>>,
    secrets: BTreeMap<String, Arc<Entry<Secret>>>,
}

impl PodSources {
    /// Waits until it is known of every object whether it is there. Answers the names that stayed unknown.
    pub async fn ready(&self) -> Result<(), String> {
        let wait = async {
            for entry in self.config_maps.values() {
                // The sender lives in the entry, so waiting cannot fail.
                let _ = entry.state.subscribe().wait_for(Option::is_some).await;
            }
            for entry in self.secrets.values() {
                let _ = entry.state.subscribe().wait_for(Option::is_some).await;
            }
        };
        match tokio::time::timeout(FIRST_ANSWER, wait).await {
            Ok(()) => Ok(()),
            Err(_) => {
                let unknown = |known: bool, name: &String| (!known).then(|| name.clone());
                let maps = self.config_maps.iter().filter_map(|(n, e)| unknown(e.state.borrow().is_some(), n));
                let secrets = self.secrets.iter().filter_map(|(n, e)| unknown(e.state.borrow().is_some(), n));
                let names: Vec<String> = maps.chain(secrets).collect();
                Err(format!("failed to sync {}: timed out waiting for the condition", names.join(", ")))
            }
        }
    }
}

impl Objects for PodSources {
    fn config_map(&self, name: &str) -> Option<Arc<ConfigMap>> {
        self.config_maps.get(name).and_then(|entry| entry.state.borrow().clone().flatten())
    }

    fn secret(&self, name: &str) -> Option<Arc<Secret>> {
        self.secrets.get(name).and_then(|entry| entry.state.borrow().clone().flatten())
    }
}

/// Names of ConfigMaps and Secrets.
#[derive(Default, Debug, PartialEq, Eq)]
struct References {
    config_maps: BTreeSet<String>,
    secrets: BTreeSet<String>,
}

/// Everything a pod refers to by name (upstream: pkg/api/v1/pod VisitPodSecretNames, VisitPodConfigmapNames).
fn references(pod: &Pod) -> References {
    let mut names = References::default();
    for container in spec::containers(pod) {
        of_container(&container.container, &mut names);
    }
    let spec = spec::spec(pod);
    for secret in spec.image_pull_secrets.iter().flatten() {
        names.secrets.insert(secret.name.clone());
    }
    for volume in spec.volumes.iter().flatten() {
        names.config_maps.extend(volume.config_map.iter().map(|source| source.name.clone()));
        names.secrets.extend(volume.secret.iter().filter_map(|source| source.secret_name.clone()));
        for source in volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten()) {
            names.config_maps.extend(source.config_map.iter().map(|source| source.name.clone()));
            names.secrets.extend(source.secret.iter().map(|source| source.name.clone()));
        }
    }
    names.config_maps.remove("");
    names.secrets.remove("");
    names
}

fn of_container(container: &Container, names: &mut References) {
    for source in container.env_from.iter().flatten() {
        names.config_maps.extend(source.config_map_ref.iter().map(|reference| reference.name.clone()));
        names.secrets.extend(source.secret_ref.iter().map(|reference| reference.name.clone()));
    }
    for source in container.env.iter().flatten().filter_map(|variable| variable.value_from.as_ref()) {
        names.config_maps.extend(source.config_map_key_ref.iter().map(|reference| reference.name.clone()));
        names.secrets.extend(source.secret_key_ref.iter().map(|reference| reference.name.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_place_that_names_an_object_is_found() {
        let pod = serde_json::from_value(json!({"spec": {
            "imagePullSecrets": [{"name": "pull"}],
            "containers": [{"name": "c",
                "env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "m1", "key": "k"}}},
                        {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s1", "key": "k"}}}],
                "envFrom": [{"configMapRef": {"name": "m2"}}, {"secretRef": {"name": "s2"}}]}],
            "initContainers": [{"name": "i", "envFrom": [{"configMapRef": {"name": "m3"}}]}],
            "volumes": [
                {"name": "v1", "configMap": {"name": "m4"}}, {"name": "v2", "secret": {"secretName": "s3"}},
                {"name": "v3", "projected": {"sources": [{"configMap": {"name": "m5"}}, {"secret": {"name": "s4"}}]}}],
        }}));
        let names = references(&pod.expect("a pod"));
        assert_eq!(names.config_maps.into_iter().collect::<Vec<_>>(), ["m1", "m2", "m3", "m4", "m5"]);
        assert_eq!(names.secrets.into_iter().collect::<Vec<_>>(), ["pull", "s1", "s2", "s3", "s4"]);
    }
}
