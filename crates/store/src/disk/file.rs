//! [`FileDisk`]: records in a redb file, with two logs in front. docs/adr/0015-a-log-in-front-of-redb.md says why.
//!
//! Lifecycle: a commit is an entry of a log. When the log is full, the other one goes on, and a thread takes the full
//! one's round into the database ([`Checkpoint`]); then it may be written over. Opening does the same with what a crash
//! left in the logs ([`replay`]), closing with what is still in them.
//!
//! A new database is made under another name and renamed when it and its logs are whole, so `store.redb` is never an
//! empty file; a file that is there must therefore be a good one, and so must its logs. Opening checks all of them: a
//! damaged file is told from a crash, and never read as less than it was.

use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::checkpoint::Checkpoint;
use super::log::LogFile;
use super::records::{LogsHead, Records};
use super::replay::replay;
use super::round::Round;
use super::{Commit, Disk, Record, Sequence, damaged, entry, unavailable};
use crate::kv::{Error, Revision};

const FILE_NAME: &str = "store.redb";
const NEW_FILE_NAME: &str = "store.redb.new";
const LOG_NAMES: [&str; 2] = ["store.log.0", "store.log.1"];

/// Records in files.
#[derive(Debug)]
pub(crate) struct FileDisk {
    records: Arc<Records>,
    logs: [LogFile; 2],
    /// Which log is being written.
    active: usize,
    /// What that log holds.
    round: Round,
    /// What the other log holds, until the database has it.
    checkpoint: Option<Checkpoint>,
    /// The last commit.
    sequence: Sequence,
    /// Why nothing more is written.
    failed: Option<Error>,
}

impl FileDisk {
    /// Opens the database in `dir`, making both when they are not there, and hands it to `load`, which reads it whole
    /// with [`FileDisk::read_all`]. New logs are made for `log_bytes`.
    pub(crate) fn open<T>(
        dir: &Path,
        log_bytes: u32,
        load: impl FnOnce(&Self) -> Result<T, Error>,
    ) -> Result<(Self, T), Error> {
        let path = dir.join(FILE_NAME);
        fs::create_dir_all(dir).map_err(|err| unavailable("create", dir, &err))?;
        if !path.try_exists().map_err(|err| unavailable("look at", &path, &err))? {
            let disk = Self::create(dir, &path, log_bytes)?;
            let loaded = load(&disk)?;
            return Ok((disk, loaded));
        }
        let bytes = fs::metadata(&path).map_err(|err| unavailable("look at", &path, &err))?.len();
        if bytes == 0 {
            return Err(damaged(&path, "the file is empty"));
        }
        // The library checks what it reads, but a file made to look sound may still break an assumption of its.
        let opened = catch_unwind(AssertUnwindSafe(|| {
            let disk = Self::open_present(dir, &path, log_bytes)?;
            let loaded = load(&disk)?;
            Ok((disk, loaded))
        }));
        opened.unwrap_or_else(|_| Err(damaged(&path, "its pages contradict each other")))
    }

    /// Makes an empty database under another name, then gives it its own.
    fn create(dir: &Path, path: &Path, log_bytes: u32) -> Result<Self, Error> {
        for log in [log_path(dir, 0), log_path(dir, 1)] {
            if LogFile::is_used(&log)? {
                return Err(damaged(path, &format!("the file is missing, but {} holds entries", log.display())));
            }
        }
        let new = dir.join(NEW_FILE_NAME);
        match fs::remove_file(&new) {
            Err(err) if err.kind() != io::ErrorKind::NotFound => return Err(unavailable("remove", &new, &err)),
            _ => {}
        }
        let id = new_id();
        let (records, logs) = std::thread::scope(|scope| {
            // Each takes some syncs: they share them.
            let logs = scope.spawn(|| create_logs(dir, id, log_bytes));
            let records = Records::create(&new, path, id);
            (records, logs.join())
        });
        let (records, logs) = (records?, logs.map_err(|_| unavailable("create", dir, &"it panicked"))??);
        fs::rename(&new, path).map_err(|err| unavailable("rename", &new, &err))?;
        sync_dir(dir)?;
        Ok(Self::new(records, logs, 0))
    }

    /// Opens what is there. The database comes first: whoever has it open has the logs, too.
    fn open_present(dir: &Path, path: &Path, log_bytes: u32) -> Result<Self, Error> {
        let records = Records::open(path)?;
        match records.head()?.logs {
            Some(LogsHead { id, sequence }) => {
                let open = |slot: usize| LogFile::open(&log_path(dir, slot), slot, id);
                let logs = [open(0)?, open(1)?];
                let sequence = replay(&logs, &records, sequence)?;
                Ok(Self::new(records, logs, sequence))
            }
            None => {
                let id = new_id();
                let logs = create_logs(dir, id, log_bytes)?;
                sync_dir(dir)?;
                records.adopt_logs(id)?;
                Ok(Self::new(records, logs, 0))
            }
        }
    }

    /// Nothing of what the logs hold is needed any longer.
    fn new(records: Records, logs: [LogFile; 2], sequence: Sequence) -> Self {
        let records = Arc::new(records);
        Self { records, logs, active: 0, round: Round::default(), checkpoint: None, sequence, failed: None }
    }

    /// The floor of the history.
    pub(crate) fn floor(&self) -> Result<Revision, Error> {
        Ok(self.records.head()?.floor)
    }

    /// Every record, in order of the revisions, of a disk that was just opened. An error when one is missing or cannot
    /// be read.
    pub(crate) fn read_all(&self, each: impl FnMut(Record) -> Result<(), Error>) -> Result<(), Error> {
        self.records.read_all(each)
    }

    fn try_commit(&mut self, commit: &Commit<'_>) -> Result<(), Error> {
        self.end_checkpoint_if(Checkpoint::is_finished)?;
        let (sequence, bytes) = (self.sequence + 1, entry::size(commit));
        if !self.logs[self.active].could_hold(bytes) {
            self.commit_past_logs(sequence, commit)?;
        } else {
            if !self.logs[self.active].has_room(bytes) {
                self.turn()?;
            }
            self.logs[self.active].append(sequence, commit)?;
            self.round.add(sequence, commit);
        }
        self.logs[1 - self.active].mark(sequence)?;
        self.sequence = sequence;
        Ok(())
    }

    /// Goes on in the other log, and sends what this one holds to the database. Waits until the other one is free.
    fn turn(&mut self) -> Result<(), Error> {
        self.end_checkpoint_if(|_| true)?;
        let full = std::mem::take(&mut self.round);
        let started = Checkpoint::start(&self.records, full);
        self.checkpoint = Some(started.map_err(|err| unavailable("write", self.records.path(), &err))?);
        self.active = 1 - self.active;
        self.logs[self.active].rewind();
        Ok(())
    }

    /// A commit that no log can hold goes to the database at once, together with everything before it.
    fn commit_past_logs(&mut self, sequence: Sequence, commit: &Commit<'_>) -> Result<(), Error> {
        self.round.add(sequence, commit);
        self.empty_logs()
    }

    /// Takes everything that is still in the logs into the database.
    fn empty_logs(&mut self) -> Result<(), Error> {
        self.end_checkpoint_if(|_| true)?;
        if !self.round.is_empty() {
            self.records.apply(&self.round)?;
        }
        self.round = Round::default();
        self.logs[self.active].rewind();
        Ok(())
    }

    /// Waits for the checkpoint, if there is one that should end.
    fn end_checkpoint_if(&mut self, ends: impl FnOnce(&Checkpoint) -> bool) -> Result<(), Error> {
        self.checkpoint.take_if(|checkpoint| ends(checkpoint)).map_or(Ok(()), Checkpoint::join)
    }
}

impl Disk for FileDisk {
    fn read(&self, revision: Revision) -> Result<Option<Bytes>, Error> {
        let in_checkpoint = || self.checkpoint.as_ref()?.round().records.get(&revision);
        match self.round.records.get(&revision).or_else(in_checkpoint) {
            Some(record) => Ok(record.value.clone()),
            None => self.records.read(revision),
        }
    }

    fn commit(&mut self, commit: &Commit<'_>) -> Result<(), Error> {
        if let Some(err) = &self.failed {
            return Err(err.clone());
        }
        self.try_commit(commit).inspect_err(|err| self.failed = Some(err.clone()))
    }
}

impl Drop for FileDisk {
    /// Empties the logs, so that the next opening need not. If that is not to be, the next opening does.
    fn drop(&mut self) {
        if self.failed.is_some() || std::thread::panicking() {
            return;
        }
        if let Err(err) = self.empty_logs() {
            tracing::warn!(%err, "the logs stay as they are until the store is opened again");
        }
    }
}

fn create_logs(dir: &Path, id: u64, bytes: u32) -> Result<[LogFile; 2], Error> {
    let create = |slot: usize| LogFile::create(&log_path(dir, slot), slot, id, bytes);
    Ok([create(0)?, create(1)?])
}

fn log_path(dir: &Path, slot: usize) -> PathBuf {
    dir.join(LOG_NAMES[slot])
}

fn sync_dir(dir: &Path) -> Result<(), Error> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(|err| unavailable("sync", dir, &err))
}

/// A number that no other database has.
fn new_id() -> u64 {
    RandomState::new().hash_one(FILE_NAME)
}

#[cfg(test)]
mod tests;
