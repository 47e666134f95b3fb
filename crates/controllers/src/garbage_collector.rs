//! The garbage collector: what is owned goes with its owners.
//!
//! One metadata-only watch for every kind that can be deleted keeps a [`graph`] of owners and dependents. Only what the
//! graph cannot know (an owner it has not seen) is asked of the API. [`decide`] says what becomes of an object; [`collect`]
//! does it. Kinds come and go with CustomResourceDefinitions; [`monitors`] follows.
//! upstream: pkg/controller/garbagecollector

mod collect;
pub mod decide;
pub mod graph;
mod monitors;

use std::collections::HashSet;
use std::sync::Arc;

use client::WorkQueue;
use client::controller::run_workers;
use parking_lot::Mutex;

use self::graph::{Graph, Work};
use self::monitors::Monitors;
use crate::context::Context;

const WORKERS: usize = 8;

struct Collector {
    cx: Context,
    graph: Mutex<Graph>,
    /// Owners that were looked for and are not there: their uids never come back.
    absent: Mutex<HashSet<String>>,
    monitors: Monitors,
    queue: WorkQueue<Work>,
}

impl Collector {
    /// Changes the graph and queues what follows from it.
    fn change(&self, change: impl FnOnce(&mut Graph) -> Vec<Work>) {
        let work = change(&mut self.graph.lock());
        work.into_iter().for_each(|one| self.queue.add(one));
    }
}

/// Starts the collector.
pub async fn run(cx: Context) {
    let queue = WorkQueue::new();
    let collector = Arc::new(Collector {
        monitors: Monitors::default(),
        graph: Mutex::default(),
        absent: Mutex::default(),
        queue: queue.clone(),
        cx: cx.clone(),
    });
    // Until every kind was listed once, an owner's dependents may not all be known.
    monitors::follow(&collector).await;
    let scope = cx.scope;
    run_workers("garbage-collector", &scope, &queue, WORKERS, move |work| {
        let this = collector.clone();
        async move { this.process(work).await }
    });
}
