//! [`Objects`]: the few objects of a kind that plugins ask for at every write, decoded once when they change.

use std::collections::BTreeMap;
use std::sync::Arc;

use apimachinery::Object;
use store::{Entry, Store};

use crate::authorization::follow::{Follower, Projection};

/// All objects of one kind, by their key below the kind's prefix: `<name>` or `<namespace>/<name>`.
#[derive(Default)]
pub(super) struct Objects(BTreeMap<String, Arc<Object>>);

/// Such a cache, as new as the store.
pub(super) type Followed = Follower<Objects>;

/// Follows the objects below `prefix`, as `/registry/core/limitranges/`.
pub(super) fn follow(store: &Arc<dyn Store>, prefix: &str) -> Followed {
    Follower::new(store.clone(), prefix)
}

impl Objects {
    /// Every object.
    pub(super) fn all(&self) -> Vec<Arc<Object>> {
        self.0.values().cloned().collect()
    }

    /// The objects of a namespace.
    pub(super) fn of_namespace(&self, namespace: &str) -> Vec<Arc<Object>> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let prefix = format!("{namespace}/");
        let range = self.0.range(prefix.clone()..).take_while(|(key, _)| key.starts_with(&prefix));
        range.map(|(_, object)| object.clone()).collect()
    }

    /// The object of this name, of a kind without namespaces.
    pub(super) fn named(&self, name: &str) -> Option<Arc<Object>> {
        self.0.get(name).cloned()
    }
}

/// What follows `/registry/<group>/<resource>/`.
fn below_prefix(key: &str) -> &str {
    key.match_indices('/').nth(3).map_or(key, |(at, _)| &key[at + 1..])
}

impl Projection for Objects {
    fn put(&mut self, entry: &Entry) {
        let key = below_prefix(&entry.key).to_owned();
        match serde_json::from_slice::<Object>(&entry.finished.value) {
            Ok(object) => self.0.insert(key, Arc::new(object)),
            // Every other reader reports it; here it counts as absent.
            Err(_) => self.0.remove(&key),
        };
    }

    fn delete(&mut self, key: &str) {
        self.0.remove(below_prefix(key));
    }
}

/// The newest of the objects that an annotation marks as default; of equally old ones the first by name
/// (upstream: pkg/volume/util/storageclass.go `GetDefaultClass`).
pub(super) fn default_of(objects: Vec<Arc<Object>>, annotations: &[&str]) -> Option<Arc<Object>> {
    let marked =
        |object: &Arc<Object>| object.annotations().any(|(key, value)| annotations.contains(&key) && value == "true");
    let mut defaults: Vec<_> = objects.into_iter().filter(marked).collect();
    defaults.sort_by(|a, b| {
        let newest = b.meta_str("creationTimestamp").cmp(a.meta_str("creationTimestamp"));
        newest.then_with(|| a.name().cmp(b.name()))
    });
    defaults.into_iter().next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn class(name: &str, created: &str, default: &str) -> Arc<Object> {
        let metadata = json!({"name": name, "creationTimestamp": created, "annotations": {"a/default": default}});
        Arc::new(Object::from_value(json!({"metadata": metadata})).expect("an object"))
    }

    #[test]
    fn the_newest_default_wins() {
        let classes = |list: &[(&str, &str, &str)]| {
            let classes = list.iter().map(|(name, created, default)| class(name, created, default)).collect();
            default_of(classes, &["a/default"]).map(|class| class.name().to_owned())
        };
        assert_eq!(classes(&[]), None);
        assert_eq!(classes(&[("a", "2026-01-01T00:00:00Z", "false")]), None);
        let two = [("a", "2026-01-01T00:00:00Z", "true"), ("b", "2026-01-02T00:00:00Z", "true")];
        assert_eq!(classes(&two).as_deref(), Some("b"));
        let equal = [("b", "2026-01-01T00:00:00Z", "true"), ("a", "2026-01-01T00:00:00Z", "true")];
        assert_eq!(classes(&equal).as_deref(), Some("a"));
    }

    #[test]
    fn keys_are_split_by_namespace() {
        assert_eq!(below_prefix("/registry/core/limitranges/shop/a"), "shop/a");
        assert_eq!(below_prefix("/registry/storage.k8s.io/storageclasses/fast"), "fast");
    }
}
