//! Profiles that keep a container in: AppArmor, SELinux, seccomp, the masks of /proc
//! (upstream: policy/check_appArmorProfile.go, check_seLinuxOptions.go, check_seccompProfile_*.go, check_procMount_*.go).

use std::collections::BTreeSet;

use apimachinery::json::Read;
use serde_json::{Map, Value};

use super::{Pod, Violation, containers, containers_where, context, named, plural, quoted, setters, violation};

fn annotations<'a>(pod: Pod<'a>) -> impl Iterator<Item = (&'a str, &'a str)> {
    let annotations = pod.metadata.object("annotations").iter();
    annotations.map(|(key, value)| (key.as_str(), value.as_str().unwrap_or_default()))
}

/// The type of a profile in a security context, when there is a profile.
fn profile<'a>(context: &'a Map<String, Value>, field: &str) -> Option<&'a str> {
    context.value(field).map(|profile| profile.text("type"))
}

/// Who names another type than these, and which: the pod, the containers, the types.
fn other_types<'a>(pod: Pod<'a>, field: &str, allowed: [&str; 2]) -> (bool, Vec<String>, BTreeSet<&'a str>) {
    let other = |context: &'a Map<String, Value>| profile(context, field).filter(|name| !allowed.contains(name));
    let of_pod = other(pod.spec.object("securityContext"));
    let mut types: BTreeSet<&str> = of_pod.into_iter().collect();
    let mut bad = Vec::new();
    for container in containers(pod) {
        if let Some(name) = other(context(container)) {
            bad.push(container.text("name").to_owned());
            types.insert(name);
        }
    }
    (of_pod.is_some(), bad, types)
}

pub(super) fn app_armor(pod: Pod<'_>) -> Option<Violation> {
    const PREFIX: &str = "container.apparmor.security.beta.kubernetes.io/";
    let (of_pod, bad, types) = other_types(pod, "appArmorProfile", ["RuntimeDefault", "Localhost"]);
    let allowed = |value: &str| matches!(value, "" | "runtime/default") || value.starts_with("localhost/");
    let ours = annotations(pod).filter(|(key, value)| key.starts_with(PREFIX) && !allowed(value));
    let mut noted: Vec<String> = ours.map(|(key, value)| format!("{key}={value:?}")).collect();
    noted.sort();
    let mut who = Vec::new();
    if of_pod || !bad.is_empty() {
        who.push(setters(of_pod, &bad));
    }
    if !noted.is_empty() {
        who.push(plural("annotation", "annotations", noted.len()).to_owned());
    }
    if who.is_empty() {
        return None;
    }
    let values: Vec<String> = types.iter().map(ToString::to_string).chain(noted).collect();
    let reason = plural("forbidden AppArmor profile", "forbidden AppArmor profiles", values.len());
    Some(violation(reason, format!("{} must not set AppArmor profile type to {}", who.join(" and "), quoted(values))))
}

pub(super) fn se_linux_1_0(pod: Pod<'_>) -> Option<Violation> {
    se_linux(pod, &["", "container_t", "container_init_t", "container_kvm_t"])
}

pub(super) fn se_linux_1_31(pod: Pod<'_>) -> Option<Violation> {
    se_linux(pod, &["", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"])
}

fn se_linux(pod: Pod<'_>, allowed: &[&str]) -> Option<Violation> {
    let options = |context: &'_ Map<String, Value>| context.object("seLinuxOptions").clone();
    let is_bad = |options: &Map<String, Value>| {
        !allowed.contains(&options.text("type")) || !options.text("user").is_empty() || !options.text("role").is_empty()
    };
    let of_pod = options(pod.spec.object("securityContext"));
    let all: Vec<Map<String, Value>> =
        std::iter::once(of_pod.clone()).chain(containers(pod).map(|container| options(context(container)))).collect();
    let bad = containers_where(pod, |container| is_bad(&options(context(container))));
    if !is_bad(&of_pod) && bad.is_empty() {
        return None;
    }
    let types: BTreeSet<&str> = all.iter().map(|one| one.text("type")).filter(|name| !allowed.contains(name)).collect();
    let mut data = Vec::new();
    if !types.is_empty() {
        data.push(format!("{} {}", plural("type", "types", types.len()), quoted(&types)));
    }
    for field in ["user", "role"] {
        if all.iter().any(|one| !one.text(field).is_empty()) {
            data.push(format!("{field} may not be set"));
        }
    }
    let who = setters(is_bad(&of_pod), &bad);
    let detail = format!("{who} set forbidden securityContext.seLinuxOptions: {}", data.join("; "));
    Some(violation("seLinuxOptions", detail))
}

const SECCOMP: [&str; 2] = ["Localhost", "RuntimeDefault"];

/// Until 1.18 profiles were annotations.
pub(super) fn seccomp_annotations(pod: Pod<'_>) -> Option<Violation> {
    const OF_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
    let of_containers = containers(pod)
        .map(|container| format!("container.seccomp.security.alpha.kubernetes.io/{}", container.text("name")));
    let keys: BTreeSet<String> = std::iter::once(OF_POD.to_owned()).chain(of_containers).collect();
    let allowed =
        |value: &str| matches!(value, "runtime/default" | "docker/default") || value.starts_with("localhost/");
    let bad = annotations(pod).filter(|(key, value)| keys.contains(*key) && !allowed(value));
    let mut bad: Vec<String> = bad.map(|(key, value)| format!("{key}={value:?}")).collect();
    bad.sort();
    let word = plural("annotation", "annotations", bad.len());
    (!bad.is_empty()).then(|| violation("seccompProfile", format!("forbidden {word} {}", bad.join(", "))))
}

pub(super) fn seccomp_baseline(pod: Pod<'_>) -> Option<Violation> {
    let (of_pod, bad, types) = other_types(pod, "seccompProfile", SECCOMP);
    let who = || setters(of_pod, &bad);
    let detail = || format!("{} must not set securityContext.seccompProfile.type to {}", who(), quoted(&types));
    (of_pod || !bad.is_empty()).then(|| violation("seccompProfile", detail()))
}

pub(super) fn seccomp_restricted(pod: Pod<'_>) -> Option<Violation> {
    if let Some(explicit) = seccomp_baseline(pod) {
        return Some(explicit);
    }
    if pod.spec.object("securityContext").has("seccompProfile") {
        return None;
    }
    let silent = containers_where(pod, |container| !context(container).has("seccompProfile"));
    let who = || named(&silent);
    let detail = || {
        format!("pod or {} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"", who())
    };
    (!silent.is_empty()).then(|| violation("seccompProfile", detail()))
}

pub(super) fn proc_mount(pod: Pod<'_>) -> Option<Violation> {
    let other = |container: &Map<String, Value>| {
        let mount = context(container).value("procMount").and_then(Value::as_str);
        mount.filter(|mount| *mount != "Default").map(str::to_owned)
    };
    let bad = containers_where(pod, |container| other(container).is_some());
    let types: BTreeSet<String> = containers(pod).filter_map(other).collect();
    let detail = || format!("{} must not set securityContext.procMount to {}", named(&bad), quoted(&types));
    (!bad.is_empty()).then(|| violation("procMount", detail()))
}
