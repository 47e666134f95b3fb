//! The group `apps`.

use crate::resource::{GroupVersion, Resource};
use crate::strategy;

const V1: GroupVersion = GroupVersion::new("apps", "v1");

pub(super) fn rows() -> Vec<Resource> {
    vec![
        V1.namespaced("ControllerRevision", "controllerrevisions").strategy(strategy::Data),
        V1.namespaced("DaemonSet", "daemonsets").strategy(strategy::DaemonSet).short(&["ds"]).category("all").status(),
        V1.namespaced("Deployment", "deployments")
            .strategy(strategy::Deployment)
            .short(&["deploy"])
            .category("all")
            .status()
            .scale(),
        V1.namespaced("ReplicaSet", "replicasets")
            .strategy(strategy::ReplicaSet)
            .short(&["rs"])
            .category("all")
            .status()
            .scale()
            .selectable(&["status.replicas"]),
        V1.namespaced("StatefulSet", "statefulsets")
            .strategy(strategy::StatefulSet)
            .short(&["sts"])
            .category("all")
            .status()
            .scale(),
    ]
}
