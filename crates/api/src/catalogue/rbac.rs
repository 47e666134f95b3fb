//! The group `rbac.authorization.k8s.io`.

use crate::columns;
use crate::resource::{GroupVersion, Resource};
use crate::strategy;

const V1: GroupVersion = GroupVersion::new("rbac.authorization.k8s.io", "v1");

pub(super) fn rows() -> Vec<Resource> {
    vec![
        V1.cluster("ClusterRoleBinding", "clusterrolebindings")
            .columns(columns::bindings())
            .strategy(strategy::Binding { namespaced: false }),
        V1.cluster("ClusterRole", "clusterroles")
            .columns(columns::roles())
            .strategy(strategy::Role { namespaced: false }),
        V1.namespaced("RoleBinding", "rolebindings")
            .columns(columns::bindings())
            .strategy(strategy::Binding { namespaced: true }),
        V1.namespaced("Role", "roles").columns(columns::roles()).strategy(strategy::Role { namespaced: true }),
    ]
}
