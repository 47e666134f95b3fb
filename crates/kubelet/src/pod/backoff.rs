//! Back-off of crashing containers and of image pulls.

use jiff::{SignedDuration, Timestamp};

const BASE: SignedDuration = SignedDuration::from_secs(10);
const MAX: SignedDuration = SignedDuration::from_secs(300);
/// A quiet time this long forgets what was.
const FORGET: SignedDuration = SignedDuration::from_secs(600);

/// Doubles from 10 s to 5 min; a quiet 10 min starts anew (upstream: client-go util/flowcontrol/backoff.go, as the
/// kubelet uses it: the first failure is tried again at once, the second after 10 s).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    entry: Option<Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    delay: SignedDuration,
    updated: Timestamp,
}

impl Backoff {
    /// When a try is allowed after a failure at `failed`, and the delay in force; `None` when it is allowed now.
    pub fn held_until(&self, failed: Timestamp, now: Timestamp) -> Option<(Timestamp, SignedDuration)> {
        let entry = self.entry.as_ref().filter(|entry| failed.duration_since(entry.updated) <= FORGET)?;
        let until = failed + entry.delay;
        (until > now).then_some((until, entry.delay))
    }

    /// Notes a try after a failure at `failed`: the next one waits longer.
    pub fn next(&mut self, failed: Timestamp, now: Timestamp) {
        let delay = match &self.entry {
            Some(entry) if failed.duration_since(entry.updated) <= FORGET => (entry.delay * 2).min(MAX),
            _ => BASE,
        };
        self.entry = Some(Entry { delay, updated: now });
    }

    /// A back-off as it is after `tries` tries, the last at `at`: a restarted kubelet goes on where it was.
    pub fn after(tries: u32, at: Timestamp) -> Self {
        let mut backoff = Self::default();
        for _ in 0..tries.min(16) {
            backoff.next(at, at);
        }
        backoff
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_restart_is_free_then_it_doubles() {
        let mut now: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
        let mut backoff = Backoff::default();
        let mut delays = Vec::new();
        for _ in 0..8 {
            let held = backoff.held_until(now, now);
            delays.push(held.map_or(0, |(_, delay)| delay.as_secs()));
            now = held.map_or(now, |(until, _)| until);
            backoff.next(now, now);
        }
        assert_eq!(delays, [0, 10, 20, 40, 80, 160, 300, 300]);
        let later = now + SignedDuration::from_secs(601);
        assert_eq!(backoff.held_until(later, later), None, "forgotten after ten quiet minutes");
    }
}
