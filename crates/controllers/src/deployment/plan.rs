//! What a deployment needs next. Pure.
//!
//! upstream: pkg/controller/deployment/{deployment_controller,sync,rolling,recreate}.go

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus, ReplicaSet};
use k8s_openapi::jiff::Timestamp;

use super::conditions::{self, PAUSED, PROGRESSING, RESUMED, condition};
use super::proportion;
use super::replica_sets::{Planned, ReplicaSets, new_replica_set};
use super::revision;
use super::rolling::{desired, newest_replicas, reconcile_newest, reconcile_old};
use super::status;

/// Old ReplicaSets that are kept when the deployment does not say.
const DEFAULT_HISTORY: i32 = 10;

/// Everything one pass changes.
#[derive(Debug)]
pub struct Plan {
    /// ReplicaSets as they shall be, among them perhaps a new one.
    pub sets: ReplicaSets,
    /// Old ReplicaSets that nobody needs to roll back to any more.
    pub delete: Vec<Arc<ReplicaSet>>,
    /// The revision the deployment is at.
    pub revision: Option<i64>,
    /// The status to write.
    pub status: DeploymentStatus,
}

/// Whether the deployment removes all old pods before it makes new ones.
pub fn is_recreate(deployment: &Deployment) -> bool {
    deployment.spec.strategy.as_ref().and_then(|strategy| strategy.type_.as_deref()) == Some("Recreate")
}

fn is_paused(deployment: &Deployment) -> bool {
    deployment.spec.paused.unwrap_or(false)
}

/// Plans a pass. `old_pods_run` tells whether any pod of an old ReplicaSet still runs (for Recreate).
pub fn plan(
    deployment: &Deployment,
    owned: Vec<Arc<ReplicaSet>>,
    old_pods_run: impl Fn(&ReplicaSets) -> bool,
    now: Timestamp,
) -> Plan {
    let mut deployment = deployment.clone();
    let mut sets = ReplicaSets::of(&deployment, owned);
    if deployment.metadata.deletion_timestamp.is_some() {
        let status = status::calculate(&deployment, &sets, now);
        return Plan { sets, delete: Vec::new(), revision: None, status };
    }
    note_pause(&mut deployment, now);
    let revision = note_revision(&mut deployment, &mut sets, now);
    if is_paused(&deployment) || is_being_scaled(&deployment, &sets) {
        proportion::scale(&deployment, &mut sets);
        let delete = if is_paused(&deployment) { superfluous(&deployment, &sets) } else { Vec::new() };
        let status = status::calculate(&deployment, &sets, now);
        return Plan { sets, delete, revision, status };
    }
    let revision = if is_recreate(&deployment) {
        recreate(&mut deployment, &mut sets, old_pods_run, revision, now)
    } else {
        let revision = ensure_newest(&mut deployment, &mut sets, revision, now);
        let _ = reconcile_newest(&deployment, &mut sets) || reconcile_old(&deployment, &mut sets);
        revision
    };
    let status = status::of_rollout(&deployment, &sets, now);
    let done = status::is_complete(&deployment, &status);
    let delete = if done { superfluous(&deployment, &sets) } else { Vec::new() };
    Plan { sets, delete, revision, status }
}

fn recreate(
    deployment: &mut Deployment,
    sets: &mut ReplicaSets,
    old_pods_run: impl Fn(&ReplicaSets) -> bool,
    revision: Option<i64>,
    now: Timestamp,
) -> Option<i64> {
    let mut scaled = false;
    for old in sets.old.iter_mut().filter(|old| old.replicas() > 0) {
        old.scale(deployment, 0);
        scaled = true;
    }
    if scaled || old_pods_run(sets) {
        return revision;
    }
    let revision = ensure_newest(deployment, sets, revision, now);
    reconcile_newest(deployment, sets);
    revision
}

/// A pause and its end are seen in the Progressing condition, and stop the clock of the deadline.
fn note_pause(deployment: &mut Deployment, now: Timestamp) {
    if status::deadline(deployment).is_none() {
        return;
    }
    let paused = is_paused(deployment);
    let status = deployment.status.get_or_insert_default();
    let reason = conditions::get(status, PROGRESSING).and_then(|one| one.reason.clone());
    if reason.as_deref() == Some(super::conditions::TIMED_OUT) {
        return;
    }
    let was_paused = reason.as_deref() == Some(PAUSED);
    if paused && !was_paused {
        conditions::set(status, condition(PROGRESSING, "Unknown", PAUSED, "Deployment is paused", now));
    } else if !paused && was_paused {
        conditions::set(status, condition(PROGRESSING, "Unknown", RESUMED, "Deployment is resumed", now));
    }
}

/// Gives the ReplicaSet of the current template, if it exists, the highest revision.
fn note_revision(deployment: &mut Deployment, sets: &mut ReplicaSets, now: Timestamp) -> Option<i64> {
    let highest = revision::highest(sets.old.iter().map(|old| &old.after)) + 1;
    let newest = sets.newest.as_mut()?;
    revision::set_on_newest(deployment, &mut newest.after, highest);
    newest.after.spec.min_ready_seconds = deployment.spec.min_ready_seconds;
    let message = format!("Found new replica set {:?}", newest.name());
    let revision = revision::of(&newest.after.metadata);
    note_first_progress(deployment, "FoundNewReplicaSet", &message, now);
    Some(revision)
}

fn note_first_progress(deployment: &mut Deployment, reason: &str, message: &str, now: Timestamp) {
    if status::deadline(deployment).is_some() {
        let status = deployment.status.get_or_insert_default();
        if reason == "NewReplicaSetCreated" || conditions::get(status, PROGRESSING).is_none() {
            conditions::set(status, condition(PROGRESSING, "True", reason, message, now));
        }
    }
}

/// Makes the ReplicaSet of the current template when there is none.
fn ensure_newest(
    deployment: &mut Deployment,
    sets: &mut ReplicaSets,
    known: Option<i64>,
    now: Timestamp,
) -> Option<i64> {
    if sets.newest.is_some() {
        return known;
    }
    let revision = revision::highest(sets.old.iter().map(|old| &old.after)) + 1;
    let mut made = Planned { before: None, after: new_replica_set(deployment, revision)? };
    let replicas = newest_replicas(deployment, sets);
    made.scale(deployment, replicas);
    let message = format!("Created new replica set {:?}", made.name());
    note_first_progress(deployment, "NewReplicaSetCreated", &message, now);
    sets.newest = Some(made);
    Some(revision)
}

/// Whether the number of replicas changed since an active ReplicaSet was last scaled.
fn is_being_scaled(deployment: &Deployment, sets: &ReplicaSets) -> bool {
    let wanted = desired(deployment);
    let mut active = sets.all().filter(|one| one.replicas() > 0);
    active.any(|one| revision::desired_replicas(&one.after).is_some_and(|noted| noted != wanted))
}

/// Old ReplicaSets beyond the history limit, the oldest revisions first.
fn superfluous(deployment: &Deployment, sets: &ReplicaSets) -> Vec<Arc<ReplicaSet>> {
    let limit = deployment.spec.revision_history_limit.unwrap_or(DEFAULT_HISTORY);
    if limit == i32::MAX {
        return Vec::new();
    }
    let mut old: Vec<&Planned> =
        sets.old.iter().filter(|one| one.after.metadata.deletion_timestamp.is_none()).collect();
    let surplus = old.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
    old.sort_by_key(|one| revision::of(&one.after.metadata));
    let idle = |one: &&&Planned| {
        let observed = one.after.status.as_ref().and_then(|status| status.observed_generation);
        one.actual() == 0 && one.replicas() == 0 && one.after.metadata.generation <= observed
    };
    old.iter().take(surplus).filter(idle).filter_map(|one| one.before.clone()).collect()
}
