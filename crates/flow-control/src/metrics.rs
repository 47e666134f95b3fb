//! What flow control counts, under upstream's names (upstream: flowcontrol/metrics/metrics.go).
//!
//! A request touches handles that were found when its schema was read, never a table of labels.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use component_base::metrics::{Gauge, Metrics};
use prometheus_client::registry::Metric;

use crate::level::Clock;

mod flows;
mod levels;
mod progress;
mod ratios;
mod read_write;

pub(crate) use flows::FlowMetrics;
pub(crate) use levels::LevelMetrics;
pub(crate) use read_write::{Phase, ReadWrite};

/// A gauge with a fraction.
type Fraction = Gauge<f64, AtomicU64>;

fn name(name: &str) -> String {
    format!("apiserver_flowcontrol_{name}")
}

/// A metric, or a family of them, under upstream's name.
fn family<M: Metric + Clone + Default>(metrics: &Metrics, short: &str, help: &str) -> M {
    metrics.register(&name(short), help, M::default())
}

/// All of them.
#[derive(Debug)]
pub(crate) struct FlowControlMetrics {
    flows: flows::Flows,
    levels: levels::Levels,
    pub(crate) read_write: Arc<ReadWrite>,
    pub(crate) fair_fraction: Fraction,
}

impl FlowControlMetrics {
    pub(crate) fn register(metrics: &Metrics, clock: Clock, total: u32) -> Self {
        let help = "Fair fraction of server's concurrency to allocate to each priority level that can use it";
        let read_write = Arc::new(ReadWrite::new(clock));
        metrics.collect(read_write.clone());
        Self {
            flows: flows::Flows::register(metrics),
            levels: levels::Levels::register(metrics, clock, total, read_write.clone()),
            read_write,
            fair_fraction: family(metrics, "seat_fair_frac", help),
        }
    }

    /// The handles of a level.
    pub(crate) fn of_level(&self, level: &str) -> LevelMetrics {
        self.levels.of(level)
    }

    /// Forgets a level that is gone.
    pub(crate) fn forget_level(&self, level: &str) {
        self.levels.forget(level);
    }

    /// The handles of a schema's requests on a level.
    pub(crate) fn of_flow(&self, level: &str, schema: &str) -> FlowMetrics {
        self.flows.of(level, schema)
    }
}
