//! Shared informers: one watch a kind and process, however many users.
//!
//! Guarantees: the cache is replaced atomically after a relist; handlers see every change of the cache once, in its
//! order; cached objects are shared and never changed. A handler must be quick (put a key into a queue): it runs on
//! the reflector's task, so nothing is buffered. `managedFields` are not kept: nobody who reads a cache needs them, and
//! they are half of a small object; an update without them leaves them as they are.

mod undecoded;

use std::any::{Any, TypeId};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Debug;
use std::sync::Arc;

use component_base::Scope;
use futures::StreamExt;
use futures::stream::BoxStream;
use kube::core::ApiResource;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client, Resource};
use parking_lot::{Mutex, RwLock};
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use self::undecoded::Undecoded;
use crate::ObjectKey;

/// What a kind must be to be cached.
pub trait Cacheable: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static {}
impl<K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static> Cacheable for K {}

/// A change of the cache.
#[derive(Clone, Debug)]
pub enum Event<K> {
    /// The object is new to the cache.
    Added(Arc<K>),
    /// The object changed.
    Updated {
        /// As it was cached.
        old: Arc<K>,
        /// As it is.
        new: Arc<K>,
    },
    /// The object is gone; its last known state.
    Deleted(Arc<K>),
}

impl<K> Event<K> {
    /// The object as it is, or was when it went.
    pub fn object(&self) -> &Arc<K> {
        match self {
            Self::Added(object) | Self::Updated { new: object, .. } | Self::Deleted(object) => object,
        }
    }
}

/// Takes the values an index files an object under.
pub type IndexFn<K> = fn(&K) -> Vec<String>;
type Handler<K> = Box<dyn Fn(&Event<K>) + Send + Sync>;

struct Index<K> {
    values: IndexFn<K>,
    keys: HashMap<String, HashSet<ObjectKey>>,
}

struct State<K> {
    objects: BTreeMap<ObjectKey, Arc<K>>,
    indexes: HashMap<&'static str, Index<K>>,
}

impl<K: Cacheable> State<K> {
    fn put(&mut self, key: ObjectKey, object: Arc<K>) -> Option<Arc<K>> {
        let old = self.objects.insert(key.clone(), object.clone());
        for index in self.indexes.values_mut() {
            if let Some(old) = &old {
                index.remove(&key, old);
            }
            index.insert(&key, &object);
        }
        old
    }

    fn take(&mut self, key: &ObjectKey) -> Option<Arc<K>> {
        let old = self.objects.remove(key)?;
        for index in self.indexes.values_mut() {
            index.remove(key, &old);
        }
        Some(old)
    }
}

impl<K> Index<K> {
    fn insert(&mut self, key: &ObjectKey, object: &K) {
        for value in (self.values)(object) {
            self.keys.entry(value).or_default().insert(key.clone());
        }
    }

    fn remove(&mut self, key: &ObjectKey, object: &K) {
        for value in (self.values)(object) {
            if let Some(keys) = self.keys.get_mut(&value) {
                keys.remove(key);
                if keys.is_empty() {
                    self.keys.remove(&value);
                }
            }
        }
    }
}

struct Shared<K> {
    state: RwLock<State<K>>,
    /// Also the lock under which changes reach the handlers in order.
    handlers: Mutex<Vec<Handler<K>>>,
    synced: watch::Sender<bool>,
}

/// The cache of one kind, kept current by one watch. Clones share it.
pub struct Informer<K> {
    shared: Arc<Shared<K>>,
}

impl<K> Clone for Informer<K> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<K: Cacheable> Informer<K> {
    fn new() -> Self {
        let state = State { objects: BTreeMap::new(), indexes: HashMap::new() };
        Self {
            shared: Arc::new(Shared {
                state: RwLock::new(state),
                handlers: Mutex::new(Vec::new()),
                synced: watch::Sender::new(false),
            }),
        }
    }

    /// Reads the cache.
    pub fn lister(&self) -> Lister<K> {
        Lister { shared: self.shared.clone() }
    }

    /// Completes once the first list has arrived.
    pub async fn synced(&self) {
        // The sender lives in `self.shared`, so waiting cannot fail.
        let _ = self.shared.synced.subscribe().wait_for(|synced| *synced).await;
    }

    /// Whether the first list has arrived.
    pub fn has_synced(&self) -> bool {
        *self.shared.synced.borrow()
    }

    /// Calls `handler` for every object there is (as added) and every change from now on.
    pub fn on_event(&self, handler: impl Fn(&Event<K>) + Send + Sync + 'static) {
        let mut handlers = self.shared.handlers.lock();
        let present: Vec<Arc<K>> = self.shared.state.read().objects.values().cloned().collect();
        for object in present {
            handler(&Event::Added(object));
        }
        handlers.push(Box::new(handler));
    }

    /// Files objects under the values that `values` takes from them; see [`Lister::by_index`].
    pub fn add_index(&self, name: &'static str, values: IndexFn<K>) {
        let mut state = self.shared.state.write();
        let mut index = Index { values, keys: HashMap::new() };
        for (key, object) in &state.objects {
            index.insert(key, object);
        }
        state.indexes.insert(name, index);
    }

    fn apply(&self, mut object: K) {
        object.meta_mut().managed_fields = None;
        let handlers = self.shared.handlers.lock();
        let object = Arc::new(object);
        let old = self.shared.state.write().put(ObjectKey::of(&*object), object.clone());
        let event = match old {
            None => Event::Added(object),
            Some(old) if old.meta().resource_version == object.meta().resource_version => return,
            Some(old) if old.meta().uid == object.meta().uid => Event::Updated { old, new: object },
            // The name was given anew while no watch was open: to users that is a deletion and a creation.
            Some(old) => {
                let gone = Event::Deleted(old);
                handlers.iter().for_each(|handler| handler(&gone));
                Event::Added(object)
            }
        };
        handlers.iter().for_each(|handler| handler(&event));
    }

    fn delete(&self, key: &ObjectKey, last: Option<Arc<K>>) {
        let handlers = self.shared.handlers.lock();
        let Some(cached) = self.shared.state.write().take(key) else { return };
        let event = Event::Deleted(last.unwrap_or(cached));
        handlers.iter().for_each(|handler| handler(&event));
    }

    fn replace(&self, listed: Vec<K>) {
        let keys: HashSet<ObjectKey> = listed.iter().map(ObjectKey::of).collect();
        let gone: Vec<ObjectKey> =
            self.shared.state.read().objects.keys().filter(|key| !keys.contains(*key)).cloned().collect();
        gone.iter().for_each(|key| self.delete(key, None));
        listed.into_iter().for_each(|object| self.apply(object));
        self.shared.synced.send_replace(true);
    }

    async fn reflect(self, mut events: Events) {
        let mut listed = Vec::new();
        while let Some(event) = events.next().await {
            match event {
                Ok(watcher::Event::Init) => listed.clear(),
                Ok(watcher::Event::InitApply(object)) => listed.extend(object.decode_or_tell()),
                Ok(watcher::Event::InitDone) => self.replace(std::mem::take(&mut listed)),
                Ok(watcher::Event::Apply(object)) => {
                    if let Some(object) = object.decode_or_tell() {
                        self.apply(object);
                    }
                }
                Ok(watcher::Event::Delete(object)) => {
                    self.delete(&ObjectKey::of(&object), object.decode_or_tell().map(Arc::new));
                }
                Err(err) => tracing::warn!(kind = %K::kind(&()), error = %err, "the watch broke; trying again"),
            }
        }
    }
}

/// What a watch tells, over its breaks.
type Events = BoxStream<'static, watcher::Result<watcher::Event<Undecoded>>>;

/// Lists and watches a kind, again and again with pauses that grow.
fn events(client: Client, resource: &ApiResource, field_selector: &str) -> Events {
    let mut config = watcher::Config::default();
    if !field_selector.is_empty() {
        config = config.fields(field_selector);
    }
    watcher(Api::<Undecoded>::all_with(client, resource), config).default_backoff().boxed()
}

/// Reads an informer's cache. Objects are shared: clone before a change.
pub struct Lister<K> {
    shared: Arc<Shared<K>>,
}

impl<K> Clone for Lister<K> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<K: Cacheable> Lister<K> {
    /// The object of a key.
    pub fn get(&self, key: &ObjectKey) -> Option<Arc<K>> {
        self.shared.state.read().objects.get(key).cloned()
    }

    /// Every object, in order of the keys.
    pub fn list(&self) -> Vec<Arc<K>> {
        self.shared.state.read().objects.values().cloned().collect()
    }

    /// The objects of a namespace.
    pub fn list_in(&self, namespace: &str) -> Vec<Arc<K>> {
        let state = self.shared.state.read();
        let first = ObjectKey::new(namespace, "");
        let of_namespace = state.objects.range(first..).take_while(|(key, _)| key.namespace == namespace);
        of_namespace.map(|(_, object)| object.clone()).collect()
    }

    /// The objects that index `name` (see [`Informer::add_index`]) files under `value`.
    pub fn by_index(&self, name: &str, value: &str) -> Vec<Arc<K>> {
        let state = self.shared.state.read();
        let keys = state.indexes.get(name).and_then(|index| index.keys.get(value));
        keys.into_iter().flatten().filter_map(|key| state.objects.get(key).cloned()).collect()
    }

    /// How many objects are cached.
    pub fn len(&self) -> usize {
        self.shared.state.read().objects.len()
    }

    /// Whether nothing is cached.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Makes informers and shares them: asking twice for the same kind and field selector gives the same cache.
#[derive(Clone)]
pub struct Informers {
    client: Client,
    scope: Scope,
    made: Arc<Mutex<HashMap<(TypeId, String), Box<dyn Any + Send + Sync>>>>,
}

impl Informers {
    /// Informers that read through `client` and end with `scope`.
    pub fn new(client: Client, scope: &Scope) -> Self {
        Self { client, scope: scope.clone(), made: Arc::default() }
    }

    /// The informer of a kind, over all namespaces.
    pub fn informer<K: Cacheable>(&self) -> Informer<K> {
        self.informer_where("")
    }

    /// The informer of the objects of a kind that a field selector picks, as `spec.nodeName=a`.
    pub fn informer_where<K: Cacheable>(&self, field_selector: &str) -> Informer<K> {
        let mut made = self.made.lock();
        let slot = (TypeId::of::<K>(), field_selector.to_owned());
        if let Some(known) = made.get(&slot).and_then(|informer| informer.downcast_ref::<Informer<K>>()) {
            return known.clone();
        }
        let informer = Informer::<K>::new();
        made.insert(slot, Box::new(informer.clone()));
        let events = events(self.client.clone(), &ApiResource::erase::<K>(&()), field_selector);
        self.scope.spawn("reflector", informer.clone().reflect(events));
        informer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::api::ObjectMeta;

    fn config_map(namespace: &str, name: &str, version: &str) -> ConfigMap {
        let metadata = ObjectMeta {
            namespace: Some(namespace.into()),
            name: Some(name.into()),
            resource_version: Some(version.into()),
            ..ObjectMeta::default()
        };
        ConfigMap { metadata, ..ConfigMap::default() }
    }

    fn recorded(informer: &Informer<ConfigMap>) -> Arc<Mutex<Vec<String>>> {
        let log: Arc<Mutex<Vec<String>>> = Arc::default();
        let sink = log.clone();
        informer.on_event(move |event| {
            let verb = match event {
                Event::Added(_) => "+",
                Event::Updated { .. } => "~",
                Event::Deleted(_) => "-",
            };
            sink.lock().push(format!("{verb}{}", ObjectKey::of(&**event.object())));
        });
        log
    }

    #[test]
    fn a_relist_is_told_as_the_difference() {
        let informer = Informer::new();
        informer.replace(vec![config_map("a", "x", "1"), config_map("a", "y", "1")]);
        let log = recorded(&informer);
        informer.replace(vec![config_map("a", "y", "2"), config_map("b", "z", "3")]);
        assert_eq!(*log.lock(), ["+a/x", "+a/y", "-a/x", "~a/y", "+b/z"]);
    }

    #[test]
    fn a_name_given_anew_is_another_object() {
        let informer = Informer::new();
        let log = recorded(&informer);
        let with_uid = |version: &str, uid: &str| {
            let mut object = config_map("a", "x", version);
            object.metadata.uid = Some(uid.into());
            object
        };
        informer.apply(with_uid("1", "first"));
        informer.apply(with_uid("2", "second"));
        assert_eq!(*log.lock(), ["+a/x", "-a/x", "+a/x"]);
    }

    #[test]
    fn the_same_version_twice_is_no_change() {
        let informer = Informer::new();
        let log = recorded(&informer);
        informer.apply(config_map("a", "x", "1"));
        informer.apply(config_map("a", "x", "1"));
        assert_eq!(*log.lock(), ["+a/x"]);
    }

    #[test]
    fn namespaces_and_indexes_find_their_objects() {
        let informer = Informer::new();
        informer.add_index("name", |object: &ConfigMap| object.metadata.name.clone().into_iter().collect());
        informer.replace(vec![config_map("a", "x", "1"), config_map("ab", "x", "1"), config_map("a", "y", "1")]);
        let lister = informer.lister();
        assert_eq!(lister.list_in("a").len(), 2);
        assert_eq!(lister.by_index("name", "x").len(), 2);
        informer.delete(&ObjectKey::new("a", "x"), None);
        assert_eq!(lister.by_index("name", "x").len(), 1);
    }
}
