//! Which groups and versions clients should prefer.

/// How strongly clients prefer a group and, within it, a version; the higher number wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupVersionPriority {
    /// The group; the core group is "".
    pub group: &'static str,
    /// The version.
    pub version: &'static str,
    /// Among groups.
    pub group_priority: i32,
    /// Among the versions of the group.
    pub version_priority: i32,
}

const fn gv(
    group: &'static str,
    version: &'static str,
    group_priority: i32,
    version_priority: i32,
) -> GroupVersionPriority {
    GroupVersionPriority { group, version, group_priority, version_priority }
}

/// All built-in group versions, best first; discovery lists them in this order
/// (upstream: pkg/controlplane/apiserver/aggregator.go, `DefaultGenericAPIServicePriorities`).
pub const GROUP_VERSIONS: &[GroupVersionPriority] = &[
    gv("apiregistration.k8s.io", "v1", 20000, 18),
    gv("", "v1", 18000, 1),
    gv("apps", "v1", 17800, 15),
    gv("events.k8s.io", "v1", 17750, 15),
    gv("authentication.k8s.io", "v1", 17700, 15),
    gv("authorization.k8s.io", "v1", 17600, 15),
    gv("autoscaling", "v2", 17500, 30),
    gv("autoscaling", "v1", 17500, 15),
    gv("batch", "v1", 17400, 15),
    gv("certificates.k8s.io", "v1", 17300, 15),
    gv("networking.k8s.io", "v1", 17200, 15),
    gv("policy", "v1", 17100, 15),
    gv("rbac.authorization.k8s.io", "v1", 17000, 15),
    gv("storage.k8s.io", "v1", 16800, 15),
    gv("admissionregistration.k8s.io", "v1", 16700, 15),
    gv("apiextensions.k8s.io", "v1", 16700, 15),
    gv("scheduling.k8s.io", "v1", 16600, 15),
    gv("coordination.k8s.io", "v1", 16500, 15),
    gv("node.k8s.io", "v1", 16300, 15),
    gv("discovery.k8s.io", "v1", 16200, 15),
    gv("flowcontrol.apiserver.k8s.io", "v1", 16100, 21),
    gv("resource.k8s.io", "v1", 15900, 20),
    gv("storagemigration.k8s.io", "v1", 15800, 20),
];

/// The versions of a group, the preferred one first.
pub fn versions_of(group: &str) -> impl Iterator<Item = &'static str> {
    GROUP_VERSIONS.iter().filter(move |gv| gv.group == group).map(|gv| gv.version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order_of_preference() {
        let order = |gv: &GroupVersionPriority| (-gv.group_priority, gv.group, -gv.version_priority);
        assert!(GROUP_VERSIONS.is_sorted_by_key(order));
        assert_eq!(versions_of("autoscaling").collect::<Vec<_>>(), ["v2", "v1"]);
    }
}
