//! When pods that are ready become available by mere waiting (`minReadySeconds`).

use std::sync::Arc;
use std::time::Duration;

use client::controller::Requeue;
use client::corev1::pod::{is_active, until_available};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;

/// The shortest wait: pods that become available together are counted together.
const SHORTEST: Duration = Duration::from_millis(100);

/// Comes back when the next of the pods becomes available, if one does.
pub fn requeue(pods: &[Arc<Pod>], min_ready_seconds: i32, now: Timestamp) -> Requeue {
    let waits = pods.iter().filter(|pod| is_active(pod)).filter_map(|pod| until_available(pod, min_ready_seconds, now));
    let next = waits.filter(|wait| !wait.is_zero()).min();
    next.map_or(Requeue::No, |wait| Requeue::After(wait.max(SHORTEST)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_next_pod_decides() {
        let now: Timestamp = "2026-01-01T00:01:00Z".parse().expect("a time");
        let pod = |since: &str, ready: bool| {
            let condition = json!({"type": "Ready", "status": if ready { "True" } else { "False" },
                "lastTransitionTime": since});
            let pod = json!({"status": {"phase": "Running", "conditions": [condition]}});
            Arc::new(serde_json::from_value::<Pod>(pod).expect("a pod"))
        };
        let (old, young) = (pod("2026-01-01T00:00:00Z", true), pod("2026-01-01T00:00:55Z", true));
        let unready = pod("2026-01-01T00:00:58Z", false);
        for (pods, seconds, expected) in [
            (vec![old.clone(), young.clone(), unready.clone()], 10, Some(Duration::from_secs(5))),
            (vec![old.clone(), unready], 10, None),
            (vec![young.clone()], 0, None),
            (vec![old, young], 61, Some(Duration::from_secs(1))),
        ] {
            let wait = match requeue(&pods, seconds, now) {
                Requeue::After(wait) => Some(wait),
                Requeue::No => None,
            };
            assert_eq!(wait, expected, "{seconds}");
        }
    }
}
