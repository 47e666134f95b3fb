//! The group `apps`.

use crate::columns;
use crate::resource::{GroupVersion, Resource};
use crate::strategy;

const V1: GroupVersion = GroupVersion::new("apps", "v1");

pub(super) fn rows() -> Vec<Resource> {
    vec![
        V1.namespaced("ControllerRevision", "controllerrevisions")
            .columns(columns::controller_revisions())
            .strategy(strategy::ControllerRevision),
        V1.namespaced("DaemonSet", "daemonsets")
            .columns(columns::daemon_sets())
            .strategy(strategy::DaemonSet)
            .short(&["ds"])
            .category("all")
            .status(),
        V1.namespaced("Deployment", "deployments")
            .columns(columns::deployments())
            .strategy(strategy::Deployment)
            .short(&["deploy"])
            .category("all")
            .status()
            .scale(),
        V1.namespaced("ReplicaSet", "replicasets")
            .columns(columns::replica_sets())
            .strategy(strategy::ReplicaSet)
            .short(&["rs"])
            .category("all")
            .status()
            .scale()
            .selectable(&["status.replicas"]),
        V1.namespaced("StatefulSet", "statefulsets")
            .columns(columns::stateful_sets())
            .strategy(strategy::StatefulSet)
            .short(&["sts"])
            .category("all")
            .status()
            .scale(),
    ]
}
