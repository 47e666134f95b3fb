//! [`MemoryDisk`]: keeps records in memory, for tests that need the engine and no durability.

use std::collections::HashMap;

use bytes::Bytes;

use super::{Commit, Disk};
use crate::kv::{Error, Revision};

/// Records by revision, without a disk.
#[derive(Debug, Default)]
pub(crate) struct MemoryDisk {
    pub(crate) records: HashMap<Revision, Bytes>,
}

impl Disk for MemoryDisk {
    fn read(&self, revision: Revision) -> Result<Option<Bytes>, Error> {
        Ok(self.records.get(&revision).cloned())
    }

    fn commit(&mut self, commit: &Commit<'_>) -> Result<(), Error> {
        let puts = commit.records.iter().filter_map(|record| Some((record.revision, record.value.clone()?)));
        self.records.extend(puts);
        for revision in commit.forget {
            self.records.remove(revision);
        }
        Ok(())
    }
}
