//! What a pod counts for (upstream: pkg/quota/v1/evaluator/core/pods.go).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use apimachinery::Object;
use apimachinery::json::Read;
use apimachinery::resources::{is_compute, is_compute_of_quotas, is_extended, is_native};
use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::resources::{ResourceList, Side, of_pod};

/// The names in quotas that pods count for.
pub(crate) fn counts_for(name: &str) -> bool {
    matches!(name, "pods" | "count/pods")
        || is_compute_of_quotas(name)
        || name.starts_with("hugepages-")
        || name.starts_with("requests.hugepages-")
        || (!is_native(name) && name.starts_with("requests."))
}

/// What must be stated by every container when a quota is about it. Upstream regrets this and adds no more.
const REQUIRED: [&str; 6] = ["cpu", "limits.cpu", "limits.memory", "memory", "requests.cpu", "requests.memory"];

/// What containers fail to state of what the quota is about.
pub(crate) fn missing(names: &[&str], pod: &Object) -> Option<String> {
    let required: BTreeSet<&str> = names.iter().copied().filter(|name| REQUIRED.contains(name)).collect();
    let spec = pod.object("spec");
    let stated = |resources: &Map<String, Value>| {
        let list = |field: &str| ResourceList::read(resources.object(field));
        compute_usage(&list("requests"), &list("limits"))
    };
    let of_pod = stated(spec.object("resources"));
    let mut missing: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for container in spec.list("containers").iter().chain(spec.list("initContainers")) {
        let own = stated(container.object("resources"));
        for name in required.iter().filter(|name| own.get(name).is_none() && of_pod.get(name).is_none()) {
            missing.entry(name).or_default().insert(container.text("name"));
        }
    }
    let texts = missing.into_iter().map(|(name, containers)| {
        let containers: Vec<&str> = containers.into_iter().collect();
        format!("{name} for: {}", containers.join(","))
    });
    let texts: Vec<String> = texts.collect();
    (!texts.is_empty()).then(|| format!("must specify {}", texts.join("; ")))
}

/// The usage of a pod: itself, and what it asks for until it has ended (upstream: `PodUsageFunc`).
pub(crate) fn usage(pod: &Object, now: Timestamp) -> ResourceList {
    let mut usage = ResourceList::default();
    usage.count("count/pods", 1);
    if is_charged(pod, now) {
        usage.count("pods", 1);
        usage.add(&compute_usage(&of_pod(&pod.0, Side::Requests), &of_pod(&pod.0, Side::Limits)));
    }
    usage
}

/// Upstream: `QuotaV1Pod`.
fn is_charged(pod: &Object, now: Timestamp) -> bool {
    if matches!(pod.object("status").text("phase"), "Failed" | "Succeeded") {
        return false;
    }
    let Ok(deleted) = pod.meta_str("deletionTimestamp").parse::<Timestamp>() else { return true };
    let grace = pod.metadata().and_then(|metadata| metadata.int("deletionGracePeriodSeconds"));
    let Some(grace) = grace else { return true };
    let end = deleted.checked_add(Duration::from_secs(grace.max(0).unsigned_abs()));
    end.is_ok_and(|end| now <= end)
}

/// Requests and limits under the names that quotas use (upstream: `podComputeUsageHelper`).
fn compute_usage(requests: &ResourceList, limits: &ResourceList) -> ResourceList {
    let mut usage = ResourceList::default();
    for (name, amount) in &requests.0 {
        let plain = is_compute(name) || name.starts_with("hugepages-");
        if plain {
            usage.0.insert(name.clone(), *amount);
        }
        if plain || is_extended(name) {
            usage.0.insert(format!("requests.{name}"), *amount);
        }
    }
    for name in ["cpu", "memory", "ephemeral-storage"] {
        if let Some(limit) = limits.get(name) {
            usage.0.insert(format!("limits.{name}"), limit);
        }
    }
    usage
}

pub(crate) fn is_terminating(pod: &Map<String, Value>) -> bool {
    pod.object("spec").int("activeDeadlineSeconds").is_some_and(|seconds| seconds >= 0)
}

/// By the class that the pod was given, or by what its containers ask for.
pub fn is_best_effort(pod: &Map<String, Value>) -> bool {
    let class = pod.object("status").text("qosClass");
    if !class.is_empty() {
        return class == "BestEffort";
    }
    let spec = pod.object("spec");
    let asks = |resources: &Map<String, Value>| {
        ["requests", "limits"].iter().any(|side| {
            let list = ResourceList::read(resources.object(side));
            ["cpu", "memory"].iter().any(|name| list.get(name).is_some_and(|amount| !amount.is_zero()))
        })
    };
    let mut containers = spec.list("containers").iter().chain(spec.list("initContainers"));
    !asks(spec.object("resources")) && !containers.any(|container| asks(container.object("resources")))
}

/// Upstream: `usesCrossNamespacePodAffinity`.
pub(crate) fn has_affinity_across_namespaces(pod: &Map<String, Value>) -> bool {
    let affinity = pod.object("spec").object("affinity");
    let across = |term: &Map<String, Value>| !term.list("namespaces").is_empty() || term.has("namespaceSelector");
    ["podAffinity", "podAntiAffinity"].iter().any(|kind| {
        let terms = affinity.object(kind);
        let required = terms.list("requiredDuringSchedulingIgnoredDuringExecution");
        let preferred = terms.list("preferredDuringSchedulingIgnoredDuringExecution");
        required.iter().any(|term| across(term.fields()))
            || preferred.iter().any(|term| across(term.object("podAffinityTerm")))
    })
}
