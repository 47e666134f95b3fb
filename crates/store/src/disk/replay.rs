//! What a crash left in the logs, taken into the database.
//!
//! The entries that count are those of commits which the database does not know. They must be all there are: numbered
//! without a gap from the database's last commit to, at least, the last one that is marked as written. A commit is
//! appended once the one before is durable, so a crash spoils the last entry at most. One that is bad and has a good one
//! after it is damage, and shows as a gap.

use super::log::{Found, LogFile};
use super::records::{Head, Records};
use super::round::Round;
use super::{Sequence, damaged};
use crate::kv::Error;

/// Takes what the logs hold beyond the database into it; the last commit there is. May be done again.
pub(crate) fn replay(logs: &[LogFile; 2], records: &Records, applied: Sequence) -> Result<Sequence, Error> {
    let head = records.head()?;
    let round = gather(logs, head, applied)?;
    if round.is_empty() {
        return Ok(applied);
    }
    records.apply(&round)?;
    Ok(round.sequence)
}

/// The commits beyond the database, in order.
fn gather(logs: &[LogFile; 2], head: Head, applied: Sequence) -> Result<Round, Error> {
    let mut entries: Vec<(&LogFile, Found)> = Vec::new();
    for log in logs {
        entries.extend(log.entries_after(applied)?.into_iter().map(|found| (log, found)));
    }
    entries.sort_by_key(|(_, found)| found.logged.sequence);

    let (mut round, mut last, mut revision) = (Round::default(), applied, head.revision);
    for (log, Found { offset, logged }) in &entries {
        if logged.sequence != last + 1 {
            let cause = format!("entry {} at offset {offset} does not follow entry {last}", logged.sequence);
            return Err(damaged(log.path(), &cause));
        }
        let commit = logged.commit();
        let found = commit.records.iter().map(|record| record.revision);
        if !found.eq(revision + 1..=commit.revision) {
            let cause = format!("entry {} at offset {offset} does not follow revision {revision}", logged.sequence);
            return Err(damaged(log.path(), &cause));
        }
        round.add(logged.sequence, &commit);
        (last, revision) = (logged.sequence, commit.revision);
    }
    check_end(logs, last)?;
    Ok(round)
}

/// Sees that nothing is missing of what was marked as written.
fn check_end(logs: &[LogFile; 2], last: Sequence) -> Result<(), Error> {
    let [first, second] = logs;
    for (marked, log) in [(second, first), (first, second)] {
        let written = marked.marked()?;
        if written > last {
            return Err(damaged(log.path(), &format!("entry {} of {written} is missing", last + 1)));
        }
    }
    Ok(())
}
