//! How many seats a level could have used: the time-weighted average, its deviation and the highest value
//! (upstream: fairqueuing/integrator.go, `seatDemandStats`).

use std::time::Duration;

/// Follows a number through time.
#[derive(Clone, Debug)]
pub(crate) struct Integrator {
    last: Duration,
    value: f64,
    seconds: f64,
    sum: f64,
    squares: f64,
    max: f64,
}

/// What an [`Integrator`] saw since it was last asked.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Seen {
    pub(crate) seconds: f64,
    pub(crate) average: f64,
    pub(crate) deviation: f64,
    pub(crate) max: f64,
}

impl Integrator {
    pub(crate) fn new(now: Duration) -> Self {
        Self { last: now, value: 0.0, seconds: 0.0, sum: 0.0, squares: 0.0, max: 0.0 }
    }

    pub(crate) fn set(&mut self, now: Duration, value: f64) {
        self.advance(now);
        self.value = value;
        self.max = self.max.max(value);
    }

    fn advance(&mut self, now: Duration) {
        let seconds = now.saturating_sub(self.last).as_secs_f64();
        self.last = now;
        self.seconds += seconds;
        self.sum += self.value * seconds;
        self.squares += self.value * self.value * seconds;
    }

    /// What was seen, and starts anew.
    pub(crate) fn reset(&mut self, now: Duration) -> Seen {
        self.advance(now);
        let mut seen = Seen { max: self.max, ..Seen::default() };
        if self.seconds > 0.0 {
            seen.seconds = self.seconds;
            seen.average = self.sum / self.seconds;
            seen.deviation = (self.squares / self.seconds - seen.average * seen.average).max(0.0).sqrt();
        }
        *self = Self { value: self.value, max: self.value, ..Self::new(now) };
        seen
    }
}

/// A level's demand over the adjustment periods.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Demand {
    pub(crate) high_watermark: f64,
    pub(crate) average: f64,
    pub(crate) deviation: f64,
    pub(crate) smoothed: f64,
}

/// What of the smoothed demand outlives a period.
const SMOOTHING: f64 = 0.977;

impl Demand {
    /// Takes in what was seen over `periods` adjustment periods.
    pub(crate) fn update(&mut self, seen: Seen, periods: f64) {
        self.high_watermark = seen.max.round();
        if seen.seconds <= 0.0 {
            return;
        }
        self.average = seen.average;
        self.deviation = seen.deviation;
        let envelope = seen.average + seen.deviation;
        let kept = SMOOTHING.powf(periods.max(1.0));
        self.smoothed = envelope.max(kept * self.smoothed + (1.0 - kept) * envelope);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn averages_weigh_by_time() {
        let at = Duration::from_secs;
        let mut integrator = Integrator::new(at(0));
        integrator.set(at(0), 4.0);
        integrator.set(at(1), 0.0);
        let seen = integrator.reset(at(4));
        assert_eq!((seen.seconds, seen.average, seen.max), (4.0, 1.0, 4.0));
        assert!((seen.deviation - 3.0_f64.sqrt()).abs() < 1e-9, "{seen:?}");
        assert_eq!(integrator.reset(at(5)).max, 0.0);
    }

    #[test]
    fn demand_rises_at_once_and_falls_slowly() {
        let mut demand = Demand::default();
        demand.update(Seen { seconds: 10.0, average: 9.0, deviation: 1.0, max: 12.4 }, 1.0);
        assert_eq!((demand.high_watermark, demand.smoothed), (12.0, 10.0));
        demand.update(Seen { seconds: 10.0, average: 0.0, deviation: 0.0, max: 0.0 }, 1.0);
        assert!((demand.smoothed - 9.77).abs() < 1e-9);
    }
}
