//! What a controller has done but its cache does not show yet.
//!
//! Until the expected creations and deletions have been seen (or a few minutes passed) the controller must not act on
//! its stale count again. upstream: pkg/controller/controller_utils.go (`UIDTrackingControllerExpectations`)

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use client::ObjectKey;
use parking_lot::Mutex;
use tokio::time::Instant;

/// An expectation that never came true is dropped after this long.
const TIMEOUT: Duration = Duration::from_secs(300);

struct Expected {
    creations: usize,
    deletions: HashSet<String>,
    since: Instant,
}

impl Default for Expected {
    fn default() -> Self {
        Self { creations: 0, deletions: HashSet::new(), since: Instant::now() }
    }
}

/// Expectations by the key of the object that is being reconciled.
#[derive(Default)]
pub struct Expectations {
    by_key: Mutex<HashMap<ObjectKey, Expected>>,
}

impl Expectations {
    /// So many creations will be seen.
    pub fn expect_creations(&self, key: &ObjectKey, count: usize) {
        self.change(key, |expected| expected.creations += count);
    }

    /// The deletions of these uids will be seen.
    pub fn expect_deletions(&self, key: &ObjectKey, uids: impl IntoIterator<Item = String>) {
        self.change(key, |expected| expected.deletions.extend(uids));
    }

    /// A creation was seen, or will not happen.
    pub fn creation_observed(&self, key: &ObjectKey) {
        if let Some(expected) = self.by_key.lock().get_mut(key) {
            expected.creations = expected.creations.saturating_sub(1);
        }
    }

    /// A deletion was seen, or will not happen.
    pub fn deletion_observed(&self, key: &ObjectKey, uid: &str) {
        if let Some(expected) = self.by_key.lock().get_mut(key) {
            expected.deletions.remove(uid);
        }
    }

    /// Whether the cache shows everything that was done (or has had long enough to).
    pub fn are_satisfied(&self, key: &ObjectKey) -> bool {
        self.by_key.lock().get(key).is_none_or(|expected| {
            (expected.creations == 0 && expected.deletions.is_empty()) || expected.since.elapsed() > TIMEOUT
        })
    }

    /// The object is gone.
    pub fn forget(&self, key: &ObjectKey) {
        self.by_key.lock().remove(key);
    }

    fn change(&self, key: &ObjectKey, change: impl FnOnce(&mut Expected)) {
        let mut by_key = self.by_key.lock();
        let expected = by_key.entry(key.clone()).or_default();
        if expected.since.elapsed() > TIMEOUT || (expected.creations == 0 && expected.deletions.is_empty()) {
            *expected = Expected::default();
        }
        change(expected);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn satisfied_when_everything_was_seen() {
        let (expectations, key) = (Expectations::default(), ObjectKey::new("a", "x"));
        assert!(expectations.are_satisfied(&key));
        expectations.expect_creations(&key, 2);
        expectations.expect_deletions(&key, ["u1".to_owned()]);
        expectations.creation_observed(&key);
        expectations.deletion_observed(&key, "u1");
        assert!(!expectations.are_satisfied(&key));
        expectations.creation_observed(&key);
        assert!(expectations.are_satisfied(&key));
        expectations.creation_observed(&key);
        assert!(expectations.are_satisfied(&key), "more than expected does no harm");
    }
}
