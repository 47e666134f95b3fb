//! How many watch what a write changes (upstream: flowcontrol/watch_tracker.go).

use std::collections::HashMap;
use std::sync::Arc;

use apimachinery::Attributes;
use parking_lot::RwLock;

/// The watches that are open, by what they see.
#[derive(Debug, Default)]
pub struct WatchTracker {
    counts: RwLock<HashMap<String, u32>>,
}

/// An open watch.
#[derive(Debug)]
pub struct Watching {
    tracker: Arc<WatchTracker>,
    key: String,
}

impl Drop for Watching {
    fn drop(&mut self) {
        let mut counts = self.tracker.counts.write();
        if let Some(count) = counts.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.key);
            }
        }
    }
}

/// `group resource`, then namespace and name where a watch or an object has them.
fn key(asked: &Attributes<'_>, namespace: &str, name: &str) -> String {
    [asked.group, asked.resource, namespace, name].join("/")
}

impl WatchTracker {
    /// Counts a watch until the answer is dropped.
    pub fn register(self: &Arc<Self>, asked: &Attributes<'_>) -> Watching {
        let key = key(asked, asked.namespace, asked.name);
        *self.counts.write().entry(key.clone()).or_default() += 1;
        Watching { tracker: self.clone(), key }
    }

    /// How many watches hear of a write.
    pub fn interested(&self, asked: &Attributes<'_>) -> u32 {
        let counts = self.counts.read();
        if counts.is_empty() {
            return 0;
        }
        let count = |namespace: &str, name: &str| counts.get(&key(asked, namespace, name)).copied().unwrap_or(0);
        let mut sum = count("", "");
        if !asked.namespace.is_empty() {
            sum += count(asked.namespace, "");
        }
        if !asked.name.is_empty() {
            sum += count("", asked.name);
            if !asked.namespace.is_empty() {
                sum += count(asked.namespace, asked.name);
            }
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use apimachinery::UserInfo;

    #[test]
    fn a_write_is_heard_by_those_whose_scope_it_is_in() {
        let user = UserInfo::anonymous();
        let asked = |namespace: &'static str, name: &'static str| Attributes {
            verb: "update",
            resource: "pods",
            namespace,
            name,
            ..Attributes::on_resource(&user)
        };
        let tracker = Arc::new(WatchTracker::default());
        let held = [("", ""), ("a", ""), ("a", "x"), ("b", ""), ("", "x")];
        let held: Vec<Watching> = held.map(|(namespace, name)| tracker.register(&asked(namespace, name))).into();
        for (namespace, name, expected) in [("a", "x", 4), ("a", "y", 2), ("b", "x", 3), ("c", "z", 1)] {
            assert_eq!(tracker.interested(&asked(namespace, name)), expected, "{namespace}/{name}");
        }
        drop(held);
        assert_eq!(tracker.interested(&asked("a", "x")), 0);
        assert!(tracker.counts.read().is_empty());
    }
}
