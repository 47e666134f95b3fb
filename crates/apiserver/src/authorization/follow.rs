//! [`Follower`]: a projection of the keys below a prefix, always as new as the store.
//!
//! It needs no task: whoever reads the projection first takes in what the watch has to say. The store answers from
//! memory, so this does not wait; a role that was written a moment ago holds for the very next request, and an idle
//! server does nothing.

use std::sync::Arc;

use futures::FutureExt;
use parking_lot::RwLock;
use store::{Entry, Event, RangeRequest, Store, Watch};

/// What is made of the followed keys.
pub trait Projection: Default + Send + Sync + 'static {
    /// A key was created or changed.
    fn put(&mut self, entry: &Entry);
    /// A key was deleted.
    fn delete(&mut self, key: &str);
}

/// See the module.
pub struct Follower<P> {
    store: Arc<dyn Store>,
    prefix: String,
    state: RwLock<Following<P>>,
}

struct Following<P> {
    projection: P,
    watch: Option<Box<dyn Watch>>,
}

impl<P: Projection> Follower<P> {
    /// Follows the keys below `prefix`.
    pub fn new(store: Arc<dyn Store>, prefix: impl Into<String>) -> Self {
        let state = RwLock::new(Following { projection: P::default(), watch: None });
        Self { store, prefix: prefix.into(), state }
    }

    /// Takes in everything committed so far and reads the projection. As long as nothing changes, readers share it.
    pub fn read<T>(&self, read: impl FnOnce(&P) -> T) -> T {
        let state = self.state.read();
        if state.watch.as_ref().is_some_and(|watch| watch.is_current()) {
            return read(&state.projection);
        }
        drop(state);
        let mut state = self.state.write();
        if state.watch.is_none() || !state.drain() {
            state.restart(&*self.store, &self.prefix);
        }
        read(&state.projection)
    }
}

impl<P: Projection> Following<P> {
    /// Takes in what the watch has to say; false when the watch has ended.
    fn drain(&mut self) -> bool {
        let Some(watch) = &mut self.watch else { return false };
        loop {
            // The store's events lie in memory; a task's share of work must not make us stop in the middle.
            match tokio::task::unconstrained(watch.next()).now_or_never() {
                None => return true,
                Some(Some(Ok(Event::Put { entry, .. }))) => self.projection.put(&entry),
                Some(Some(Ok(Event::Delete { entry, .. }))) => self.projection.delete(&entry.key),
                Some(Some(Ok(Event::Progress(_)))) => {}
                Some(Some(Err(_)) | None) => {
                    self.watch = None;
                    return false;
                }
            }
        }
    }

    /// Reads everything anew and watches from there. While the store gives no answer the projection stays as it is.
    fn restart(&mut self, store: &dyn Store, prefix: &str) {
        let request = RangeRequest { prefix: prefix.to_owned(), ..RangeRequest::default() };
        let Some(Ok(range)) = store.range(&request).now_or_never() else { return };
        let Some(Ok(watch)) = store.watch(prefix, range.revision).now_or_never() else { return };
        self.projection = P::default();
        range.entries.iter().for_each(|entry| self.projection.put(entry));
        self.watch = Some(watch);
        self.drain();
    }
}

impl<P> std::fmt::Debug for Follower<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Follower").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::time::Duration;

    use store::suite::{Echo, delete, put};
    use store::{Embedded, Expect, History, Options};

    #[derive(Default)]
    struct Keys(BTreeSet<String>);

    impl Projection for Keys {
        fn put(&mut self, entry: &Entry) {
            self.0.insert(entry.key.to_string());
        }

        fn delete(&mut self, key: &str) {
            self.0.remove(key);
        }
    }

    #[tokio::test]
    async fn what_was_written_is_read_at_once_even_after_the_history_is_gone() {
        let history = History { events: 10, bytes: 1 << 20, age: Duration::from_secs(3600) };
        let store = Embedded::in_memory_with(Options { history, ..Options::new(Arc::new(Echo)) });
        let follower: Follower<Keys> = Follower::new(store.clone(), "/a/");
        let count = || follower.read(|keys| keys.0.len());
        assert_eq!(count(), 0);
        let first = put(&*store, "/a/x", Expect::Absent, "").await.modified;
        assert_eq!(count(), 1);
        delete(&*store, "/a/x", first).await;
        assert_eq!(count(), 0);
        for number in 0..500 {
            put(&*store, &format!("/a/{number}"), Expect::Absent, "").await;
        }
        assert_eq!(count(), 500);
    }
}
