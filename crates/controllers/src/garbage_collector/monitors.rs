//! One metadata-only watch a kind, for as long as the kind is served.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use component_base::{Backoff, Scope};
use futures::StreamExt;
use futures::future::join_all;
use kube::Api;
use kube::api::{DynamicObject, PartialObjectMeta};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, watcher};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::Collector;
use super::graph::Location;
use crate::discovery::{ServedResource, served};

/// When this kind changes, others come and go.
const DEFINITIONS: &str = "customresourcedefinitions";
/// Changes of definitions come in groups.
const SETTLE: Duration = Duration::from_millis(100);

struct Monitor {
    scope: Scope,
    synced: watch::Receiver<bool>,
}

/// The running watches.
#[derive(Default)]
pub(super) struct Monitors {
    running: Mutex<HashMap<String, Monitor>>,
    /// The kinds by `<apiVersion>/<kind>`, for owner references.
    kinds: Mutex<HashMap<String, Arc<ServedResource>>>,
    changed: Notify,
}

impl Monitors {
    /// The resource of a kind as an owner reference names it.
    pub(super) fn resource_of(&self, api_version: &str, kind: &str) -> Option<Arc<ServedResource>> {
        self.kinds.lock().get(&format!("{api_version}/{kind}")).cloned()
    }
}

/// Starts the watches and keeps them in line with what is served; returns when every kind was listed once.
pub(super) async fn follow(collector: &Arc<Collector>) {
    refresh(collector).await;
    let waits: Vec<watch::Receiver<bool>> =
        collector.monitors.running.lock().values().map(|monitor| monitor.synced.clone()).collect();
    // An error means that the watch has ended: its kind is no longer served.
    join_all(waits.into_iter().map(|mut synced| async move { drop(synced.wait_for(|synced| *synced).await) })).await;
    let this = collector.clone();
    collector.cx.scope.spawn("garbage-collector-kinds", async move {
        loop {
            this.monitors.changed.notified().await;
            tokio::time::sleep(SETTLE).await;
            refresh(&this).await;
        }
    });
}

/// Starts watches of new kinds and ends those of kinds that went.
async fn refresh(collector: &Arc<Collector>) {
    let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(10));
    let resources = loop {
        match served(&collector.cx.client).await {
            Ok(resources) => break resources,
            Err(err) => {
                tracing::warn!(error = %err, "the served kinds could not be listed; trying again");
                tokio::time::sleep(backoff.next_delay()).await;
            }
        }
    };
    let resources: Vec<Arc<ServedResource>> = resources.into_iter().map(Arc::new).collect();
    let key = |one: &ServedResource| format!("{}/{}", one.resource.api_version, one.resource.kind);
    *collector.monitors.kinds.lock() = resources.iter().map(|one| (key(one), one.clone())).collect();
    let watched = resources.into_iter().filter(|one| {
        // Events own nothing, are owned by nothing, and are many.
        one.offers(&["list", "watch", "delete"]) && one.resource.kind != "Event"
    });
    let watched: HashMap<String, Arc<ServedResource>> = watched.map(|one| (key(&one), one)).collect();
    let mut running = collector.monitors.running.lock();
    running.retain(|key, monitor| {
        let stays = watched.contains_key(key);
        if !stays {
            monitor.scope.cancel();
        }
        stays
    });
    for (key, resource) in watched {
        running.entry(key).or_insert_with(|| start(collector, resource));
    }
}

fn start(collector: &Arc<Collector>, resource: Arc<ServedResource>) -> Monitor {
    let scope = collector.cx.scope.child();
    let (sender, synced) = watch::channel(false);
    let this = collector.clone();
    scope.spawn("garbage-collector-monitor", async move { this.monitor(resource, sender).await });
    Monitor { scope, synced }
}

impl Collector {
    async fn monitor(&self, served: Arc<ServedResource>, synced: watch::Sender<bool>) {
        let api: Api<PartialObjectMeta<DynamicObject>> = Api::all_with(self.cx.client.clone(), &served.resource);
        let mut events = Box::pin(watcher(api, watcher::Config::default()).default_backoff());
        let mut known: HashSet<String> = HashSet::new();
        let mut listed: HashSet<String> = HashSet::new();
        while let Some(event) = events.next().await {
            match event {
                Ok(watcher::Event::Init) => listed.clear(),
                Ok(watcher::Event::InitApply(object)) => {
                    listed.extend(object.metadata.uid.clone());
                    self.observe(&served, &object);
                }
                Ok(watcher::Event::InitDone) => {
                    let now = std::mem::take(&mut listed);
                    known.difference(&now).for_each(|uid| self.change(|graph| graph.forget(uid)));
                    known = now;
                    synced.send_replace(true);
                }
                Ok(watcher::Event::Apply(object)) => {
                    known.extend(object.metadata.uid.clone());
                    self.observe(&served, &object);
                }
                Ok(watcher::Event::Delete(object)) => {
                    let uid = object.metadata.uid.unwrap_or_default();
                    known.remove(&uid);
                    self.change(|graph| graph.forget(&uid));
                    self.note_definition(&served);
                }
                Err(err) => {
                    tracing::debug!(resource = served.group_resource(), error = %err, "the watch broke; trying again");
                    // A kind that cannot be listed must not keep all others from being collected.
                    synced.send_replace(true);
                }
            }
        }
    }

    fn observe(&self, served: &Arc<ServedResource>, object: &PartialObjectMeta<DynamicObject>) {
        let location = Location {
            served: served.clone(),
            namespace: object.metadata.namespace.clone().unwrap_or_default(),
            name: object.metadata.name.clone().unwrap_or_default(),
        };
        self.change(|graph| graph.observe(location, &object.metadata));
        self.note_definition(served);
    }

    fn note_definition(&self, served: &ServedResource) {
        if served.resource.plural == DEFINITIONS {
            self.monitors.changed.notify_one();
        }
    }
}
