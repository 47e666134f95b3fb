//! [`Lanes`]: which revisions concern a watched prefix.
//!
//! A lane belongs to a prefix and is shared by all its watchers. It holds revisions only; the changes themselves
//! lie in the one shared history. A watcher is a cursor into its lane, so a slow one costs nothing but history
//! that is kept anyway, and a change costs work only where somebody watches.

use std::collections::{BTreeMap, HashMap, VecDeque};

use tokio::sync::watch;

use crate::kv::Revision;

/// What concerns one prefix.
#[derive(Debug)]
pub(crate) struct Lane {
    /// Every change after this revision was seen by the lane.
    pub(crate) since: Revision,
    /// The newest revision that fell out of the history; a cursor before it has missed something.
    pub(crate) trimmed: Revision,
    /// The revisions of changes below the prefix, ascending.
    pub(crate) revisions: VecDeque<Revision>,
    watchers: usize,
    wake: watch::Sender<()>,
    /// The last epoch in which the lane was noted as dirty.
    dirty_in: u64,
}

/// Every watched prefix.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    by_prefix: HashMap<Box<str>, Lane>,
    /// The lengths of the watched prefixes with how many have it: a change looks up its key cut to each of them.
    lengths: BTreeMap<usize, usize>,
    dirty: Vec<watch::Sender<()>>,
    /// How often the dirty lanes were taken.
    epoch: u64,
}

impl Lanes {
    /// Counts a watcher in, making the lane if it is the first. The receiver wakes for changes and ends at close.
    pub(crate) fn join(&mut self, prefix: &str, revision: Revision) -> watch::Receiver<()> {
        if !self.by_prefix.contains_key(prefix) {
            *self.lengths.entry(prefix.len()).or_default() += 1;
            let (wake, _) = watch::channel(());
            let revisions = VecDeque::new();
            let lane = Lane { since: revision, trimmed: 0, revisions, watchers: 0, wake, dirty_in: u64::MAX };
            self.by_prefix.insert(prefix.into(), lane);
        }
        let lane = self.by_prefix.get_mut(prefix).expect("inserted above");
        lane.watchers += 1;
        lane.wake.subscribe()
    }

    /// Counts a watcher out; the last one takes the lane away.
    pub(crate) fn leave(&mut self, prefix: &str) {
        let Some(lane) = self.by_prefix.get_mut(prefix) else { return };
        lane.watchers -= 1;
        if lane.watchers > 0 {
            return;
        }
        self.by_prefix.remove(prefix);
        if let Some(count) = self.lengths.get_mut(&prefix.len()) {
            *count -= 1;
            if *count == 0 {
                self.lengths.remove(&prefix.len());
            }
        }
    }

    /// The lane of a prefix that is watched.
    pub(crate) fn get(&self, prefix: &str) -> Option<&Lane> {
        self.by_prefix.get(prefix)
    }

    /// Notes a change of `key` in every lane it concerns.
    pub(crate) fn push(&mut self, key: &str, revision: Revision) {
        let Self { by_prefix, lengths, dirty, epoch } = self;
        for_each_lane(by_prefix, lengths, key, |lane| {
            lane.revisions.push_back(revision);
            if lane.dirty_in != *epoch {
                lane.dirty_in = *epoch;
                dirty.push(lane.wake.clone());
            }
        });
    }

    /// Forgets the change of `key` at or before `floor`, which left the history.
    pub(crate) fn trim(&mut self, key: &str, floor: Revision) {
        for_each_lane(&mut self.by_prefix, &self.lengths, key, |lane| {
            while let Some(&first) = lane.revisions.front().filter(|first| **first <= floor) {
                lane.trimmed = first;
                lane.revisions.pop_front();
            }
            if lane.revisions.is_empty() {
                lane.revisions = VecDeque::new();
            }
        });
    }

    /// Whom to wake for the changes since the last call; to be woken after the lock was released.
    pub(crate) fn take_dirty(&mut self) -> Vec<watch::Sender<()>> {
        self.epoch += 1;
        std::mem::take(&mut self.dirty)
    }

    /// Takes every lane away: all watches end.
    pub(crate) fn close(&mut self) {
        *self = Self::default();
    }
}

fn for_each_lane(
    by_prefix: &mut HashMap<Box<str>, Lane>,
    lengths: &BTreeMap<usize, usize>,
    key: &str,
    mut visit: impl FnMut(&mut Lane),
) {
    for (&length, _) in lengths.range(..=key.len()) {
        if let Some(lane) = key.get(..length).and_then(|prefix| by_prefix.get_mut(prefix)) {
            visit(lane);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_reaches_every_prefix_of_its_key_and_no_other() {
        let mut lanes = Lanes::default();
        for prefix in ["", "/pods/", "/pods/a/", "/pods/b/", "/pods/a/x", "/nodes/"] {
            lanes.join(prefix, 1);
        }
        lanes.push("/pods/a/x1", 2);
        let mut reached: Vec<&str> = lanes
            .by_prefix
            .iter()
            .filter(|(_, lane)| !lane.revisions.is_empty())
            .map(|(prefix, _)| &**prefix)
            .collect();
        reached.sort_unstable();
        assert_eq!(reached, ["", "/pods/", "/pods/a/", "/pods/a/x"]);
        assert_eq!(lanes.take_dirty().len(), 4);
        assert!(lanes.take_dirty().is_empty());
    }

    #[test]
    fn the_last_watcher_takes_the_lane_away() {
        let mut lanes = Lanes::default();
        lanes.join("/a/", 1);
        lanes.join("/a/", 5);
        lanes.leave("/a/");
        assert!(lanes.get("/a/").is_some());
        lanes.leave("/a/");
        assert!(lanes.get("/a/").is_none() && lanes.lengths.is_empty());
    }
}
