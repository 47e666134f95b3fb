//! Requests and limits as cgroup values (upstream: pkg/kubelet/cm/helpers_linux.go, pkg/kubelet/qos/policy.go).

use client::quantity;
use cri::Resources;
use k8s_openapi::api::core::v1::{Container, Pod, ResourceRequirements};

use crate::pod::qos::{QosClass, qos_class};
use crate::pod::spec::{self, Sort, spec};

const PERIOD_US: u64 = 100_000;
const MIN_QUOTA_US: i64 = 1000;
/// The least weight.
pub const MIN_SHARES: u64 = 2;
const MAX_SHARES: u64 = 262_144;

fn cpu_milli(resources: Option<&ResourceRequirements>, limits: bool) -> Option<i64> {
    let map = if limits { &resources?.limits } else { &resources?.requests };
    map.as_ref()?.get("cpu").map(quantity::milli_value).filter(|milli| *milli > 0)
}

fn memory(resources: Option<&ResourceRequirements>, limits: bool) -> Option<i64> {
    let map = if limits { &resources?.limits } else { &resources?.requests };
    map.as_ref()?.get("memory").map(quantity::value).filter(|bytes| *bytes > 0)
}

fn shares(milli: i64) -> u64 {
    let milli = u64::try_from(milli).unwrap_or(0);
    (milli.saturating_mul(1024) / 1000).clamp(MIN_SHARES, MAX_SHARES)
}

fn quota(milli: i64) -> i64 {
    (milli.saturating_mul(PERIOD_US as i64) / 1000).max(MIN_QUOTA_US)
}

/// Limits of one container.
pub fn of_container(pod: &Pod, container: &Container, memory_capacity: i64) -> Resources {
    let resources = container.resources.as_ref();
    let limit = cpu_milli(resources, true);
    let request = cpu_milli(resources, false).or(limit).unwrap_or(0);
    Resources {
        cpu_shares: shares(request),
        cpu_quota_us: limit.map_or(0, quota),
        cpu_period_us: PERIOD_US,
        memory_limit_bytes: memory(resources, true).unwrap_or(0),
        oom_score_adj: oom_score_adj(pod, container, memory_capacity),
        pids_limit: 0,
    }
}

/// How gladly the kernel kills it (upstream: qos.GetContainerOOMScoreAdjust).
fn oom_score_adj(pod: &Pod, container: &Container, memory_capacity: i64) -> i32 {
    const GUARANTEED: i64 = -997;
    const BEST_EFFORT: i64 = 1000;
    let critical = spec(pod).priority.is_some_and(|priority| priority >= 2_000_000_000);
    let score = match qos_class(pod) {
        _ if critical => GUARANTEED,
        QosClass::Guaranteed => GUARANTEED,
        QosClass::BestEffort => BEST_EFFORT,
        QosClass::Burstable => {
            let request = memory(container.resources.as_ref(), false).unwrap_or(0);
            let share = i128::from(request) * 1000 / i128::from(memory_capacity.max(1));
            (1000 - i64::try_from(share).unwrap_or(1000)).clamp(1000 + GUARANTEED, BEST_EFFORT - 1)
        }
    };
    i32::try_from(score).unwrap_or(0)
}

/// Limits of the whole pod: an upper limit only when every container has one.
pub fn of_pod(pod: &Pod) -> Resources {
    let containers: Vec<_> = spec::containers(pod).into_iter().filter(|c| c.sort != Sort::Ephemeral).collect();
    let request = |c: &spec::ContainerSpec| {
        let resources = c.container.resources.as_ref();
        cpu_milli(resources, false).or_else(|| cpu_milli(resources, true)).unwrap_or(0)
    };
    let cpu_limits: Option<Vec<_>> =
        containers.iter().map(|c| Some((c.sort, cpu_milli(c.container.resources.as_ref(), true)?))).collect();
    let memory_limits: Option<Vec<_>> =
        containers.iter().map(|c| Some((c.sort, memory(c.container.resources.as_ref(), true)?))).collect();
    let requests: Vec<_> = containers.iter().map(|c| (c.sort, request(c))).collect();
    Resources {
        cpu_shares: shares(peak(&requests)),
        cpu_quota_us: cpu_limits.map_or(0, |limits| quota(peak(&limits))),
        cpu_period_us: PERIOD_US,
        memory_limit_bytes: memory_limits.map_or(0, |limits| peak(&limits)),
        oom_score_adj: 0,
        pids_limit: 0,
    }
}

/// The most that is asked for at a time: everything that runs together, or one init container beside the sidecars
/// that came up before it (upstream: component-helpers resource.PodRequests).
fn peak(amounts: &[(Sort, i64)]) -> i64 {
    let (mut sidecars, mut init_peak, mut apps) = (0_i64, 0_i64, 0_i64);
    for (sort, amount) in amounts {
        match sort {
            Sort::Sidecar => {
                sidecars = sidecars.saturating_add(*amount);
                init_peak = init_peak.max(sidecars);
            }
            Sort::Init => init_peak = init_peak.max(sidecars.saturating_add(*amount)),
            Sort::App => apps = apps.saturating_add(*amount),
            Sort::Ephemeral => {}
        }
    }
    apps.saturating_add(sidecars).max(init_peak)
}

/// cgroup of a pod below `root` (upstream: pkg/kubelet/cm/pod_container_manager_linux.go).
pub fn pod_cgroup(root: &str, pod: &Pod, uid: &str) -> String {
    match qos_class(pod) {
        QosClass::Guaranteed => format!("{root}/pod{uid}"),
        QosClass::Burstable => format!("{root}/burstable/pod{uid}"),
        QosClass::BestEffort => format!("{root}/besteffort/pod{uid}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(value: serde_json::Value) -> Pod {
        serde_json::from_value(json!({"spec": value})).expect("a pod")
    }

    #[test]
    fn a_container_with_requests_and_limits() {
        let pod = pod(json!({"containers": [{"name": "a", "resources":
            {"requests": {"cpu": "10m", "memory": "256Mi"}, "limits": {"cpu": "10m", "memory": "256Mi"}}}]}));
        let resources = of_container(&pod, &spec(&pod).containers[0], 1 << 33);
        assert_eq!(resources.cpu_shares, 10);
        assert_eq!(resources.cpu_quota_us, 1000);
        assert_eq!(resources.memory_limit_bytes, 256 << 20);
        assert_eq!(resources.oom_score_adj, -997);
        assert_eq!(pod_cgroup("/r", &pod, "u"), "/r/podu");
    }

    #[test]
    fn a_pod_is_limited_only_when_all_of_it_is() {
        let pod = pod(json!({
            "initContainers": [
                {"name": "i", "resources": {"limits": {"cpu": "2"}}},
                {"name": "s", "restartPolicy": "Always", "resources": {"limits": {"cpu": "100m"}}}],
            "containers": [
                {"name": "a", "resources": {"limits": {"cpu": "1", "memory": "1Gi"}}},
                {"name": "b", "resources": {"limits": {"cpu": "500m"}}}]}));
        let resources = of_pod(&pod);
        assert_eq!(resources.cpu_quota_us, 200_000, "the init container needs most");
        assert_eq!(resources.memory_limit_bytes, 0, "one container has no limit");
    }

    #[test]
    fn best_effort_goes_first() {
        let pod = pod(json!({"containers": [{"name": "a"}]}));
        let resources = of_container(&pod, &spec(&pod).containers[0], 1 << 33);
        assert_eq!((resources.cpu_shares, resources.oom_score_adj), (2, 1000));
    }
}
