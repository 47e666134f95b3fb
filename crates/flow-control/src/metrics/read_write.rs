//! Reads and writes that wait or run, as parts of how many may: histograms with an observation every nanosecond
//! (upstream: flowcontrol/metrics/metrics.go, `readWriteConcurrencyGaugeVec`).
//!
//! The waiting ones are told as a number as well (upstream: endpoints/metrics/metrics.go, `currentInqueueRequests`):
//! that of now, as that of the requests in flight is.
//!
//! One lock for all levels, held for an addition: a request that need not wait takes it twice.

use std::fmt;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

use super::name;
use super::ratios::Timing;
use crate::level::Clock;

const BOUNDS: [f64; 15] = [0.0, 0.001, 0.01, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0];

const QUEUED: &str = "apiserver_current_inqueue_requests";

const QUEUED_HELP: &str = "Maximal number of queued requests in this apiserver per request kind in last second.";

const HELP: &str = "Observations, at the end of every nanosecond, of the number of requests (as a fraction of the relevant limit) waiting or in regular stage of execution";

/// What a request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It is in a queue.
    Waiting,
    /// It has its seats.
    Executing,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Labels {
    phase: &'static str,
    request_kind: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Kind {
    request_kind: &'static str,
}

const KINDS: [&str; 2] = ["readOnly", "mutating"];

#[derive(Debug)]
struct Series {
    last: Duration,
    count: f64,
    limit: f64,
    timing: Timing,
}

impl Series {
    fn new(now: Duration) -> Self {
        Self { last: now, count: 0.0, limit: 1.0, timing: Timing::new(&BOUNDS) }
    }

    fn advance(&mut self, now: Duration) {
        let nanos = u64::try_from(now.saturating_sub(self.last).as_nanos()).unwrap_or(u64::MAX);
        self.last = self.last.max(now);
        self.timing.advance(nanos);
    }

    fn change(&mut self, now: Duration, count: f64, limit: f64) {
        self.advance(now);
        (self.count, self.limit) = (count, limit.max(1.0));
        self.timing.ratio = self.count / self.limit;
    }
}

/// See the module. The series are those of waiting reads and writes, and of executing ones.
#[derive(Debug)]
pub(crate) struct ReadWrite {
    clock: Clock,
    series: Mutex<[Series; 4]>,
}

impl ReadWrite {
    pub(super) fn new(clock: Clock) -> Self {
        let now = clock.now();
        Self { clock, series: Mutex::new([(); 4].map(|()| Series::new(now))) }
    }

    /// From now on so many requests may wait and run.
    pub(crate) fn limit(&self, waiting: f64, executing: f64) {
        let (now, mut series) = (self.clock.now(), self.series.lock());
        for (one, limit) in series.iter_mut().zip([waiting, waiting, executing, executing]) {
            one.change(now, one.count, limit);
        }
    }

    /// One request more does this.
    pub(crate) fn begin(&self, phase: Phase, is_read: bool) {
        self.add(phase, is_read, 1.0);
    }

    /// One less.
    pub(crate) fn end(&self, phase: Phase, is_read: bool) {
        self.add(phase, is_read, -1.0);
    }

    fn add(&self, phase: Phase, is_read: bool, delta: f64) {
        let index = if phase == Phase::Waiting { 0 } else { 2 } + usize::from(!is_read);
        let now = self.clock.now();
        let one = &mut self.series.lock()[index];
        one.change(now, one.count + delta, one.limit);
    }
}

impl Collector for ReadWrite {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let name = name("read_vs_write_current_requests");
        let mut metric = encoder.encode_descriptor(&name, HELP, None, MetricType::Histogram)?;
        let (now, mut series) = (self.clock.now(), self.series.lock());
        let kinds = ["waiting", "executing"]
            .into_iter()
            .flat_map(|phase| KINDS.map(|request_kind| Labels { phase, request_kind }));
        for (one, labels) in series.iter_mut().zip(kinds) {
            one.advance(now);
            one.timing.encode(metric.encode_family(&labels)?)?;
        }
        let mut metric = encoder.encode_descriptor(QUEUED, QUEUED_HELP, None, MetricType::Gauge)?;
        for (one, request_kind) in series.iter().zip(KINDS) {
            ConstGauge::new(one.count).encode(metric.encode_family(&Kind { request_kind })?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use component_base::metrics::Metrics;
    use std::sync::Arc;

    #[tokio::test(start_paused = true)]
    async fn reads_and_writes_are_timed_apart() {
        let (metrics, requests) = (Metrics::default(), Arc::new(ReadWrite::new(Clock::new())));
        metrics.collect(requests.clone());
        requests.limit(10.0, 4.0);
        requests.begin(Phase::Executing, true);
        requests.begin(Phase::Waiting, false);
        let text = metrics.encode();
        assert!(text.contains("apiserver_current_inqueue_requests{request_kind=\"readOnly\"} 0"), "{text}");
        assert!(text.contains("apiserver_current_inqueue_requests{request_kind=\"mutating\"} 1"), "{text}");
        tokio::time::advance(Duration::from_nanos(100)).await;
        requests.end(Phase::Executing, true);
        requests.end(Phase::Waiting, false);
        tokio::time::advance(Duration::from_nanos(50)).await;
        let text = metrics.encode();
        assert!(text.contains("apiserver_current_inqueue_requests{request_kind=\"mutating\"} 0"), "{text}");
        for (phase, kind, sum) in [
            ("executing", "readOnly", "25.0"),
            ("executing", "mutating", "0.0"),
            ("waiting", "readOnly", "0.0"),
            ("waiting", "mutating", "10.0"),
        ] {
            let of = format!("{{phase=\"{phase}\",request_kind=\"{kind}\"}}");
            let line = format!("apiserver_flowcontrol_read_vs_write_current_requests_sum{of} {sum}");
            assert!(text.lines().any(|known| known == line), "{line}\n{text}");
        }
    }
}
