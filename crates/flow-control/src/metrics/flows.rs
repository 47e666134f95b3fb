//! What is counted of the requests of a schema on its level.

use component_base::metrics::{Counter, Family, Gauge, Histogram, Metrics};
use prometheus_client::encoding::EncodeLabelSet;

use super::{family, name};

/// One schema on its level.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfFlow {
    priority_level: String,
    flow_schema: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Rejection {
    priority_level: String,
    flow_schema: String,
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Wait {
    priority_level: String,
    flow_schema: String,
    execute: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Execution {
    priority_level: String,
    flow_schema: String,
    r#type: &'static str,
}

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

const DURATIONS: [f64; 13] = [0.0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0];

fn durations() -> Histogram {
    Histogram::new(DURATIONS)
}

fn lengths() -> Histogram {
    Histogram::new([0.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0])
}

fn seats() -> Histogram {
    Histogram::new([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 100.0])
}

fn watches() -> Histogram {
    Histogram::new([0.0, 1.0, 10.0, 100.0, 1000.0, 10000.0])
}

/// The families of schemas.
#[derive(Debug)]
pub(super) struct Flows {
    rejected: Family<Rejection, Counter>,
    dispatched: Family<OfFlow, Counter>,
    no_accommodation: Family<OfFlow, Counter>,
    queued_requests: Family<OfFlow, Gauge>,
    queued_seats: Family<OfFlow, Gauge>,
    executing_requests: Family<OfFlow, Gauge>,
    executing_seats: Family<OfFlow, Gauge>,
    queue_length: Histograms<OfFlow>,
    waited: Histograms<Wait>,
    executed: Histograms<Execution>,
    watch_count: Histograms<OfFlow>,
    estimated_seats: Histograms<OfFlow>,
}

impl Flows {
    pub(super) fn register(metrics: &Metrics) -> Self {
        macro_rules! histogram {
            ($name:literal, $help:literal, $buckets:ident) => {
                metrics.register(&name($name), $help, Family::new_with_constructor($buckets as fn() -> Histogram))
            };
        }
        Self {
            rejected: family(
                metrics,
                "rejected_requests",
                "Number of requests rejected by API Priority and Fairness subsystem",
            ),
            dispatched: family(
                metrics,
                "dispatched_requests",
                "Number of requests executed by API Priority and Fairness subsystem",
            ),
            no_accommodation: family(
                metrics,
                "request_dispatch_no_accommodation",
                "Number of times a dispatch attempt resulted in a non accommodation due to lack of available seats",
            ),
            queued_requests: family(
                metrics,
                "current_inqueue_requests",
                "Number of requests currently pending in queues of the API Priority and Fairness subsystem",
            ),
            queued_seats: family(
                metrics,
                "current_inqueue_seats",
                "Number of seats currently pending in queues of the API Priority and Fairness subsystem",
            ),
            executing_requests: family(
                metrics,
                "current_executing_requests",
                "Number of requests in initial (for a WATCH) or any (for a non-WATCH) execution stage in the API Priority and Fairness subsystem",
            ),
            executing_seats: family(
                metrics,
                "current_executing_seats",
                "Concurrency (number of seats) occupied by the currently executing (initial stage for a WATCH, any stage otherwise) requests in the API Priority and Fairness subsystem",
            ),
            queue_length: histogram!(
                "request_queue_length_after_enqueue",
                "Length of queue in the API Priority and Fairness subsystem, as seen by each request after it is enqueued",
                lengths
            ),
            waited: histogram!(
                "request_wait_duration_seconds",
                "Length of time a request spent waiting in its queue",
                durations
            ),
            executed: histogram!(
                "request_execution_seconds",
                "Duration of initial stage (for a WATCH) or any (for a non-WATCH) stage of request execution in the API Priority and Fairness subsystem",
                durations
            ),
            watch_count: histogram!(
                "watch_count_samples",
                "count of watchers for mutating requests in API Priority and Fairness",
                watches
            ),
            estimated_seats: histogram!(
                "work_estimated_seats",
                "Number of estimated seats (maximum of initial and final seats) associated with requests in API Priority and Fairness",
                seats
            ),
        }
    }

    /// The handles of a schema's requests on a level.
    pub(super) fn of(&self, level: &str, schema: &str) -> FlowMetrics {
        let (priority_level, flow_schema) = (level.to_owned(), schema.to_owned());
        let labels = OfFlow { priority_level, flow_schema };
        let rejected = |reason| {
            let OfFlow { priority_level, flow_schema } = labels.clone();
            self.rejected.get_or_create_owned(&Rejection { priority_level, flow_schema, reason })
        };
        let waited = |execute| {
            let OfFlow { priority_level, flow_schema } = labels.clone();
            self.waited.get_or_create_owned(&Wait { priority_level, flow_schema, execute })
        };
        let executed = |kind| {
            let OfFlow { priority_level, flow_schema } = labels.clone();
            self.executed.get_or_create_owned(&Execution { priority_level, flow_schema, r#type: kind })
        };
        FlowMetrics {
            queue_full: rejected("queue-full"),
            over_limit: rejected("concurrency-limit"),
            timed_out: rejected("time-out"),
            cancelled: rejected("cancelled"),
            dispatched: self.dispatched.get_or_create_owned(&labels),
            no_accommodation: self.no_accommodation.get_or_create_owned(&labels),
            queued_requests: self.queued_requests.get_or_create_owned(&labels),
            queued_seats: self.queued_seats.get_or_create_owned(&labels),
            executing_requests: self.executing_requests.get_or_create_owned(&labels),
            executing_seats: self.executing_seats.get_or_create_owned(&labels),
            queue_length: self.queue_length.get_or_create_owned(&labels),
            waited: waited("true"),
            waited_in_vain: waited("false"),
            executed: executed("regular"),
            initialized: executed("watch"),
            watch_count: self.watch_count.get_or_create_owned(&labels),
            estimated_seats: self.estimated_seats.get_or_create_owned(&labels),
        }
    }
}

/// A schema's handles.
#[derive(Clone, Debug)]
pub(crate) struct FlowMetrics {
    pub(crate) queue_full: Counter,
    pub(crate) over_limit: Counter,
    pub(crate) timed_out: Counter,
    pub(crate) cancelled: Counter,
    pub(crate) dispatched: Counter,
    pub(crate) no_accommodation: Counter,
    pub(crate) queued_requests: Gauge,
    pub(crate) queued_seats: Gauge,
    pub(crate) executing_requests: Gauge,
    pub(crate) executing_seats: Gauge,
    pub(crate) queue_length: Histogram,
    pub(crate) waited: Histogram,
    pub(crate) waited_in_vain: Histogram,
    pub(crate) executed: Histogram,
    pub(crate) initialized: Histogram,
    pub(crate) watch_count: Histogram,
    pub(crate) estimated_seats: Histogram,
}
