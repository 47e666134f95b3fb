//! [`Committer`]: turns writes into one durable batch. The one owner of the disk and of what the next revision is.
//!
//! A batch is planned against the state with the batch's own earlier writes laid over it, made durable with one
//! fsync, applied to the state, and only then answered. Nobody sees a write that is not durable.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;
use tokio::time::Instant;

use crate::disk::{Commit, Disk, FileDisk, Record};
use crate::embedded::History;
use crate::kv::{Entry, Error, Expect, Finish, Revision, Write, Written};
use crate::state::{Change, State};

/// What a batch asks for.
#[derive(Debug)]
pub(crate) enum Ask {
    Write(Write),
    Compact(Revision),
}

/// What came of it.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    Written(Written),
    Compacted,
}

/// Plans and commits batches.
pub(crate) struct Committer<D> {
    disk: D,
    finish: Arc<dyn Finish>,
    history: History,
    state: Arc<RwLock<State>>,
}

/// A batch as planned: nothing of it has happened yet.
#[derive(Default)]
struct Plan {
    records: Vec<Record>,
    changes: Vec<Change>,
    answers: Vec<Result<Outcome, Error>>,
    /// The keys that this batch changed already, with what was written.
    pending: HashMap<Arc<str>, Option<(Entry, Bytes)>>,
    compact_to: Revision,
}

impl<D: Disk> Committer<D> {
    pub(crate) fn new(disk: D, finish: Arc<dyn Finish>, history: History, state: Arc<RwLock<State>>) -> Self {
        Self { disk, finish, history, state }
    }

    /// Does what is asked, in order; the answers may be given once this returns.
    ///
    /// An error means that the disk failed: nothing is known of the batch and the store must take no more.
    pub(crate) fn commit(&mut self, asks: Vec<Ask>, now: Instant) -> Result<Vec<Result<Outcome, Error>>, Error> {
        let mut plan = Plan::default();
        for ask in asks {
            let answer = match ask {
                Ask::Write(write) => Ok(Outcome::Written(self.plan_write(&mut plan, write, now)?)),
                Ask::Compact(revision) => self.plan_compact(&mut plan, revision),
            };
            plan.answers.push(answer);
        }
        let (floor, forget) = self.plan_trim(&plan, now);
        if plan.records.is_empty() && forget.is_empty() && plan.compact_to == 0 {
            return Ok(plan.answers);
        }
        let revision = plan.changes.last().map_or_else(|| self.state.read().revision(), |last| last.entry.modified);
        self.disk.commit(&Commit { records: &plan.records, forget: &forget, floor, revision })?;
        let wakes = {
            let mut state = self.state.write();
            for change in plan.changes {
                state.apply(change);
            }
            state.trim(floor);
            state.lanes.take_dirty()
        };
        for bell in wakes.iter().flat_map(|bells| bells.iter()) {
            bell.ring();
        }
        Ok(plan.answers)
    }

    fn plan_write(&self, plan: &mut Plan, write: Write, now: Instant) -> Result<Written, Error> {
        let (present, base) = {
            let state = self.state.read();
            let present = match plan.pending.get(write.key.as_str()) {
                Some(pending) => pending.as_ref().map(|(entry, _)| entry.clone()),
                None => state.get(&write.key),
            };
            (present, state.revision())
        };
        let holds = match (&present, write.expect) {
            // There is nothing to delete; an answer of "done" would claim a change.
            (None, Expect::Absent) => write.value.is_some(),
            (Some(entry), Expect::At(revision)) => entry.modified == revision,
            _ => false,
        };
        if !holds {
            return Ok(Written::Refused(present));
        }
        let modified = base + plan.changes.len() as Revision + 1;
        let key = present.as_ref().map_or_else(|| Arc::from(write.key.as_str()), |entry| entry.key.clone());
        let created = present.as_ref().map_or(modified, |entry| entry.created);
        let written = match &write.value {
            Some(value) => value.clone(),
            None => self.last_written(plan, present.as_ref())?,
        };
        let finished = Arc::new(self.finish.finish(&key, &written, modified));
        let entry = Entry { key: key.clone(), finished, created, modified };
        let deleted = write.value.is_none();
        plan.records.push(Record { revision: modified, created, key: key.clone(), value: write.value });
        plan.pending.insert(key, (!deleted).then(|| (entry.clone(), written)));
        plan.changes.push(Change { entry: entry.clone(), previous: present, deleted, at: now });
        Ok(Written::Done(entry))
    }

    /// What was last written for a key that is present.
    fn last_written(&self, plan: &Plan, present: Option<&Entry>) -> Result<Bytes, Error> {
        let Some(entry) = present else { return Ok(Bytes::new()) };
        if let Some(Some((_, written))) = plan.pending.get(&entry.key) {
            return Ok(written.clone());
        }
        let lost = || Error::Unavailable(format!("the record of {} at {} is lost", entry.key, entry.modified).into());
        self.disk.read(entry.modified)?.ok_or_else(lost)
    }

    fn plan_compact(&self, plan: &mut Plan, revision: Revision) -> Result<Outcome, Error> {
        let newest = self.state.read().revision();
        if revision > newest {
            return Err(Error::Future { asked: revision, newest });
        }
        plan.compact_to = plan.compact_to.max(revision);
        Ok(Outcome::Compacted)
    }

    /// The floor after this batch, and the records that then nothing needs. The batch's own changes stay.
    fn plan_trim(&self, plan: &Plan, now: Instant) -> (Revision, Vec<Revision>) {
        let state = self.state.read();
        let floor = state.floor().max(plan.compact_to).max(self.history.floor(&state, now));
        let dropped = state.log().iter().take_while(|change| change.entry.modified <= floor);
        (floor, dropped.flat_map(Change::forgotten).collect())
    }
}

/// The state that lies on the disk.
pub(crate) fn load(disk: &FileDisk, finish: &dyn Finish, now: Instant) -> Result<State, Error> {
    let floor = disk.floor()?;
    let mut state = State::new(floor);
    disk.read_all(|record| {
        let Record { revision, created, key, value } = record;
        let previous = state.get(&key);
        let deleted = value.is_none();
        let written = match (value, &previous) {
            (Some(value), _) => value,
            (None, Some(previous)) => disk.read(previous.modified)?.unwrap_or_default(),
            (None, None) => Bytes::new(),
        };
        let finished = Arc::new(finish.finish(&key, &written, revision));
        let key = previous.as_ref().map_or(key, |entry| entry.key.clone());
        let entry = Entry { key, finished, created, modified: revision };
        if revision > floor {
            state.apply(Change { entry, previous, deleted, at: now });
        } else if !deleted {
            state.insert_live(entry);
        }
        Ok(())
    })?;
    Ok(state)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::MemoryDisk;
    use crate::kv::{Finished, RangeRequest};
    use crate::pairs::Pairs;

    struct Plain;

    impl Finish for Plain {
        fn finish(&self, _key: &str, written: &Bytes, revision: Revision) -> Finished {
            let value = format!("{}@{revision}", String::from_utf8_lossy(written)).into();
            Finished { value, attributes: Pairs::default() }
        }
    }

    fn committer(history: History) -> Committer<MemoryDisk> {
        let state = Arc::new(RwLock::new(State::new(0)));
        Committer::new(MemoryDisk::default(), Arc::new(Plain), history, state)
    }

    fn put(key: &str, expect: Expect, value: &'static str) -> Ask {
        Ask::Write(Write { key: key.into(), expect, value: Some(Bytes::from_static(value.as_bytes())) })
    }

    fn show(answer: &Result<Outcome, Error>) -> String {
        let value = |entry: &Entry| String::from_utf8_lossy(&entry.finished.value).into_owned();
        match answer {
            Ok(Outcome::Written(Written::Done(entry))) => format!("done {}", value(entry)),
            Ok(Outcome::Written(Written::Refused(Some(entry)))) => format!("refused, is {}", value(entry)),
            Ok(Outcome::Written(Written::Refused(None))) => "refused".into(),
            Ok(Outcome::Compacted) => "compacted".into(),
            Err(err) => err.to_string(),
        }
    }

    #[test]
    fn writes_of_one_batch_see_each_other() {
        let mut committer = committer(History::default());
        let asks = vec![
            put("/a", Expect::Absent, "1"),
            put("/a", Expect::Absent, "2"),
            put("/a", Expect::At(2), "3"),
            put("/a", Expect::At(2), "4"),
            Ask::Write(Write { key: "/a".into(), expect: Expect::At(3), value: None }),
            Ask::Write(Write { key: "/a".into(), expect: Expect::At(3), value: None }),
            put("/a", Expect::Absent, "5"),
        ];
        let answers = committer.commit(asks, Instant::now()).expect("memory does not fail");
        assert_eq!(
            answers.iter().map(show).collect::<Vec<_>>(),
            ["done 1@2", "refused, is 1@2", "done 3@3", "refused, is 3@3", "done 3@4", "refused", "done 5@5"]
        );
    }

    #[test]
    fn the_history_keeps_its_limits() {
        let mut committer = committer(History { events: 100, ..History::default() });
        for round in 0..1000_u64 {
            let expect = if round == 0 { Expect::Absent } else { Expect::At(round + 1) };
            committer.commit(vec![put("/a", expect, "value")], Instant::now()).expect("memory does not fail");
        }
        let state = committer.state.read();
        assert!((100..=112).contains(&state.log().len()), "{}", state.log().len());
        assert!(committer.disk.records.len() <= 120);
        let request = RangeRequest { prefix: "/".into(), revision: Some(state.floor()), ..Default::default() };
        assert_eq!(state.select(&request, &|_, _| true).expect("the floor is readable").entries.len(), 1);
    }
}
