//! [`Disk`]: where records lie so that they survive. One implementation on files, one in memory for tests.
//!
//! The disk holds exactly what the state holds: a record for every live key and for every change since the floor,
//! by revision. So an old watch goes on after a restart, and no revision is ever given twice.
//!
//! ```text
//! commit > log::LogFile, one fsync a commit > checkpoint::Checkpoint, a full log at a time > records::Records (redb)
//!          round::Round, the same in memory
//! ```

mod checkpoint;
mod encoding;
mod entry;
mod file;
mod log;
mod memory;
mod records;
mod replay;
mod round;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

pub(crate) use file::FileDisk;
pub(crate) use memory::MemoryDisk;

use crate::kv::{Error, Revision};

/// One change as it is kept. The key is `revision`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) revision: Revision,
    pub(crate) created: Revision,
    pub(crate) key: Arc<str>,
    /// What was written; `None` for a delete.
    pub(crate) value: Option<Bytes>,
}

/// What becomes durable together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Commit<'a> {
    /// The changes, in order of their revisions.
    pub(crate) records: &'a [Record],
    /// Records that nothing needs any longer.
    pub(crate) forget: &'a [Revision],
    /// The floor of the history from now on.
    pub(crate) floor: Revision,
    /// The newest revision from now on.
    pub(crate) revision: Revision,
}

/// The number of a commit: one more than that of the commit before. The first is 1. Not every commit has a revision of
/// its own, but every one has a number.
pub(crate) type Sequence = u64;

/// Keeps records.
pub(crate) trait Disk: Send + 'static {
    /// What was written at a revision, if that is still needed.
    fn read(&self, revision: Revision) -> Result<Option<Bytes>, Error>;

    /// Returns when everything in `commit` is durable. After an error nothing is known of it.
    fn commit(&mut self, commit: &Commit<'_>) -> Result<(), Error>;
}

fn damaged(path: &Path, cause: &(impl std::fmt::Display + ?Sized)) -> Error {
    Error::Damaged { path: path.display().to_string(), cause: cause.to_string() }
}

fn unavailable(what: &str, path: &Path, err: &dyn std::fmt::Display) -> Error {
    Error::Unavailable(format!("{what} {}: {err}", path.display()).into())
}
