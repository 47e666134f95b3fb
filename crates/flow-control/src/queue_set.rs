//! The queues of one level: fair queueing in virtual time (upstream: fairqueuing/queueset/queueset.go).
//!
//! Pure: it is told what time it is. Virtual time R advances by the seats that each active queue would get if they all
//! were served at once; a queue's next request is dispatched where it would have finished first.
//!
//! ```text
//! arrive -> dealt queue -> waiting -> dispatched -> finish -> (seats linger for watchers) -> released
//!        \-> Refused                \-> cancel
//! ```

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use crate::demand::{Integrator, Seen};
use crate::shuffle::{Dealer, MAX_HAND};
use crate::spec::Queuing;
use crate::work::{SERVICE_TIME, WorkEstimate};

/// What a level does beyond its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Response {
    /// There is no limit.
    Exempt,
    /// Refuse.
    Reject,
    /// Queue: a sound configuration of queues.
    Queue(Queues),
}

/// Queues whose numbers make sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queues {
    dealer: Dealer,
    count: usize,
    length_limit: usize,
}

impl Queues {
    /// The queues of a configuration, if its numbers make sense.
    pub fn new(queuing: &Queuing) -> Option<Self> {
        let count = usize::try_from(queuing.queues).ok()?;
        let dealer = Dealer::new(count, usize::try_from(queuing.hand_size).ok()?)?;
        Some(Self { dealer, count, length_limit: usize::try_from(queuing.queue_length_limit).ok()? })
    }
}

/// Seats in use: given back with [`QueueSet::finish`].
#[derive(Debug, PartialEq)]
pub struct Running {
    queue: Option<usize>,
    work: WorkEstimate,
    started: Duration,
}

impl Running {
    /// The queue it came through, if there are queues.
    pub(crate) fn queue(&self) -> Option<usize> {
        self.queue
    }

    /// Its seats.
    pub fn seats(&self) -> u32 {
        self.work.max_seats()
    }
}

/// A place in a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    queue: usize,
    id: u64,
}

impl Place {
    /// The queue.
    pub(crate) fn queue(&self) -> usize {
        self.queue
    }
}

/// What came of a request that arrived.
#[derive(Debug, PartialEq)]
pub enum Arrival {
    /// It may run.
    Running(Running),
    /// It waits; its payload comes out with [`QueueSet::take_dispatched`]. So many wait in its queue.
    Waiting(Place, usize),
    /// No seat is free, and the level has no queues.
    OverLimit,
    /// No seat is free, and its queue is full.
    QueueFull,
}

#[derive(Debug)]
struct Waiting<T> {
    id: u64,
    work: WorkEstimate,
    arrival_r: f64,
    payload: T,
}

#[derive(Debug)]
struct Queue<T> {
    waiting: VecDeque<Waiting<T>>,
    executing: usize,
    seats_in_use: u32,
    /// Virtual time at which its next request would start.
    next_dispatch_r: f64,
    /// Seat-seconds that wait.
    waiting_work: f64,
}

impl<T> Queue<T> {
    fn new() -> Self {
        Self { waiting: VecDeque::new(), executing: 0, seats_in_use: 0, next_dispatch_r: 0.0, waiting_work: 0.0 }
    }

    fn is_active(&self) -> bool {
        self.executing > 0 || !self.waiting.is_empty()
    }

    /// A queue gains nothing from the time when it had nothing to do.
    fn bound_next_dispatch(&mut self) {
        if let Some(oldest) = self.waiting.front() {
            self.next_dispatch_r = self.next_dispatch_r.max(oldest.arrival_r);
        }
    }
}

/// Seats that are held for a while after their request was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Lingering {
    until: Duration,
    seats: u32,
    queue: Option<usize>,
}

/// See the module.
#[derive(Debug)]
pub struct QueueSet<T> {
    response: Response,
    limit: u32,
    queues: Vec<Queue<T>>,
    current_r: f64,
    last: Duration,
    robin: usize,
    arrivals: u64,
    waiting: usize,
    seats_waiting: u32,
    executing: usize,
    seats_in_use: u32,
    /// Of `seats_in_use`, those that came through a queue.
    queued_seats_in_use: u32,
    active_queues: usize,
    lingering: BinaryHeap<Reverse<Lingering>>,
    demand: Integrator,
    dispatched: Vec<(T, Running)>,
    /// Is told whenever the next in line needs more seats than are free.
    no_room: fn(&T),
    totals: Totals,
    epochs: u64,
    last_dispatch: Option<Dispatch>,
}

/// How many requests there have been.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) dispatched: u64,
    pub(crate) rejected: u64,
    /// Those that gave up waiting, for whatever reason.
    pub(crate) cancelled: u64,
}

/// R is wound back by so many seat-seconds when it reaches [`HIGH_R`]: half of what upstream's fixed-point number holds.
const R_DECREMENT: f64 = 92_233_720_368.0;

/// See [`R_DECREMENT`].
const HIGH_R: f64 = R_DECREMENT * 1.5;

/// Virtual times of a dispatch (upstream: `SetDispatchMetrics`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Dispatch {
    /// When it was.
    pub(crate) r: f64,
    /// When the request would have started in a queue of its own.
    pub(crate) s: f64,
    /// The first and the last of these times of all requests that were next in their queues.
    pub(crate) next: [f64; 2],
    /// The same, each without the work that its queue has in progress.
    pub(crate) discounted: [f64; 2],
}

impl Dispatch {
    /// Out of queues, each with when its next request would start and the seats that it has in use.
    fn of(r: f64, s: f64, queues: impl Iterator<Item = (f64, u32)>) -> Self {
        let none = [f64::INFINITY, f64::NEG_INFINITY];
        let widen = |[min, max]: [f64; 2], value: f64| [min.min(value), max.max(value)];
        let (next, discounted) = queues.fold((none, none), |(next, discounted), (s, seats)| {
            let in_progress = f64::from(seats) * SERVICE_TIME.as_secs_f64();
            (widen(next, s), widen(discounted, s - in_progress))
        });
        Self { r, s, next, discounted }
    }
}

/// How much of a level is used, and how far it has come.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Usage {
    /// Since when.
    pub(crate) at: Duration,
    pub(crate) limit: u32,
    pub(crate) seats_in_use: u32,
    pub(crate) seats_waiting: u32,
    pub(crate) waiting: usize,
    pub(crate) executing: usize,
    /// How many requests may wait in all queues together.
    pub(crate) queue_lengths: usize,
    /// Virtual time.
    pub(crate) current_r: f64,
    /// How often it was wound back.
    pub(crate) epochs: u64,
    /// The last dispatch from a queue.
    pub(crate) dispatch: Option<Dispatch>,
}

/// A queue as it is at the moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct QueueState {
    pub(crate) waiting: usize,
    pub(crate) executing: usize,
    pub(crate) seats_in_use: u32,
    pub(crate) next_dispatch_r: f64,
    pub(crate) initial_seats: u32,
    pub(crate) max_seats: u32,
    pub(crate) waiting_work: f64,
}

/// The set as it is at the moment.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct State {
    pub(crate) waiting: usize,
    pub(crate) executing: usize,
    pub(crate) totals: Totals,
    pub(crate) queues: Vec<QueueState>,
}

impl<T> QueueSet<T> {
    /// An empty set.
    pub fn new(now: Duration, response: Response, limit: u32) -> Self {
        let mut set = Self {
            response,
            limit,
            queues: Vec::new(),
            current_r: 0.0,
            last: now,
            robin: 0,
            arrivals: 0,
            waiting: 0,
            seats_waiting: 0,
            executing: 0,
            seats_in_use: 0,
            queued_seats_in_use: 0,
            active_queues: 0,
            lingering: BinaryHeap::new(),
            demand: Integrator::new(now),
            dispatched: Vec::new(),
            no_room: |_| {},
            totals: Totals::default(),
            epochs: 0,
            last_dispatch: None,
        };
        set.configure(now, response);
        set
    }

    /// The same set, which tells whenever the next in line needs more seats than are free.
    pub(crate) fn telling(self, no_room: fn(&T)) -> Self {
        Self { no_room, ..self }
    }

    /// Takes another response; what waits goes on waiting.
    pub fn configure(&mut self, now: Duration, response: Response) {
        self.advance(now);
        self.response = response;
        if let Response::Queue(queues) = response {
            while self.queues.len() < queues.count {
                self.queues.push(Queue::new());
            }
        }
        self.trim_queues();
        self.dispatch(now);
    }

    /// Takes another limit.
    pub fn set_limit(&mut self, now: Duration, limit: u32) {
        self.advance(now);
        self.limit = limit;
        self.dispatch(now);
    }

    /// A request arrives. `payload` is made only when it waits.
    pub fn arrive(&mut self, now: Duration, work: WorkEstimate, hash: u64, payload: impl FnOnce() -> T) -> Arrival {
        self.advance(now);
        let queues = match self.response {
            Response::Exempt => return Arrival::Running(self.start(now, None, work)),
            Response::Reject if self.accommodates(work.max_seats()) => {
                return Arrival::Running(self.start(now, None, work));
            }
            Response::Reject => {
                self.totals.rejected += 1;
                return Arrival::OverLimit;
            }
            Response::Queue(queues) => queues,
        };
        let index = self.choose_queue(queues.dealer, hash);
        let current_r = self.current_r;
        let queue = &mut self.queues[index];
        if self.seats_in_use >= self.limit && queue.waiting.len() >= queues.length_limit {
            self.totals.rejected += 1;
            return Arrival::QueueFull;
        }
        if !queue.is_active() {
            queue.next_dispatch_r = current_r;
            self.active_queues += 1;
        }
        if self.waiting == 0 && self.seats_in_use < self.limit && self.accommodates(work.max_seats()) {
            // Nobody is before it: what the queue would do, at once.
            let queue = &mut self.queues[index];
            let start_r = queue.next_dispatch_r.max(current_r);
            let alone = std::iter::once((start_r, queue.seats_in_use));
            self.last_dispatch = Some(Dispatch::of(current_r, start_r, alone));
            queue.next_dispatch_r = start_r + work.total();
            let work = work.narrowed(self.limit);
            return Arrival::Running(self.start(now, Some(index), work));
        }
        let id = self.arrivals;
        let queue = &mut self.queues[index];
        queue.waiting_work += work.total();
        queue.waiting.push_back(Waiting { id, work, arrival_r: current_r, payload: payload() });
        queue.bound_next_dispatch();
        let length = queue.waiting.len();
        self.waiting += 1;
        self.seats_waiting += work.max_seats();
        self.note_demand(now);
        self.dispatch(now);
        Arrival::Waiting(Place { queue: index, id }, length)
    }

    /// Whether nobody waits, runs or holds a seat (upstream: `IsIdle`).
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting == 0 && self.executing == 0 && self.seats_in_use == 0
    }

    /// How much is used.
    pub(crate) fn usage(&self) -> Usage {
        let queue_lengths = match self.response {
            Response::Queue(queues) => queues.count * queues.length_limit.max(1),
            Response::Exempt | Response::Reject => 1,
        };
        Usage {
            at: self.last,
            limit: self.limit,
            seats_in_use: self.seats_in_use,
            seats_waiting: self.seats_waiting,
            waiting: self.waiting,
            executing: self.executing,
            queue_lengths,
            current_r: self.current_r,
            epochs: self.epochs,
            dispatch: self.last_dispatch,
        }
    }

    /// How many requests may wait; none where there are no queues.
    pub(crate) fn waiting_limit(&self) -> usize {
        match self.response {
            Response::Queue(queues) => queues.count * queues.length_limit,
            Response::Exempt | Response::Reject => 0,
        }
    }

    /// What is going on.
    pub(crate) fn state(&self) -> State {
        let of_queue = |queue: &Queue<T>| QueueState {
            waiting: queue.waiting.len(),
            executing: queue.executing,
            seats_in_use: queue.seats_in_use,
            next_dispatch_r: queue.next_dispatch_r,
            initial_seats: queue.waiting.iter().map(|waiting| waiting.work.initial_seats).sum(),
            max_seats: queue.waiting.iter().map(|waiting| waiting.work.max_seats()).sum(),
            waiting_work: queue.waiting_work,
        };
        let queues = self.queues.iter().map(of_queue).collect();
        State { waiting: self.waiting, executing: self.executing, totals: self.totals, queues }
    }

    /// A waiting request gives up; false when it does not wait any more.
    pub fn cancel(&mut self, now: Duration, place: Place) -> bool {
        self.advance(now);
        let Some(queue) = self.queues.get_mut(place.queue) else { return false };
        let Some(position) = queue.waiting.iter().position(|waiting| waiting.id == place.id) else { return false };
        let Some(gone) = queue.waiting.remove(position) else { return false };
        queue.waiting_work -= gone.work.total();
        queue.bound_next_dispatch();
        if !queue.is_active() {
            self.active_queues -= 1;
        }
        self.totals.cancelled += 1;
        self.waiting -= 1;
        self.seats_waiting -= gone.work.max_seats();
        self.note_demand(now);
        self.trim_queues();
        self.dispatch(now);
        true
    }

    /// A request was answered.
    pub fn finish(&mut self, now: Duration, running: &Running) {
        self.advance(now);
        self.executing -= 1;
        if let Some(index) = running.queue {
            let queue = &mut self.queues[index];
            queue.executing -= 1;
            // The virtual start of the next was reckoned with an estimate of how long this one takes.
            let took = now.saturating_sub(running.started).as_secs_f64();
            let initial = f64::from(running.work.initial_seats);
            queue.next_dispatch_r -= initial * (SERVICE_TIME.as_secs_f64() - took);
            queue.bound_next_dispatch();
            if !queue.is_active() {
                self.active_queues -= 1;
            }
        }
        let release =
            Lingering { until: now + running.work.additional_latency, seats: running.seats(), queue: running.queue };
        if running.work.additional_latency.is_zero() {
            self.release(now, release);
        } else {
            self.lingering.push(Reverse(release));
        }
        self.trim_queues();
        self.dispatch(now);
    }

    /// Brings the set up to the present: seats that lingered long enough are free again.
    pub fn sync(&mut self, now: Duration) {
        self.advance(now);
        self.trim_queues();
        self.dispatch(now);
    }

    /// When seats are released without anybody's doing, if somebody waits for them.
    pub fn next_release(&self) -> Option<Duration> {
        let first = self.lingering.peek().filter(|_| self.waiting > 0)?;
        Some(first.0.until)
    }

    /// The requests that need not wait any more.
    pub fn take_dispatched(&mut self) -> Vec<(T, Running)> {
        std::mem::take(&mut self.dispatched)
    }

    /// The demand since this was last asked.
    pub(crate) fn take_demand(&mut self, now: Duration) -> Seen {
        self.demand.reset(now)
    }

    /// Virtual time.
    pub fn current_r(&self) -> f64 {
        self.current_r
    }

    fn advance(&mut self, now: Duration) {
        let seconds = now.saturating_sub(self.last).as_secs_f64();
        self.last = self.last.max(now);
        if self.active_queues > 0 {
            let wanted = (self.queued_seats_in_use + self.seats_waiting).min(self.limit);
            self.current_r += seconds * f64::from(wanted) / self.active_queues as f64;
        }
        if self.current_r >= HIGH_R {
            self.advance_epoch();
        }
        while let Some(Reverse(first)) = self.lingering.peek().copied().filter(|first| first.0.until <= now) {
            self.lingering.pop();
            self.release(now, first);
        }
    }

    /// Winds virtual time back, and all that was read from it.
    fn advance_epoch(&mut self) {
        self.current_r -= R_DECREMENT;
        self.epochs += 1;
        for queue in &mut self.queues {
            // A queue that rests takes the time when it becomes active.
            queue.next_dispatch_r = if queue.is_active() { queue.next_dispatch_r - R_DECREMENT } else { 0.0 };
            queue.waiting.iter_mut().for_each(|waiting| waiting.arrival_r -= R_DECREMENT);
        }
    }

    fn start(&mut self, now: Duration, queue: Option<usize>, work: WorkEstimate) -> Running {
        let seats = work.max_seats();
        self.totals.dispatched += 1;
        self.executing += 1;
        self.seats_in_use += seats;
        if let Some(index) = queue {
            self.queued_seats_in_use += seats;
            let queue = &mut self.queues[index];
            queue.executing += 1;
            queue.seats_in_use += seats;
        }
        self.note_demand(now);
        Running { queue, work, started: now }
    }

    fn release(&mut self, now: Duration, lingering: Lingering) {
        self.seats_in_use -= lingering.seats;
        if let Some(index) = lingering.queue {
            self.queued_seats_in_use -= lingering.seats;
            self.queues[index].seats_in_use -= lingering.seats;
        }
        self.note_demand(now);
    }

    fn note_demand(&mut self, now: Duration) {
        self.demand.set(now, f64::from(self.seats_in_use) + f64::from(self.seats_waiting));
    }

    /// A request wider than the level runs alone.
    fn accommodates(&self, seats: u32) -> bool {
        if seats > self.limit { self.executing == 0 } else { self.seats_in_use + seats <= self.limit }
    }

    /// Of the flow's hand the queue where the least work waits.
    fn choose_queue(&mut self, dealer: Dealer, hash: u64) -> usize {
        let mut cards = [0; MAX_HAND];
        let hand = dealer.deal(hash, &mut cards);
        self.arrivals += 1;
        if self.waiting == 0 {
            return hand[self.arrivals as usize % hand.len()];
        }
        let offset = self.arrivals as usize % hand.len();
        let turned = hand[offset..].iter().chain(&hand[..offset]).copied();
        let work = |index: &usize| self.queues[*index].waiting_work;
        turned.min_by(|one, other| work(one).total_cmp(&work(other))).unwrap_or(0)
    }

    fn dispatch(&mut self, now: Duration) {
        while self.waiting > 0 && self.seats_in_use < self.limit {
            let Some(index) = self.next_queue() else { return };
            let Some(oldest) = self.queues[index].waiting.front() else { return };
            if !self.accommodates(oldest.work.max_seats()) {
                (self.no_room)(&oldest.payload);
                return;
            }
            let waiting = self.queues.iter().filter(|queue| !queue.waiting.is_empty());
            let heads = waiting.map(|queue| (queue.next_dispatch_r, queue.seats_in_use));
            self.last_dispatch = Some(Dispatch::of(self.current_r, self.queues[index].next_dispatch_r, heads));
            let queue = &mut self.queues[index];
            let Some(next) = queue.waiting.pop_front() else { return };
            queue.waiting_work -= next.work.total();
            queue.next_dispatch_r += next.work.total();
            queue.bound_next_dispatch();
            self.robin = index;
            self.waiting -= 1;
            self.seats_waiting -= next.work.max_seats();
            let running = self.start(now, Some(index), next.work.narrowed(self.limit));
            self.dispatched.push((next.payload, running));
        }
    }

    /// The queue whose oldest request would finish first; of equals the one after the last that was served.
    fn next_queue(&self) -> Option<usize> {
        let count = self.queues.len();
        let order = (1..=count).map(|step| (self.robin + step) % count);
        let finish = |index: usize| {
            let queue = &self.queues[index];
            Some((index, queue.next_dispatch_r + queue.waiting.front()?.work.total()))
        };
        order.filter_map(finish).min_by(|one, other| one.1.total_cmp(&other.1)).map(|(index, _)| index)
    }

    /// Queues beyond the wanted number go when they are empty; from the end, so that none changes its number.
    fn trim_queues(&mut self) {
        let wanted = match self.response {
            Response::Queue(queues) => queues.count,
            Response::Reject | Response::Exempt => 0,
        };
        while self.queues.len() > wanted
            && self.queues.last().is_some_and(|queue| !queue.is_active() && queue.seats_in_use == 0)
        {
            self.queues.pop();
        }
    }
}

#[cfg(test)]
#[path = "queue_set_tests.rs"]
mod tests;
