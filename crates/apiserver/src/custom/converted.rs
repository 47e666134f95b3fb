//! [`Converted`]: what conversion webhooks made of stored objects, kept for whoever reads them next.
//!
//! Upstream converts an object once, when it enters the watch cache of a version; all lists and watches of the version
//! share it. Here objects are stored once for all versions, so without a cache every watcher would have the webhook
//! asked anew for the same event. A write makes another revision and with it another key, and so does a change of the
//! definition that may change the outcome; nothing is ever taken back. Conversions without a webhook cost less than
//! keeping them.

use std::collections::HashMap;
use std::sync::Arc;

use api::{Conversion, Custom, Resource};
use apimachinery::StatusError;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::OnceCell;

use crate::registry::scan;

/// So many bytes are kept, half of them surely of late.
const MAX_BYTES: usize = 16 * 1024 * 1024;

/// What a kept object costs beside its bytes.
const OVERHEAD: usize = 256;

/// A stored object in a version.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    uid: String,
    revision: String,
    version: String,
    /// When the definition last changed in a way that may change the outcome.
    since: u64,
}

impl Key {
    /// The key of stored bytes, where a webhook converts them.
    pub(super) fn of(row: &Resource, custom: &dyn Custom, stored: &[u8]) -> Option<Self> {
        let text = |field: &str| scan::at(stored, &["metadata", field]).and_then(scan::text);
        if *custom.conversion() == Conversion::None {
            return None;
        }
        Some(Self {
            uid: text("uid")?.into_owned(),
            revision: text("resourceVersion")?.into_owned(),
            version: row.gvk.version.clone(),
            since: custom.in_form_since(),
        })
    }
}

/// See the module. Who asks for what somebody else is just converting waits for that.
#[derive(Debug, Default)]
pub(super) struct Converted {
    generations: Mutex<Generations>,
}

/// What was asked for of late, and what was before that: when the young have grown, the old go.
#[derive(Debug, Default)]
struct Generations {
    young: HashMap<Key, Arc<OnceCell<Bytes>>>,
    old: HashMap<Key, Arc<OnceCell<Bytes>>>,
    young_bytes: usize,
}

impl Generations {
    fn find(&mut self, key: &Key) -> Option<Arc<OnceCell<Bytes>>> {
        if let Some(cell) = self.young.get(key) {
            return Some(cell.clone());
        }
        let (key, cell) = self.old.remove_entry(key)?;
        self.young.insert(key, cell.clone());
        self.grow(cell.get().map_or(0, Bytes::len));
        Some(cell)
    }

    fn grow(&mut self, bytes: usize) {
        self.young_bytes += bytes + OVERHEAD;
        if self.young_bytes > MAX_BYTES / 2 {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
    }
}

impl Converted {
    /// What is kept under a key.
    pub(super) fn get(&self, key: &Key) -> Option<Bytes> {
        self.generations.lock().find(key)?.get().cloned()
    }

    /// Keeps bytes.
    pub(super) fn put(&self, key: Key, bytes: Bytes) {
        let mut generations = self.generations.lock();
        generations.grow(bytes.len());
        generations.young.insert(key, Arc::new(OnceCell::new_with(Some(bytes))));
    }

    /// What is kept under a key; where nothing is, what `make` makes of it, once.
    pub(super) async fn get_or_make(
        &self,
        key: Key,
        make: impl Future<Output = Result<Bytes, StatusError>>,
    ) -> Result<Bytes, StatusError> {
        let cell = {
            let mut generations = self.generations.lock();
            match generations.find(&key) {
                Some(cell) => cell,
                None => generations.young.entry(key).or_default().clone(),
            }
        };
        let mut made = 0;
        let make = async {
            let bytes = make.await?;
            made = bytes.len();
            Ok(bytes)
        };
        let bytes = cell.get_or_try_init(|| make).await.cloned();
        if made > 0 {
            self.generations.lock().grow(made);
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(revision: usize) -> Key {
        Key { uid: "u".into(), revision: revision.to_string(), version: "v1".into(), since: 1 }
    }

    #[test]
    fn what_was_not_asked_for_of_late_goes() {
        let converted = Converted::default();
        let megabyte = Bytes::from(vec![b'x'; 1024 * 1024]);
        for revision in 0..30 {
            converted.put(key(revision), megabyte.clone());
            assert!(converted.get(&key(0)).is_some(), "it is asked for all the time");
        }
        assert!(converted.get(&key(29)).is_some());
        assert!(converted.get(&key(1)).is_none());
        let generations = converted.generations.lock();
        assert!(generations.young.len() + generations.old.len() <= 17);
    }

    #[tokio::test]
    async fn many_who_ask_at_once_cost_one_conversion() {
        let (converted, calls) = (Converted::default(), Mutex::new(0));
        let ask = async || {
            let make = async {
                *calls.lock() += 1;
                tokio::task::yield_now().await;
                Ok(Bytes::from_static(b"{}"))
            };
            converted.get_or_make(key(1), make).await
        };
        let answers = futures::future::join_all((0..10).map(|_| ask())).await;
        assert!(answers.into_iter().all(|answer| answer.is_ok_and(|bytes| bytes == "{}")));
        assert_eq!(*calls.lock(), 1);
        let failing = converted.get_or_make(key(2), async { Err(StatusError::internal("no")) }).await;
        assert!(failing.is_err() && converted.get(&key(2)).is_none(), "failures are not kept");
    }
}
