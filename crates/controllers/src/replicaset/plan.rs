//! How many pods to make, which to delete, what the status says. Pure.

use std::sync::Arc;

use client::corev1::pod::{is_active, is_available, is_ready, is_terminating};
use client::labels::{Labels, contains_all};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use super::rank::rank;
use super::workload::{Condition, Status, Workload};

/// More is not created or deleted in one pass (upstream: `BurstReplicas`).
const BURST: usize = 500;

/// What to do about the number of pods.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// There are as many as wanted.
    None,
    /// So many more.
    Create(usize),
    /// These go.
    Delete(Vec<Arc<Pod>>),
}

/// Compares the wanted number with the active pods.
pub fn plan(desired: i32, active: Vec<Arc<Pod>>, related: &[Arc<Pod>], now: Timestamp) -> Change {
    let desired = usize::try_from(desired).unwrap_or(0);
    match active.len() {
        there if there < desired => Change::Create((desired - there).min(BURST)),
        there if there > desired => {
            let ranked = rank(active, related, now);
            Change::Delete(ranked.into_iter().take((there - desired).min(BURST)).collect())
        }
        _ => Change::None,
    }
}

/// Why pods could not be created or deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// `FailedCreate` or `FailedDelete`.
    pub reason: &'static str,
    /// What the API said.
    pub message: String,
}

/// The status that describes `pods` (those the workload owns, active or not).
pub fn status<W: Workload>(workload: &W, pods: &[Arc<Pod>], failure: Option<&Failure>, now: Timestamp) -> Status {
    let active: Vec<&Arc<Pod>> = pods.iter().filter(|pod| is_active(pod)).collect();
    let count = |test: &dyn Fn(&Pod) -> bool| active.iter().filter(|pod| test(pod)).count() as i32;
    let empty = Labels::new();
    let template_labels = workload.template().and_then(|template| template.metadata.as_ref()?.labels.as_ref());
    let template_labels = template_labels.unwrap_or(&empty);
    let labeled = |pod: &Pod| contains_all(template_labels, pod.metadata.labels.as_ref().unwrap_or(&empty));
    let old = workload.status();
    let terminating = pods.iter().filter(|pod| is_terminating(pod)).count() as i32;
    Status {
        replicas: active.len() as i32,
        fully_labeled: count(&labeled),
        ready: count(&is_ready),
        available: count(&|pod| is_available(pod, workload.min_ready_seconds(), now)),
        terminating: Some(terminating),
        observed_generation: workload.meta().generation.unwrap_or(0),
        conditions: conditions(old.conditions, failure, now),
    }
}

/// The conditions of others stay; ours says whether creating or deleting failed.
fn conditions(mut old: Vec<Condition>, failure: Option<&Failure>, now: Timestamp) -> Vec<Condition> {
    const TYPE: &str = "ReplicaFailure";
    let before = old.iter().position(|one| one.type_ == TYPE).map(|at| old.remove(at));
    if let Some(failure) = failure {
        let same = before.filter(|one| one.reason.as_deref() == Some(failure.reason));
        old.push(same.unwrap_or_else(|| Condition {
            type_: TYPE.into(),
            status: "True".into(),
            reason: Some(failure.reason.into()),
            message: Some(failure.message.clone()),
            last_transition_time: Some(Time(now)),
        }));
    }
    old
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::apps::v1::ReplicaSet;
    use serde_json::json;
    use std::time::Duration;

    fn pod(name: &str, ready: bool, deleted: bool) -> Arc<Pod> {
        let mut value = json!({
            "metadata": {"name": name, "uid": name, "labels": {"app": "web"}},
            "status": {"phase": "Running", "conditions": [
                {"type": "Ready", "status": if ready { "True" } else { "False" }, "lastTransitionTime": "2026-01-01T00:00:00Z"}]},
        });
        if deleted {
            value["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        }
        Arc::new(serde_json::from_value(value).expect("a pod"))
    }

    fn at(seconds: i64) -> Timestamp {
        "2026-01-01T00:00:00Z".parse::<Timestamp>().expect("a time") + Duration::from_secs(seconds.unsigned_abs())
    }

    #[test]
    fn as_many_as_wanted() {
        let pods = vec![pod("a", true, false), pod("b", false, false)];
        assert_eq!(plan(2, pods.clone(), &pods, at(0)), Change::None);
        assert_eq!(plan(5, pods.clone(), &pods, at(0)), Change::Create(3));
        assert_eq!(plan(1, pods.clone(), &pods, at(0)), Change::Delete(vec![pods[1].clone()]));
        assert_eq!(plan(10_000, vec![], &[], at(0)), Change::Create(500));
    }

    #[test]
    fn the_status_counts_and_keeps_conditions_of_others() {
        let workload: ReplicaSet = serde_json::from_value(json!({
            "metadata": {"name": "web", "generation": 3},
            "spec": {"replicas": 2, "minReadySeconds": 10, "selector": {}, "template": {"metadata": {"labels": {"app": "web"}}}},
            "status": {"replicas": 0, "conditions": [{"type": "Foreign", "status": "True"}, {"type": "ReplicaFailure", "status": "True"}]},
        }))
        .expect("a replica set");
        let pods = [pod("a", true, false), pod("b", false, false), pod("c", true, true)];
        let early = status(&workload, &pods, None, at(5));
        assert_eq!((early.replicas, early.fully_labeled, early.ready, early.available), (2, 2, 1, 0));
        assert_eq!((early.terminating, early.observed_generation), (Some(1), 3));
        assert_eq!(early.conditions.iter().map(|one| one.type_.as_str()).collect::<Vec<_>>(), ["Foreign"]);
        assert_eq!(status(&workload, &pods, None, at(10)).available, 1);
        let failure = Failure { reason: "FailedCreate", message: "no".into() };
        assert_eq!(status(&workload, &pods, Some(&failure), at(5)).conditions.len(), 2);
    }
}
