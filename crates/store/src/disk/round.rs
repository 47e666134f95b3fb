//! [`Round`]: the commits that one filling of a log holds, as one.

use std::collections::BTreeMap;

use super::{Commit, Record, Sequence};
use crate::kv::Revision;

/// What the database does not know yet. What is both made and forgotten in a round never reaches the database.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Round {
    /// The number of the last commit; 0 while there is none.
    pub(crate) sequence: Sequence,
    /// The floor after the last commit.
    pub(crate) floor: Revision,
    /// The newest revision after the last commit.
    pub(crate) revision: Revision,
    /// Records that are still needed.
    pub(crate) records: BTreeMap<Revision, Record>,
    /// Records of earlier rounds that nothing needs any longer.
    pub(crate) forget: Vec<Revision>,
}

impl Round {
    pub(crate) fn is_empty(&self) -> bool {
        self.sequence == 0
    }

    /// Adds the next commit.
    pub(crate) fn add(&mut self, sequence: Sequence, commit: &Commit<'_>) {
        (self.sequence, self.floor, self.revision) = (sequence, commit.floor, commit.revision);
        self.records.extend(commit.records.iter().map(|record| (record.revision, record.clone())));
        for revision in commit.forget {
            if self.records.remove(revision).is_none() {
                self.forget.push(*revision);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_and_forgotten_in_a_round_is_not_in_it() {
        let record = |revision| Record { revision, created: 2, key: "/a".into(), value: None };
        let mut round = Round::default();
        assert!(round.is_empty());
        round.add(5, &Commit { records: &[record(8), record(9)], forget: &[3], floor: 4, revision: 9 });
        round.add(6, &Commit { records: &[record(10)], forget: &[8, 7], floor: 8, revision: 10 });
        round.add(7, &Commit { records: &[], forget: &[], floor: 9, revision: 10 });
        assert!(!round.is_empty());
        assert_eq!((round.sequence, round.floor, round.revision), (7, 9, 10));
        assert_eq!((round.records.keys().copied().collect::<Vec<_>>(), round.forget), (vec![9, 10], vec![3, 7]));
    }
}
