//! When a refused client should come again: the more were refused lately, the later
//! (upstream: flowcontrol/dropped_requests_tracker.go).

use std::collections::VecDeque;

/// The longest, in seconds.
const MAX: u64 = 32;

/// The refusals of one level.
#[derive(Debug)]
pub(crate) struct RetryAfter {
    /// Second and refusals in it, oldest first; the last is the present second.
    seconds: VecDeque<(u64, u64)>,
    retry_after: u64,
    /// When it last grew.
    grown: u64,
}

impl Default for RetryAfter {
    fn default() -> Self {
        Self { seconds: VecDeque::new(), retry_after: 1, grown: 0 }
    }
}

impl RetryAfter {
    /// Notes a refusal at a time in seconds; answers after how many seconds the client may come again.
    pub(crate) fn refused(&mut self, now: u64) -> u64 {
        match self.seconds.back_mut() {
            Some((second, count)) if *second == now => *count += 1,
            _ => {
                self.update(now);
                self.seconds.push_back((now, 1));
            }
        }
        self.retry_after
    }

    /// Doubles when three a second were refused in the last `retry_after` seconds, shrinks by one when it was less
    /// than one a second.
    fn update(&mut self, now: u64) {
        let kept = MAX.min(2 * self.retry_after);
        while self.seconds.front().is_some_and(|(second, _)| now.saturating_sub(*second) > kept) {
            self.seconds.pop_front();
        }
        let recent = self.seconds.iter().filter(|(second, _)| now.saturating_sub(*second) <= self.retry_after);
        let refused: u64 = recent.map(|(_, count)| count).sum();
        if now.saturating_sub(self.grown) >= self.retry_after && refused >= 3 * self.retry_after {
            self.retry_after = MAX.min(self.retry_after * 2);
            self.grown = now;
        } else if refused < self.retry_after && self.retry_after > 1 {
            self.retry_after -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_is_sent_away_for_longer_and_calm_shortens_it() {
        let mut tracker = RetryAfter::default();
        let mut answers = Vec::new();
        for second in 100..110 {
            for _ in 0..20 {
                tracker.refused(second);
            }
            answers.push(tracker.refused(second));
        }
        assert_eq!(answers, [1, 2, 2, 4, 4, 4, 4, 8, 8, 8]);
        let calm: Vec<u64> = (0..4).map(|step| tracker.refused(200 + 20 * step)).collect();
        assert_eq!(calm, [7, 6, 5, 4]);
    }
}
