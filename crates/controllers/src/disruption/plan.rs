//! The status of a budget. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use client::corev1::pod::is_ready;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use k8s_openapi::jiff::Timestamp;

use crate::int_or_percent::{Round, scaled};

/// An evicted pod that still runs after this long was not going to go (upstream: `DeletionTimeout`).
const DELETION_TIMEOUT: Duration = Duration::from_secs(120);
const CONDITION: &str = "DisruptionAllowed";

/// The replicas that the pods' owners want, or why that cannot be told.
pub type Expected = Result<i32, String>;

/// A status, and when it may change by time alone.
#[derive(Debug)]
pub struct Planned {
    /// What to write.
    pub status: PodDisruptionBudgetStatus,
    /// When an evicted pod counts again.
    pub look_again: Option<Duration>,
}

/// Whether the budget is a share of what the owners want.
pub fn needs_scale(budget: &PodDisruptionBudget) -> bool {
    let spec = budget.spec.as_ref();
    let is_share = |value: &IntOrString| matches!(value, IntOrString::String(_));
    spec.is_some_and(|spec| spec.max_unavailable.is_some() || spec.min_available.as_ref().is_some_and(is_share))
}

/// Computes the status over the pods that the budget selects.
pub fn plan(budget: &PodDisruptionBudget, pods: &[Arc<Pod>], expected: Expected, now: Timestamp) -> Planned {
    let old = budget.status.clone().unwrap_or_default();
    let (disrupted, look_again) = still_disrupted(&old, pods, now);
    let (expected, desired) = match wanted(budget, pods, expected) {
        Ok(counts) => counts,
        Err(message) => return fail_safe(budget, old, message, now),
    };
    let counts = |pod: &&Arc<Pod>| {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        pod.metadata.deletion_timestamp.is_none() && !disrupted.contains_key(name) && is_ready(pod)
    };
    let healthy = pods.iter().filter(counts).count() as i32;
    let allowed = if expected <= 0 { 0 } else { (healthy - desired).max(0) };
    let mut status = PodDisruptionBudgetStatus {
        current_healthy: Some(healthy),
        desired_healthy: Some(desired),
        disruptions_allowed: Some(allowed),
        expected_pods: Some(expected),
        disrupted_pods: Some(disrupted).filter(|pods| !pods.is_empty()),
        observed_generation: budget.metadata.generation,
        conditions: old.conditions,
    };
    let (value, reason) = if allowed > 0 { ("True", "SufficientPods") } else { ("False", "InsufficientPods") };
    set_condition(budget, &mut status, value, reason, String::new(), now);
    Planned { status, look_again }
}

/// (expected pods, pods that must stay healthy)
fn wanted(budget: &PodDisruptionBudget, pods: &[Arc<Pod>], expected: Expected) -> Result<(i32, i32), String> {
    let Some(spec) = &budget.spec else { return Ok((pods.len() as i32, 0)) };
    if let Some(unavailable) = &spec.max_unavailable {
        let expected = expected?;
        let unavailable = scaled(unavailable, expected, Round::Up).ok_or("maxUnavailable is no number")?;
        return Ok((expected, (expected - unavailable).max(0)));
    }
    match &spec.min_available {
        None => Ok((pods.len() as i32, 0)),
        Some(IntOrString::Int(number)) => Ok((pods.len() as i32, *number)),
        Some(share) => {
            let expected = expected?;
            Ok((expected, scaled(share, expected, Round::Up).ok_or("minAvailable is no number")?))
        }
    }
}

/// When the counts cannot be told nothing may be disrupted (upstream: `failSafe`).
fn fail_safe(
    budget: &PodDisruptionBudget,
    mut status: PodDisruptionBudgetStatus,
    message: String,
    now: Timestamp,
) -> Planned {
    status.disruptions_allowed = Some(0);
    // The API asks for these numbers even when they are not known.
    status.current_healthy.get_or_insert(0);
    status.desired_healthy.get_or_insert(0);
    status.expected_pods.get_or_insert(0);
    status.observed_generation = budget.metadata.generation;
    set_condition(budget, &mut status, "False", "SyncFailed", message, now);
    Planned { status, look_again: None }
}

/// Evicted pods that are still there and may still go; and when the first of them stops counting.
fn still_disrupted(
    old: &PodDisruptionBudgetStatus,
    pods: &[Arc<Pod>],
    now: Timestamp,
) -> (BTreeMap<String, Time>, Option<Duration>) {
    let mut left = BTreeMap::new();
    let mut look_again = None;
    for (name, since) in old.disrupted_pods.iter().flatten() {
        let pod = pods.iter().find(|pod| pod.metadata.name.as_ref() == Some(name));
        if pod.is_none_or(|pod| pod.metadata.deletion_timestamp.is_some()) {
            continue;
        }
        let passed = Duration::try_from(now.duration_since(since.0)).unwrap_or_default();
        if passed < DELETION_TIMEOUT {
            let wait = DELETION_TIMEOUT - passed;
            look_again = Some(look_again.map_or(wait, |other: Duration| other.min(wait)));
            left.insert(name.clone(), since.clone());
        }
    }
    (left, look_again)
}

fn set_condition(
    budget: &PodDisruptionBudget,
    status: &mut PodDisruptionBudgetStatus,
    value: &str,
    reason: &str,
    message: String,
    now: Timestamp,
) {
    let conditions = status.conditions.get_or_insert_default();
    let old = conditions.iter().position(|one| one.type_ == CONDITION).map(|at| conditions.remove(at));
    let since = old.filter(|old| old.status == value).map(|old| old.last_transition_time);
    conditions.push(Condition {
        type_: CONDITION.into(),
        status: value.into(),
        reason: reason.into(),
        message,
        observed_generation: budget.metadata.generation,
        last_transition_time: since.unwrap_or(Time(now)),
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    fn pods(ready: usize, unready: usize) -> Vec<Arc<Pod>> {
        let pod = |number: usize| {
            let status = if number < ready { "True" } else { "False" };
            let value = json!({"metadata": {"name": format!("web-{number}")}, "status": {"conditions": [{"type": "Ready", "status": status}]}});
            Arc::new(serde_json::from_value(value).expect("a pod"))
        };
        (0..ready + unready).map(pod).collect()
    }

    fn counts(spec: Value, pods: &[Arc<Pod>], expected: Expected) -> (i32, i32, i32, i32, String) {
        let budget = serde_json::from_value(json!({"metadata": {"generation": 1}, "spec": spec})).expect("a budget");
        let status = plan(&budget, pods, expected, at(0)).status;
        let number = |field: Option<i32>| field.unwrap_or(-1);
        let reason = status.conditions.unwrap_or_default()[0].reason.clone();
        (
            number(status.expected_pods),
            number(status.current_healthy),
            number(status.desired_healthy),
            number(status.disruptions_allowed),
            reason,
        )
    }

    #[test]
    fn budgets() {
        let (sufficient, insufficient) = ("SufficientPods".to_owned(), "InsufficientPods".to_owned());
        let failed = "SyncFailed".to_owned();
        for (spec, ready, unready, expected, result) in [
            (json!({"minAvailable": 2}), 3, 0, Ok(3), (3, 3, 2, 1, sufficient.clone())),
            (json!({"minAvailable": 2}), 2, 1, Err("bare".into()), (3, 2, 2, 0, insufficient.clone())),
            (json!({"minAvailable": "50%"}), 3, 0, Ok(3), (3, 3, 2, 1, sufficient.clone())),
            (json!({"maxUnavailable": "10%"}), 3, 0, Ok(3), (3, 3, 2, 1, sufficient.clone())),
            (json!({"maxUnavailable": 1}), 2, 1, Ok(3), (3, 2, 2, 0, insufficient.clone())),
            (json!({"maxUnavailable": 1}), 0, 0, Ok(0), (0, 0, 0, 0, insufficient.clone())),
            (json!({"maxUnavailable": 1}), 3, 0, Err("bare".into()), (0, 0, 0, 0, failed)),
        ] {
            assert_eq!(counts(spec.clone(), &pods(ready, unready), expected), result, "{spec} {ready}+{unready}");
        }
    }

    #[test]
    fn an_evicted_pod_counts_again_after_two_minutes() {
        let budget: PodDisruptionBudget = serde_json::from_value(json!({
            "spec": {"minAvailable": 1},
            "status": {"disruptedPods": {"web-0": "1970-01-01T00:00:00Z", "gone": "1970-01-01T00:00:00Z"}},
        }))
        .expect("a budget");
        let soon = plan(&budget, &pods(2, 0), Ok(2), at(30));
        assert_eq!((soon.status.current_healthy, soon.look_again), (Some(1), Some(Duration::from_secs(90))));
        assert_eq!(soon.status.disrupted_pods.expect("one").keys().collect::<Vec<_>>(), ["web-0"]);
        let later = plan(&budget, &pods(2, 0), Ok(2), at(120));
        assert_eq!((later.status.current_healthy, later.look_again), (Some(2), None));
    }
}
