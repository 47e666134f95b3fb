//! Amounts of resources: what pods ask for, what nodes have.
//!
//! upstream: component-helpers/resource/helpers.go, pkg/scheduler/framework/types.go (`Resource`).

use std::collections::BTreeMap;

use client::quantity;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// Scoring assumes this much for a container that asks for no CPU (upstream: `DefaultMilliCPURequest`).
const DEFAULT_MILLI_CPU: i64 = 100;
/// Scoring assumes this much for a container that asks for no memory (upstream: `DefaultMemoryRequest`).
const DEFAULT_MEMORY: i64 = 200 * 1024 * 1024;

/// The map of resource lists in the API.
pub type ResourceList = BTreeMap<String, Quantity>;

/// Amounts by resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// Thousandths of a core.
    pub milli_cpu: i64,
    /// Bytes.
    pub memory: i64,
    /// Bytes of the node's own disk.
    pub ephemeral_storage: i64,
    /// How many pods fit (of nodes only).
    pub pods: i64,
    /// Huge pages and extended resources by name.
    pub others: BTreeMap<String, i64>,
}

impl Resources {
    /// The amounts of an API resource list.
    pub fn of(list: &ResourceList) -> Self {
        let mut amounts = Self::default();
        for (name, quantity) in list {
            match name.as_str() {
                "cpu" => amounts.milli_cpu = quantity::milli_value(quantity),
                "memory" => amounts.memory = quantity::value(quantity),
                "ephemeral-storage" => amounts.ephemeral_storage = quantity::value(quantity),
                "pods" => amounts.pods = quantity::value(quantity),
                other => {
                    amounts.others.insert(other.to_owned(), quantity::value(quantity));
                }
            }
        }
        amounts
    }

    /// Adds the amounts of `more`.
    pub fn add(&mut self, more: &Self) {
        self.combine(more, |a, b| a.saturating_add(b));
    }

    /// Takes the amounts of `less` away.
    pub fn subtract(&mut self, less: &Self) {
        self.combine(less, |a, b| a.saturating_sub(b));
        self.others.retain(|_, amount| *amount != 0);
    }

    /// Raises each amount to that of `other` where it is smaller.
    pub fn raise_to(&mut self, other: &Self) {
        self.combine(other, i64::max);
    }

    /// Whether nothing is asked for.
    pub fn is_zero(&self) -> bool {
        *self == Self::default()
    }

    fn combine(&mut self, other: &Self, f: fn(i64, i64) -> i64) {
        self.milli_cpu = f(self.milli_cpu, other.milli_cpu);
        self.memory = f(self.memory, other.memory);
        self.ephemeral_storage = f(self.ephemeral_storage, other.ephemeral_storage);
        self.pods = f(self.pods, other.pods);
        for (name, amount) in &other.others {
            let mine = self.others.entry(name.clone()).or_default();
            *mine = f(*mine, *amount);
        }
    }
}

/// What the scheduler must set aside for a pod: containers and sidecars together, or a larger init step, and overhead.
pub fn pod_requests(pod: &Pod) -> Resources {
    requests(pod, false)
}

/// As [`pod_requests`], where a container without a CPU or memory request counts with upstream's assumption.
pub fn pod_requests_for_scoring(pod: &Pod) -> Resources {
    requests(pod, true)
}

fn requests(pod: &Pod, assume: bool) -> Resources {
    let Some(spec) = &pod.spec else { return Resources::default() };
    let mut total = Resources::default();
    for container in &spec.containers {
        total.add(&container_requests(pod, container, assume));
    }
    let mut sidecars = Resources::default();
    let mut largest_start = Resources::default();
    for container in spec.init_containers.iter().flatten() {
        let mut needed = container_requests(pod, container, assume);
        if container.restart_policy.as_deref() == Some("Always") {
            total.add(&needed);
            sidecars.add(&needed);
            largest_start.raise_to(&sidecars);
        } else {
            needed.add(&sidecars);
            largest_start.raise_to(&needed);
        }
    }
    total.raise_to(&largest_start);
    apply_pod_level(spec, &mut total);
    if let Some(overhead) = &spec.overhead {
        total.add(&Resources::of(overhead));
    }
    total
}

/// Requests of the pod as a whole replace the sums of its containers, resource by resource.
fn apply_pod_level(spec: &PodSpec, total: &mut Resources) {
    let Some(list) = spec.resources.as_ref().and_then(|resources| resources.requests.as_ref()) else { return };
    let pod_level = Resources::of(list);
    if list.contains_key("cpu") {
        total.milli_cpu = pod_level.milli_cpu;
    }
    if list.contains_key("memory") {
        total.memory = pod_level.memory;
    }
    for (name, amount) in pod_level.others.into_iter().filter(|(name, _)| name.starts_with("hugepages-")) {
        total.others.insert(name, amount);
    }
}

fn container_requests(pod: &Pod, container: &Container, assume: bool) -> Resources {
    let none = ResourceList::new();
    let list = container.resources.as_ref().and_then(|resources| resources.requests.as_ref()).unwrap_or(&none);
    let mut amounts = Resources::of(list);
    // While a resize is under way the larger of the wanted and the given counts.
    if let Some(given) = allocated(pod, &container.name) {
        amounts.raise_to(&Resources::of(given));
    }
    if assume && !list.contains_key("cpu") {
        amounts.milli_cpu = DEFAULT_MILLI_CPU;
    }
    if assume && !list.contains_key("memory") {
        amounts.memory = DEFAULT_MEMORY;
    }
    amounts
}

fn allocated<'a>(pod: &'a Pod, container: &str) -> Option<&'a ResourceList> {
    let status = pod.status.as_ref()?;
    let statuses = status.container_statuses.iter().chain(&status.init_container_statuses).flatten();
    statuses.into_iter().find(|status| status.name == container)?.allocated_resources.as_ref()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(spec: serde_json::Value) -> (i64, i64) {
        let pod: Pod = serde_json::from_value(json!({"spec": spec})).expect("a pod");
        let requests = pod_requests(&pod);
        (requests.milli_cpu, requests.memory)
    }

    fn container(cpu: &str, memory: &str) -> serde_json::Value {
        json!({"name": "c", "resources": {"requests": {"cpu": cpu, "memory": memory}}})
    }

    fn sidecar(cpu: &str, memory: &str) -> serde_json::Value {
        let mut one = container(cpu, memory);
        one["restartPolicy"] = "Always".into();
        one
    }

    #[test]
    fn init_steps_sidecars_and_overhead() {
        assert_eq!(of(json!({"containers": [container("1", "10"), container("500m", "5")]})), (1500, 15));
        assert_eq!(
            of(json!({"containers": [container("1", "10")], "initContainers": [container("2", "1")]})),
            (2000, 10),
            "the larger of the steps, resource by resource"
        );
        assert_eq!(
            of(
                json!({"containers": [container("1", "10")], "initContainers": [sidecar("1", "1"), container("2", "1")]})
            ),
            (3000, 11),
            "a sidecar runs beside the later steps"
        );
        assert_eq!(of(json!({"containers": [container("1", "10")], "overhead": {"cpu": "250m"}})), (1250, 10));
    }

    #[test]
    fn scoring_assumes_what_is_not_asked_for() {
        let pod: Pod = serde_json::from_value(json!({"spec": {"containers": [{"name": "c"}]}})).expect("a pod");
        assert!(pod_requests(&pod).is_zero());
        assert_eq!(pod_requests_for_scoring(&pod).milli_cpu, 100);
    }
}
