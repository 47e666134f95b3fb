//! [`State`]: what is committed, in memory. Every live key in order, and the changes since the floor.
//!
//! Pure: no I/O, no clock, no lock. The committer feeds it, readers read it under the lock of [`crate::Embedded`].
//!
//! ```text
//!   revisions   1 ....... floor | floor+1 ............ revision
//!               only live keys  | every change, in order: the log
//! ```

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use tokio::time::Instant;

use crate::kv::{Entry, Error, Event, FIRST_REVISION, Finished, Range, RangeRequest, Revision, Stats, Wanted};
use crate::lanes::Lanes;
use crate::pairs::Signature;

/// One committed change.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    /// The new entry; for a delete the last value finished at the delete's revision.
    pub(crate) entry: Entry,
    /// What the key held before.
    pub(crate) previous: Option<Entry>,
    /// Whether the key was deleted.
    pub(crate) deleted: bool,
    /// When it was committed; the age limit of the history counts from here.
    pub(crate) at: Instant,
}

impl Change {
    /// The change as watchers see it.
    pub(crate) fn event(&self) -> Event {
        match (&self.previous, self.deleted) {
            (Some(previous), true) => Event::Delete { entry: self.entry.clone(), previous: previous.clone() },
            (previous, _) => Event::Put { entry: self.entry.clone(), previous: previous.clone() },
        }
    }

    /// Revisions of records that nothing needs once this change lies at or below the floor.
    pub(crate) fn forgotten(&self) -> impl Iterator<Item = Revision> {
        let superseded = self.previous.as_ref().map(|previous| previous.modified);
        superseded.into_iter().chain(self.deleted.then_some(self.entry.modified))
    }
}

/// A value of a key at some time; a tombstone has no value.
#[derive(Clone, Debug)]
struct Version {
    created: Revision,
    modified: Revision,
    /// That of the value's attributes, here so that a list by label does not touch what it does not select.
    signature: Signature,
    finished: Option<Arc<Finished>>,
}

impl Version {
    fn new(entry: &Entry, finished: Option<Arc<Finished>>) -> Self {
        let signature = finished.as_ref().map(|finished| finished.attributes.signature()).unwrap_or_default();
        Self { created: entry.created, modified: entry.modified, signature, finished }
    }

    fn entry(&self, key: &Arc<str>) -> Option<Entry> {
        let finished = self.finished.clone()?;
        Some(Entry { key: key.clone(), finished, created: self.created, modified: self.modified })
    }
}

/// A key: its newest version, and the older ones that the history still holds, oldest first.
#[derive(Debug)]
struct Slot {
    current: Version,
    older: VecDeque<Version>,
}

impl Slot {
    fn at(&self, revision: Revision) -> Option<&Version> {
        if self.current.modified <= revision {
            return Some(&self.current);
        }
        let after = self.older.partition_point(|version| version.modified <= revision);
        self.older.get(after.checked_sub(1)?)
    }

    /// Drops the versions that were superseded at or before `floor`.
    fn trim(&mut self, floor: Revision) {
        while !self.older.is_empty() {
            let successor = self.older.get(1).unwrap_or(&self.current);
            if successor.modified > floor {
                return;
            }
            self.older.pop_front();
        }
        self.older = VecDeque::new();
    }

    fn is_gone(&self, floor: Revision) -> bool {
        self.older.is_empty() && self.current.finished.is_none() && self.current.modified <= floor
    }
}

/// Everything committed.
#[derive(Debug)]
pub(crate) struct State {
    index: BTreeMap<Arc<str>, Slot>,
    stats: HashMap<Box<str>, Stats>,
    log: VecDeque<Change>,
    floor: Revision,
    revision: Revision,
    past_bytes: usize,
    /// Who watches which prefix.
    pub(crate) lanes: Lanes,
    /// The store has closed: watches end.
    pub(crate) closed: bool,
}

impl State {
    /// An empty state whose history begins after `floor`.
    pub(crate) fn new(floor: Revision) -> Self {
        let floor = floor.max(FIRST_REVISION);
        Self {
            index: BTreeMap::new(),
            stats: HashMap::new(),
            log: VecDeque::new(),
            floor,
            revision: floor,
            past_bytes: 0,
            lanes: Lanes::default(),
            closed: false,
        }
    }

    /// The newest revision.
    pub(crate) fn revision(&self) -> Revision {
        self.revision
    }

    /// The oldest revision that can be read, and after which a watch can begin.
    pub(crate) fn floor(&self) -> Revision {
        self.floor
    }

    /// The changes that are remembered, oldest first; their revisions have no gaps.
    pub(crate) fn log(&self) -> &VecDeque<Change> {
        &self.log
    }

    /// The bytes of values that only the history holds.
    pub(crate) fn past_bytes(&self) -> usize {
        self.past_bytes
    }

    /// The present entry of a key.
    pub(crate) fn get(&self, key: &str) -> Option<Entry> {
        let (key, slot) = self.index.get_key_value(key)?;
        slot.current.entry(key)
    }

    /// The remembered change of a revision.
    pub(crate) fn change(&self, revision: Revision) -> Option<&Change> {
        let position = revision.checked_sub(self.floor + 1)?;
        self.log.get(usize::try_from(position).ok()?)
    }

    /// The wanted entries of a range at one revision.
    pub(crate) fn select(&self, request: &RangeRequest, wanted: &Wanted<'_>) -> Result<Range, Error> {
        let revision = request.revision.unwrap_or(self.revision);
        self.check_readable(revision)?;
        let start = match request.start_after.as_deref() {
            Some(after) if after >= request.prefix.as_str() => Bound::Excluded(after),
            _ => Bound::Included(request.prefix.as_str()),
        };
        let mut range = Range { entries: Vec::new(), revision, remaining: 0 };
        // The end is found once: no key is looked at only to know that it still begins with the prefix.
        let end = first_beyond(&request.prefix);
        let end = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        if is_empty(&start, &end) {
            return Ok(range);
        }
        for (key, slot) in self.index.range::<str, _>((start, end)) {
            let Some(version) = slot.at(revision) else { continue };
            let Some(finished) = &version.finished else { continue };
            if request.limit > 0 && range.entries.len() == request.limit {
                range.remaining += 1;
            } else if version.signature.may_hold(request.attributes) && wanted(key, finished) {
                range.entries.extend(version.entry(key));
            }
        }
        Ok(range)
    }

    /// Whether the history reaches back to `revision` and the revision has happened.
    pub(crate) fn check_readable(&self, revision: Revision) -> Result<(), Error> {
        if revision > self.revision {
            return Err(Error::Future { asked: revision, newest: self.revision });
        }
        if revision < self.floor {
            return Err(Error::Compacted { asked: revision, oldest: self.floor });
        }
        Ok(())
    }

    /// How much lies below a resource's prefix.
    pub(crate) fn stats(&self, prefix: &str) -> Stats {
        self.stats.get(prefix).copied().unwrap_or_default()
    }

    /// Counts a value that took the place of another.
    fn count(&mut self, key: &str, old: Option<&Finished>, new: Option<&Finished>) {
        let resource = resource_of(key);
        let stats = match self.stats.get_mut(resource) {
            Some(stats) => stats,
            None => self.stats.entry(resource.into()).or_default(),
        };
        stats.objects = stats.objects + u64::from(new.is_some()) - u64::from(old.is_some());
        let size = |value: Option<&Finished>| value.map_or(0, |value| value.value.len() as u64);
        stats.bytes = stats.bytes + size(new) - size(old);
    }

    /// Puts in a value that is older than the history (while loading).
    pub(crate) fn insert_live(&mut self, entry: Entry) {
        self.count(&entry.key, None, Some(&entry.finished));
        let current = Version::new(&entry, Some(entry.finished.clone()));
        self.index.insert(entry.key, Slot { current, older: VecDeque::new() });
    }

    /// Applies the change of the next revision and tells the lanes.
    pub(crate) fn apply(&mut self, change: Change) {
        let entry = &change.entry;
        debug_assert_eq!(entry.modified, self.revision + 1, "revisions have no gaps");
        let finished = (!change.deleted).then(|| entry.finished.clone());
        let old = self.index.get(&*entry.key).and_then(|slot| slot.current.finished.clone());
        self.count(&entry.key, old.as_deref(), finished.as_deref());
        let version = Version::new(entry, finished);
        match self.index.get_mut(&*entry.key) {
            Some(slot) => {
                let old = std::mem::replace(&mut slot.current, version);
                slot.older.push_back(old);
            }
            None => {
                self.index.insert(entry.key.clone(), Slot { current: version, older: VecDeque::new() });
            }
        }
        self.past_bytes += change.previous.as_ref().map_or(0, weight);
        self.revision = entry.modified;
        self.lanes.push(&entry.key, entry.modified);
        self.log.push_back(change);
    }

    /// Forgets the history up to `floor`.
    pub(crate) fn trim(&mut self, floor: Revision) {
        let floor = floor.min(self.revision);
        while self.floor < floor {
            let Some(change) = self.log.pop_front() else { break };
            self.floor = change.entry.modified;
            self.past_bytes -= change.previous.as_ref().map_or(0, weight);
            self.lanes.trim(&change.entry.key, self.floor);
            if let Some(slot) = self.index.get_mut(&*change.entry.key) {
                slot.trim(self.floor);
                if slot.is_gone(self.floor) {
                    self.index.remove(&*change.entry.key);
                }
            }
        }
        if self.log.capacity() > 64 && self.log.len() < self.log.capacity() / 4 {
            self.log.shrink_to(self.log.len() * 2);
        }
    }
}

/// The first text after all that begin with `prefix`; none when there is no such text.
fn first_beyond(prefix: &str) -> Option<String> {
    let mut text = prefix.to_owned();
    while let Some(last) = text.pop() {
        let next = (u32::from(last) + 1..=u32::from(char::MAX)).find_map(char::from_u32);
        if let Some(next) = next {
            text.push(next);
            return Some(text);
        }
    }
    None
}

/// Whether nothing lies between; a tree refuses to be asked for that.
fn is_empty(start: &Bound<&str>, end: &Bound<&str>) -> bool {
    match (start, end) {
        (Bound::Included(start) | Bound::Excluded(start), Bound::Excluded(end)) => start >= end,
        _ => false,
    }
}

/// The prefix of a key's resource: up to its fourth slash.
fn resource_of(key: &str) -> &str {
    let end = key.match_indices('/').nth(3).map_or(key.len(), |(at, _)| at + 1);
    &key[..end]
}

fn weight(entry: &Entry) -> usize {
    entry.finished.value.len() + entry.finished.attributes.size()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pairs::Pairs;
    use bytes::Bytes;

    fn put(state: &mut State, key: &str, value: &'static str) {
        step(state, key, Some(value));
    }

    fn step(state: &mut State, key: &str, value: Option<&'static str>) {
        let modified = state.revision() + 1;
        let previous = state.get(key);
        let created = previous.as_ref().map_or(modified, |entry| entry.created);
        let finished = Finished { value: Bytes::from_static(value.unwrap_or("gone").as_bytes()), ..Default::default() };
        let entry = Entry { key: key.into(), finished: finished.into(), created, modified };
        state.apply(Change { entry, previous, deleted: value.is_none(), at: Instant::now() });
    }

    fn read(state: &State, prefix: &str, revision: Revision) -> Result<String, Error> {
        let request = RangeRequest { prefix: prefix.into(), revision: Some(revision), ..Default::default() };
        let entries = state.select(&request, &|_, _| true)?.entries;
        let text = entries.iter().map(|entry| {
            format!("{}={}@{}", entry.key, String::from_utf8_lossy(&entry.finished.value), entry.modified)
        });
        Ok(text.collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn a_range_reads_any_revision_since_the_floor() {
        let mut state = State::new(0);
        put(&mut state, "/a/x", "1");
        put(&mut state, "/a/y", "1");
        put(&mut state, "/a/x", "2");
        step(&mut state, "/a/y", None);
        put(&mut state, "/a/y", "3");
        let seen: Vec<String> = (1..=6).map(|at| read(&state, "/a/", at).expect("readable")).collect();
        assert_eq!(seen, ["", "/a/x=1@2", "/a/x=1@2 /a/y=1@3", "/a/x=2@4 /a/y=1@3", "/a/x=2@4", "/a/x=2@4 /a/y=3@6"]);
        state.trim(5);
        assert!(matches!(read(&state, "/a/", 4), Err(Error::Compacted { asked: 4, oldest: 5 })));
        assert_eq!(read(&state, "/a/", 5).expect("readable"), "/a/x=2@4");
        assert!(matches!(read(&state, "/a/", 7), Err(Error::Future { asked: 7, newest: 6 })));
    }

    #[test]
    fn resources_are_counted_as_they_change() {
        let mut state = State::new(0);
        put(&mut state, "/registry/core/pods/a/x", "12345");
        put(&mut state, "/registry/core/pods/b/y", "1");
        put(&mut state, "/registry/core/podsets/z", "123");
        put(&mut state, "/registry/core/pods/a/x", "12");
        assert_eq!(state.stats("/registry/core/pods/"), Stats { objects: 2, bytes: 3 });
        step(&mut state, "/registry/core/pods/a/x", None);
        assert_eq!(state.stats("/registry/core/pods/"), Stats { objects: 1, bytes: 1 });
        assert_eq!(state.stats("/registry/core/nodes/"), Stats::default());
    }

    #[test]
    fn the_end_of_a_prefix_is_the_first_text_behind_it() {
        for (prefix, expected) in [
            ("/a/", Some("/a0")),
            ("", None),
            ("/\u{10ffff}", Some("0")),
            ("/é", Some("/ê")),
            ("\u{d7ff}", Some("\u{e000}")),
        ] {
            assert_eq!(first_beyond(prefix).as_deref(), expected, "{prefix:?}");
        }
    }

    #[test]
    fn a_range_by_attributes_leaves_out_only_who_lacks_them() {
        let mut state = State::new(0);
        let (web, db) = (Pairs::from([("l:app", "web")]), Pairs::from([("l:app", "db")]));
        for (key, attributes) in [("/a/1", web.clone()), ("/a/2", db.clone()), ("/a/3", Pairs::unknown()), ("/a/4", db)]
        {
            let modified = state.revision() + 1;
            let finished = Finished { value: Bytes::from_static(b"x"), attributes };
            let entry = Entry { key: key.into(), finished: finished.into(), created: modified, modified };
            state.apply(Change { entry, previous: None, deleted: false, at: Instant::now() });
        }
        let request = RangeRequest { prefix: "/a/".into(), attributes: web.signature(), ..Default::default() };
        let range = state.select(&request, &|_, _| true).expect("readable");
        let keys: Vec<&str> = range.entries.iter().map(|entry| &*entry.key).collect();
        assert_eq!(keys, ["/a/1", "/a/3"]);
    }

    #[test]
    fn the_limit_counts_what_is_wanted() {
        let mut state = State::new(0);
        for key in ["/a/1", "/a/2", "/a/3", "/a/4", "/b/1"] {
            put(&mut state, key, "x");
        }
        let even = |key: &str, _: &Finished| key.ends_with(['2', '4']);
        let select = |limit, start_after: &str| {
            let start_after = Some(start_after.to_owned());
            let request = RangeRequest { prefix: "/a/".into(), start_after, limit, ..Default::default() };
            let range = state.select(&request, &even).expect("readable");
            let keys: Vec<&str> = range.entries.iter().map(|entry| &*entry.key).collect();
            format!("{} +{}", keys.join(" "), range.remaining)
        };
        assert_eq!(select(0, "/a/"), "/a/2 /a/4 +0");
        assert_eq!(select(1, "/a/"), "/a/2 +2");
        assert_eq!(select(1, "/a/2"), "/a/4 +0");
        assert_eq!(select(1, "/b/"), " +0");
    }

    #[test]
    fn trimming_leaves_nothing_of_deleted_keys() {
        let mut state = State::new(0);
        for _ in 0..3 {
            put(&mut state, "/a", "value");
            step(&mut state, "/a", None);
        }
        state.trim(state.revision());
        assert_eq!((state.index.len(), state.log.len(), state.past_bytes), (0, 0, 0));
        assert_eq!((state.floor(), state.revision()), (7, 7));
    }
}
