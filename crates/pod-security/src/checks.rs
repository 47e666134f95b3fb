//! The checks: which there are, since which version they hold, and what they find
//! (upstream: policy/checks.go, policy/registry.go).

use apimachinery::json::Read;
use serde_json::{Map, Value};

use crate::level::{Level, LevelVersion, Version};

mod capabilities;
mod host;
mod privileges;
mod profiles;
mod users;
mod volumes;

/// A pod, or the template of one.
#[derive(Clone, Copy, Debug)]
pub struct Pod<'a> {
    /// Its metadata.
    pub metadata: &'a Map<String, Value>,
    /// Its spec.
    pub spec: &'a Map<String, Value>,
}

/// What a check forbids.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Violation {
    /// In a few words, as `host namespaces`.
    reason: String,
    /// Which values, as `hostNetwork=true`.
    detail: String,
}

/// All that is forbidden about a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Violations(Vec<Violation>);

impl Violations {
    /// Whether nothing is forbidden.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As `host namespaces, privileged`.
    pub fn reasons(&self) -> String {
        self.0.iter().map(|one| one.reason.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// As `host namespaces (hostNetwork=true), privileged (...)`.
    pub fn details(&self) -> String {
        let text = |one: &Violation| match one.detail.as_str() {
            "" => one.reason.clone(),
            detail => format!("{} ({detail})", one.reason),
        };
        self.0.iter().map(text).collect::<Vec<_>>().join(", ")
    }
}

type Rule = fn(Pod<'_>) -> Option<Violation>;

struct Check {
    id: &'static str,
    /// The rule since each version.
    since: &'static [(u32, Rule)],
    /// The baseline check that this one makes needless.
    overrides: &'static str,
}

const fn check(id: &'static str, since: &'static [(u32, Rule)]) -> Check {
    Check { id, since, overrides: "" }
}

/// The checks of baseline, in the order of their names.
static BASELINE: &[Check] = &[
    check("appArmorProfile", &[(0, profiles::app_armor)]),
    check("capabilities_baseline", &[(0, capabilities::baseline)]),
    check("hostNamespaces", &[(0, host::namespaces)]),
    check("hostPathVolumes", &[(0, volumes::host_path)]),
    check("hostPorts", &[(0, host::ports)]),
    check("hostProbesAndHostLifecycle", &[(34, host::probes)]),
    check("privileged", &[(0, privileges::privileged)]),
    check("procMount", &[(0, profiles::proc_mount), (35, |pod| relaxed(pod, profiles::proc_mount))]),
    check("seLinuxOptions", &[(0, profiles::se_linux_1_0), (31, profiles::se_linux_1_31)]),
    check("seccompProfile_baseline", &[(0, profiles::seccomp_annotations), (19, profiles::seccomp_baseline)]),
    check(
        "sysctls",
        &[
            (0, host::sysctls_1_0),
            (27, host::sysctls_1_27),
            (29, host::sysctls_1_29),
            (32, host::sysctls_1_32),
            (37, host::sysctls_1_37),
        ],
    ),
    check("windowsHostProcess", &[(0, host::windows_host_process)]),
];

/// The further checks of restricted, in the order of their names.
static RESTRICTED: &[Check] = &[
    check(
        "allowPrivilegeEscalation",
        &[(8, privileges::escalation), (25, |pod| unless_windows(pod, privileges::escalation))],
    ),
    Check {
        id: "capabilities_restricted",
        since: &[(22, capabilities::restricted), (25, |pod| unless_windows(pod, capabilities::restricted))],
        overrides: "capabilities_baseline",
    },
    Check { id: "procMount_restricted", since: &[(35, profiles::proc_mount)], overrides: "procMount" },
    Check { id: "restrictedVolumes", since: &[(0, volumes::restricted)], overrides: "hostPathVolumes" },
    check("runAsNonRoot", &[(0, users::non_root), (35, |pod| relaxed(pod, users::non_root))]),
    check("runAsUser", &[(23, users::not_zero), (35, |pod| relaxed(pod, users::not_zero))]),
    Check {
        id: "seccompProfile_restricted",
        since: &[(19, profiles::seccomp_restricted), (25, |pod| unless_windows(pod, profiles::seccomp_restricted))],
        overrides: "seccompProfile_baseline",
    },
];

impl Check {
    fn rule(&self, version: Version) -> Option<Rule> {
        let holds = |since: &&(u32, Rule)| version >= Version::Minor(since.0);
        self.since.iter().rev().find(holds).map(|(_, rule)| *rule)
    }
}

/// What a level forbids about a pod.
pub fn evaluate(policy: LevelVersion, pod: Pod<'_>) -> Violations {
    let further: &[Check] = if policy.level == Level::Restricted { RESTRICTED } else { &[] };
    let active = |check: &&Check| check.rule(policy.version).is_some();
    let is_overridden = |id: &str| further.iter().filter(active).any(|check| check.overrides == id);
    let baseline: &[Check] = if policy.level == Level::Privileged { &[] } else { BASELINE };
    let checks = baseline.iter().filter(|check| !is_overridden(check.id)).chain(further);
    Violations(checks.filter_map(|check| check.rule(policy.version)?(pod)).collect())
}

/// A rule that pods in a user namespace of their own need not keep.
fn relaxed(pod: Pod<'_>, rule: Rule) -> Option<Violation> {
    if pod.spec.value("hostUsers") == Some(&Value::Bool(false)) { None } else { rule(pod) }
}

/// A rule about what Windows does not have.
fn unless_windows(pod: Pod<'_>, rule: Rule) -> Option<Violation> {
    if pod.spec.object("os").text("name") == "windows" { None } else { rule(pod) }
}

/// Every container of a pod.
fn containers<'a>(pod: Pod<'a>) -> impl Iterator<Item = &'a Map<String, Value>> {
    let lists = ["initContainers", "containers", "ephemeralContainers"];
    lists.into_iter().flat_map(move |list| pod.spec.list(list)).map(Read::fields)
}

/// The names of the containers that a condition holds for.
fn containers_where(pod: Pod<'_>, holds: impl FnMut(&&Map<String, Value>) -> bool) -> Vec<String> {
    containers(pod).filter(holds).map(|container| container.text("name").to_owned()).collect()
}

/// A container's security context; empty where it has none.
fn context(container: &Map<String, Value>) -> &Map<String, Value> {
    container.object("securityContext")
}

fn plural<'a>(one: &'a str, many: &'a str, count: usize) -> &'a str {
    if count == 1 { one } else { many }
}

/// `"a", "b"`.
fn quoted<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> String {
    names.into_iter().map(|name| format!("\"{}\"", name.as_ref())).collect::<Vec<_>>().join(", ")
}

/// `container "a"`, `containers "a", "b"`.
fn named(containers: &[String]) -> String {
    format!("{} {}", plural("container", "containers", containers.len()), quoted(containers))
}

/// Who sets something: the pod, containers, or both.
fn setters(pod: bool, containers: &[String]) -> String {
    match (pod, containers) {
        (true, []) => "pod".into(),
        (true, containers) => format!("pod and {}", named(containers)),
        (false, containers) => named(containers),
    }
}

fn violation(reason: &str, detail: String) -> Violation {
    Violation { reason: reason.to_owned(), detail }
}

#[cfg(test)]
mod tests;
