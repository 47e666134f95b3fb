//! What is counted of a level: its seats and the demand for them.

use std::sync::Arc;

use component_base::metrics::{Family, Gauge, Metrics};
use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;

use super::ratios::{LevelRatios, Ratios};
use super::read_write::ReadWrite;
use super::{Fraction, family};
use crate::level::Clock;
use crate::queue_set::Usage;

/// One level.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfLevel {
    priority_level: String,
}

/// The families of levels.
#[derive(Debug)]
pub(super) struct Levels {
    nominal: Family<OfLevel, Gauge>,
    lower: Family<OfLevel, Gauge>,
    upper: Family<OfLevel, Gauge>,
    current: Family<OfLevel, Gauge>,
    high_watermark: Family<OfLevel, Fraction>,
    average: Family<OfLevel, Fraction>,
    deviation: Family<OfLevel, Fraction>,
    smoothed: Family<OfLevel, Fraction>,
    target: Family<OfLevel, Fraction>,
    ratios: Arc<Ratios>,
    read_write: Arc<ReadWrite>,
}

impl Levels {
    pub(super) fn register(metrics: &Metrics, clock: Clock, total: u32, read_write: Arc<ReadWrite>) -> Self {
        let ratios = Arc::new(Ratios::new(clock, total));
        metrics.collect(ratios.clone());
        Self {
            ratios,
            read_write,
            nominal: family(
                metrics,
                "nominal_limit_seats",
                "Nominal number of execution seats configured for each priority level",
            ),
            lower: family(
                metrics,
                "lower_limit_seats",
                "Configured lower bound on number of execution seats available to each priority level",
            ),
            upper: family(
                metrics,
                "upper_limit_seats",
                "Configured upper bound on number of execution seats available to each priority level",
            ),
            current: family(
                metrics,
                "current_limit_seats",
                "current derived number of execution seats available to each priority level",
            ),
            high_watermark: family(
                metrics,
                "demand_seats_high_watermark",
                "High watermark, over last adjustment period, of demand_seats",
            ),
            average: family(
                metrics,
                "demand_seats_average",
                "Time-weighted average, over last adjustment period, of demand_seats",
            ),
            deviation: family(
                metrics,
                "demand_seats_stdev",
                "Time-weighted standard deviation, over last adjustment period, of demand_seats",
            ),
            smoothed: family(metrics, "demand_seats_smoothed", "Smoothed seat demands"),
            target: family(metrics, "target_seats", "Seat allocation targets"),
        }
    }

    /// The handles of a level.
    pub(super) fn of(&self, level: &str) -> LevelMetrics {
        let labels = OfLevel { priority_level: level.to_owned() };
        LevelMetrics {
            nominal: self.nominal.get_or_create_owned(&labels),
            lower: self.lower.get_or_create_owned(&labels),
            upper: self.upper.get_or_create_owned(&labels),
            current: self.current.get_or_create_owned(&labels),
            high_watermark: self.high_watermark.get_or_create_owned(&labels),
            average: self.average.get_or_create_owned(&labels),
            deviation: self.deviation.get_or_create_owned(&labels),
            smoothed: self.smoothed.get_or_create_owned(&labels),
            target: self.target.get_or_create_owned(&labels),
            ratios: self.ratios.of(level),
            read_write: self.read_write.clone(),
        }
    }

    /// Forgets a level that is gone.
    pub(super) fn forget(&self, level: &str) {
        let labels = OfLevel { priority_level: level.to_owned() };
        for family in [&self.nominal, &self.lower, &self.upper, &self.current] {
            family.remove(&labels);
        }
        self.ratios.forget(level);
        for family in [&self.high_watermark, &self.average, &self.deviation, &self.smoothed, &self.target] {
            family.remove(&labels);
        }
    }
}

/// A level's handles.
#[derive(Clone, Debug)]
pub(crate) struct LevelMetrics {
    pub(crate) nominal: Gauge,
    pub(crate) lower: Gauge,
    pub(crate) upper: Gauge,
    pub(crate) current: Gauge,
    pub(crate) high_watermark: Fraction,
    pub(crate) average: Fraction,
    pub(crate) deviation: Fraction,
    pub(crate) smoothed: Fraction,
    pub(crate) target: Fraction,
    /// The requests of all levels.
    pub(crate) read_write: Arc<ReadWrite>,
    ratios: Arc<Mutex<LevelRatios>>,
}

impl LevelMetrics {
    /// From now on so much of the level is used.
    pub(crate) fn note(&self, usage: Usage) {
        self.ratios.lock().note(usage);
    }
}
