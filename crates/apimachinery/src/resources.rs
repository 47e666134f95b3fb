//! Names of resources: what containers ask for and quotas count (upstream: pkg/apis/core/helper/helpers.go).

use crate::validation::qualified_name;

/// What Kubernetes itself gives to every container.
pub fn is_compute(name: &str) -> bool {
    matches!(name, "cpu" | "memory" | "ephemeral-storage")
}

/// [`is_compute`] as quotas name it: as it is, or what is requested of it, or what it is limited to.
pub fn is_compute_of_quotas(name: &str) -> bool {
    is_compute(name.strip_prefix("requests.").or_else(|| name.strip_prefix("limits.")).unwrap_or(name))
}

/// Objects that quotas count by a name of their own: only whole numbers of them (upstream: `IsIntegerResourceName`).
pub fn is_counted(name: &str) -> bool {
    matches!(
        name,
        "pods"
            | "resourcequotas"
            | "services"
            | "replicationcontrollers"
            | "secrets"
            | "configmaps"
            | "persistentvolumeclaims"
            | "services.nodeports"
            | "services.loadbalancers"
    )
}

/// Whether the resource is one of Kubernetes' own (upstream: `IsNativeResource`).
pub fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

/// Whether the resource is somebody else's, and can stand in a quota (upstream: `IsExtendedResourceName`).
pub fn is_extended(name: &str) -> bool {
    !is_native(name) && !name.starts_with("requests.") && qualified_name(&format!("requests.{name}")).is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_whose_resources_they_are() {
        assert!(is_compute("cpu") && !is_compute("requests.cpu") && !is_compute("pods"));
        for name in ["memory", "requests.memory", "limits.ephemeral-storage"] {
            assert!(is_compute_of_quotas(name), "{name}");
        }
        assert!(!is_compute_of_quotas("requests.storage") && !is_compute_of_quotas("requests.limits.cpu"));
        assert!(is_counted("pods") && !is_counted("deployments.apps"));
        for (name, native, extended) in [
            ("cpu", true, false),
            ("kubernetes.io/x", true, false),
            ("example.com/gpu", false, true),
            ("requests.example.com/gpu", false, false),
            ("example.com/-", false, false),
        ] {
            assert_eq!((is_native(name), is_extended(name)), (native, extended), "{name}");
        }
    }
}
