//! [`RESOURCES`]: every kind and version that Kubernetes v1.37 serves by default, one row each.
//!
//! Beta and alpha versions are off by default upstream, so all rows are stable ones
//! (upstream: pkg/controlplane/instance.go, `stableAPIGroupVersionsEnabledByDefault`).

use std::sync::{Arc, LazyLock};

use apimachinery::{GroupVersionKind, GroupVersionResource};

use crate::resource::Resource;

mod admissionregistration;
mod apiextensions;
mod apiregistration;
mod apps;
mod authentication;
mod authorization;
mod autoscaling;
mod batch;
mod certificates;
mod coordination;
mod core;
mod discovery;
mod events;
mod flowcontrol;
mod networking;
mod node;
mod policy;
mod priority;
mod rbac;
mod resource;
mod scheduling;
mod storage;
mod storagemigration;

pub use priority::{GROUP_VERSIONS, GroupVersionPriority, versions_of};

/// The built-in kinds, group by group in the order of [`GROUP_VERSIONS`].
pub static RESOURCES: LazyLock<Vec<Arc<Resource>>> = LazyLock::new(|| {
    let groups = [
        core::rows(),
        apiregistration::rows(),
        apps::rows(),
        events::rows(),
        authentication::rows(),
        authorization::rows(),
        autoscaling::rows(),
        batch::rows(),
        certificates::rows(),
        networking::rows(),
        policy::rows(),
        rbac::rows(),
        storage::rows(),
        apiextensions::rows(),
        admissionregistration::rows(),
        scheduling::rows(),
        coordination::rows(),
        node::rows(),
        discovery::rows(),
        flowcontrol::rows(),
        resource::rows(),
        storagemigration::rows(),
    ];
    groups.into_iter().flatten().map(Arc::new).collect()
});

/// The built-in row that a path names.
pub fn by_resource(gvr: &GroupVersionResource) -> Option<&'static Arc<Resource>> {
    RESOURCES
        .iter()
        .find(|row| row.plural == gvr.resource && row.gvk.version == gvr.version && row.gvk.group == gvr.group)
}

/// The built-in row of a kind.
pub fn by_kind(gvk: &GroupVersionKind) -> Option<&'static Arc<Resource>> {
    RESOURCES.iter().find(|row| row.gvk == *gvk)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_unique_within_a_version() {
        let mut seen = HashSet::new();
        for row in RESOURCES.iter() {
            let gv = row.gvk.api_version();
            for name in row.short_names.iter().chain([&row.plural]) {
                assert!(seen.insert((gv.clone(), name.clone())), "{gv} has {name} twice");
            }
        }
    }

    #[test]
    fn every_row_has_a_priority_and_every_priority_a_row() {
        let rows: HashSet<_> = RESOURCES.iter().map(|row| (row.gvk.group.as_str(), row.gvk.version.as_str())).collect();
        let listed: HashSet<_> = GROUP_VERSIONS.iter().map(|gv| (gv.group, gv.version)).collect();
        assert_eq!(rows, listed);
    }

    #[test]
    fn a_row_is_found_by_path_and_by_kind() {
        let deployments =
            by_resource(&GroupVersionResource::new("apps", "v1", "deployments")).expect("in the catalogue");
        assert_eq!(deployments.gvk.kind, "Deployment");
        let pod = by_kind(&GroupVersionKind::new("", "v1", "Pod")).expect("in the catalogue");
        assert_eq!(pod.key("shop", "web-0"), "/registry/core/pods/shop/web-0");
        assert!(by_kind(&GroupVersionKind::new("apps", "v1beta1", "Deployment")).is_none());
    }

    #[test]
    fn both_event_versions_share_their_keys() {
        let keys: HashSet<_> =
            RESOURCES.iter().filter(|row| row.plural == "events").map(|row| row.key_prefix()).collect();
        assert_eq!(keys.len(), 1);
    }
}
