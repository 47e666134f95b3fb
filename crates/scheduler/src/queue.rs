//! Where pods wait: to be decided on next, for their back-off, or for an event that can help them.
//!
//! ```text
//!            add                     pop
//!   (new) ────────► active ───────────────────► in flight ──► bound
//!                     ▲                             │
//!     back-off over   │      event helped meanwhile │ turned away
//!                  back-off ◄───────────────────────┤
//!                     ▲  event helps / 5 minutes    ▼
//!                     └──────────────────────── unschedulable
//! ```
//!
//! Events that come while a pod is in flight are kept until it returns, so none is missed.
//! upstream: pkg/scheduler/backend/queue/scheduling_queue.go

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::framework::ClusterEvent;
use crate::pod_info::PodInfo;

/// How long pods wait.
#[derive(Clone, Copy, Debug)]
pub struct Delays {
    /// Back-off after the first failed attempt; it doubles with each.
    pub initial_backoff: Duration,
    /// The longest back-off.
    pub max_backoff: Duration,
    /// After this long an unschedulable pod is tried again without an event.
    pub unschedulable: Duration,
}

impl Default for Delays {
    fn default() -> Self {
        Self {
            initial_backoff: Duration::from_secs(1),
            max_backoff: Duration::from_secs(10),
            unschedulable: Duration::from_secs(300),
        }
    }
}

/// A waiting pod.
#[derive(Clone, Debug)]
pub struct QueuedPod {
    /// The pod.
    pub info: Arc<PodInfo>,
    /// How often it was tried.
    pub attempts: u32,
    /// The plugins that turned it away last; empty after an error.
    pub rejected_by: Vec<&'static str>,
    since: Instant,
    /// Orders pods of the same moment.
    ticket: u64,
    /// Whether its last attempt failed for another reason than the cluster's state: then its back-off is served in full.
    after_error: bool,
}

type ActiveKey = (Reverse<i32>, Instant, u64);

enum Place {
    Active(ActiveKey),
    BackingOff(Instant, u64),
    Unschedulable,
    InFlight { seen_events: u64 },
}

/// Why a pod in flight comes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Setback {
    /// Something failed: it is tried again after its back-off.
    Error,
    /// These plugins found no node for it: it waits for an event that helps (any, when none is named).
    RejectedBy(Vec<&'static str>),
}

/// Decides whether an event may help a pod that these plugins turned away.
pub type Hint<'a> = &'a dyn Fn(&ClusterEvent, &PodInfo, &[&'static str]) -> bool;

/// The queues.
pub struct Queue {
    delays: Delays,
    active: BTreeMap<ActiveKey, QueuedPod>,
    backing_off: BTreeMap<(Instant, u64), QueuedPod>,
    unschedulable: HashMap<String, QueuedPod>,
    places: HashMap<String, Place>,
    /// Events since the oldest pod in flight was taken.
    events: VecDeque<ClusterEvent>,
    first_event: u64,
    next_ticket: u64,
}

impl Queue {
    /// Empty queues.
    pub fn new(delays: Delays) -> Self {
        Self {
            delays,
            active: BTreeMap::new(),
            backing_off: BTreeMap::new(),
            unschedulable: HashMap::new(),
            places: HashMap::new(),
            events: VecDeque::new(),
            first_event: 0,
            next_ticket: 0,
        }
    }

    /// A pod came, or its spec changed in a way that may let it pass.
    pub fn add(&mut self, info: Arc<PodInfo>, now: Instant) {
        if matches!(self.places.get(&info.uid), Some(Place::InFlight { .. })) {
            return;
        }
        let attempts = self.take(&info.uid).map_or(0, |old| old.attempts);
        let ticket = self.ticket();
        let pod = QueuedPod { info, attempts, rejected_by: Vec::new(), since: now, ticket, after_error: false };
        if pod.info.is_gated() {
            self.hold(pod);
        } else {
            self.activate(pod);
        }
    }

    /// A waiting pod changed in a way that lets nothing pass: its place stays.
    pub fn refresh(&mut self, info: Arc<PodInfo>) {
        let pod = match self.places.get(&info.uid) {
            Some(Place::Active(key)) => self.active.get_mut(key),
            Some(Place::BackingOff(at, ticket)) => self.backing_off.get_mut(&(*at, *ticket)),
            Some(Place::Unschedulable) => self.unschedulable.get_mut(&info.uid),
            Some(Place::InFlight { .. }) | None => None,
        };
        if let Some(pod) = pod {
            pod.info = info;
        }
    }

    /// A pod is gone, or bound.
    pub fn remove(&mut self, uid: &str) {
        if !matches!(self.places.get(uid), Some(Place::InFlight { .. })) {
            self.take(uid);
        }
    }

    /// The next pod to decide on; it is in flight until [`Queue::done`] or [`Queue::give_back`].
    pub fn pop(&mut self, now: Instant) -> Option<QueuedPod> {
        self.promote(now);
        let mut pod = match self.active.pop_first() {
            Some((_, pod)) => pod,
            None => self.idle_pop()?,
        };
        pod.attempts += 1;
        let seen_events = self.first_event + self.events.len() as u64;
        self.places.insert(pod.info.uid.clone(), Place::InFlight { seen_events });
        Some(pod)
    }

    /// With nothing else to do, a pod that an event may have helped need not wait out its back-off
    /// (upstream: `SchedulerPopFromBackoffQ`).
    fn idle_pop(&mut self) -> Option<QueuedPod> {
        let key = self.backing_off.iter().find(|(_, pod)| !pod.after_error).map(|(key, _)| *key)?;
        self.backing_off.remove(&key)
    }

    /// When the next waiting pod becomes active by time alone.
    pub fn next_due(&self) -> Option<Instant> {
        let backoff = self.backing_off.keys().next().map(|(at, _)| *at);
        let ungated = self.unschedulable.values().filter(|pod| !pod.info.is_gated());
        let flush = ungated.map(|pod| pod.since + self.delays.unschedulable).min();
        backoff.into_iter().chain(flush).min()
    }

    /// A pod in flight was bound, or needs no decision any more.
    pub fn done(&mut self, uid: &str) {
        if matches!(self.places.get(uid), Some(Place::InFlight { .. })) {
            self.places.remove(uid);
        }
        self.trim_events();
    }

    /// A pod in flight could not be placed.
    pub fn give_back(&mut self, mut pod: QueuedPod, setback: Setback, now: Instant, hint: Hint<'_>) {
        let seen = match self.places.remove(&pod.info.uid) {
            Some(Place::InFlight { seen_events }) => seen_events,
            _ => self.first_event + self.events.len() as u64,
        };
        let missed = self.events.iter().skip(seen.saturating_sub(self.first_event) as usize);
        pod.after_error = setback == Setback::Error;
        let (helped, rejected_by) = match setback {
            Setback::Error => (true, Vec::new()),
            Setback::RejectedBy(names) => (missed.into_iter().any(|event| hint(event, &pod.info, &names)), names),
        };
        self.trim_events();
        pod.rejected_by = rejected_by;
        pod.since = now;
        if pod.info.is_gated() || !helped {
            self.hold(pod);
        } else {
            self.back_off(pod, now);
        }
    }

    /// The cluster changed: pods that it may help are tried again, after their back-off.
    pub fn on_event(&mut self, event: ClusterEvent, now: Instant, hint: Hint<'_>) {
        let helped = |pod: &QueuedPod| !pod.info.is_gated() && hint(&event, &pod.info, &pod.rejected_by);
        let uids: Vec<String> =
            self.unschedulable.iter().filter(|(_, pod)| helped(pod)).map(|(uid, _)| uid.clone()).collect();
        for uid in uids {
            if let Some(pod) = self.take(&uid) {
                self.back_off(pod, now);
            }
        }
        if self.places.values().any(|place| matches!(place, Place::InFlight { .. })) {
            self.events.push_back(event);
        }
    }

    /// How many pods are (active, backing off, unschedulable).
    pub fn lengths(&self) -> (usize, usize, usize) {
        (self.active.len(), self.backing_off.len(), self.unschedulable.len())
    }

    fn ticket(&mut self) -> u64 {
        self.next_ticket += 1;
        self.next_ticket
    }

    fn take(&mut self, uid: &str) -> Option<QueuedPod> {
        match self.places.remove(uid)? {
            Place::Active(key) => self.active.remove(&key),
            Place::BackingOff(at, ticket) => self.backing_off.remove(&(at, ticket)),
            Place::Unschedulable => self.unschedulable.remove(uid),
            Place::InFlight { .. } => None,
        }
    }

    fn activate(&mut self, pod: QueuedPod) {
        let key = (Reverse(pod.info.priority), pod.since, pod.ticket);
        self.places.insert(pod.info.uid.clone(), Place::Active(key));
        self.active.insert(key, pod);
    }

    fn hold(&mut self, pod: QueuedPod) {
        self.places.insert(pod.info.uid.clone(), Place::Unschedulable);
        self.unschedulable.insert(pod.info.uid.clone(), pod);
    }

    fn back_off(&mut self, pod: QueuedPod, now: Instant) {
        let until = pod.since + self.backoff_of(pod.attempts);
        if until <= now {
            return self.activate(pod);
        }
        self.places.insert(pod.info.uid.clone(), Place::BackingOff(until, pod.ticket));
        self.backing_off.insert((until, pod.ticket), pod);
    }

    fn backoff_of(&self, attempts: u32) -> Duration {
        let factor = 2_u32.saturating_pow(attempts.saturating_sub(1).min(30));
        self.delays.initial_backoff.saturating_mul(factor).min(self.delays.max_backoff)
    }

    /// Moves what waited long enough.
    fn promote(&mut self, now: Instant) {
        while let Some(entry) = self.backing_off.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let pod = entry.remove();
            self.activate(pod);
        }
        let overdue = |pod: &QueuedPod| !pod.info.is_gated() && pod.since + self.delays.unschedulable <= now;
        let uids: Vec<String> =
            self.unschedulable.iter().filter(|(_, pod)| overdue(pod)).map(|(uid, _)| uid.clone()).collect();
        for uid in uids {
            if let Some(pod) = self.take(&uid) {
                self.activate(pod);
            }
        }
    }

    fn trim_events(&mut self) {
        let in_flight = self.places.values().filter_map(|place| match place {
            Place::InFlight { seen_events } => Some(*seen_events),
            _ => None,
        });
        let needed_from = in_flight.min().unwrap_or(self.first_event + self.events.len() as u64);
        while self.first_event < needed_from && self.events.pop_front().is_some() {
            self.first_event += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{node, pod};
    use serde_json::json;

    const NEVER: Hint<'static> = &|_, _, _| false;
    const ALWAYS: Hint<'static> = &|_, _, _| true;

    fn info(name: &str, priority: i32) -> Arc<PodInfo> {
        Arc::new(pod(json!({"name": name, "priority": priority})))
    }

    fn event() -> ClusterEvent {
        ClusterEvent::NodeAdded(node("a", "1"))
    }

    fn names(queue: &mut Queue, now: Instant) -> Vec<String> {
        std::iter::from_fn(|| queue.pop(now)).map(|pod| pod.info.key.name.clone()).collect()
    }

    #[test]
    fn priority_first_then_age() {
        let (mut queue, now) = (Queue::new(Delays::default()), Instant::now());
        for (name, priority) in [("a", 0), ("b", 10), ("c", 0), ("d", 10)] {
            queue.add(info(name, priority), now);
        }
        assert_eq!(names(&mut queue, now), ["b", "d", "a", "c"]);
    }

    #[test]
    fn an_event_that_helps_lets_a_pod_out_behind_those_that_are_due() {
        let (mut queue, now) = (Queue::new(Delays::default()), Instant::now());
        queue.add(info("a", 10), now);
        let taken = queue.pop(now).expect("a pod");
        queue.give_back(taken, Setback::RejectedBy(vec!["NodeResourcesFit"]), now, NEVER);
        queue.on_event(event(), now, NEVER);
        assert_eq!(queue.lengths(), (0, 0, 1));
        queue.on_event(event(), now, ALWAYS);
        assert_eq!(queue.lengths(), (0, 1, 0));
        queue.add(info("b", 0), now);
        assert_eq!(names(&mut queue, now), ["b", "a"]);
    }

    #[test]
    fn an_error_is_waited_out() {
        let (mut queue, now) = (Queue::new(Delays::default()), Instant::now());
        queue.add(info("a", 0), now);
        let taken = queue.pop(now).expect("a pod");
        queue.give_back(taken, Setback::Error, now, NEVER);
        assert!(queue.pop(now).is_none(), "it backs off");
        let due = queue.next_due().expect("a time");
        assert_eq!((due - now).as_secs(), 1);
        assert_eq!(queue.pop(due).expect("the pod").attempts, 2);
    }

    #[test]
    fn an_event_during_the_decision_is_not_missed() {
        let (mut queue, now) = (Queue::new(Delays::default()), Instant::now());
        queue.add(info("a", 0), now);
        let taken = queue.pop(now).expect("a pod");
        queue.on_event(event(), now, ALWAYS);
        queue.give_back(taken, Setback::RejectedBy(vec!["NodeAffinity"]), now, ALWAYS);
        assert_eq!(queue.lengths(), (0, 1, 0));
        assert!(queue.events.is_empty(), "nobody in flight needs it any more");
    }

    #[test]
    fn unschedulable_pods_come_again_after_five_minutes_and_gated_ones_do_not() {
        let (mut queue, now) = (Queue::new(Delays::default()), Instant::now());
        queue.add(info("a", 0), now);
        queue.add(Arc::new(pod(json!({"name": "gated", "schedulingGates": [{"name": "wait"}]}))), now);
        let taken = queue.pop(now).expect("a pod");
        queue.give_back(taken, Setback::RejectedBy(vec!["NodeAffinity"]), now, NEVER);
        assert_eq!(names(&mut queue, now + Duration::from_secs(299)), Vec::<String>::new());
        assert_eq!(names(&mut queue, now + Duration::from_secs(300)), ["a"]);
        queue.add(Arc::new(pod(json!({"name": "gated"}))), now);
        assert_eq!(names(&mut queue, now), ["gated"]);
    }

    #[test]
    fn back_off_doubles_up_to_its_limit() {
        let queue = Queue::new(Delays::default());
        let seconds: Vec<u64> = (1..=6).map(|attempts| queue.backoff_of(attempts).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 10, 10]);
    }
}
