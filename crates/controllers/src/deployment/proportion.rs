//! Scaling in the middle of a rollout: every revision gets its share (upstream: pkg/controller/deployment/sync.go `scale`).

use std::cmp::Reverse;

use k8s_openapi::api::apps::v1::Deployment;

use super::plan::is_recreate;
use super::replica_sets::{Planned, ReplicaSets};
use super::revision;
use super::rolling::{desired, max_surge};

/// Brings the ReplicaSets to the deployment's number of replicas without moving the rollout on.
pub fn scale(deployment: &Deployment, sets: &mut ReplicaSets) {
    let wanted = desired(deployment);
    if let Some(single) = active_or_latest(sets) {
        if single.replicas() != wanted {
            single.scale(deployment, wanted);
        }
        return;
    }
    if is_saturated(deployment, sets) {
        sets.old.iter_mut().filter(|old| old.replicas() > 0).for_each(|old| old.scale(deployment, 0));
        return;
    }
    if !is_recreate(deployment) {
        share(deployment, sets);
    }
}

/// The only active one, or with none active the newest (of the old ones the last).
fn active_or_latest(sets: &mut ReplicaSets) -> Option<&mut Planned> {
    match sets.all().filter(|one| one.replicas() > 0).count() {
        0 if sets.newest.is_some() => sets.newest.as_mut(),
        0 => sets.old.last_mut(),
        1 => sets.all_mut().find(|one| one.replicas() > 0),
        _ => None,
    }
}

fn is_saturated(deployment: &Deployment, sets: &ReplicaSets) -> bool {
    let wanted = desired(deployment);
    sets.newest.as_ref().is_some_and(|newest| {
        newest.replicas() == wanted
            && revision::desired_replicas(&newest.after) == Some(wanted)
            && newest.available() == wanted
    })
}

fn share(deployment: &Deployment, sets: &mut ReplicaSets) {
    let wanted = desired(deployment);
    let allowed = if wanted > 0 { wanted + max_surge(deployment) } else { 0 };
    let to_add = allowed - sets.sum(Planned::replicas);
    let written = deployment.status.as_ref().and_then(|status| status.replicas).unwrap_or(0);
    // `all_mut` gives the oldest first; the stable sort keeps that among equals, and growth starts at the newest.
    let mut active: Vec<&mut Planned> = sets.all_mut().filter(|one| one.replicas() > 0).collect();
    if to_add > 0 {
        active.reverse();
    }
    active.sort_by_key(|one| Reverse(one.replicas()));
    let mut added = 0;
    let mut sizes: Vec<i32> = Vec::new();
    for one in &active {
        let part = proportion(one, allowed, written, to_add, added);
        added += part;
        sizes.push(one.replicas() + part);
    }
    // What rounding left goes to the largest.
    if let Some(first) = sizes.first_mut() {
        *first = (*first + to_add - added).max(0);
    }
    for (one, size) in active.into_iter().zip(sizes) {
        one.scale(deployment, size);
    }
}

/// The share of one ReplicaSet in what is to be added (or, below 0, taken).
fn proportion(one: &Planned, allowed: i32, written: i32, to_add: i32, added: i32) -> i32 {
    if to_add == 0 || to_add == added {
        return 0;
    }
    let fraction = if allowed == 0 {
        -one.replicas()
    } else {
        let before = revision::max_replicas(&one.after).filter(|max| *max > 0).unwrap_or(written).max(1);
        let size = f64::from(one.replicas()) * f64::from(allowed) / f64::from(before);
        size.round() as i32 - one.replicas()
    };
    let left = to_add - added;
    if to_add > 0 { fraction.min(left) } else { fraction.max(left) }
}
