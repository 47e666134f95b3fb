//! Wall-clock time. Durations are measured with `tokio::time`, which tests can pause.

use jiff::Timestamp;

/// The current wall-clock time.
#[expect(clippy::disallowed_methods, reason = "everybody else asks here")]
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// `at` as Kubernetes writes `metav1.Time`: RFC 3339 in UTC, whole seconds.
pub fn rfc3339_seconds(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// `at` as Kubernetes writes `metav1.MicroTime`: RFC 3339 in UTC with six digits.
pub fn rfc3339_micros(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_look_like_upstreams() {
        let at: Timestamp = "2026-01-02T03:04:05.678901234Z".parse().expect("a valid time");
        assert_eq!(rfc3339_seconds(at), "2026-01-02T03:04:05Z");
        assert_eq!(rfc3339_micros(at), "2026-01-02T03:04:05.678901Z");
    }
}
