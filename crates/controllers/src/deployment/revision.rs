//! Revisions and the annotations that carry them between a deployment and its ReplicaSets.
//!
//! upstream: pkg/controller/deployment/util/deployment_util.go

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// Which revision a ReplicaSet (or the deployment now) is.
pub const REVISION: &str = "deployment.kubernetes.io/revision";
/// The revisions a ReplicaSet was before, when it was rolled back to.
pub const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
/// How many replicas the deployment wanted when the ReplicaSet was last scaled.
pub const DESIRED_REPLICAS: &str = "deployment.kubernetes.io/desired-replicas";
/// How many there could be at most then, with the surge.
pub const MAX_REPLICAS: &str = "deployment.kubernetes.io/max-replicas";

const NOT_COPIED: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    REVISION_HISTORY,
    DESIRED_REPLICAS,
    MAX_REPLICAS,
    "deprecated.deployment.rollback.to",
];

type Annotations = BTreeMap<String, String>;

fn number<T: std::str::FromStr>(meta: &ObjectMeta, key: &str) -> Option<T> {
    meta.annotations.as_ref()?.get(key)?.parse().ok()
}

/// The revision an object is at; 0 when none.
pub fn of(meta: &ObjectMeta) -> i64 {
    number(meta, REVISION).unwrap_or(0)
}

/// The highest revision of the ReplicaSets.
pub fn highest<'a>(replica_sets: impl IntoIterator<Item = &'a ReplicaSet>) -> i64 {
    replica_sets.into_iter().map(|rs| of(&rs.metadata)).max().unwrap_or(0)
}

/// What the deployment wanted when the ReplicaSet was last scaled.
pub fn desired_replicas(rs: &ReplicaSet) -> Option<i32> {
    number(&rs.metadata, DESIRED_REPLICAS)
}

/// The most there could be when the ReplicaSet was last scaled.
pub fn max_replicas(rs: &ReplicaSet) -> Option<i32> {
    number(&rs.metadata, MAX_REPLICAS)
}

/// Notes on a ReplicaSet what the deployment wants now.
pub fn set_replicas(rs: &mut ReplicaSet, desired: i32, max: i32) {
    let annotations = rs.metadata.annotations.get_or_insert_default();
    annotations.insert(DESIRED_REPLICAS.into(), desired.to_string());
    annotations.insert(MAX_REPLICAS.into(), max.to_string());
}

/// Carries the deployment's annotations and a new revision over to its newest ReplicaSet.
pub fn set_on_newest(deployment: &Deployment, rs: &mut ReplicaSet, revision: i64) {
    let own: Annotations = deployment.metadata.annotations.clone().unwrap_or_default();
    let annotations = rs.metadata.annotations.get_or_insert_default();
    annotations.extend(own.into_iter().filter(|(key, _)| !NOT_COPIED.contains(&key.as_str())));
    let old: Option<i64> = annotations.get(REVISION).and_then(|text| text.parse().ok());
    if old.is_some_and(|old| old >= revision) {
        return;
    }
    if let Some(before) = annotations.insert(REVISION.into(), revision.to_string()) {
        let history = annotations.get(REVISION_HISTORY).filter(|history| !history.is_empty());
        let history = history.map_or(before.clone(), |history| format!("{history},{before}"));
        annotations.insert(REVISION_HISTORY.into(), history);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_replica_set_that_is_rolled_back_to_remembers_its_revisions() {
        let mut deployment = Deployment::default();
        let note = ("kubernetes.io/change-cause".to_owned(), "because".to_owned());
        let applied = (NOT_COPIED[0].to_owned(), "{}".to_owned());
        deployment.metadata.annotations = Some([note, applied].into());
        let mut rs = ReplicaSet::default();
        set_on_newest(&deployment, &mut rs, 1);
        set_on_newest(&deployment, &mut rs, 3);
        set_on_newest(&deployment, &mut rs, 3);
        set_on_newest(&deployment, &mut rs, 5);
        let written = rs.metadata.annotations.expect("annotations");
        assert_eq!(written[REVISION], "5");
        assert_eq!(written[REVISION_HISTORY], "1,3");
        assert_eq!(written["kubernetes.io/change-cause"], "because");
        assert!(!written.contains_key(NOT_COPIED[0]));
    }
}
