//! [`Counts`]: how many objects of a kind each namespace has, for the kinds that quotas count
//! (upstream: pkg/controller/resourcequota/resource_quota_monitor.go).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use client::Client;
use component_base::Scope;
use futures::StreamExt;
use kube::Api;
use kube::api::{DynamicObject, PartialObjectMeta};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, watcher};
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use super::plan::Resource;
use crate::context::Context;
use crate::discovery::{ServedResource, served};

/// The names of a kind's objects, by namespace.
type Names = HashMap<String, HashSet<String>>;

struct Counter {
    names: RwLock<Names>,
    synced: watch::Sender<bool>,
}

/// One metadata-only watch a counted kind, begun when a quota first counts it.
pub(super) struct Counts {
    client: Client,
    scope: Scope,
    counters: Mutex<HashMap<Resource, Arc<Counter>>>,
}

impl Counts {
    pub(super) fn new(cx: &Context) -> Self {
        Self { client: cx.client.clone(), scope: cx.scope.clone(), counters: Mutex::default() }
    }

    /// How many objects of a kind a namespace has; none when the kind is not served. `wake` is called with the
    /// namespace of each object that goes, from the first time on.
    pub(super) async fn count(
        &self,
        resource: &Resource,
        namespace: &str,
        wake: impl Fn(&str) + Send + Sync + 'static,
    ) -> Option<usize> {
        let known = self.counters.lock().get(resource).cloned();
        let counter = match known {
            Some(counter) => counter,
            None => self.start(resource, wake).await?,
        };
        let mut synced = counter.synced.subscribe();
        // The sender lives as long as the counter.
        synced.wait_for(|synced| *synced).await.ok()?;
        let names = counter.names.read();
        Some(names.get(namespace).map_or(0, HashSet::len))
    }

    async fn start(&self, resource: &Resource, wake: impl Fn(&str) + Send + Sync + 'static) -> Option<Arc<Counter>> {
        let all = served(&self.client).await.ok()?;
        let is_it = |one: &ServedResource| {
            one.resource.group == resource.group && one.resource.plural == resource.resource && one.namespaced
        };
        let served = all.into_iter().find(|one| is_it(one) && one.offers(&["list", "watch"]))?;
        let counter = Arc::new(Counter { names: RwLock::default(), synced: watch::Sender::new(false) });
        self.counters.lock().insert(resource.clone(), counter.clone());
        let api: Api<PartialObjectMeta<DynamicObject>> = Api::all_with(self.client.clone(), &served.resource);
        self.scope.spawn("resourcequota-count", counter.clone().follow(api, wake));
        Some(counter)
    }
}

impl Counter {
    async fn follow(self: Arc<Self>, api: Api<PartialObjectMeta<DynamicObject>>, wake: impl Fn(&str) + Send + Sync) {
        let mut events = Box::pin(watcher(api, watcher::Config::default()).default_backoff());
        let mut listed = Names::new();
        while let Some(event) = events.next().await {
            match event {
                Ok(watcher::Event::Init) => listed.clear(),
                Ok(watcher::Event::InitApply(object)) => insert(&mut listed, &object),
                Ok(watcher::Event::InitDone) => {
                    let before = std::mem::replace(&mut *self.names.write(), std::mem::take(&mut listed));
                    self.synced.send_replace(true);
                    before.keys().for_each(|namespace| wake(namespace));
                }
                Ok(watcher::Event::Apply(object)) => insert(&mut self.names.write(), &object),
                Ok(watcher::Event::Delete(object)) => {
                    let namespace = object.metadata.namespace.unwrap_or_default();
                    if let Some(names) = self.names.write().get_mut(&namespace) {
                        names.remove(&object.metadata.name.unwrap_or_default());
                    }
                    wake(&namespace);
                }
                Err(err) => tracing::debug!(error = %err, "the watch of a counted kind broke; trying again"),
            }
        }
    }
}

fn insert(names: &mut Names, object: &PartialObjectMeta<DynamicObject>) {
    let namespace = object.metadata.namespace.clone().unwrap_or_default();
    names.entry(namespace).or_default().insert(object.metadata.name.clone().unwrap_or_default());
}
