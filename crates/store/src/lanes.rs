//! [`Lanes`]: which revisions concern a watched prefix.
//!
//! A lane belongs to a prefix and is shared by all its watchers. It holds revisions only; the changes themselves
//! lie in the one shared history. A watcher is a cursor into its lane, so a slow one costs nothing but history
//! that is kept anyway, and a change costs work only where somebody watches.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use crate::bell::Bell;
use crate::kv::Revision;

/// The bells of a lane's watchers.
pub(crate) type Bells = Arc<Vec<Arc<Bell>>>;

/// What concerns one prefix.
#[derive(Debug)]
pub(crate) struct Lane {
    /// Every change after this revision was seen by the lane.
    pub(crate) since: Revision,
    /// The newest revision that fell out of the history; a cursor before it has missed something.
    pub(crate) trimmed: Revision,
    /// The revisions of changes below the prefix, ascending.
    pub(crate) revisions: VecDeque<Revision>,
    /// The bells of its watchers. Shared with whoever is about to ring them.
    bells: Bells,
    /// The last epoch in which the lane was noted as dirty.
    dirty_in: u64,
}

/// Every watched prefix.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    by_prefix: HashMap<Box<str>, Lane>,
    /// The lengths of the watched prefixes with how many have it: a change looks up its key cut to each of them.
    lengths: BTreeMap<usize, usize>,
    dirty: Vec<Bells>,
    /// How often the dirty lanes were taken.
    epoch: u64,
}

impl Lanes {
    /// Takes a watcher in, making the lane if it is the first. The bell rings for changes and at close.
    pub(crate) fn join(&mut self, prefix: &str, revision: Revision) -> Arc<Bell> {
        if !self.by_prefix.contains_key(prefix) {
            *self.lengths.entry(prefix.len()).or_default() += 1;
            let (revisions, bells) = (VecDeque::new(), Bells::default());
            let lane = Lane { since: revision, trimmed: 0, revisions, bells, dirty_in: u64::MAX };
            self.by_prefix.insert(prefix.into(), lane);
        }
        let lane = self.by_prefix.get_mut(prefix).expect("inserted above");
        let bell = Arc::new(Bell::default());
        Arc::make_mut(&mut lane.bells).push(bell.clone());
        bell
    }

    /// Lets a watcher go; the last one takes the lane away.
    pub(crate) fn leave(&mut self, prefix: &str, bell: &Arc<Bell>) {
        let Some(lane) = self.by_prefix.get_mut(prefix) else { return };
        let bells = Arc::make_mut(&mut lane.bells);
        if let Some(at) = bells.iter().position(|known| Arc::ptr_eq(known, bell)) {
            bells.swap_remove(at);
        }
        if !bells.is_empty() {
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
                dirty.push(lane.bells.clone());
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

    /// What to ring for the changes since the last call, after the lock was released.
    pub(crate) fn take_dirty(&mut self) -> Vec<Bells> {
        self.epoch += 1;
        std::mem::take(&mut self.dirty)
    }

    /// Takes every lane away: all watches end. Answers what to ring after the lock was released.
    pub(crate) fn close(&mut self) -> Vec<Bells> {
        std::mem::take(self).by_prefix.into_values().map(|lane| lane.bells).collect()
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
        let (first, second) = (lanes.join("/a/", 1), lanes.join("/a/", 5));
        lanes.leave("/a/", &first);
        assert!(lanes.get("/a/").is_some());
        lanes.leave("/a/", &second);
        assert!(lanes.get("/a/").is_none() && lanes.lengths.is_empty());
    }
}
