//! [`Store`]: get, range at a revision, compare-and-write, watch from a revision, compact.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use bytes::Bytes;

use crate::pairs::{Pairs, Signature};

/// The store's clock: each committed write has the next one. 0 is before everything; an empty store stands at
/// [`FIRST_REVISION`], so that no list ever answers with `0` (which clients read as "any").
pub type Revision = u64;

/// Where an empty store stands, as in etcd.
pub const FIRST_REVISION: Revision = 1;

/// What the hook makes of a written value, once, when its revision is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Finished {
    /// The canonical bytes: what get, list and watch send.
    pub value: Bytes,
    /// What selectors read without decoding the value: label pairs (`l:app` = `web`) and field pairs
    /// (`f:spec.nodeName` = `a`).
    pub attributes: Pairs,
}

/// Turns written bytes into served bytes: the API server stamps the revision into the object's metadata and reads
/// off what selectors need. Must be pure and must not panic on bytes that a disk handed back.
pub trait Finish: Send + Sync + 'static {
    /// `written` is what [`Write::value`] carried (and what the disk or etcd holds).
    fn finish(&self, key: &str, written: &Bytes, revision: Revision) -> Finished;
}

/// One live or past value of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: Arc<str>,
    /// Served bytes and selector attributes, shared by all readers.
    pub finished: Arc<Finished>,
    /// The revision that created the key.
    pub created: Revision,
    /// The revision of this value.
    pub modified: Revision,
}

/// What a write requires of the key's present state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// The key must not exist.
    Absent,
    /// The key's value must be of this revision.
    At(Revision),
}

/// One compare-and-write.
#[derive(Clone, Debug)]
pub struct Write {
    /// The key.
    pub key: String,
    /// What must hold; a write never overwrites blindly.
    pub expect: Expect,
    /// The new value, or `None` to delete the key.
    pub value: Option<Bytes>,
}

/// What came of a write.
#[derive(Clone, Debug)]
pub enum Written {
    /// Durable. For a put the new entry; for a delete the last entry, its value finished anew at the delete's revision.
    Done(Entry),
    /// The expectation did not hold; nothing was written. The present entry, if the key exists.
    Refused(Option<Entry>),
}

/// A range over the keys that begin with `prefix`.
#[derive(Clone, Debug, Default)]
pub struct RangeRequest {
    /// The prefix; ends in `/` for a resource or a namespace.
    pub prefix: String,
    /// Only keys after this one (not including it).
    pub start_after: Option<String>,
    /// At most this many entries; 0 for all.
    pub limit: usize,
    /// The revision to read at; `None` for now.
    pub revision: Option<Revision>,
    /// Attributes that every wanted entry has. The store may leave out entries without them, and need not.
    pub attributes: Signature,
}

/// Which entries of a range are wanted, by key and value. Called for every one of them while the store can take no
/// write: it must be quick.
pub type Wanted<'w> = dyn Fn(&str, &Finished) -> bool + Send + Sync + 'w;

/// The entries of a range, in key order.
#[derive(Clone, Debug)]
pub struct Range {
    /// The entries.
    pub entries: Vec<Entry>,
    /// The revision the range was read at.
    pub revision: Revision,
    /// How many further keys follow when the limit cut the range.
    pub remaining: usize,
}

/// How much lies below a prefix.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Live keys.
    pub objects: u64,
    /// The bytes of their values.
    pub bytes: u64,
}

/// One committed change, in revision order.
#[derive(Clone, Debug)]
pub enum Event {
    /// A key was created or changed; `previous` is its value before, if any.
    Put {
        /// The new entry.
        entry: Entry,
        /// The entry it replaced.
        previous: Option<Entry>,
    },
    /// A key was deleted: the last value, finished anew at the revision of the delete.
    Delete {
        /// The last value, with the revision of the delete as `modified`.
        entry: Entry,
        /// The last value as it stood before the delete.
        previous: Entry,
    },
    /// Nothing up to this revision is missing: sent when asked for with [`Watch::request_progress`].
    Progress(Revision),
}

impl Event {
    /// The revision of the change.
    pub fn revision(&self) -> Revision {
        match self {
            Self::Put { entry, .. } | Self::Delete { entry, .. } => entry.modified,
            Self::Progress(revision) => *revision,
        }
    }
}

/// Why the store did not do as asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The revision asked for has been compacted.
    #[error("revision {asked} has been compacted; the oldest is {oldest}")]
    Compacted {
        /// The revision asked for.
        asked: Revision,
        /// The oldest that can be read.
        oldest: Revision,
    },
    /// The revision asked for has not happened.
    #[error("revision {asked} is in the future; the newest is {newest}")]
    Future {
        /// The revision asked for.
        asked: Revision,
        /// The newest revision.
        newest: Revision,
    },
    /// The watcher read too slowly and was cut off; list and watch again.
    #[error("the watcher fell behind and was cut off")]
    TooSlow,
    /// The store is shutting down or its disk failed; the write may or may not have happened.
    #[error("the store is unavailable: {0}")]
    Unavailable(Arc<str>),
    /// The database on disk cannot be read.
    #[error("the database at {path} is damaged: {cause}; restore a snapshot, or move the directory away to begin anew")]
    Damaged {
        /// Where it lies.
        path: String,
        /// What was found.
        cause: String,
    },
    /// Another process has the database open.
    #[error("the database at {path} is in use by another process; stop it first, or choose another data directory")]
    InUse {
        /// Where it lies.
        path: String,
    },
}

/// A stream of events for the keys that begin with a prefix: none skipped, none repeated.
pub trait Watch: Send + Sync {
    /// The next event; `None` after the store closed. After an error the watch has ended.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Event, Error>>>;

    /// Asks for an [`Event::Progress`] once everything committed so far has been delivered.
    fn request_progress(&mut self);

    /// Whether everything committed so far has been delivered, for sure. Costs nothing to ask.
    fn is_current(&self) -> bool;
}

impl<'watch> dyn Watch + 'watch {
    /// The next event, as [`Watch::poll_next`] gives it. Cancel safe.
    pub fn next(&mut self) -> Next<'_, 'watch> {
        Next(self)
    }
}

/// See [`Watch::poll_next`].
pub struct Next<'w, 'watch>(&'w mut (dyn Watch + 'watch));

impl Future for Next<'_, '_> {
    type Output = Option<Result<Event, Error>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll_next(cx)
    }
}

/// A revisioned key-value store. Every implementation passes the same suite (`store::suite`).
///
/// Guarantees: a write answered with [`Written::Done`] survives kill -9 and power loss; reads see every write
/// answered before them; revisions grow by commit order without gaps visible to a watcher of all keys.
#[async_trait]
pub trait Store: std::fmt::Debug + Send + Sync + 'static {
    /// The newest revision.
    fn revision(&self) -> Revision;

    /// The present entry of a key. In memory: does not wait.
    async fn get(&self, key: &str) -> Result<Option<Entry>, Error>;

    /// The entries of a range, at one revision.
    async fn range(&self, request: &RangeRequest) -> Result<Range, Error> {
        self.select(request, &|_, _| true).await
    }

    /// The wanted entries of a range, at one revision. The limit counts these; what remains counts all keys behind the
    /// last of them.
    async fn select(&self, request: &RangeRequest, wanted: &Wanted<'_>) -> Result<Range, Error>;

    /// Writes when the expectation holds; answers once the write is durable.
    async fn write(&self, write: Write) -> Result<Written, Error>;

    /// Watches the keys below `prefix`: first every change after `after`, then those to come.
    async fn watch(&self, prefix: &str, after: Revision) -> Result<Box<dyn Watch>, Error>;

    /// How much lies below the prefix of a resource (`/registry/<group>/<resource>/`). Counted as it changes: costs
    /// nothing to ask.
    fn stats(&self, prefix: &str) -> Stats;

    /// Forgets history up to `revision`: ranges and watches below it answer [`Error::Compacted`].
    async fn compact(&self, revision: Revision) -> Result<(), Error>;

    /// Whether a stored value should be written again though nothing in it changes, as after its encryption key was
    /// replaced.
    fn is_stale(&self, _key: &str) -> bool {
        false
    }
}
