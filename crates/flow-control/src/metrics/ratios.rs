//! How much of its limits a level used, and for how long: histograms with an observation every nanosecond
//! (upstream: flowcontrol/metrics/timing_ratio_histogram.go, component-base/metrics/prometheusextension).
//!
//! A change of a level costs an addition a histogram: the time since the last change belongs to the bucket of the ratio
//! that has held since then. The lock is taken where the level's own is held, so that nobody but who reads the metrics
//! ever waits for it: a request pays for it twice, some fifty nanoseconds each.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use super::{name, progress};
use crate::level::Clock;
use crate::queue_set::Usage;

/// A ratio and the nanoseconds that it spent in each bucket.
#[derive(Clone, Debug)]
pub(super) struct Timing {
    bounds: &'static [f64],
    nanos: Vec<u64>,
    sum: f64,
    pub(super) ratio: f64,
}

impl Timing {
    pub(super) fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, nanos: vec![0; bounds.len() + 1], sum: 0.0, ratio: 0.0 }
    }

    pub(super) fn advance(&mut self, nanos: u64) {
        let bucket = self.bounds.iter().position(|bound| self.ratio <= *bound).unwrap_or(self.bounds.len());
        self.nanos[bucket] += nanos;
        self.sum += self.ratio * nanos as f64;
    }

    pub(super) fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(self.nanos.iter().copied()).collect();
        encoder.encode_histogram::<NoLabelSet>(self.sum, self.nanos.iter().sum(), &buckets, None)
    }
}

const DEMAND: [f64; 12] = [0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.7, 2.0, 2.8, 4.0, 6.0];
const SEATS: [f64; 13] = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0];
const REQUESTS: [f64; 10] = [0.0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.25, 0.5, 0.75, 1.0];

/// The ratios of one level.
#[derive(Debug)]
pub(crate) struct LevelRatios {
    last: Duration,
    /// The seats of a level that has no limit.
    unlimited: f64,
    demand: Timing,
    seats: Timing,
    waiting: Timing,
    executing: Timing,
    /// What was last noted.
    pub(super) usage: Usage,
}

impl LevelRatios {
    fn new(now: Duration, unlimited: f64) -> Self {
        let (demand, seats, requests) = (Timing::new(&DEMAND), Timing::new(&SEATS), Timing::new(&REQUESTS));
        Self {
            last: now,
            unlimited,
            demand,
            seats,
            waiting: requests.clone(),
            executing: requests,
            usage: Usage::default(),
        }
    }

    fn advance(&mut self, now: Duration) {
        let nanos = u64::try_from(now.saturating_sub(self.last).as_nanos()).unwrap_or(u64::MAX);
        self.last = self.last.max(now);
        for timing in [&mut self.demand, &mut self.seats, &mut self.waiting, &mut self.executing] {
            timing.advance(nanos);
        }
    }

    /// From now on so much is used.
    pub(crate) fn note(&mut self, usage: Usage) {
        self.advance(usage.at);
        let seats = if usage.limit > 0 { f64::from(usage.limit) } else { self.unlimited };
        let of = |count: f64, limit: f64| count / limit.max(1.0);
        self.demand.ratio = of(f64::from(usage.seats_in_use) + f64::from(usage.seats_waiting), seats);
        self.seats.ratio = of(f64::from(usage.seats_in_use), seats);
        self.waiting.ratio = of(usage.waiting as f64, usage.queue_lengths as f64);
        self.executing.ratio = of(usage.executing as f64, seats);
        self.usage = usage;
    }
}

/// The ratios of all levels.
#[derive(Debug)]
pub(crate) struct Ratios {
    clock: Clock,
    unlimited: f64,
    levels: Mutex<BTreeMap<String, Arc<Mutex<LevelRatios>>>>,
}

impl Ratios {
    pub(super) fn new(clock: Clock, total: u32) -> Self {
        Self { clock, unlimited: (f64::from(total) / 10.0).round().max(1.0), levels: Mutex::default() }
    }

    /// Those of a level.
    pub(super) fn of(&self, level: &str) -> Arc<Mutex<LevelRatios>> {
        let new = || Arc::new(Mutex::new(LevelRatios::new(self.clock.now(), self.unlimited)));
        self.levels.lock().entry(level.to_owned()).or_insert_with(new).clone()
    }

    /// Forgets a level that is gone.
    pub(super) fn forget(&self, level: &str) {
        self.levels.lock().remove(level);
    }
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfLevel {
    priority_level: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfPhase {
    priority_level: String,
    phase: &'static str,
}

const DEMAND_HELP: &str = "Observations, at the end of every nanosecond, of (the number of seats each priority level could use) / (nominal number of seats for that level)";
const SEATS_HELP: &str = "Observations, at the end of every nanosecond, of utilization of seats for any stage of execution (but only initial stage for WATCHes)";
const REQUESTS_HELP: &str = "Observations, at the end of every nanosecond, of number of requests (as a fraction of the relevant limit) waiting or in any stage of execution (but only initial stage for WATCHes)";

impl Collector for Ratios {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let now = self.clock.now();
        let levels = self.levels.lock();
        levels.values().for_each(|ratios| ratios.lock().advance(now));
        let mut family =
            |short: &str, help: &str, write: &dyn Fn(&mut MetricEncoder<'_>, &str, &LevelRatios) -> fmt::Result| {
                let name = name(short);
                let mut metric = encoder.encode_descriptor(&name, help, None, MetricType::Histogram)?;
                levels.iter().try_for_each(|(level, ratios)| write(&mut metric, level, &ratios.lock()))
            };
        let of_phase = |level: &str, phase| OfPhase { priority_level: level.to_owned(), phase };
        family("demand_seats", DEMAND_HELP, &|metric, level, ratios| {
            ratios.demand.encode(metric.encode_family(&OfLevel { priority_level: level.to_owned() })?)
        })?;
        family("priority_level_seat_utilization", SEATS_HELP, &|metric, level, ratios| {
            ratios.seats.encode(metric.encode_family(&of_phase(level, "executing"))?)
        })?;
        family("priority_level_request_utilization", REQUESTS_HELP, &|metric, level, ratios| {
            ratios.executing.encode(metric.encode_family(&of_phase(level, "executing"))?)?;
            ratios.waiting.encode(metric.encode_family(&of_phase(level, "waiting"))?)
        })?;
        let usages = levels.iter().map(|(level, ratios)| (level.as_str(), ratios.lock().usage)).collect::<Vec<_>>();
        progress::encode(&mut encoder, &usages)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_counted_in_the_bucket_of_the_ratio() {
        let at = Duration::from_nanos;
        let mut ratios = LevelRatios::new(at(0), 1.0);
        let usage = |nanos, seats_in_use, seats_waiting, waiting, executing| Usage {
            at: at(nanos),
            seats_in_use,
            seats_waiting,
            waiting,
            executing,
            queue_lengths: 50,
            limit: 10,
            ..Usage::default()
        };
        ratios.note(usage(100, 10, 5, 5, 8));
        ratios.note(usage(300, 0, 0, 0, 0));
        ratios.advance(at(1000));
        let counted = |timing: &Timing| -> Vec<(usize, u64)> {
            timing.nanos.iter().copied().enumerate().filter(|(_, nanos)| *nanos > 0).collect()
        };
        // 1.5 is at most 1.7, 1 is 1, 0.1 is 0.1, and 0.8 at most 1.
        assert_eq!(counted(&ratios.demand), [(0, 800), (7, 200)]);
        assert_eq!(counted(&ratios.seats), [(0, 800), (12, 200)]);
        assert_eq!(counted(&ratios.waiting), [(0, 800), (5, 200)]);
        assert_eq!(counted(&ratios.executing), [(0, 800), (9, 200)]);
        assert_eq!((ratios.demand.sum, ratios.waiting.sum), (300.0, 20.0));
    }
}
