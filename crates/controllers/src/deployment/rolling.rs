//! How many pods of which revision a rolling update asks for next.
//!
//! upstream: pkg/controller/deployment/rolling.go, util/deployment_util.go

use k8s_openapi::api::apps::v1::{Deployment, DeploymentStrategy, RollingUpdateDeployment};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::plan::is_recreate;
use super::replica_sets::{Planned, ReplicaSets};
use crate::int_or_percent::{Round, scaled};

/// The replicas a deployment wants.
pub fn desired(deployment: &Deployment) -> i32 {
    deployment.spec.replicas.unwrap_or(1)
}

/// How many more there may be during an update.
pub fn max_surge(deployment: &Deployment) -> i32 {
    if is_recreate(deployment) { 0 } else { fenceposts(deployment).0 }
}

/// How many fewer may be available during an update.
pub fn max_unavailable(deployment: &Deployment) -> i32 {
    if is_recreate(deployment) || desired(deployment) == 0 {
        return 0;
    }
    fenceposts(deployment).1.min(desired(deployment))
}

/// Surge is rounded up and unavailable down; both may not be 0, or nothing could move.
fn fenceposts(deployment: &Deployment) -> (i32, i32) {
    let strategy: Option<&DeploymentStrategy> = deployment.spec.strategy.as_ref();
    let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
    let quarter = IntOrString::String("25%".into());
    let value = |of: fn(&RollingUpdateDeployment) -> &Option<IntOrString>, round| {
        let value = rolling.and_then(|rolling| of(rolling).as_ref()).unwrap_or(&quarter);
        scaled(value, desired(deployment), round).unwrap_or(0)
    };
    let surge = value(|rolling| &rolling.max_surge, Round::Up);
    match value(|rolling| &rolling.max_unavailable, Round::Down) {
        0 if surge == 0 => (0, 1),
        unavailable => (surge, unavailable),
    }
}

/// How many replicas the newest ReplicaSet shall have now.
pub fn newest_replicas(deployment: &Deployment, sets: &ReplicaSets) -> i32 {
    let wanted = desired(deployment);
    let there = sets.newest.as_ref().map_or(0, Planned::replicas);
    if is_recreate(deployment) {
        return wanted;
    }
    let room = wanted + max_surge(deployment) - sets.sum(Planned::replicas);
    if room <= 0 { there } else { there + room.min(wanted - there) }
}

/// Moves the newest ReplicaSet towards what is wanted; true when it changed.
pub fn reconcile_newest(deployment: &Deployment, sets: &mut ReplicaSets) -> bool {
    let wanted = desired(deployment);
    let target = match &sets.newest {
        None => return false,
        Some(newest) if newest.replicas() == wanted => return false,
        Some(newest) if newest.replicas() > wanted => wanted,
        Some(_) => newest_replicas(deployment, sets),
    };
    match &mut sets.newest {
        Some(newest) if newest.replicas() != target => {
            newest.scale(deployment, target);
            true
        }
        _ => false,
    }
}

/// Takes from the old ReplicaSets what the budget allows, pods that do not work first; true when something changed.
pub fn reconcile_old(deployment: &Deployment, sets: &mut ReplicaSets) -> bool {
    if sets.old_replicas() == 0 {
        return false;
    }
    let min_available = desired(deployment) - max_unavailable(deployment);
    let newest_unavailable = sets.newest.as_ref().map_or(0, |newest| newest.replicas() - newest.available());
    let budget = sets.sum(Planned::replicas) - min_available - newest_unavailable;
    if budget <= 0 {
        return false;
    }
    let unhealthy = scale_down(deployment, &mut sets.old, budget, |old| old.replicas() - old.available());
    let spare = sets.sum(Planned::available) - min_available;
    let healthy = scale_down(deployment, &mut sets.old, spare, Planned::replicas);
    unhealthy + healthy > 0
}

/// Takes up to `budget` replicas, from the oldest first, of each at most `limit`.
fn scale_down(deployment: &Deployment, old: &mut [Planned], budget: i32, limit: impl Fn(&Planned) -> i32) -> i32 {
    let mut taken = 0;
    for one in old.iter_mut() {
        let count = limit(one).min(one.replicas()).min(budget - taken);
        if count > 0 {
            one.scale(deployment, one.replicas() - count);
            taken += count;
        }
    }
    taken
}
