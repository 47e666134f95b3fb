//! [`NumberRange`]: which numbers of a range are taken (upstream: pkg/registry/core/service/allocator/bitmap.go).

use std::collections::BTreeSet;

/// Why a number cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// Somebody has it.
    Taken,
    /// It is not of the range.
    OutOfRange,
    /// All are taken.
    Full,
}

/// A range of numbers, some of them taken. The lower band is left to those who name their number, as long as the
/// upper one has room (KEP-3070).
#[derive(Clone, Debug)]
pub(super) struct NumberRange {
    low: u32,
    high: u32,
    band: u32,
    taken: BTreeSet<u32>,
}

impl NumberRange {
    /// The numbers from `low` to `high`; the lower band is `share` of them, 16 at least and `most` at most.
    pub(super) fn new(low: u32, high: u32, share: u32, most: u32) -> Self {
        let band = share.clamp(16, most.max(16)).min((high.saturating_sub(low)) / 2);
        Self { low, high, band, taken: BTreeSet::new() }
    }

    pub(super) fn bounds(&self) -> (u32, u32) {
        (self.low, self.high)
    }

    /// Takes a certain number.
    pub(super) fn take(&mut self, number: u32) -> Result<u32, Refused> {
        if !(self.low..=self.high).contains(&number) {
            return Err(Refused::OutOfRange);
        }
        if self.taken.insert(number) { Ok(number) } else { Err(Refused::Taken) }
    }

    /// Takes any number, from the upper band first, beginning at a random place.
    pub(super) fn take_any(&mut self) -> Result<u32, Refused> {
        let upper = self.low + self.band;
        let free =
            self.free_from(upper, self.high).or_else(|| self.free_from(self.low, upper - u32::from(self.band > 0)));
        let number = free.ok_or(Refused::Full)?;
        self.taken.insert(number);
        Ok(number)
    }

    pub(super) fn release(&mut self, number: u32) {
        self.taken.remove(&number);
    }

    fn free_from(&self, low: u32, high: u32) -> Option<u32> {
        if low > high {
            return None;
        }
        let start = rand::random_range(low..=high);
        self.gap(start, high).or_else(|| self.gap(low, start))
    }

    /// The first number of `low..=high` that nobody has: walks over taken ones only.
    fn gap(&self, low: u32, high: u32) -> Option<u32> {
        let mut candidate = low;
        for taken in self.taken.range(low..=high) {
            if *taken != candidate {
                break;
            }
            candidate += 1;
        }
        (candidate <= high).then_some(candidate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_handed_out_once() {
        let mut range = NumberRange::new(100, 149, 3, 256);
        let mut seen = BTreeSet::new();
        for round in 0..50 {
            let number = range.take_any().expect("room");
            assert!(seen.insert(number), "{number} twice in round {round}");
            assert!(round >= 34 || number >= 116, "the lower band goes last");
        }
        assert_eq!(range.take_any(), Err(Refused::Full));
        range.release(117);
        assert_eq!(range.take_any(), Ok(117));
        assert_eq!(range.take(117), Err(Refused::Taken));
        assert_eq!(range.take(99), Err(Refused::OutOfRange));
    }
}
