//! The conditions of a deployment (upstream: pkg/controller/deployment/util/deployment_util.go).

use k8s_openapi::api::apps::v1::{DeploymentCondition, DeploymentStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

/// At least the required number of pods is available.
pub const AVAILABLE: &str = "Available";
/// The rollout moves on.
pub const PROGRESSING: &str = "Progressing";
/// Pods cannot be created or deleted.
pub const REPLICA_FAILURE: &str = "ReplicaFailure";

/// Reason of a complete rollout.
pub const NEW_RS_AVAILABLE: &str = "NewReplicaSetAvailable";
/// Reason of a rollout that moved.
pub const RS_UPDATED: &str = "ReplicaSetUpdated";
/// Reason of a rollout that stopped moving.
pub const TIMED_OUT: &str = "ProgressDeadlineExceeded";
/// Reason while paused.
pub const PAUSED: &str = "DeploymentPaused";
/// Reason after a pause.
pub const RESUMED: &str = "DeploymentResumed";

/// A condition that changes now.
pub fn condition(type_: &str, status: &str, reason: &str, message: &str, now: Timestamp) -> DeploymentCondition {
    DeploymentCondition {
        type_: Some(type_.into()),
        status: Some(status.into()),
        reason: Some(reason.into()),
        message: Some(message.into()),
        last_update_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    }
}

/// The condition of a type.
pub fn get<'a>(status: &'a DeploymentStatus, type_: &str) -> Option<&'a DeploymentCondition> {
    status.conditions.iter().flatten().find(|one| one.type_.as_deref() == Some(type_))
}

/// Puts a condition in place of the one of its type, unless that says the same already.
pub fn set(status: &mut DeploymentStatus, mut new: DeploymentCondition) {
    let old = get(status, new.type_.as_deref().unwrap_or_default());
    if let Some(old) = old {
        if old.status == new.status && old.reason == new.reason {
            return;
        }
        if old.status == new.status {
            new.last_transition_time = old.last_transition_time.clone();
        }
    }
    remove(status, new.type_.as_deref().unwrap_or_default());
    status.conditions.get_or_insert_default().push(new);
}

/// Removes the condition of a type.
pub fn remove(status: &mut DeploymentStatus, type_: &str) {
    if let Some(conditions) = &mut status.conditions {
        conditions.retain(|one| one.type_.as_deref() != Some(type_));
        if conditions.is_empty() {
            status.conditions = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_transition_time_moves_with_the_status_alone() {
        let at = |second| Timestamp::from_second(second).expect("a time");
        let mut status = DeploymentStatus::default();
        set(&mut status, condition(PROGRESSING, "True", RS_UPDATED, "", at(1)));
        set(&mut status, condition(PROGRESSING, "True", NEW_RS_AVAILABLE, "", at(2)));
        let one = get(&status, PROGRESSING).expect("set");
        assert_eq!(
            (one.last_transition_time.clone(), one.last_update_time.clone()),
            (Some(Time(at(1))), Some(Time(at(2))))
        );
        set(&mut status, condition(PROGRESSING, "False", TIMED_OUT, "", at(3)));
        assert_eq!(get(&status, PROGRESSING).expect("set").last_transition_time, Some(Time(at(3))));
    }
}
