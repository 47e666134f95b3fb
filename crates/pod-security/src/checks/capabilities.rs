//! Capabilities (upstream: policy/check_capabilities_baseline.go, policy/check_capabilities_restricted.go).

use std::collections::BTreeSet;

use apimachinery::json::Read;

use super::{Pod, Violation, containers_where, context, named, quoted, violation};

const DEFAULT: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// The containers that add others than `allowed`, and what they add.
fn adding<'a>(pod: Pod<'a>, allowed: &[&str]) -> (Vec<String>, BTreeSet<&'a str>) {
    let mut added = BTreeSet::new();
    let mut names = Vec::new();
    for container in super::containers(pod) {
        let adds = context(container).object("capabilities").texts("add");
        let other: Vec<&'a str> = adds.filter(|name| !allowed.contains(name)).collect();
        if !other.is_empty() {
            names.push(container.text("name").to_owned());
            added.extend(other);
        }
    }
    (names, added)
}

pub(super) fn baseline(pod: Pod<'_>) -> Option<Violation> {
    let (bad, added) = adding(pod, &DEFAULT);
    let detail = || format!("{} must not include {} in securityContext.capabilities.add", named(&bad), quoted(&added));
    (!bad.is_empty()).then(|| violation("non-default capabilities", detail()))
}

pub(super) fn restricted(pod: Pod<'_>) -> Option<Violation> {
    let keeping = containers_where(pod, |container| {
        !context(container).object("capabilities").texts("drop").any(|name| name == "ALL")
    });
    let (bad, added) = adding(pod, &["NET_BIND_SERVICE"]);
    let mut details = Vec::new();
    if !keeping.is_empty() {
        details.push(format!("{} must set securityContext.capabilities.drop=[\"ALL\"]", named(&keeping)));
    }
    if !bad.is_empty() {
        let (containers, added) = (named(&bad), quoted(&added));
        details.push(format!("{containers} must not include {added} in securityContext.capabilities.add"));
    }
    (!details.is_empty()).then(|| violation("unrestricted capabilities", details.join("; ")))
}
