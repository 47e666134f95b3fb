//! The work queue of upstream's controllers (client-go `util/workqueue`).
//!
//! Guarantees: a key waits at most once; a key is never worked on twice at a time; a key added while it is worked on
//! comes again afterwards. The queue is bounded by the number of distinct keys.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

const BASE_DELAY: Duration = Duration::from_millis(5);
const MAX_DELAY: Duration = Duration::from_secs(1000);

struct State<T> {
    ready: VecDeque<T>,
    /// Waiting in `ready`, or to come again once its worker is done.
    dirty: HashSet<T>,
    working: HashSet<T>,
    delayed: BinaryHeap<Reverse<(Instant, u64)>>,
    delayed_items: HashMap<u64, T>,
    /// The earliest planned time of a delayed key: a later one is not planned beside it.
    planned: HashMap<T, (Instant, u64)>,
    next_ticket: u64,
    failures: HashMap<T, u32>,
    closed: bool,
}

/// A queue of keys with delay and back-off. Clones share it.
pub struct WorkQueue<T> {
    state: Arc<Mutex<State<T>>>,
    wake: Arc<Notify>,
}

impl<T> Clone for WorkQueue<T> {
    fn clone(&self) -> Self {
        Self { state: self.state.clone(), wake: self.wake.clone() }
    }
}

impl<T: Clone + Eq + Hash> Default for WorkQueue<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Clone + Eq + Hash> WorkQueue<T> {
    /// An empty queue.
    pub fn new() -> Self {
        Self { state: Arc::new(Mutex::new(State::new())), wake: Arc::new(Notify::new()) }
    }

    /// Adds a key, unless it waits already.
    pub fn add(&self, item: T) {
        let mut state = self.state.lock();
        state.add(item);
        drop(state);
        self.wake.notify_one();
    }

    /// Adds a key after `delay`; of several delays the earliest counts.
    pub fn add_after(&self, item: T, delay: Duration) {
        if delay.is_zero() {
            return self.add(item);
        }
        self.state.lock().add_at(item, Instant::now() + delay);
        self.wake.notify_one();
    }

    /// Adds a key after its back-off: 5 ms doubled with each failure since [`WorkQueue::forget`], up to 1,000 s.
    pub fn add_rate_limited(&self, item: T) {
        let delay = self.state.lock().next_delay(item.clone());
        self.add_after(item, delay);
    }

    /// Forgets a key's failures.
    pub fn forget(&self, item: &T) {
        self.state.lock().failures.remove(item);
    }

    /// How often the key failed since it was last forgotten.
    pub fn failures(&self, item: &T) -> u32 {
        self.state.lock().failures.get(item).copied().unwrap_or_default()
    }

    /// The next key, marked as worked on; `None` once the queue is closed and empty. Cancel safe.
    pub async fn get(&self) -> Option<T> {
        loop {
            let notified = self.wake.notified();
            let due = {
                let mut state = self.state.lock();
                state.promote(Instant::now());
                if let Some(item) = state.ready.pop_front() {
                    state.dirty.remove(&item);
                    state.working.insert(item.clone());
                    if !state.ready.is_empty() {
                        self.wake.notify_one();
                    }
                    return Some(item);
                }
                if state.closed {
                    self.wake.notify_one();
                    return None;
                }
                state.delayed.peek().map(|Reverse((at, _))| *at)
            };
            match due {
                Some(at) => tokio::select! {
                    () = notified => {}
                    () = tokio::time::sleep_until(at) => {}
                },
                None => notified.await,
            }
        }
    }

    /// Ends work on a key; it comes again when it was added meanwhile.
    pub fn done(&self, item: &T) {
        let mut state = self.state.lock();
        state.working.remove(item);
        if state.dirty.contains(item) {
            state.ready.push_back(item.clone());
            drop(state);
            self.wake.notify_one();
        }
    }

    /// How many keys wait.
    pub fn len(&self) -> usize {
        self.state.lock().ready.len()
    }

    /// Whether no key waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ends the queue: what waits is still handed out, then workers end.
    pub fn close(&self) {
        self.state.lock().closed = true;
        self.wake.notify_waiters();
        self.wake.notify_one();
    }
}

impl<T: Clone + Eq + Hash> State<T> {
    fn new() -> Self {
        Self {
            ready: VecDeque::new(),
            dirty: HashSet::new(),
            working: HashSet::new(),
            delayed: BinaryHeap::new(),
            delayed_items: HashMap::new(),
            planned: HashMap::new(),
            next_ticket: 0,
            failures: HashMap::new(),
            closed: false,
        }
    }

    /// Plans a key for a time, unless an earlier one is planned.
    fn add_at(&mut self, item: T, at: Instant) {
        if self.planned.get(&item).is_some_and(|(planned, _)| *planned <= at) {
            return;
        }
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        if let Some((_, old)) = self.planned.insert(item.clone(), (at, ticket)) {
            self.delayed_items.remove(&old);
        }
        self.delayed_items.insert(ticket, item);
        self.delayed.push(Reverse((at, ticket)));
    }

    /// Counts one more failure of a key; how long it waits after it.
    fn next_delay(&mut self, item: T) -> Duration {
        let failures = self.failures.entry(item).or_insert(0);
        let factor = 2_u32.saturating_pow((*failures).min(31));
        *failures = failures.saturating_add(1);
        BASE_DELAY.saturating_mul(factor).min(MAX_DELAY)
    }

    fn add(&mut self, item: T) {
        if self.closed || !self.dirty.insert(item.clone()) {
            return;
        }
        if !self.working.contains(&item) {
            self.ready.push_back(item);
        }
    }

    /// Moves the delayed keys whose time has come to the ready ones.
    fn promote(&mut self, now: Instant) {
        while let Some(Reverse((at, ticket))) = self.delayed.peek().copied() {
            let superseded = !self.delayed_items.contains_key(&ticket);
            if at > now && !superseded {
                return;
            }
            self.delayed.pop();
            if let Some(item) = self.delayed_items.remove(&ticket) {
                self.planned.remove(&item);
                self.add(item);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_key_waits_once_and_comes_again_when_added_at_work() {
        let queue = WorkQueue::new();
        queue.add("a");
        queue.add("a");
        assert_eq!(queue.get().await, Some("a"));
        assert!(queue.is_empty());
        queue.add("a");
        assert!(queue.is_empty(), "not twice at a time");
        queue.done(&"a");
        assert_eq!(queue.get().await, Some("a"));
    }

    #[test]
    fn delays_come_in_their_order_and_the_earliest_counts() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut state = State::new();
        for (item, seconds) in [("late", 60), ("soon", 5), ("late", 10), ("late", 20)] {
            state.add_at(item, at(seconds));
        }
        let mut ready_at = |seconds| {
            state.promote(at(seconds));
            state.ready.drain(..).collect::<Vec<_>>()
        };
        assert_eq!(ready_at(4), Vec::<&str>::new());
        assert_eq!(ready_at(5), ["soon"]);
        assert_eq!(ready_at(10), ["late"]);
        assert_eq!(ready_at(100), Vec::<&str>::new(), "the superseded delays add nothing");
    }

    #[test]
    fn back_off_doubles_until_forgotten() {
        let mut state = State::new();
        let delays: Vec<u128> = (0..4).map(|_| state.next_delay("a").as_millis()).collect();
        assert_eq!(delays, [5, 10, 20, 40]);
        state.failures.remove("a");
        assert_eq!(state.next_delay("a").as_millis(), 5);
    }

    #[tokio::test]
    #[expect(clippy::disallowed_methods, reason = "a test ends with its runtime")]
    async fn closing_wakes_every_worker() {
        let queue: WorkQueue<u8> = WorkQueue::new();
        let workers: Vec<_> = (0..4)
            .map(|_| {
                tokio::spawn({
                    let queue = queue.clone();
                    async move { queue.get().await }
                })
            })
            .collect();
        tokio::task::yield_now().await;
        queue.close();
        for worker in workers {
            assert_eq!(worker.await.expect("the worker ends"), None);
        }
    }
}
