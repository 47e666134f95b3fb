//! How much work a request is, in seats and time (upstream: flowcontrol/request/{list,mutating}_work_estimator.go).

use std::time::Duration;

/// How long the first part of a request is taken to last.
pub(crate) const SERVICE_TIME: Duration = Duration::from_millis(3);

/// The most seats of a list (with `SizeBasedListCostEstimate`).
const MAX_LIST_SEATS: u32 = 100;
/// The most seats of a write.
const MAX_WRITE_SEATS: u32 = 10;
/// A seat stands for so many bytes of a list.
const BYTES_PER_SEAT: u64 = 100_000;
/// Lists are streamed from memory: more than this is never held for one at a time.
const MAX_BYTES_AT_ONCE: u64 = 1_000_000;
/// A seat stands for so many watchers of what is written.
const WATCHES_PER_SEAT: u32 = 10;
/// And is taken for so long after the write.
const EVENT_TIME: Duration = Duration::from_millis(5);

/// The work of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkEstimate {
    /// Seats while it is served.
    pub initial_seats: u32,
    /// Seats after it was answered, while watchers are served.
    pub final_seats: u32,
    /// How long those are held.
    pub additional_latency: Duration,
}

impl Default for WorkEstimate {
    fn default() -> Self {
        Self::seats(1)
    }
}

impl WorkEstimate {
    /// So many seats while it is served.
    pub fn seats(seats: u32) -> Self {
        Self { initial_seats: seats, final_seats: 0, additional_latency: Duration::ZERO }
    }

    /// A list, or the first events of a watch: `objects` of about `bytes` all together, of which at most `limit` are
    /// sent. `max_seats` is what the level allows one request; 0 when it says nothing.
    pub fn list(objects: u64, bytes: u64, limit: Option<u64>, max_seats: u32) -> Self {
        let sent = limit.map_or(bytes, |limit| match objects {
            0 => 0,
            objects => bytes / objects * limit.min(objects),
        });
        let seats = sent.min(MAX_BYTES_AT_ONCE).div_ceil(BYTES_PER_SEAT) as u32;
        Self::seats(seats.min(cap(max_seats, MAX_LIST_SEATS)).max(1))
    }

    /// A write that `watchers` will hear of.
    pub fn write(watchers: u32, max_seats: u32) -> Self {
        if watchers < WATCHES_PER_SEAT {
            return Self::seats(1);
        }
        let wanted = watchers.div_ceil(WATCHES_PER_SEAT);
        let final_seats = wanted.min(cap(max_seats, MAX_WRITE_SEATS));
        // The same work, narrower and longer.
        let additional_latency = EVENT_TIME * wanted / final_seats;
        Self { initial_seats: 1, final_seats, additional_latency }
    }

    /// The most seats it holds at a time.
    pub fn max_seats(&self) -> u32 {
        self.initial_seats.max(self.final_seats)
    }

    /// Seats times seconds.
    pub(crate) fn total(&self) -> f64 {
        f64::from(self.initial_seats) * SERVICE_TIME.as_secs_f64()
            + f64::from(self.final_seats) * self.additional_latency.as_secs_f64()
    }

    /// The same work in at most `limit` seats.
    pub(crate) fn narrowed(mut self, limit: u32) -> Self {
        if self.final_seats > limit && limit > 0 {
            self.additional_latency = self.additional_latency * self.final_seats / limit;
            self.final_seats = limit;
        }
        self
    }
}

fn cap(of_level: u32, of_kind: u32) -> u32 {
    if of_level == 0 { of_kind } else { of_level.min(of_kind) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_take_seats_by_size() {
        for (objects, bytes, limit, max, expected) in [
            (0, 0, None, 0, 1),
            (10, 5_000, None, 0, 1),
            (100, 250_000, None, 0, 3),
            (100_000, 260_000_000, None, 0, 10),
            (100_000, 260_000_000, Some(500), 0, 10),
            (100_000, 260_000_000, Some(50), 0, 2),
            (100_000, 260_000_000, None, 4, 4),
        ] {
            let estimate = WorkEstimate::list(objects, bytes, limit, max);
            assert_eq!(estimate, WorkEstimate::seats(expected), "{objects} {bytes} {limit:?} {max}");
        }
    }

    #[test]
    fn writes_cost_what_their_watchers_cost() {
        for (watchers, max, seats, millis) in
            [(0, 0, 0, 0), (9, 0, 0, 0), (10, 0, 1, 5), (95, 0, 10, 5), (200, 0, 10, 10), (200, 5, 5, 20)]
        {
            let estimate = WorkEstimate::write(watchers, max);
            assert_eq!((estimate.initial_seats, estimate.final_seats), (1, seats), "{watchers} {max}");
            assert_eq!(estimate.additional_latency, Duration::from_millis(millis), "{watchers} {max}");
        }
        let narrow = WorkEstimate::write(200, 0).narrowed(2);
        assert_eq!((narrow.final_seats, narrow.additional_latency), (2, Duration::from_millis(50)));
    }
}
