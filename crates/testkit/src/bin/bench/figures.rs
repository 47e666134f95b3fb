//! How figures are told.

use std::time::Duration;

/// A row of the table: median and spread.
pub fn row(what: &str, times: &[Duration]) {
    let times = sorted(times);
    let [least, median, most] = [0.0, 0.5, 1.0].map(|share| quantile(&times, share).as_secs_f64() * 1e3);
    println!("| {what} | {median:.0} ms | {least:.0} to {most:.0} ms, n = {} |", times.len());
}

/// In order, for [`quantile`].
pub fn sorted(times: &[Duration]) -> Vec<Duration> {
    let mut times = times.to_vec();
    times.sort_unstable();
    times
}

/// The value below which this share of sorted values lies; zero where there is none.
pub fn quantile(sorted: &[Duration], share: f64) -> Duration {
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * share).round() as usize).copied().unwrap_or_default()
}
