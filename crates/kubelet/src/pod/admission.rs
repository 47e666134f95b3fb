//! What this node refuses to run (upstream: pkg/kubelet/lifecycle/predicate.go, pkg/kubelet/sysctl/allowlist.go).

use k8s_openapi::api::core::v1::Pod;

use super::container::Waiting;
use super::spec::{host_network, spec};

/// Kernel parameters that belong to the pod alone.
const SAFE_SYSCTLS: [&str; 12] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
];

/// Why the pod cannot run here: reason and message of its status.
pub fn refusal(pod: &Pod) -> Option<Waiting> {
    let refuse = |reason: &str, message: String| Some(Waiting { reason: reason.to_owned(), message });
    let spec = spec(pod);
    if spec.os.as_ref().is_some_and(|os| os.name != "linux") {
        let message = "Failed to admit pod as the OS field doesn't match node OS";
        return refuse("PodOSNotSupported", message.to_owned());
    }
    let sysctls = spec.security_context.iter().flat_map(|context| context.sysctls.iter().flatten());
    for sysctl in sysctls {
        let name = sysctl.name.replace('/', ".");
        if !SAFE_SYSCTLS.contains(&name.as_str()) {
            return refuse("SysctlForbidden", format!("forbidden sysctl: {:?} not allowlisted", sysctl.name));
        }
        if host_network(pod) && name.starts_with("net.") {
            return refuse("SysctlForbidden", format!("forbidden sysctl: {name:?} not allowed with host net enabled"));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn check(spec: Value, expected: Option<&str>) {
        let mut spec = spec;
        spec["containers"] = json!([]);
        let pod = serde_json::from_value(json!({"spec": spec})).expect("a pod");
        assert_eq!(refusal(&pod).map(|why| why.reason).as_deref(), expected);
    }

    #[test]
    fn operating_systems_and_sysctls() {
        let sysctl = |name: &str| json!({"sysctls": [{"name": name, "value": "1"}]});
        check(json!({}), None);
        check(json!({"os": {"name": "windows"}}), Some("PodOSNotSupported"));
        check(json!({"securityContext": sysctl("net.ipv4.tcp_syncookies")}), None);
        check(json!({"securityContext": sysctl("net/ipv4/tcp_syncookies")}), None);
        check(json!({"securityContext": sysctl("kernel.msgmax")}), Some("SysctlForbidden"));
        check(
            json!({"securityContext": sysctl("net.ipv4.tcp_syncookies"), "hostNetwork": true}),
            Some("SysctlForbidden"),
        );
    }
}
