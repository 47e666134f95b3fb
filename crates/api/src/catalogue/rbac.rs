//! The group `rbac.authorization.k8s.io`.

use crate::resource::{GroupVersion, Resource};
use crate::strategy;

const V1: GroupVersion = GroupVersion::new("rbac.authorization.k8s.io", "v1");

pub(super) fn rows() -> Vec<Resource> {
    vec![
        V1.cluster("ClusterRoleBinding", "clusterrolebindings").strategy(strategy::Binding { namespaced: false }),
        V1.cluster("ClusterRole", "clusterroles").strategy(strategy::Role { namespaced: false }),
        V1.namespaced("RoleBinding", "rolebindings").strategy(strategy::Binding { namespaced: true }),
        V1.namespaced("Role", "roles").strategy(strategy::Role { namespaced: true }),
    ]
}
