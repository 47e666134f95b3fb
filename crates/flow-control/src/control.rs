//! [`FlowControl`]: what the server asks for seats.
//!
//! The configuration is swapped whole; a request reads it without waiting. Seats are lent and borrowed again every
//! [`ADJUSTMENT_PERIOD`], counted by the requests themselves: a server that nobody asks does nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use apimachinery::Attributes;
use arc_swap::ArcSwap;
use component_base::Scope;
use component_base::metrics::Metrics;
use parking_lot::Mutex;

use crate::concurrency::{Claim, divide};
use crate::configuration::{Condition, Configuration, LevelState, Maker};
use crate::demand::Demand;
use crate::level::{Clock, Request};
use crate::metrics::FlowControlMetrics;
use crate::shuffle::flow_hash;
use crate::spec::{FlowSchema, PriorityLevelConfiguration};
use crate::watches::WatchTracker;
use crate::work::WorkEstimate;

pub use crate::level::Refused;

/// How often seats are lent and borrowed anew.
pub const ADJUSTMENT_PERIOD: Duration = Duration::from_secs(10);

/// What a request will do, as far as it decides its seats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// One object, or none.
    Small,
    /// A write.
    Write,
    /// A list of so many objects with so many bytes in all, of which at most `limit` are sent.
    List {
        /// How many objects there are.
        objects: u64,
        /// How large they are together.
        bytes: u64,
        /// How many are wanted.
        limit: Option<u64>,
    },
}

/// See the module.
#[derive(Debug)]
pub struct FlowControl {
    configuration: ArcSwap<Configuration>,
    /// One writer of the configuration at a time.
    changes: Mutex<()>,
    total: u32,
    metrics: FlowControlMetrics,
    watches: Arc<WatchTracker>,
    clock: Clock,
    /// When seats were last divided, in milliseconds.
    adjusted: AtomicU64,
    scope: Scope,
}

impl FlowControl {
    /// Flow control for a server that serves `total` seats at a time. Until it is told more, only the mandatory
    /// schemas and levels hold.
    pub fn new(total: u32, metrics: &Metrics, scope: &Scope) -> Self {
        let clock = Clock::new();
        let control = Self {
            configuration: ArcSwap::default(),
            changes: Mutex::new(()),
            total,
            metrics: FlowControlMetrics::register(metrics, clock, total),
            watches: Arc::default(),
            clock,
            adjusted: AtomicU64::new(0),
            scope: scope.clone(),
        };
        control.configure(Vec::new(), Vec::new());
        control
    }

    /// Takes new configuration objects; answers the conditions that their schemas should have.
    pub fn configure(&self, levels: Vec<PriorityLevelConfiguration>, schemas: Vec<FlowSchema>) -> Vec<Condition> {
        let _one = self.changes.lock();
        let (configuration, conditions) = self.maker().digest(&self.configuration.load(), levels, schemas);
        self.adjust(&configuration, 1.0);
        let levels = || configuration.levels.values();
        let waiting: usize = levels().map(|state| state.level.waiting_limit()).sum();
        let executing: u32 = levels().map(|state| state.bounds.nominal).sum();
        self.metrics.read_write.limit(waiting as f64, f64::from(executing));
        self.configuration.store(Arc::new(configuration));
        conditions
    }

    fn maker(&self) -> Maker<'_> {
        Maker { total: self.total, metrics: &self.metrics, clock: self.clock, scope: &self.scope }
    }

    /// What goes on at every level, as text; nothing where no such text is known: see [`crate::debug`].
    /// `details`: with who asks for what, where it is about requests.
    pub fn dump(&self, what: &str, details: bool) -> Option<String> {
        crate::debug::dump(what, &self.configuration.load().levels, details)
    }

    /// Classifies a request and estimates its work.
    pub fn classify(&self, asked: &Attributes<'_>, work: Work) -> Option<Request> {
        self.adjust_when_due();
        let flow = self.configuration.load().classify(asked)?.clone();
        let max_seats = flow.level.max_seats();
        let work = match work {
            Work::Small => WorkEstimate::seats(1),
            Work::List { objects, bytes, limit } => WorkEstimate::list(objects, bytes, limit, max_seats),
            Work::Write => {
                let watchers = self.watches.interested(asked);
                flow.metrics.watch_count.observe(f64::from(watchers));
                WorkEstimate::write(watchers, max_seats)
            }
        };
        flow.metrics.estimated_seats.observe(f64::from(work.max_seats()));
        let hash = if flow.is_exempt { 0 } else { flow_hash(&flow.schema.metadata.name, flow.distinguisher(asked)) };
        let (is_watch, is_read) = (asked.verb == "watch", matches!(asked.verb, "get" | "list" | "watch"));
        Some(Request { flow, hash, work, is_watch, is_read, asker: None })
    }

    /// The open watches.
    pub fn watches(&self) -> &Arc<WatchTracker> {
        &self.watches
    }

    fn adjust_when_due(&self) {
        let now = self.clock.now().as_millis() as u64;
        let last = self.adjusted.load(Ordering::Relaxed);
        let period = ADJUSTMENT_PERIOD.as_millis() as u64;
        if now.saturating_sub(last) < period {
            return;
        }
        let Some(_one) = self.changes.try_lock() else { return };
        if self.adjusted.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            if let Some(configuration) = self.maker().reap(&self.configuration.load()) {
                self.configuration.store(Arc::new(configuration));
            }
            self.adjust(&self.configuration.load(), (now - last) as f64 / period as f64);
        }
    }

    /// Divides the seats by demand (upstream: `updateBorrowingLocked`).
    fn adjust(&self, configuration: &Configuration, periods: f64) {
        let total: u32 = configuration.levels.values().map(|state| state.bounds.nominal).sum();
        let mut left = f64::from(total);
        let mut limited: Vec<(&LevelState, f64, Claim)> = Vec::new();
        for state in configuration.levels.values() {
            let demand: Demand = state.level.demand(periods);
            let least = f64::from(state.bounds.min);
            if state.is_exempt {
                let seats = least.max(demand.high_watermark);
                left -= seats;
                state.level.set_limit(seats as u32);
                continue;
            }
            let low = least.max(demand.high_watermark.min(f64::from(state.bounds.nominal)));
            let claim = Claim { low, high: f64::from(state.bounds.max), target: demand.smoothed.max(low) };
            state.level.metrics.target.set(claim.target);
            limited.push((state, least, claim));
        }
        let least_sum: f64 = limited.iter().map(|(_, least, _)| least).sum();
        let low_sum: f64 = limited.iter().map(|(_, _, claim)| claim.low).sum();
        let (seats, fraction): (Vec<f64>, f64) = if left <= least_sum {
            (limited.iter().map(|(_, least, _)| *least).collect(), 0.0)
        } else if left <= low_sum {
            let part = (left - least_sum) / (low_sum - least_sum);
            (limited.iter().map(|(_, least, claim)| least + (claim.low - least) * part).collect(), 0.0)
        } else {
            let claims: Vec<Claim> = limited.iter().map(|(_, _, claim)| *claim).collect();
            divide(f64::from(total), &claims)
        };
        self.metrics.fair_fraction.set(fraction);
        for ((state, ..), seats) in limited.iter().zip(seats) {
            state.level.set_limit(seats.round() as u32);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bootstrap;
    use crate::level::Seat;
    use crate::requests::Asker;
    use apimachinery::UserInfo;
    use expect_test::expect;
    use serde_json::json;

    const LONG: Duration = Duration::from_secs(15);

    fn read<T: serde::de::DeserializeOwned>(defaults: Vec<bootstrap::Default>) -> Vec<T> {
        let read = |default: bootstrap::Default| serde_json::from_value(default.object).expect("readable");
        defaults.into_iter().map(read).collect()
    }

    fn control(total: u32) -> (FlowControl, Metrics) {
        let metrics = Metrics::default();
        let control = FlowControl::new(total, &metrics, &Scope::root());
        (control, metrics)
    }

    fn request(control: &FlowControl, user: &UserInfo, verb: &str, work: Work) -> Request {
        let asked = Attributes { verb, resource: "pods", namespace: "a", name: "x", ..Attributes::on_resource(user) };
        control.classify(&asked, work).expect("catch-all at least")
    }

    async fn seat(control: &FlowControl, user: &UserInfo) -> Result<Seat, Refused> {
        request(control, user, "get", Work::Small).seat(LONG).await
    }

    #[test]
    fn the_defaults_share_the_server() {
        let (control, _) = control(600);
        let conditions = control.configure(read(bootstrap::priority_levels()), read(bootstrap::flow_schemas()));
        assert!(conditions.iter().all(|condition| condition.status == "False"), "{conditions:?}");
        let configuration = control.configuration.load();
        let lines = configuration.levels.iter().map(|(name, state)| {
            let Bounds { nominal, min, max } = state.bounds;
            format!("{name}: {nominal} {min} {max}, {} a request", state.level.max_seats())
        });
        use crate::concurrency::Bounds;
        expect![[r#"
            catch-all: 13 13 613, 0 a request
            exempt: 0 0 600, 0 a request
            global-default: 49 24 649, 8 a request
            leader-election: 25 25 625, 4 a request
            node-high: 98 73 698, 15 a request
            system: 74 50 674, 12 a request
            workload-high: 98 49 698, 15 a request
            workload-low: 245 24 845, 37 a request"#]]
        .assert_eq(&lines.collect::<Vec<_>>().join("\n"));
        let order: Vec<&str> = configuration.flows.iter().map(|flow| flow.schema.metadata.name.as_str()).collect();
        assert_eq!((order[0], order[1], order[order.len() - 1]), ("exempt", "probes", "catch-all"));
    }

    #[test]
    fn a_schema_without_its_level_dangles() {
        let (control, _) = control(600);
        let mut levels: Vec<PriorityLevelConfiguration> = read(bootstrap::priority_levels());
        levels.retain(|level| level.metadata.name != "system");
        let conditions = control.configure(levels, read(bootstrap::flow_schemas()));
        let dangling: Vec<&Condition> = conditions.iter().filter(|condition| condition.status == "True").collect();
        expect![[r#"
            [
                Condition {
                    schema: "system-nodes",
                    status: "True",
                    reason: "NotFound",
                    message: "This FlowSchema references the PriorityLevelConfiguration object named \"system\" but there is no such object",
                },
            ]
        "#]]
        .assert_debug_eq(&dangling);
        let node = UserInfo::new("system:node:a", ["system:nodes"]);
        let served = request(&control, &node, "get", Work::Small);
        assert_eq!(served.flow.schema.metadata.name, "global-default");
    }

    #[tokio::test]
    async fn the_catch_all_refuses_and_the_exempt_never_wait() {
        let (control, metrics) = control(2);
        let (person, root) = (UserInfo::new("jo", ["dev"]), UserInfo::new("root", ["system:masters"]));
        let held = (seat(&control, &person).await.expect("free"), seat(&control, &person).await.expect("free"));
        assert_eq!(seat(&control, &person).await.expect_err("full").retry_after_s, 1);
        for _ in 0..10 {
            seat(&control, &root).await.expect("exempt");
        }
        drop(held);
        seat(&control, &person).await.expect("given back");
        let text = metrics.encode();
        let rejected = "apiserver_flowcontrol_rejected_requests_total{priority_level=\"catch-all\",flow_schema=\"catch-all\",reason=\"concurrency-limit\"} 1";
        assert!(text.contains(rejected), "{text}");
        let executing =
            "apiserver_flowcontrol_current_executing_seats{priority_level=\"catch-all\",flow_schema=\"catch-all\"} 0";
        assert!(text.contains(executing), "{text}");
        // Without queues there is no virtual time to tell of.
        assert!(!text.contains("apiserver_flowcontrol_dispatch_r{"), "{text}");
        queued(&control);
        seat(&control, &person).await.expect("free");
        let text = metrics.encode();
        for line in [
            // How far it is: as far as the request took time.
            "current_r{priority_level=\"narrow\"} ",
            "dispatch_r{priority_level=\"narrow\"} 0",
            "latest_s{priority_level=\"narrow\"} 0",
            "next_s_bounds{priority_level=\"narrow\",bound=\"min\"} 0",
            "next_discounted_s_bounds{priority_level=\"narrow\",bound=\"max\"} 0",
        ] {
            assert!(text.contains(&format!("apiserver_flowcontrol_{line}")), "{line}\n{text}");
        }
        let reads = "read_vs_write_current_requests_bucket{le=\"1.0\",phase=\"executing\",request_kind=\"readOnly\"}";
        assert!(text.contains(reads), "{text}");
    }

    /// A level of one seat with queues for everybody.
    fn queued(control: &FlowControl) {
        let level = json!({
            "metadata": { "name": "narrow" },
            "spec": { "type": "Limited", "limited": {
                "nominalConcurrencyShares": 1000, "borrowingLimitPercent": 0,
                "limitResponse": { "type": "Queue", "queuing": { "queues": 4, "handSize": 1, "queueLengthLimit": 1 } },
            } },
        });
        let schema = json!({
            "metadata": { "name": "all" },
            "spec": { "priorityLevelConfiguration": { "name": "narrow" }, "matchingPrecedence": 50, "rules": [{
                "subjects": [{ "kind": "Group", "group": { "name": "*" } }],
                "resourceRules": [{ "verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"] }],
            }] },
        });
        let read = |value| serde_json::from_value(value).expect("readable");
        control.configure(vec![read(level)], vec![serde_json::from_value(schema).expect("readable")]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_waits_its_turn_and_not_for_ever() {
        let (control, _) = control(1);
        queued(&control);
        let person = UserInfo::new("jo", ["dev"]);
        let held = seat(&control, &person).await.expect("free");
        let mut waiting = Box::pin(seat(&control, &person));
        assert!(futures_poll(&mut waiting).is_none(), "it waits");
        assert!(seat(&control, &person).await.is_err(), "the queue is full");
        drop(held);
        let held = waiting.await.expect("its turn");
        // Time passes by itself where nothing else happens.
        assert!(seat(&control, &person).await.is_err(), "it waited too long");
        // A client that goes away leaves the queue, even when its turn has just come.
        let mut gone = Box::pin(seat(&control, &person));
        assert!(futures_poll(&mut gone).is_none());
        drop(held);
        drop(gone);
        seat(&control, &person).await.expect("free again");
    }

    /// Polls once.
    fn futures_poll<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        match std::pin::Pin::new(future).poll(&mut cx) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        }
    }

    #[derive(Debug)]
    struct Jo(UserInfo);

    impl Asker for Jo {
        fn attributes(&self) -> Attributes<'_> {
            let (version, resource, namespace) = ("v1", "pods", "a");
            Attributes { verb: "get", version, resource, namespace, path: "/x", ..Attributes::by(&self.0) }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn requests_are_seen_while_they_are_there() {
        let (control, _) = control(1);
        queued(&control);
        let person = UserInfo::new("jo", ["dev"]);
        let seat = || request(&control, &person, "get", Work::Small).by(Arc::new(Jo(person.clone()))).seat(LONG);
        let held = seat().await.expect("free");
        let mut waiting = Box::pin(seat());
        assert!(futures_poll(&mut waiting).is_none());
        let rows = |details: bool| {
            let table = control.dump("dump_requests", details).expect("known");
            let rows = table.lines().skip(1).map(|line| {
                let cells: Vec<&str> = line.split(',').map(str::trim).collect();
                let (queued, started) = (cells[2] != "-1", cells[9] != "0001-01-01T00:00:00Z");
                format!("{} {} {queued} {} {started} {}", cells[0], cells[1], cells[3], cells[10..].join(" "))
            });
            rows.map(|row| row.trim_end().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(rows(false), ["narrow all true 0 false", "narrow all true -1 true"]);
        assert_eq!(rows(true)[1], "narrow all true -1 true jo get /x a  v1 pods");
        drop((held, waiting));
        assert!(rows(true).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn seats_that_linger_come_back_by_themselves() {
        let (control, _) = control(1);
        queued(&control);
        let person = UserInfo::new("jo", ["dev"]);
        let asked = Attributes { verb: "watch", resource: "pods", ..Attributes::on_resource(&person) };
        let _watches: Vec<_> = (0..20).map(|_| control.watches().register(&asked)).collect();
        drop(request(&control, &person, "update", Work::Write).seat(LONG).await.expect("free"));
        seat(&control, &person).await.expect("after the watchers were served");
    }

    #[tokio::test(start_paused = true)]
    async fn a_busy_level_borrows_from_idle_ones() {
        let (control, _) = control(100);
        control.configure(read(bootstrap::priority_levels()), read(bootstrap::flow_schemas()));
        let person = UserInfo::new("jo", ["dev"]);
        let limit =
            |control: &FlowControl| control.configuration.load().levels["global-default"].level.metrics.current.get();
        let before = limit(&control);
        let mut held = Vec::new();
        for _ in 0..before {
            held.push(seat(&control, &person).await.expect("free"));
        }
        tokio::time::advance(ADJUSTMENT_PERIOD).await;
        let mut more = Box::pin(seat(&control, &person));
        let at_once = futures_poll(&mut more);
        assert!(limit(&control) > before, "{before} -> {}", limit(&control));
        let borrowed = match at_once {
            Some(answer) => answer,
            None => more.await,
        };
        borrowed.expect("a borrowed seat");
    }

    #[tokio::test(start_paused = true)]
    async fn a_level_without_an_object_goes_when_its_last_request_has() {
        let (control, _) = control(600);
        let levels = || read::<PriorityLevelConfiguration>(bootstrap::priority_levels());
        let schemas = || read::<FlowSchema>(bootstrap::flow_schemas());
        control.configure(levels(), schemas());
        let user = UserInfo::new("ann", ["system:authenticated"]);
        let held = seat(&control, &user).await.expect("a seat");
        let without = || levels().into_iter().filter(|level| level.metadata.name != "global-default").collect();
        control.configure(without(), schemas());
        let row = |control: &FlowControl| {
            let text = control.dump("dump_priority_levels", false).expect("a table");
            let line = text.lines().find(|line| line.starts_with("global-default")).map(str::to_owned);
            line.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        };
        assert_eq!(row(&control).as_deref(), Some("global-default, 0, false, true, 0, 1, 1, 0, 0, 0"));
        drop(held);
        tokio::time::advance(ADJUSTMENT_PERIOD * 2).await;
        drop(seat(&control, &user).await.expect("a seat elsewhere"));
        assert_eq!(row(&control), None);
        assert!(control.dump("dump_queues", false).is_some_and(|text| text.starts_with("PriorityLevelName, Index,")));
        assert_eq!(control.dump("nonsense", false), None);
    }
}
