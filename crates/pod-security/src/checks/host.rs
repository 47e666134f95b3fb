//! What belongs to the host: namespaces, ports, other people's probes, sysctls (upstream: policy/check_host*.go,
//! policy/check_sysctls.go, policy/check_windowsHostProcess.go).

use std::collections::BTreeSet;

use apimachinery::json::Read;
use serde_json::{Map, Value};

use super::{Pod, Violation, containers, containers_where, context, named, plural, quoted, setters, violation};

pub(super) fn namespaces(pod: Pod<'_>) -> Option<Violation> {
    let fields = ["hostNetwork", "hostPID", "hostIPC"].into_iter().filter(|field| pod.spec.flag(field));
    let set: Vec<String> = fields.map(|field| format!("{field}=true")).collect();
    (!set.is_empty()).then(|| violation("host namespaces", set.join(", ")))
}

pub(super) fn ports(pod: Pod<'_>) -> Option<Violation> {
    let of = |container: &Map<String, Value>| -> Vec<String> {
        let ports = container.list("ports").iter().filter_map(|port| port.int("hostPort"));
        ports.filter(|port| *port != 0).map(|port| port.to_string()).collect()
    };
    let bad = containers_where(pod, |container| !of(container).is_empty());
    let ports: BTreeSet<String> = containers(pod).flat_map(of).collect();
    let listed = || ports.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    let uses = plural("uses", "use", bad.len());
    let word = plural("hostPort", "hostPorts", ports.len());
    (!bad.is_empty()).then(|| violation("hostPort", format!("{} {uses} {word} {}", named(&bad), listed())))
}

/// The hosts that a container's probes and hooks name.
fn probed(container: &Map<String, Value>) -> Vec<&str> {
    let probes = ["livenessProbe", "readinessProbe", "startupProbe"].map(|probe| container.object(probe));
    let lifecycle = container.object("lifecycle");
    let hooks = ["postStart", "preStop"].map(|hook| lifecycle.object(hook));
    let handlers = probes.into_iter().chain(hooks);
    let hosts = handlers.flat_map(|handler| ["httpGet", "tcpSocket"].map(|action| handler.object(action).text("host")));
    hosts.filter(|host| !host.is_empty()).collect()
}

pub(super) fn probes(pod: Pod<'_>) -> Option<Violation> {
    let mut bad = containers_where(pod, |container| !probed(container).is_empty());
    bad.sort();
    bad.dedup();
    let hosts: BTreeSet<&str> = containers(pod).flat_map(probed).collect();
    let uses = plural("uses", "use", bad.len());
    let word = plural("probe or lifecycle host", "probe or lifecycle hosts", hosts.len());
    let detail = || format!("{} {uses} {word} {}", named(&bad), quoted(&hosts));
    (!bad.is_empty()).then(|| violation("probe or lifecycle host", detail()))
}

pub(super) fn windows_host_process(pod: Pod<'_>) -> Option<Violation> {
    let sets = |context: &Map<String, Value>| context.object("windowsOptions").flag("hostProcess");
    let of_pod = sets(pod.spec.object("securityContext"));
    let bad = containers_where(pod, |container| sets(context(container)));
    let detail = || format!("{} must not set securityContext.windowsOptions.hostProcess=true", setters(of_pod, &bad));
    (of_pod || !bad.is_empty()).then(|| violation("hostProcess", detail()))
}

/// The sysctls that stay within a pod, in the order in which they came to be allowed.
const SYSCTLS: [&str; 14] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
    "net.ipv4.tcp_slow_start_after_idle",
    "net.ipv4.tcp_notsent_lowat",
];

fn sysctls(pod: Pod<'_>, allowed: &[&str]) -> Option<Violation> {
    let set = pod.spec.object("securityContext").list("sysctls").iter().map(|sysctl| sysctl.text("name"));
    let bad: Vec<&str> = set.filter(|name| !allowed.contains(name)).collect();
    (!bad.is_empty()).then(|| violation("forbidden sysctls", bad.join(", ")))
}

pub(super) fn sysctls_1_0(pod: Pod<'_>) -> Option<Violation> {
    sysctls(pod, &SYSCTLS[..5])
}

pub(super) fn sysctls_1_27(pod: Pod<'_>) -> Option<Violation> {
    sysctls(pod, &SYSCTLS[..6])
}

pub(super) fn sysctls_1_29(pod: Pod<'_>) -> Option<Violation> {
    sysctls(pod, &SYSCTLS[..10])
}

pub(super) fn sysctls_1_32(pod: Pod<'_>) -> Option<Violation> {
    sysctls(pod, &SYSCTLS[..12])
}

pub(super) fn sysctls_1_37(pod: Pod<'_>) -> Option<Violation> {
    sysctls(pod, &SYSCTLS)
}
