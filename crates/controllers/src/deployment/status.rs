//! What a deployment's status says (upstream: pkg/controller/deployment/{sync,progress}.go).

use std::time::Duration;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition, DeploymentStatus};
use k8s_openapi::jiff::Timestamp;

use super::conditions::{
    self, AVAILABLE, NEW_RS_AVAILABLE, PROGRESSING, REPLICA_FAILURE, RS_UPDATED, TIMED_OUT, condition,
};
use super::replica_sets::{Planned, ReplicaSets};
use super::rolling::{desired, max_unavailable};

/// `i32::MAX` seconds mean no deadline.
pub fn deadline(deployment: &Deployment) -> Option<Duration> {
    let seconds = deployment.spec.progress_deadline_seconds?;
    (seconds != i32::MAX).then(|| Duration::from_secs(seconds.unsigned_abs().into()))
}

/// The counts, and whether enough is available.
pub fn calculate(deployment: &Deployment, sets: &ReplicaSets, now: Timestamp) -> DeploymentStatus {
    let old = deployment.status.clone().unwrap_or_default();
    let available = sets.sum(Planned::available);
    let count = |number: i32| (number != 0).then_some(number);
    let terminating = sets.all().map(|one| one.after.status.as_ref().and_then(|status| status.terminating_replicas));
    let mut status = DeploymentStatus {
        observed_generation: deployment.metadata.generation,
        replicas: count(sets.sum(Planned::actual)),
        updated_replicas: count(sets.newest.as_ref().map_or(0, Planned::actual)),
        ready_replicas: count(sets.sum(Planned::ready)),
        available_replicas: count(available),
        unavailable_replicas: count((sets.sum(Planned::replicas) - available).max(0)),
        terminating_replicas: terminating.collect::<Option<Vec<i32>>>().map(|each| each.into_iter().sum()),
        collision_count: old.collision_count,
        conditions: old.conditions,
    };
    let enough = available >= desired(deployment) - max_unavailable(deployment);
    conditions::set(
        &mut status,
        if enough {
            condition(AVAILABLE, "True", "MinimumReplicasAvailable", "Deployment has minimum availability.", now)
        } else {
            condition(
                AVAILABLE,
                "False",
                "MinimumReplicasUnavailable",
                "Deployment does not have minimum availability.",
                now,
            )
        },
    );
    status
}

/// As [`calculate`], with what is known of the rollout's progress and of failures.
pub fn of_rollout(deployment: &Deployment, sets: &ReplicaSets, now: Timestamp) -> DeploymentStatus {
    let mut status = calculate(deployment, sets, now);
    let current = conditions::get(&status, PROGRESSING).cloned();
    let was_complete = status.replicas == status.updated_replicas
        && current.as_ref().is_some_and(|one| one.reason.as_deref() == Some(NEW_RS_AVAILABLE));
    match deadline(deployment) {
        None => conditions::remove(&mut status, PROGRESSING),
        Some(deadline) if !was_complete => judge_progress(deployment, sets, &mut status, current, deadline, now),
        Some(_) => {}
    }
    match replica_failure(sets) {
        Some(failure) => conditions::set(&mut status, failure),
        None => conditions::remove(&mut status, REPLICA_FAILURE),
    }
    status
}

fn judge_progress(
    deployment: &Deployment,
    sets: &ReplicaSets,
    status: &mut DeploymentStatus,
    current: Option<DeploymentCondition>,
    deadline: Duration,
    now: Timestamp,
) {
    let subject = match &sets.newest {
        Some(newest) => format!("ReplicaSet {:?}", newest.name()),
        None => format!("Deployment {:?}", deployment.metadata.name.as_deref().unwrap_or_default()),
    };
    if is_complete(deployment, status) {
        let message = format!("{subject} has successfully progressed.");
        conditions::set(status, condition(PROGRESSING, "True", NEW_RS_AVAILABLE, &message, now));
    } else if has_moved(deployment, status) {
        let mut moved = condition(PROGRESSING, "True", RS_UPDATED, &format!("{subject} is progressing."), now);
        if let Some(current) = current.filter(|one| one.status.as_deref() == Some("True")) {
            moved.last_transition_time = current.last_transition_time;
        }
        // Even with the same reason: the time of the last move starts the deadline anew.
        conditions::remove(status, PROGRESSING);
        conditions::set(status, moved);
    } else if has_timed_out(current.as_ref(), deadline, now) {
        let message = format!("{subject} has timed out progressing.");
        conditions::set(status, condition(PROGRESSING, "False", TIMED_OUT, &message, now));
    }
}

/// Whether every wanted pod is of the newest revision and available.
pub fn is_complete(deployment: &Deployment, status: &DeploymentStatus) -> bool {
    let wanted = desired(deployment);
    [status.updated_replicas, status.replicas, status.available_replicas].iter().all(|one| one.unwrap_or(0) == wanted)
        && status.observed_generation >= deployment.metadata.generation
}

fn has_moved(deployment: &Deployment, new: &DeploymentStatus) -> bool {
    let old = deployment.status.clone().unwrap_or_default();
    let number = |field: Option<i32>| field.unwrap_or(0);
    let not_updated = |status: &DeploymentStatus| number(status.replicas) - number(status.updated_replicas);
    number(new.updated_replicas) > number(old.updated_replicas)
        || not_updated(new) < not_updated(&old)
        || number(new.ready_replicas) > number(old.ready_replicas)
        || number(new.available_replicas) > number(old.available_replicas)
}

fn has_timed_out(current: Option<&DeploymentCondition>, deadline: Duration, now: Timestamp) -> bool {
    let Some(current) = current else { return false };
    match current.reason.as_deref() {
        Some(NEW_RS_AVAILABLE) => false,
        Some(TIMED_OUT) => true,
        _ => time_left(current, deadline, now).is_some_and(|left| left.is_zero()),
    }
}

fn time_left(current: &DeploymentCondition, deadline: Duration, now: Timestamp) -> Option<Duration> {
    let since = now.duration_since(current.last_update_time.as_ref()?.0);
    Some(deadline.saturating_sub(Duration::try_from(since).unwrap_or_default()))
}

/// When to look again whether the rollout is stuck.
pub fn next_check(deployment: &Deployment, status: &DeploymentStatus, now: Timestamp) -> Option<Duration> {
    let current = conditions::get(status, PROGRESSING)?;
    let settled = current.reason.as_deref() == Some(TIMED_OUT) || is_complete(deployment, status);
    if settled || current.reason.as_deref() == Some(NEW_RS_AVAILABLE) {
        return None;
    }
    // A second more, as the times of conditions are whole seconds.
    Some(time_left(current, deadline(deployment)?, now)? + Duration::from_secs(1))
}

/// The newest ReplicaSet's failure, or an old one's.
fn replica_failure(sets: &ReplicaSets) -> Option<DeploymentCondition> {
    let found = sets.newest.iter().chain(&sets.old).find_map(|one| {
        let conditions = one.after.status.as_ref()?.conditions.as_ref()?;
        conditions.iter().find(|condition| condition.type_.as_deref() == Some(REPLICA_FAILURE)).cloned()
    })?;
    Some(DeploymentCondition {
        type_: found.type_,
        status: found.status,
        reason: found.reason,
        message: found.message,
        last_update_time: found.last_transition_time.clone(),
        last_transition_time: found.last_transition_time,
    })
}
