//! The group `apps`.

use crate::resource::{GroupVersion, Resource};

const V1: GroupVersion = GroupVersion::new("apps", "v1");

pub(super) fn rows() -> Vec<Resource> {
    vec![
        V1.namespaced("ControllerRevision", "controllerrevisions"),
        V1.namespaced("DaemonSet", "daemonsets").short(&["ds"]).category("all").status(),
        V1.namespaced("Deployment", "deployments").short(&["deploy"]).category("all").status().scale(),
        V1.namespaced("ReplicaSet", "replicasets")
            .short(&["rs"])
            .category("all")
            .status()
            .scale()
            .selectable(&["status.replicas"]),
        V1.namespaced("StatefulSet", "statefulsets").short(&["sts"]).category("all").status().scale(),
    ]
}
