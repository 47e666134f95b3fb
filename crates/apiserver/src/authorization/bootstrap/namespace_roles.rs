//! Roles within system namespaces (upstream: bootstrappolicy/namespace_policy.go).

use super::{Binding, Role};

/// Roles.
pub const ROLES: &[Role] = &[
    Role::namespaced(
        "kube-system",
        "extension-apiserver-authentication-reader",
        "read; core; configmaps; extension-apiserver-authentication",
    ),
    Role::namespaced("kube-system", "system:controller:bootstrap-signer", "read; core; secrets"),
    Role::namespaced("kube-system", "system:controller:cloud-provider", "create,get,list,watch; core; configmaps"),
    Role::namespaced(
        "kube-system",
        "system:controller:token-cleaner",
        "delete,get,list,watch; core; secrets\n create,patch,update; core,events.k8s.io; events",
    ),
    Role::namespaced("kube-system", "system::leader-locking-kube-controller-manager", LEADER_LOCKING),
    Role::namespaced("kube-system", "system::leader-locking-kube-scheduler", LEADER_LOCKING),
    Role::namespaced(
        "kube-public",
        "system:controller:bootstrap-signer",
        "read; core; configmaps
         update; core; configmaps; cluster-info
         create,patch,update; core,events.k8s.io; events",
    ),
];

const LEADER_LOCKING: &str = "
    create,get,list,update,watch; coordination.k8s.io; leases
    create,get,list,update,watch; coordination.k8s.io; leasecandidates
";

/// Role bindings.
pub const BINDINGS: &[Binding] = &[
    Binding {
        name: "system::extension-apiserver-authentication-reader",
        namespace: "kube-system",
        role: "extension-apiserver-authentication-reader",
        subjects: &["User:system:kube-controller-manager", "User:system:kube-scheduler"],
    },
    Binding {
        name: "system::leader-locking-kube-controller-manager",
        namespace: "kube-system",
        role: "system::leader-locking-kube-controller-manager",
        subjects: &[
            "User:system:kube-controller-manager",
            "ServiceAccount:kube-system/kube-controller-manager",
            "ServiceAccount:kube-system/leader-election-controller",
        ],
    },
    Binding {
        name: "system::leader-locking-kube-scheduler",
        namespace: "kube-system",
        role: "system::leader-locking-kube-scheduler",
        subjects: &["User:system:kube-scheduler", "ServiceAccount:kube-system/kube-scheduler"],
    },
    controller("kube-system", "system:controller:bootstrap-signer", &["ServiceAccount:kube-system/bootstrap-signer"]),
    controller("kube-system", "system:controller:cloud-provider", &["ServiceAccount:kube-system/cloud-provider"]),
    controller("kube-system", "system:controller:token-cleaner", &["ServiceAccount:kube-system/token-cleaner"]),
    controller("kube-public", "system:controller:bootstrap-signer", &["ServiceAccount:kube-system/bootstrap-signer"]),
];

const fn controller(namespace: &'static str, role: &'static str, subjects: &'static [&'static str]) -> Binding {
    Binding { name: role, namespace, role, subjects }
}
