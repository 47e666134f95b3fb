//! The requests that are at a level, for people who want to see them (`dump_requests`): each is noted when it arrives
//! and forgotten when it leaves, however it leaves.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use apimachinery::Attributes;

use crate::configuration::Flow;
use crate::level::Level;
use crate::work::WorkEstimate;

/// A request as it can be shown as long as it lasts.
pub trait Asker: fmt::Debug + Send + Sync + 'static {
    /// Who asks, and what for.
    fn attributes(&self) -> Attributes<'_>;
}

/// A request at a level.
#[derive(Debug)]
pub(crate) struct Present {
    pub(crate) flow: Arc<Flow>,
    pub(crate) asker: Arc<dyn Asker>,
    pub(crate) work: WorkEstimate,
    pub(crate) arrived: Duration,
    pub(crate) started: Option<Duration>,
    pub(crate) queue: Option<usize>,
}

/// The requests of a level, by their arrival.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    arrivals: u64,
    present: BTreeMap<u64, Present>,
}

impl Requests {
    /// All of them: queue by queue, those that wait before those that run, and then those that need no queue.
    pub(crate) fn in_order(&self) -> Vec<&Present> {
        let mut all: Vec<&Present> = self.present.values().collect();
        all.sort_by_key(|present| (present.queue.unwrap_or(usize::MAX), present.started.is_some()));
        all
    }
}

/// A request's stay at its level, which ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Stay {
    level: Arc<Level>,
    number: u64,
}

impl Stay {
    /// A request arrives.
    pub(crate) fn begin(flow: &Arc<Flow>, asker: Arc<dyn Asker>, work: WorkEstimate, arrived: Duration) -> Self {
        let level = flow.level.clone();
        let present = Present { flow: flow.clone(), asker, work, arrived, started: None, queue: None };
        let mut requests = level.requests.lock();
        let number = requests.arrivals;
        requests.arrivals += 1;
        requests.present.insert(number, present);
        drop(requests);
        Self { level, number }
    }

    /// It waits in a queue.
    pub(crate) fn waits(&self, queue: usize) {
        if let Some(present) = self.level.requests.lock().present.get_mut(&self.number) {
            present.queue = Some(queue);
        }
    }

    /// It runs.
    pub(crate) fn runs(&self, queue: Option<usize>, now: Duration) {
        if let Some(present) = self.level.requests.lock().present.get_mut(&self.number) {
            (present.queue, present.started) = (queue, Some(now));
        }
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        self.level.requests.lock().present.remove(&self.number);
    }
}
