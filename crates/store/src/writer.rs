//! The writer: one thread that owns the committer and takes what has queued up as one batch.
//!
//! While a batch is being made durable the next one gathers ([`Gathering`]), so the more writers there are the more
//! writes share one fsync, and no timer is needed.

use std::sync::{Arc, OnceLock};

use component_base::health::Health;
use parking_lot::RwLock;
use tokio::runtime::Handle;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::committer::{Ask, Committer, Outcome};
use crate::disk::Disk;
use crate::gathering::Gathering;
use crate::kv::Error;
use crate::state::State;

/// How many writes may wait; more wait in their callers.
pub(crate) const QUEUE: usize = 4096;
/// How many writes may share one fsync.
const BATCH: usize = 1024;
/// The name of the check in [`Health`].
pub(crate) const CHECK: &str = "store";

/// What reaches the writer.
#[derive(Debug)]
pub(crate) enum Command {
    Ask(Ask, oneshot::Sender<Result<Outcome, Error>>),
    Close,
}

/// Why the disk takes no more writes; empty while it does.
pub(crate) type Failed = Arc<OnceLock<Arc<str>>>;

/// Takes commands until it is closed. Runs on a thread that may block.
pub(crate) struct Writer<D> {
    pub(crate) committer: Committer<D>,
    pub(crate) state: Arc<RwLock<State>>,
    pub(crate) gathering: Arc<Gathering>,
    pub(crate) failed: Failed,
    pub(crate) health: Health,
}

impl<D: Disk> Writer<D> {
    /// Ends with [`Command::Close`]; what was queued before is done first.
    pub(crate) fn run(mut self, mut commands: mpsc::Receiver<Command>, runtime: &Handle) {
        let (mut closing, mut left) = (false, false);
        while !closing {
            let (mut asks, mut answers) = (Vec::new(), Vec::new());
            if !left {
                self.gathering.wait(runtime);
            }
            while asks.len() < BATCH && !closing {
                match commands.try_recv() {
                    Ok(Command::Ask(ask, answer)) => {
                        asks.push(ask);
                        answers.push(answer);
                    }
                    Ok(Command::Close) | Err(TryRecvError::Disconnected) => closing = true,
                    Err(TryRecvError::Empty) => break,
                }
            }
            left = asks.len() == BATCH;
            if asks.is_empty() {
                continue;
            }
            self.gathering.had(asks.len());
            let results = self.commit(asks);
            for (position, answer) in answers.into_iter().enumerate() {
                let result = match &results {
                    Ok(results) => results[position].clone(),
                    Err(err) => Err(err.clone()),
                };
                // The caller may have gone; the write stands all the same.
                let _ = answer.send(result);
            }
        }
    }

    fn commit(&mut self, asks: Vec<Ask>) -> Result<Vec<Result<Outcome, Error>>, Error> {
        if let Some(reason) = self.failed.get() {
            return Err(Error::Unavailable(reason.clone()));
        }
        self.committer.commit(asks, Instant::now()).inspect_err(|err| match err {
            Error::Unavailable(reason) => self.fail(reason),
            err => self.fail(&err.to_string()),
        })
    }

    /// After a failed write nothing is known of the disk: no more are taken, reads go on.
    fn fail(&self, reason: &str) {
        tracing::error!(reason, "the store takes no more writes");
        self.health.fail(CHECK, reason);
        let _ = self.failed.set(reason.into());
    }
}

impl<D> Drop for Writer<D> {
    fn drop(&mut self) {
        let _ = self.failed.set("it has been closed".into());
        let mut state = self.state.write();
        state.closed = true;
        let bells = state.lanes.close();
        drop(state);
        for bell in bells.iter().flat_map(|bells| bells.iter()) {
            bell.ring();
        }
    }
}
