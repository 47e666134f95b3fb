//! The group `rbac.authorization.k8s.io`.

use crate::resource::{GroupVersion, Resource};

const V1: GroupVersion = GroupVersion::new("rbac.authorization.k8s.io", "v1");

pub(super) fn rows() -> Vec<Resource> {
    vec![
        V1.cluster("ClusterRoleBinding", "clusterrolebindings"),
        V1.cluster("ClusterRole", "clusterroles"),
        V1.namespaced("RoleBinding", "rolebindings"),
        V1.namespaced("Role", "roles"),
    ]
}
