//! [`Checkpoint`]: a full log's round on its way into the database, on a thread of its own.

use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use super::records::Records;
use super::round::Round;
use super::unavailable;
use crate::kv::Error;

/// A thread that ends with its round in the database, or with an error. Its owner waits for it, at the latest in drop.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    round: Arc<Round>,
    records: Arc<Records>,
    thread: Option<JoinHandle<Result<(), Error>>>,
}

impl Checkpoint {
    pub(crate) fn start(records: &Arc<Records>, round: Round) -> io::Result<Self> {
        let (records, round) = (records.clone(), Arc::new(round));
        let work = {
            let (records, round) = (records.clone(), round.clone());
            move || records.apply(&round)
        };
        let thread = Builder::new().name("checkpoint".into()).spawn(work)?;
        Ok(Self { round, records, thread: Some(thread) })
    }

    /// What is on its way: still to be read here.
    pub(crate) fn round(&self) -> &Round {
        &self.round
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Waits until the round is durable in the database.
    pub(crate) fn join(mut self) -> Result<(), Error> {
        let Some(thread) = self.thread.take() else { return Ok(()) };
        thread.join().unwrap_or_else(|_| Err(unavailable("write", self.records.path(), &"the checkpoint panicked")))
    }
}

impl Drop for Checkpoint {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
