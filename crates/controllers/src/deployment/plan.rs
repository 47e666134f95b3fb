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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::conditions::get;
    use serde_json::{Value, json};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    /// A deployment and what a ReplicaSet controller and kubelets would make of its plans.
    struct World {
        deployment: Deployment,
        sets: Vec<Arc<ReplicaSet>>,
        second: i64,
    }

    impl World {
        fn new(replicas: i32, strategy: Value) -> Self {
            let deployment = serde_json::from_value(json!({
                "metadata": {"name": "web", "namespace": "default", "uid": "d", "generation": 1},
                "spec": {"replicas": replicas, "strategy": strategy, "progressDeadlineSeconds": 600, "revisionHistoryLimit": 10,
                         "selector": {"matchLabels": {"app": "web"}}, "template": {"metadata": {"labels": {"app": "web"}}}},
            }))
            .expect("a deployment");
            Self { deployment, sets: Vec::new(), second: 0 }
        }

        fn image(&mut self, image: &str) {
            let template = json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": image}]}});
            self.deployment.spec.template = serde_json::from_value(template).expect("a template");
            self.touch();
        }

        fn touch(&mut self) {
            self.deployment.metadata.generation = self.deployment.metadata.generation.map(|number| number + 1);
        }

        /// One pass; true when it changed a ReplicaSet.
        fn step(&mut self) -> bool {
            self.second += 1;
            let planned = plan(
                &self.deployment,
                self.sets.clone(),
                |sets| sets.old.iter().any(|old| old.actual() > 0),
                at(self.second),
            );
            let changed = planned.sets.all().any(Planned::is_changed);
            let mut sets: Vec<Arc<ReplicaSet>> = Vec::new();
            for one in planned.sets.all() {
                let mut after = one.after.clone();
                after
                    .metadata
                    .creation_timestamp
                    .get_or_insert(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(self.second)));
                after.metadata.uid.get_or_insert_with(|| one.name().to_owned());
                sets.push(Arc::new(after));
            }
            sets.retain(|set| !planned.delete.iter().any(|gone| gone.metadata.name == set.metadata.name));
            self.sets = sets;
            self.deployment.status = Some(planned.status);
            changed
        }

        /// The pods that were asked for are there; those of sets whose image is listed as broken are not available.
        fn settle(&mut self, broken: &str) {
            for set in &mut self.sets {
                let mut changed = (**set).clone();
                let replicas = changed.spec.replicas.unwrap_or(0);
                let text = serde_json::to_string(&changed.spec.template).unwrap_or_default();
                let works = broken.is_empty() || !text.contains(broken);
                let status = changed.status.get_or_insert_default();
                status.replicas = replicas;
                status.ready_replicas = Some(if works { replicas } else { 0 });
                status.available_replicas = status.ready_replicas;
                *set = Arc::new(changed);
            }
        }

        /// Sizes of the sets, the oldest first.
        fn sizes(&self) -> Vec<i32> {
            let mut sets = self.sets.clone();
            sets.sort_by_key(|set| set.metadata.creation_timestamp.clone().map(|time| time.0));
            sets.iter().map(|set| set.spec.replicas.unwrap_or(0)).collect()
        }

        /// Steps until nothing changes; the sizes after each.
        fn run(&mut self, broken: &str) -> String {
            let mut seen = Vec::new();
            for _ in 0..50 {
                let changed = self.step();
                if changed {
                    let sizes: Vec<String> = self.sizes().iter().map(i32::to_string).collect();
                    seen.push(sizes.join("+"));
                }
                let before = self.sets.clone();
                self.settle(broken);
                if !changed && before == self.sets {
                    break;
                }
            }
            seen.join(" ")
        }

        fn reason(&self) -> String {
            let status = self.deployment.status.as_ref().expect("a status");
            get(status, PROGRESSING).and_then(|one| one.reason.clone()).unwrap_or_default()
        }
    }

    fn rolling(surge: Value, unavailable: Value) -> Value {
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}})
    }

    #[test]
    fn rolling_updates_keep_to_their_bounds() {
        for (replicas, surge, unavailable, expected) in [
            (3, json!("25%"), json!("25%"), "3+1 2+1 2+2 1+2 1+3 0+3"),
            (4, json!(0), json!(1), "3+0 3+1 2+1 2+2 1+2 1+3 0+3 0+4"),
            (2, json!("100%"), json!("100%"), "0+2"),
        ] {
            let mut world = World::new(replicas, rolling(surge, unavailable));
            world.image("app:1");
            assert_eq!(world.run(""), replicas.to_string());
            assert_eq!(world.reason(), "NewReplicaSetAvailable");
            world.image("app:2");
            assert_eq!(world.run(""), expected, "{replicas}");
            assert_eq!(world.reason(), "NewReplicaSetAvailable");
        }
    }

    #[test]
    fn a_broken_image_stops_where_the_old_pods_are_needed_and_times_out() {
        let mut world = World::new(3, rolling(json!(1), json!(0)));
        world.image("app:1");
        world.run("");
        world.image("app:2");
        assert_eq!(world.run("app:2"), "3+1");
        world.second += 601;
        world.step();
        assert_eq!(world.reason(), "ProgressDeadlineExceeded");
        world.image("app:3");
        assert!(world.run("app:2").ends_with("0+0+3"), "a rollover leaves the broken one behind");
    }

    #[test]
    fn recreate_has_nothing_between() {
        let mut world = World::new(3, json!({"type": "Recreate"}));
        world.image("app:1");
        assert_eq!(world.run(""), "3");
        world.image("app:2");
        assert_eq!(world.run(""), "0 0+3");
    }

    #[test]
    fn scaling_in_the_middle_is_shared() {
        let mut world = World::new(10, rolling(json!(3), json!(2)));
        world.image("app:1");
        world.run("");
        world.image("app:2");
        world.step();
        world.settle("app:2");
        world.step();
        world.settle("app:2");
        assert_eq!(world.sizes(), [8, 5]);
        world.deployment.spec.replicas = Some(15);
        world.touch();
        world.step();
        assert_eq!(world.sizes(), [11, 7], "as upstream's documentation shows");
    }

    #[test]
    fn a_pause_holds_the_rollout_but_not_the_number() {
        let mut world = World::new(2, rolling(json!(1), json!(0)));
        world.image("app:1");
        world.run("");
        world.deployment.spec.paused = Some(true);
        world.image("app:2");
        assert_eq!((world.run(""), world.reason()), (String::new(), "DeploymentPaused".into()));
        world.deployment.spec.replicas = Some(3);
        world.touch();
        assert_eq!(world.run(""), "3");
        world.deployment.spec.paused = Some(false);
        world.touch();
        assert!(world.run("").ends_with("0+3"));
    }

    #[test]
    fn old_sets_beyond_the_limit_go() {
        let mut world = World::new(1, rolling(json!(1), json!(0)));
        world.deployment.spec.revision_history_limit = Some(2);
        for number in 0..6 {
            world.image(&format!("app:{number}"));
            world.run("");
        }
        world.step();
        assert_eq!(world.sizes(), [0, 0, 1]);
        let revisions: Vec<i64> = world.sets.iter().map(|set| revision::of(&set.metadata)).collect();
        assert_eq!(revisions.iter().max(), Some(&6));
    }
}
