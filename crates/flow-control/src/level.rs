//! A priority level at work: its queues behind a lock, and the seats that requests hold.
//!
//! Guarantees: a seat comes back however its request ends, be it by a panic or because the client went away; a request
//! that gives up leaves its queue. No lock is held while anybody waits or is woken.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use component_base::Scope;
use component_base::metrics::Counter;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::configuration::Flow;
use crate::demand::Demand;
use crate::metrics::{LevelMetrics, Phase};
use crate::queue_set::{Arrival, Place, QueueSet, Response, Running, State};
use crate::requests::{Asker, Requests, Stay};
use crate::retry_after::RetryAfter;
use crate::work::WorkEstimate;

/// Time since flow control was set up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    started: Instant,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { started: Instant::now() }
    }

    pub(crate) fn now(self) -> Duration {
        self.started.elapsed()
    }

    fn at(self, time: Duration) -> Instant {
        self.started + time
    }
}

/// How a waiting request hears that it may run, and where it is counted that there was no room when it was its turn.
#[derive(Debug)]
struct Grant {
    granted: oneshot::Sender<Running>,
    no_room: Counter,
}

/// See the module.
pub(crate) struct Level {
    pub(crate) name: String,
    pub(crate) metrics: LevelMetrics,
    inner: Mutex<Inner>,
    retry_after: Mutex<RetryAfter>,
    /// The most seats of one request; 0 for no limit of the level's own.
    max_seats: AtomicU32,
    /// Requests that waited as long as they may.
    timed_out: AtomicU64,
    /// The requests that wait or run.
    pub(crate) requests: Mutex<Requests>,
    clock: Clock,
    scope: Scope,
}

#[derive(Debug)]
struct Inner {
    set: QueueSet<Grant>,
    demand: Demand,
    /// A task waits for the next release of lingering seats.
    timed: bool,
}

impl std::fmt::Debug for Level {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Level").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Level {
    pub(crate) fn new(
        name: &str,
        response: Response,
        limit: u32,
        metrics: LevelMetrics,
        clock: Clock,
        scope: Scope,
    ) -> Self {
        let set = QueueSet::new(clock.now(), response, limit).telling(|grant: &Grant| {
            grant.no_room.inc();
        });
        Self {
            name: name.to_owned(),
            metrics,
            inner: Mutex::new(Inner { set, demand: Demand::default(), timed: false }),
            retry_after: Mutex::default(),
            max_seats: AtomicU32::new(0),
            timed_out: AtomicU64::new(0),
            requests: Mutex::default(),
            clock,
            scope,
        }
    }

    /// The most seats of one request; 0 for no limit of the level's own.
    pub(crate) fn max_seats(&self) -> u32 {
        self.max_seats.load(Ordering::Relaxed)
    }

    pub(crate) fn set_max_seats(&self, seats: u32) {
        self.max_seats.store(seats, Ordering::Relaxed);
    }

    pub(crate) fn configure(self: &Arc<Self>, response: Response) {
        let now = self.clock.now();
        self.change(|set| set.configure(now, response));
    }

    pub(crate) fn set_limit(self: &Arc<Self>, limit: u32) {
        let now = self.clock.now();
        self.metrics.current.set(i64::from(limit));
        self.change(|set| set.set_limit(now, limit));
    }

    /// The demand, with what was seen since it was last asked for.
    pub(crate) fn demand(&self, periods: f64) -> Demand {
        let mut inner = self.inner.lock();
        let seen = inner.set.take_demand(self.clock.now());
        inner.demand.update(seen, periods);
        let demand = inner.demand;
        drop(inner);
        self.metrics.high_watermark.set(demand.high_watermark);
        self.metrics.average.set(demand.average);
        self.metrics.deviation.set(demand.deviation);
        self.metrics.smoothed.set(demand.smoothed);
        demand
    }

    fn finish(self: &Arc<Self>, running: &Running) {
        let now = self.clock.now();
        self.change(|set| set.finish(now, running));
    }

    /// Changes the queues, wakes who may run now, and sees to it that lingering seats are released in time.
    fn change<T>(self: &Arc<Self>, change: impl FnOnce(&mut QueueSet<Grant>) -> T) -> T {
        let mut inner = self.inner.lock();
        let result = change(&mut inner.set);
        let dispatched = inner.set.take_dispatched();
        self.metrics.note(inner.set.usage());
        let release = inner.set.next_release().filter(|_| !inner.timed);
        inner.timed |= release.is_some();
        drop(inner);
        self.wake(dispatched);
        if let Some(at) = release {
            self.scope.spawn("flow-control/release", self.clone().release_from(at));
        }
        result
    }

    fn wake(self: &Arc<Self>, dispatched: Vec<(Grant, Running)>) {
        for (grant, running) in dispatched {
            if let Err(running) = grant.granted.send(running) {
                // Whoever waited has just gone away.
                self.finish(&running);
            }
        }
    }

    /// Releases lingering seats when their time has come, as long as somebody waits for them.
    async fn release_from(self: Arc<Self>, first: Duration) {
        let mut next = Some(first);
        while let Some(at) = next {
            tokio::time::sleep_until(self.clock.at(at)).await;
            let mut inner = self.inner.lock();
            inner.set.sync(self.clock.now());
            let dispatched = inner.set.take_dispatched();
            self.metrics.note(inner.set.usage());
            next = inner.set.next_release();
            inner.timed = next.is_some();
            drop(inner);
            self.wake(dispatched);
        }
    }

    fn cancel(self: &Arc<Self>, place: Place) {
        let now = self.clock.now();
        self.change(|set| set.cancel(now, place));
    }

    /// Whether nobody waits, runs or holds a seat.
    pub(crate) fn is_idle(&self) -> bool {
        self.inner.lock().set.is_idle()
    }

    /// How many requests may wait.
    pub(crate) fn waiting_limit(&self) -> usize {
        self.inner.lock().set.waiting_limit()
    }

    /// What is going on, and how many requests waited as long as they may.
    pub(crate) fn state(&self) -> (State, u64) {
        (self.inner.lock().set.state(), self.timed_out.load(Ordering::Relaxed))
    }

    /// How long ago that was.
    pub(crate) fn since(&self, time: Duration) -> Duration {
        self.clock.now().saturating_sub(time)
    }

    /// After how many seconds a client that is refused now may come again.
    fn refuse(&self) -> u64 {
        self.retry_after.lock().refused(self.clock.now().as_secs() + 1)
    }
}

/// A request that was told which level it goes to.
#[derive(Debug)]
pub struct Request {
    pub(crate) flow: Arc<Flow>,
    pub(crate) hash: u64,
    pub(crate) work: WorkEstimate,
    pub(crate) is_watch: bool,
    pub(crate) is_read: bool,
    pub(crate) asker: Option<Arc<dyn Asker>>,
}

/// The level has no room. The client may come again.
#[derive(Debug, thiserror::Error)]
#[error("Too many requests, please try again later.")]
pub struct Refused {
    /// After so many seconds.
    pub retry_after_s: u64,
}

impl Request {
    /// The same request, which can be seen while it is there.
    pub fn by(self, asker: Arc<dyn Asker>) -> Self {
        Self { asker: Some(asker), ..self }
    }

    /// Waits for a seat, no longer than `wait_limit`.
    pub async fn seat(self, wait_limit: Duration) -> Result<Seat, Refused> {
        let Self { flow, hash, work, is_watch, is_read, asker } = self;
        let level = flow.level.clone();
        let now = level.clock.now();
        let stay = asker.map(|asker| Stay::begin(&flow, asker, work, now));
        let mut receiver = None;
        let arrival = level.change(|set| {
            set.arrive(now, work, hash, || {
                let (grant, granted) = oneshot::channel();
                receiver = Some(granted);
                Grant { granted: grant, no_room: flow.metrics.no_accommodation.clone() }
            })
        });
        let refused = |level: &Level| Refused { retry_after_s: level.refuse() };
        let running = match (arrival, receiver) {
            (Arrival::Running(running), _) => running,
            (Arrival::Waiting(place, length), Some(granted)) => {
                flow.metrics.queue_length.observe(length as f64);
                if let Some(stay) = &stay {
                    stay.waits(place.queue());
                }
                let ticket = Ticket::new(&flow, place, granted, work.max_seats(), is_read);
                match ticket.wait(wait_limit).await {
                    Some(running) => running,
                    None => {
                        flow.metrics.timed_out.inc();
                        level.timed_out.fetch_add(1, Ordering::Relaxed);
                        flow.metrics.waited_in_vain.observe((level.clock.now() - now).as_secs_f64());
                        return Err(refused(&level));
                    }
                }
            }
            (Arrival::OverLimit, _) => {
                flow.metrics.over_limit.inc();
                flow.metrics.waited_in_vain.observe(0.0);
                return Err(refused(&level));
            }
            (Arrival::QueueFull | Arrival::Waiting(..), _) => {
                flow.metrics.queue_full.inc();
                flow.metrics.waited_in_vain.observe(0.0);
                return Err(refused(&level));
            }
        };
        let sort = Sort { is_watch, is_read };
        Ok(Seat::new(flow, running, now, sort).during(stay))
    }

    /// The UIDs of schema and level, for the headers of the answer.
    pub fn uids(&self) -> (http::HeaderValue, http::HeaderValue) {
        (self.flow.schema_uid.clone(), self.flow.level_uid.clone())
    }
}

/// A place in a queue, given up when dropped.
struct Ticket<'f> {
    flow: &'f Arc<Flow>,
    place: Option<Place>,
    granted: oneshot::Receiver<Running>,
    seats: i64,
    is_read: bool,
}

impl<'f> Ticket<'f> {
    fn new(flow: &'f Arc<Flow>, place: Place, granted: oneshot::Receiver<Running>, seats: u32, is_read: bool) -> Self {
        flow.level.metrics.read_write.begin(Phase::Waiting, is_read);
        flow.metrics.queued_requests.inc();
        flow.metrics.queued_seats.inc_by(i64::from(seats));
        Self { flow, place: Some(place), granted, seats: i64::from(seats), is_read }
    }

    async fn wait(mut self, limit: Duration) -> Option<Running> {
        let running = tokio::time::timeout(limit, &mut self.granted).await.ok()?.ok()?;
        self.place = None;
        Some(running)
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.flow.metrics.queued_requests.dec();
        self.flow.metrics.queued_seats.dec_by(self.seats);
        self.flow.level.metrics.read_write.end(Phase::Waiting, self.is_read);
        let Some(place) = self.place.take() else { return };
        self.flow.metrics.cancelled.inc();
        self.flow.level.cancel(place);
        // A grant that comes from now on goes back by itself; one that is here already does not.
        self.granted.close();
        if let Ok(running) = self.granted.try_recv() {
            self.flow.level.finish(&running);
        }
    }
}

/// As what a request is counted.
#[derive(Clone, Copy, Debug)]
struct Sort {
    is_watch: bool,
    is_read: bool,
}

/// Seats held by a request that runs; given back when dropped.
#[derive(Debug)]
pub struct Seat {
    flow: Arc<Flow>,
    running: Running,
    began: Duration,
    sort: Sort,
    stay: Option<Stay>,
}

impl Seat {
    fn new(flow: Arc<Flow>, running: Running, arrived: Duration, sort: Sort) -> Self {
        let began = flow.level.clock.now();
        let metrics = &flow.metrics;
        metrics.dispatched.inc();
        metrics.executing_requests.inc();
        metrics.executing_seats.inc_by(i64::from(running.seats()));
        if !flow.is_exempt {
            metrics.waited.observe(began.saturating_sub(arrived).as_secs_f64());
        }
        flow.level.metrics.read_write.begin(Phase::Executing, sort.is_read);
        Self { flow, running, began, sort, stay: None }
    }

    /// The same seat, held by a request that can be seen.
    fn during(mut self, stay: Option<Stay>) -> Self {
        if let Some(stay) = &stay {
            stay.runs(self.running.queue(), self.began);
        }
        self.stay = stay;
        self
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let metrics = &self.flow.metrics;
        metrics.executing_requests.dec();
        metrics.executing_seats.dec_by(i64::from(self.running.seats()));
        let took = self.flow.level.clock.now().saturating_sub(self.began).as_secs_f64();
        self.flow.level.metrics.read_write.end(Phase::Executing, self.sort.is_read);
        if self.sort.is_watch {
            metrics.initialized.observe(took);
        } else {
            metrics.executed.observe(took);
        }
        self.flow.level.finish(&self.running);
    }
}
