//! What a Job needs next, and what its status says. Pure.
//!
//! upstream: pkg/controller/job/job_controller.go `syncJob`, `trackJobStatusAndRemoveFinalizers`, `manageJob`

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use client::corev1::pod::{is_ready, is_terminal};
use k8s_openapi::api::batch::v1::{Job, JobCondition, JobStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use super::indexes;
use super::pods::{has_failed, has_succeeded, index_of, is_indexed, is_tracked};
use crate::replicaset::rank::rank;

/// Creations of one pass.
const BURST: usize = 500;

/// Everything one pass does: the status first, then the rest.
#[derive(Debug, Default, PartialEq)]
pub struct Plan {
    /// The status to write.
    pub status: JobStatus,
    /// Pods whose end the status notes: their finalizer can go.
    pub release: Vec<Arc<Pod>>,
    /// New pods, with their index where the Job has them.
    pub create: Vec<Option<i32>>,
    /// Pods that go uncounted: too many, or suspended.
    pub discard: Vec<Arc<Pod>>,
    /// Pods that go because the Job ended; they count as failed.
    pub abort: Vec<Arc<Pod>>,
    /// When time alone changes something.
    pub look_again: Option<Duration>,
}

/// Whether a condition of a type holds.
pub fn holds(status: &JobStatus, type_: &str) -> bool {
    status.conditions.iter().flatten().any(|one| one.type_ == type_ && one.status == "True")
}

/// Whether nothing more will happen.
pub fn is_finished(status: &JobStatus) -> bool {
    holds(status, "Complete") || holds(status, "Failed")
}

/// Plans a pass over the pods the Job owns. `backoff` is what is left of the wait after failures.
pub fn plan(job: &Job, pods: &[Arc<Pod>], may_manage: bool, backoff: Duration, now: Timestamp) -> Plan {
    let mut plan = Plan { status: job.status.clone().unwrap_or_default(), ..Plan::default() };
    let suspended = job.spec.as_ref().and_then(|spec| spec.suspend).unwrap_or(false);
    if plan.status.start_time.is_none() && !suspended {
        plan.status.start_time = Some(Time(now));
    }
    count(job, pods, &mut plan);
    let active: Vec<Arc<Pod>> = pods.iter().filter(|pod| !is_terminal(pod) && !has_failed(pod)).cloned().collect();
    let terminating = pods.iter().filter(|pod| !is_terminal(pod) && pod.metadata.deletion_timestamp.is_some()).count();
    if let Some((type_, reason, message)) = outcome(job, &plan.status, pods, &active, now) {
        finish(&mut plan, &active, terminating, type_, &reason, &message, now);
    } else if suspended {
        plan.discard = active.clone();
        set(&mut plan.status, "Suspended", "True", "JobSuspended", "Job suspended", now);
    } else {
        if holds(&plan.status, "Suspended") {
            set(&mut plan.status, "Suspended", "False", "JobResumed", "Job resumed", now);
            plan.status.start_time = Some(Time(now));
        }
        if may_manage {
            manage(job, &active, backoff, now, &mut plan);
        }
        plan.look_again = plan.look_again.into_iter().chain(until_deadline(job, &plan.status, now)).min();
    }
    let gone = plan.discard.len() + plan.abort.len();
    plan.status.active = Some(active.len().saturating_sub(gone) as i32).filter(|count| *count != 0);
    plan.status.ready = Some(active.iter().filter(|pod| is_ready(pod)).count() as i32);
    plan.status.terminating = Some((terminating + gone) as i32);
    plan
}

/// Moves ended pods through the three steps of counting.
fn count(job: &Job, pods: &[Arc<Pod>], plan: &mut Plan) {
    let status = &mut plan.status;
    let tracked = |uid: &String| pods.iter().any(|pod| pod.metadata.uid.as_ref() == Some(uid) && is_tracked(pod));
    let mut uncounted = status.uncounted_terminated_pods.take().unwrap_or_default();
    let settle = |list: &mut Option<Vec<String>>, counter: &mut Option<i32>| {
        let (still, done): (Vec<_>, Vec<_>) = list.take().unwrap_or_default().into_iter().partition(|uid| tracked(uid));
        *counter = Some(counter.unwrap_or(0) + done.len() as i32).filter(|count| *count != 0);
        *list = Some(still).filter(|still| !still.is_empty());
    };
    settle(&mut uncounted.failed, &mut status.failed);
    if !is_indexed(job) {
        settle(&mut uncounted.succeeded, &mut status.succeeded);
    }
    let mut completed = indexes::parse(status.completed_indexes.as_deref().unwrap_or_default());
    for pod in pods.iter().filter(|pod| is_tracked(pod)) {
        let Some(uid) = pod.uid() else { continue };
        let list = if has_succeeded(pod) && is_indexed(job) {
            completed.extend(index_of(pod));
            plan.release.push(pod.clone());
            continue;
        } else if has_succeeded(pod) {
            &mut uncounted.succeeded
        } else if has_failed(pod) {
            &mut uncounted.failed
        } else {
            continue;
        };
        let list = list.get_or_insert_default();
        if !list.contains(&uid) {
            list.push(uid);
        }
        plan.release.push(pod.clone());
    }
    if is_indexed(job) {
        status.succeeded = Some(completed.len() as i32).filter(|count| *count != 0);
        status.completed_indexes = Some(indexes::format(&completed)).filter(|text| !text.is_empty());
    }
    status.uncounted_terminated_pods = Some(uncounted);
}

/// (succeeded, failed), with those whose counting is under way.
fn totals(status: &JobStatus) -> (i32, i32) {
    let waiting = status.uncounted_terminated_pods.as_ref();
    let length = |list: Option<&Vec<String>>| list.map_or(0, |list| list.len() as i32);
    (
        status.succeeded.unwrap_or(0) + length(waiting.and_then(|one| one.succeeded.as_ref())),
        status.failed.unwrap_or(0) + length(waiting.and_then(|one| one.failed.as_ref())),
    )
}

type Outcome = (&'static str, String, String);

/// Whether the Job has come to its end: `FailureTarget` or `SuccessCriteriaMet`, with reason and message.
fn outcome(job: &Job, status: &JobStatus, pods: &[Arc<Pod>], active: &[Arc<Pod>], now: Timestamp) -> Option<Outcome> {
    let decided = status
        .conditions
        .iter()
        .flatten()
        .find(|one| one.status == "True" && matches!(one.type_.as_str(), "FailureTarget" | "SuccessCriteriaMet"));
    if let Some(decided) = decided {
        let type_ = if decided.type_ == "FailureTarget" { "FailureTarget" } else { "SuccessCriteriaMet" };
        return Some((type_, decided.reason.clone().unwrap_or_default(), decided.message.clone().unwrap_or_default()));
    }
    let spec = job.spec.as_ref()?;
    let (succeeded, failed) = totals(status);
    let limit = spec.backoff_limit.unwrap_or(6);
    let failure = |reason: &str, message: &str| Some(("FailureTarget", reason.to_owned(), message.to_owned()));
    if failed > limit || restarts_exceed(job, pods, limit) {
        return failure("BackoffLimitExceeded", "Job has reached the specified backoff limit");
    }
    if until_deadline(job, status, now).is_some_and(|left| left.is_zero()) {
        return failure("DeadlineExceeded", "Job was active longer than specified deadline");
    }
    let complete = match spec.completions {
        Some(completions) => succeeded >= completions,
        // A work queue is done when one pod says so and the others have ended.
        None => succeeded > 0 && active.is_empty(),
    };
    let met =
        || ("SuccessCriteriaMet", "CompletionsReached".into(), "Reached expected number of succeeded pods".into());
    complete.then(met)
}

/// With `OnFailure` the pods stay and their containers' restarts count.
fn restarts_exceed(job: &Job, pods: &[Arc<Pod>], limit: i32) -> bool {
    let spec = job.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
    if spec.and_then(|spec| spec.restart_policy.as_deref()) != Some("OnFailure") {
        return false;
    }
    let restarts: i32 = pods
        .iter()
        .flat_map(|pod| pod.status.iter())
        .flat_map(|status| {
            status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten())
        })
        .map(|status| status.restart_count)
        .sum();
    if limit == 0 { restarts > 0 } else { restarts >= limit }
}

fn until_deadline(job: &Job, status: &JobStatus, now: Timestamp) -> Option<Duration> {
    let seconds = job.spec.as_ref()?.active_deadline_seconds?;
    let since = now.duration_since(status.start_time.as_ref()?.0);
    let limit = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    Some(limit.saturating_sub(Duration::try_from(since).unwrap_or_default()))
}

/// Ends the Job: its pods go, and once the last is counted the final condition is set.
fn finish(
    plan: &mut Plan,
    active: &[Arc<Pod>],
    terminating: usize,
    type_: &str,
    reason: &str,
    message: &str,
    now: Timestamp,
) {
    set(&mut plan.status, type_, "True", reason, message, now);
    plan.abort = active.to_vec();
    let all_counted = plan.release.is_empty() && active.is_empty() && terminating == 0;
    if all_counted {
        let last = if type_ == "FailureTarget" { "Failed" } else { "Complete" };
        set(&mut plan.status, last, "True", reason, message, now);
        if last == "Complete" && plan.status.completion_time.is_none() {
            plan.status.completion_time = Some(Time(now));
        }
    }
}

/// Creates or removes pods so that as many run as the Job asks for.
fn manage(job: &Job, active: &[Arc<Pod>], backoff: Duration, now: Timestamp, plan: &mut Plan) {
    let Some(spec) = &job.spec else { return };
    let (succeeded, _) = totals(&plan.status);
    let parallelism = spec.parallelism.unwrap_or(1);
    let wanted = match spec.completions {
        None if succeeded > 0 => active.len() as i32,
        None => parallelism,
        Some(completions) => parallelism.min((completions - succeeded).max(0)),
    };
    let missing = wanted - active.len() as i32;
    if missing < 0 {
        let surplus = usize::try_from(-missing).unwrap_or(0);
        plan.discard = rank(active.to_vec(), active, now).into_iter().take(surplus).collect();
    } else if missing > 0 && !backoff.is_zero() {
        plan.look_again = Some(backoff);
    } else {
        let count = usize::try_from(missing).unwrap_or(0).min(BURST);
        plan.create = if is_indexed(job) {
            let taken: BTreeSet<i32> = active.iter().filter_map(|pod| index_of(pod)).collect();
            let done = indexes::parse(plan.status.completed_indexes.as_deref().unwrap_or_default());
            let free =
                (0..spec.completions.unwrap_or(0)).filter(|index| !taken.contains(index) && !done.contains(index));
            free.take(count).map(Some).collect()
        } else {
            vec![None; count]
        };
    }
}

fn set(status: &mut JobStatus, type_: &str, value: &str, reason: &str, message: &str, now: Timestamp) {
    let conditions = status.conditions.get_or_insert_default();
    let known = conditions.iter_mut().find(|one| one.type_ == type_);
    if known.as_ref().is_some_and(|known| known.status == value) {
        return;
    }
    let new = JobCondition {
        type_: type_.into(),
        status: value.into(),
        reason: Some(reason.into()),
        message: Some(message.into()),
        last_probe_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    };
    match known {
        Some(known) => *known = new,
        None => conditions.push(new),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::pods::TRACKING;
    use serde_json::{Value, json};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    fn job(spec: Value) -> Job {
        let mut spec = spec;
        spec["template"] = json!({"spec": {"containers": [], "restartPolicy": "Never"}});
        serde_json::from_value(json!({"metadata": {"name": "sum", "uid": "j"}, "spec": spec})).expect("a job")
    }

    fn pod(name: &str, phase: &str, tracked: bool, index: Option<i32>) -> Arc<Pod> {
        let mut value = json!({"metadata": {"name": name, "uid": name}, "status": {"phase": phase}});
        if tracked {
            value["metadata"]["finalizers"] = json!([TRACKING]);
        }
        if let Some(index) = index {
            value["metadata"]["annotations"] = json!({"batch.kubernetes.io/job-completion-index": index.to_string()});
        }
        Arc::new(serde_json::from_value(value).expect("a pod"))
    }

    fn step(job: &mut Job, pods: &[Arc<Pod>], second: i64) -> Plan {
        let plan = plan(job, pods, true, Duration::ZERO, at(second));
        job.status = Some(plan.status.clone());
        plan
    }

    fn true_conditions(job: &Job) -> Vec<String> {
        let conditions = job.status.iter().flat_map(|status| status.conditions.iter().flatten());
        conditions.filter(|one| one.status == "True").map(|one| one.type_.clone()).collect()
    }

    #[test]
    fn each_end_is_counted_once_and_the_last_one_completes() {
        let mut job = job(json!({"completions": 2, "parallelism": 2, "backoffLimit": 6}));
        assert_eq!(step(&mut job, &[], 0).create, [None, None]);
        let ended = step(&mut job, &[pod("a", "Succeeded", true, None), pod("b", "Failed", true, None)], 1);
        assert_eq!((ended.release.len(), ended.create.len()), (2, 1));
        assert_eq!((ended.status.succeeded, ended.status.failed), (None, None), "noted, not counted yet");
        let counted = step(
            &mut job,
            &[pod("a", "Succeeded", false, None), pod("b", "Failed", false, None), pod("c", "Running", true, None)],
            2,
        );
        assert_eq!(
            (counted.status.succeeded, counted.status.failed, counted.status.active),
            (Some(1), Some(1), Some(1))
        );
        step(&mut job, &[pod("c", "Succeeded", true, None)], 3);
        assert_eq!(true_conditions(&job), ["SuccessCriteriaMet"]);
        step(&mut job, &[pod("c", "Succeeded", false, None)], 4);
        assert_eq!(true_conditions(&job), ["SuccessCriteriaMet", "Complete"]);
        assert_eq!(job.status.as_ref().and_then(|status| status.succeeded), Some(2));
    }

    #[test]
    fn too_many_failures_end_it() {
        let mut job = job(json!({"completions": 1, "parallelism": 2, "backoffLimit": 0}));
        let failed = step(&mut job, &[pod("a", "Failed", true, None), pod("b", "Running", true, None)], 0);
        assert_eq!((failed.abort.len(), failed.create.len()), (1, 0));
        step(&mut job, &[pod("a", "Failed", false, None)], 1);
        assert_eq!(true_conditions(&job), ["FailureTarget", "Failed"]);
    }

    #[test]
    fn a_deadline_is_kept_and_waited_for() {
        let mut job = job(json!({"completions": 1, "parallelism": 1, "activeDeadlineSeconds": 10}));
        let running = [pod("a", "Running", true, None)];
        assert_eq!(step(&mut job, &running, 4).look_again, Some(Duration::from_secs(10)));
        assert_eq!(step(&mut job, &running, 14).abort.len(), 1);
        assert_eq!(true_conditions(&job), ["FailureTarget"]);
    }

    #[test]
    fn indexes_are_filled_from_the_lowest() {
        let mut job = job(json!({"completions": 4, "parallelism": 2, "completionMode": "Indexed"}));
        let pods = [pod("a", "Succeeded", true, Some(0)), pod("b", "Running", true, Some(2))];
        let planned = step(&mut job, &pods, 0);
        assert_eq!(planned.create, [Some(1)]);
        assert_eq!((planned.status.completed_indexes.as_deref(), planned.status.succeeded), (Some("0"), Some(1)));
    }

    #[test]
    fn a_suspended_job_has_no_pods() {
        let mut job = job(json!({"completions": 1, "parallelism": 1, "suspend": true}));
        assert_eq!(step(&mut job, &[pod("a", "Running", true, None)], 0).discard.len(), 1);
        assert_eq!(true_conditions(&job), ["Suspended"]);
        if let Some(spec) = &mut job.spec {
            spec.suspend = Some(false);
        }
        assert_eq!(step(&mut job, &[], 5).create, [None]);
        assert_eq!(job.status.as_ref().and_then(|status| status.start_time.clone()), Some(Time(at(5))));
    }
}
