//! [`Embedded`]: the engine inside the process.

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use component_base::Scope;
use component_base::health::Health;
use parking_lot::{Mutex, RwLock};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::committer::{Ask, Committer, Outcome, load};
use crate::disk::{Disk, FileDisk, MemoryDisk};
use crate::gathering::Gathering;
use crate::kv::{Entry, Error, Finish, Range, RangeRequest, Revision, Stats, Store, Wanted, Watch, Write, Written};
use crate::state::State;
use crate::watcher::Watcher;
use crate::writer::{CHECK, Command, Failed, QUEUE, Writer};

/// How much history is kept for watches and for ranges at an old revision. Older history is compacted by itself, as
/// upstream does every five minutes (`--etcd-compaction-interval`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct History {
    /// At most about this many changes.
    pub events: usize,
    /// At most about this many bytes of values that only the history needs.
    pub bytes: usize,
    /// About this long.
    pub age: Duration,
}

impl Default for History {
    fn default() -> Self {
        Self { events: 120_000, bytes: 16 << 20, age: Duration::from_secs(300) }
    }
}

impl History {
    /// Where the floor should be. Trims in strides of an eighth, so that most batches trim nothing.
    pub(crate) fn floor(&self, state: &State, now: Instant) -> Revision {
        let log = state.log();
        let mut drop = 0;
        if log.len() > self.events + self.events / 8 {
            drop = log.len() - self.events;
        }
        if state.past_bytes() > self.bytes + self.bytes / 8 {
            let mut bytes = state.past_bytes();
            let over = log.iter().take_while(|change| {
                let over = bytes > self.bytes;
                bytes -= change.previous.as_ref().map_or(0, |previous| previous.finished.value.len().min(bytes));
                over
            });
            drop = drop.max(over.count());
        }
        let age = |at: Instant| now.saturating_duration_since(at);
        if log.front().is_some_and(|oldest| age(oldest.at) > self.age + self.age / 8) {
            drop = drop.max(log.iter().take_while(|change| age(change.at) > self.age).count());
        }
        drop.checked_sub(1).and_then(|last| log.get(last)).map_or(0, |last| last.entry.modified)
    }
}

/// How an [`Embedded`] store is opened.
#[derive(Clone)]
pub struct Options {
    /// Turns written bytes into served bytes.
    pub finish: Arc<dyn Finish>,
    /// How much history is kept.
    pub history: History,
    /// Where the check `store` is reported: it fails once the disk has.
    pub health: Health,
    /// How many bytes each of the two logs of a new database takes before they are moved on. Bounds the memory for what
    /// was moved not yet, and the time of the opening after a crash. With 0 every commit goes to the database itself.
    pub log_bytes: u32,
}

/// See [`Options::log_bytes`]: docs/adr/0015-a-log-in-front-of-redb.md says why so many.
const LOG_BYTES: u32 = 4 << 20;

impl Options {
    /// The usual limits.
    pub fn new(finish: Arc<dyn Finish>) -> Self {
        Self { finish, history: History::default(), health: Health::default(), log_bytes: LOG_BYTES }
    }
}

/// The embedded engine: the state in memory, made durable by a redb file and two logs in a directory of their own.
pub struct Embedded {
    state: Arc<RwLock<State>>,
    path: WritePath,
}

/// How writes reach the committer.
enum WritePath {
    /// Through the queue of the writer thread, which waits for the disk.
    Queue(Queue),
    /// At once: nothing waits for a disk.
    Direct(Box<Mutex<Committer<MemoryDisk>>>),
}

/// The way to the writer thread.
#[derive(Clone)]
struct Queue {
    commands: mpsc::Sender<Command>,
    gathering: Arc<Gathering>,
    failed: Failed,
}

impl Queue {
    /// False when the writer has ended.
    async fn send(&self, command: Command) -> bool {
        let queued = self.commands.send(command).await.is_ok();
        self.gathering.join().await;
        queued
    }
}

impl Embedded {
    /// Opens the store in `dir`, making it when it is not there. Reads the whole file: blocks for its size.
    ///
    /// The store closes with `scope`: what was queued is still written, watches end, the files are released.
    pub fn open(dir: &Path, options: Options, scope: &Scope) -> Result<Arc<Self>, Error> {
        let (disk, state) =
            FileDisk::open(dir, options.log_bytes, |disk| load(disk, &*options.finish, Instant::now()))?;
        Ok(Self::start(disk, state, options, scope))
    }

    /// The same engine without a disk: for tests of what stands on a store.
    pub fn in_memory(finish: Arc<dyn Finish>) -> Arc<Self> {
        Self::in_memory_with(Options::new(finish))
    }

    /// [`Embedded::in_memory`] with other limits.
    pub fn in_memory_with(options: Options) -> Arc<Self> {
        let state = Arc::new(RwLock::new(State::new(0)));
        let committer = Committer::new(MemoryDisk::default(), options.finish, options.history, state.clone());
        Arc::new(Self { state, path: WritePath::Direct(Box::new(Mutex::new(committer))) })
    }

    fn start<D: Disk>(disk: D, state: State, options: Options, scope: &Scope) -> Arc<Self> {
        let state = Arc::new(RwLock::new(state));
        let (commands, received) = mpsc::channel(QUEUE);
        let queue = Queue { commands, gathering: Arc::default(), failed: Arc::new(OnceLock::new()) };
        options.health.pass(CHECK);
        let writer = Writer {
            committer: Committer::new(disk, options.finish, options.history, state.clone()),
            state: state.clone(),
            gathering: queue.gathering.clone(),
            failed: queue.failed.clone(),
            health: options.health,
        };
        let runtime = Handle::current();
        scope.spawn_blocking(move || writer.run(received, &runtime));
        let (cancelled, close) = (scope.cancelled(), queue.clone());
        scope.spawn_draining("store/close", async move {
            cancelled.await;
            // The writer may have ended already.
            let _ = close.send(Command::Close).await;
        });
        Arc::new(Self { state, path: WritePath::Queue(queue) })
    }

    /// Why the store takes no writes, if it does not.
    pub fn failure(&self) -> Option<Arc<str>> {
        match &self.path {
            WritePath::Queue(queue) => queue.failed.get().cloned(),
            WritePath::Direct(_) => None,
        }
    }

    async fn ask(&self, ask: Ask) -> Result<Outcome, Error> {
        match &self.path {
            WritePath::Direct(committer) => {
                let mut answers = committer.lock().commit(vec![ask], Instant::now())?;
                answers.pop().unwrap_or_else(|| Err(Error::Unavailable("it gave no answer".into())))
            }
            WritePath::Queue(queue) => {
                let closed = || {
                    let reason = queue.failed.get().cloned();
                    Error::Unavailable(reason.unwrap_or_else(|| "it has been closed".into()))
                };
                let (answer, answered) = oneshot::channel();
                if !queue.send(Command::Ask(ask, answer)).await {
                    return Err(closed());
                }
                answered.await.map_err(|_| closed())?
            }
        }
    }
}

impl std::fmt::Debug for Embedded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Embedded").field("revision", &self.revision()).finish_non_exhaustive()
    }
}

#[async_trait]
impl Store for Embedded {
    fn revision(&self) -> Revision {
        self.state.read().revision()
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>, Error> {
        Ok(self.state.read().get(key))
    }

    async fn select(&self, request: &RangeRequest, wanted: &Wanted<'_>) -> Result<Range, Error> {
        self.state.read().select(request, wanted)
    }

    async fn write(&self, write: Write) -> Result<Written, Error> {
        match self.ask(Ask::Write(write)).await? {
            Outcome::Written(written) => Ok(written),
            Outcome::Compacted => Err(Error::Unavailable("it answered something else".into())),
        }
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<Box<dyn Watch>, Error> {
        Ok(Box::new(Watcher::new(&self.state, prefix, after)?))
    }

    fn stats(&self, prefix: &str) -> Stats {
        self.state.read().stats(prefix)
    }

    async fn compact(&self, revision: Revision) -> Result<(), Error> {
        self.ask(Ask::Compact(revision)).await.map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Commit;
    use crate::kv::{Expect, Finished};
    use crate::pairs::Pairs;
    use bytes::Bytes;

    struct Plain;

    impl Finish for Plain {
        fn finish(&self, _key: &str, written: &Bytes, _revision: Revision) -> Finished {
            Finished { value: written.clone(), attributes: Pairs::default() }
        }
    }

    /// Takes so many batches, then fails.
    struct Failing(usize);

    impl Disk for Failing {
        fn read(&self, _revision: Revision) -> Result<Option<Bytes>, Error> {
            Ok(Some(Bytes::new()))
        }

        fn commit(&mut self, _commit: &Commit<'_>) -> Result<(), Error> {
            self.0 = self.0.checked_sub(1).ok_or_else(|| Error::Unavailable("no space left on device".into()))?;
            Ok(())
        }
    }

    fn put(key: &str) -> Write {
        Write { key: key.into(), expect: Expect::Absent, value: Some(Bytes::from_static(b"{}")) }
    }

    #[tokio::test]
    async fn after_a_disk_error_writes_are_refused_and_reads_go_on() {
        let (scope, options) = (Scope::root(), Options::new(Arc::new(Plain)));
        let health = options.health.clone();
        let store = Embedded::start(Failing(1), State::new(0), options, &scope);
        assert!(matches!(store.write(put("/a")).await, Ok(Written::Done(_))));
        assert!(health.is_ok());
        for _ in 0..2 {
            let refused = store.write(put("/b")).await.expect_err("the disk is full");
            assert_eq!(refused.to_string(), "the store is unavailable: no space left on device");
        }
        assert!(!health.is_ok());
        assert!(store.get("/a").await.expect("reads go on").is_some());
        assert!(store.get("/b").await.expect("reads go on").is_none(), "nobody sees an un-durable write");
        assert!(scope.shutdown(Duration::from_secs(30)).await);
    }

    #[tokio::test]
    async fn closing_ends_watches_and_refuses_writes() {
        let scope = Scope::root();
        let store = Embedded::start(Failing(9), State::new(0), Options::new(Arc::new(Plain)), &scope);
        let mut watch = store.watch("/", store.revision()).await.expect("open");
        assert!(scope.shutdown(Duration::from_secs(30)).await);
        assert!(watch.next().await.is_none());
        assert!(matches!(store.write(put("/a")).await, Err(Error::Unavailable(_))));
        assert!(matches!(store.watch("/", store.revision()).await, Err(Error::Unavailable(_))));
    }
}
