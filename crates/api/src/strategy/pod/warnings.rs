//! What is allowed and yet hardly meant (upstream: pkg/api/pod/warnings.go).

use std::collections::HashSet;

use apimachinery::field::Path;
use serde_json::{Map, Value};

use crate::check::{old_labels, quantity, spelling};
use crate::json::Read;
use crate::strategy::volume::claim_warnings;

mod containers;
mod overlaps;
mod ports;

/// Volume sources that do nothing any more.
const OLD_VOLUMES: &[(&str, &str)] = &[
    ("photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
    ("gitRepo", "deprecated in v1.11, and disabled by default in v1.33+"),
    ("scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    ("flocker", "deprecated in v1.22, non-functional in v1.25+"),
    ("storageos", "deprecated in v1.22, non-functional in v1.25+"),
    ("quobyte", "deprecated in v1.22, non-functional in v1.25+"),
    ("glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    ("cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    ("rbd", "deprecated in v1.28, non-functional in v1.31+"),
];

/// Annotations that do nothing any more.
const OLD_ANNOTATIONS: [(&str, &str); 3] = [
    (
        "scheduler.alpha.kubernetes.io/critical-pod",
        "non-functional in v1.16+; use the \"priorityClassName\" field instead",
    ),
    ("security.alpha.kubernetes.io/sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead"),
    ("security.alpha.kubernetes.io/unsafe-sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead"),
];

const SECCOMP: &str = "seccomp.security.alpha.kubernetes.io/pod";
const NULL_SELECTOR: &str = "a null labelSelector results in matching no pod";

/// Warnings about a pod, or about a template that is at `path`.
pub(crate) fn pod(of: &Map<String, Value>, path: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let (annotations, spec) = (of.object("metadata").object("annotations"), of.object("spec"));
    let (at, path) = (path.child("metadata").child("annotations"), path.child("spec"));
    nodes(&mut found, spec, &path);
    for (key, words) in OLD_ANNOTATIONS.iter().filter(|(key, _)| annotations.has(key)) {
        found.push(format!("{}: {words}", at.key(key)));
    }
    volumes(&mut found, spec.list("volumes"), &path.child("volumes"));
    repeated(&mut found, spec, &path);
    in_whole_bytes(&mut found, spec.object("overhead"), &path.child("overhead"));
    if annotations.has(SECCOMP) && !spec.object("securityContext").has("seccompProfile") {
        found.push(format!("{}: non-functional in v1.27+; use the \"seccompProfile\" field instead", at.key(SECCOMP)));
    }
    let is_template = !at.to_string().starts_with("metadata");
    containers::containers(&mut found, spec, &containers::Annotations { annotations, at, is_template }, &path);
    ports::ports(&mut found, spec, &path);
    if spec.int("terminationGracePeriodSeconds").is_some_and(|seconds| seconds < 0) {
        let path = path.child("terminationGracePeriodSeconds");
        found.push(format!("{path}: must be >= 0; negative values are invalid and will be treated as 1"));
    }
    affinity(&mut found, spec.object("affinity"), &path.child("affinity"));
    for (index, server) in spec.object("dnsConfig").texts("nameservers").enumerate() {
        spelling::of_ip(&mut found, server, &path.child("dnsConfig").child("nameservers").index(index));
    }
    for (index, alias) in spec.list("hostAliases").iter().enumerate() {
        spelling::of_ip(&mut found, alias.text("ip"), &path.child("hostAliases").index(index).child("ip"));
    }
    found
}

/// Labels by which nodes are chosen.
fn nodes(found: &mut Vec<String>, spec: &Map<String, Value>, path: &Path) {
    for key in spec.object("nodeSelector").keys() {
        found.extend(old_labels::words(key).map(|words| format!("{}: {words}", path.child("nodeSelector").key(key))));
    }
    let (affinity, at) = (spec.object("affinity").object("nodeAffinity"), path.child("affinity").child("nodeAffinity"));
    let (required, preferred) =
        ("requiredDuringSchedulingIgnoredDuringExecution", "preferredDuringSchedulingIgnoredDuringExecution");
    for (index, term) in affinity.object(required).list("nodeSelectorTerms").iter().enumerate() {
        let path = at.child(required).child("nodeSelectorTerms").index(index);
        old_labels::of_term(found, term.fields(), false, &path);
    }
    for (index, term) in affinity.list(preferred).iter().enumerate() {
        let path = at.child(preferred).index(index).child("preference");
        old_labels::of_term(found, term.object("preference"), true, &path);
    }
    for (index, constraint) in spec.list("topologySpreadConstraints").iter().enumerate() {
        let path = path.child("topologySpreadConstraints").index(index);
        let key = constraint.text("topologyKey");
        found.extend(old_labels::words(key).map(|words| format!("{}: {key} is {words}", path.child("topologyKey"))));
        if !constraint.has("labelSelector") {
            found.push(format!("{}: {NULL_SELECTOR}", path.child("labelSelector")));
        }
    }
}

fn volumes(found: &mut Vec<String>, volumes: &[Value], path: &Path) {
    for (index, volume) in volumes.iter().enumerate() {
        let path = path.index(index);
        for (source, words) in OLD_VOLUMES.iter().filter(|(source, _)| volume.has(source)) {
            // Upstream spells this one otherwise than the field.
            let name = if *source == "storageos" { "storageOS" } else { source };
            found.push(format!("{}: {words}", path.child(name)));
        }
        let template = volume.object("ephemeral").object("volumeClaimTemplate");
        let path = path.child("ephemeral").child("volumeClaimTemplate").child("spec");
        claim_warnings(found, template.object("spec"), &path);
    }
    overlaps::overlaps(found, volumes);
}

/// Items of lists that should be there once.
fn repeated(found: &mut Vec<String>, spec: &Map<String, Value>, path: &Path) {
    for (list, field) in [("hostAliases", "ip"), ("imagePullSecrets", "name")] {
        let mut seen = HashSet::new();
        for (index, item) in spec.list(list).iter().enumerate() {
            let text = item.text(field);
            if !seen.insert(text) {
                found.push(format!("{}: duplicate {field} {text:?}", path.child(list).index(index).child(field)));
            }
        }
    }
    for (index, secret) in spec.list("imagePullSecrets").iter().enumerate() {
        if secret.text("name").is_empty() {
            let path = path.child("imagePullSecrets").index(index).child("name");
            found.push(format!("{path}: invalid empty name \"\""));
        }
    }
}

/// Amounts of bytes have no fractions.
pub(crate) fn in_whole_bytes(found: &mut Vec<String>, amounts: &Map<String, Value>, path: &Path) {
    for name in ["memory", "ephemeral-storage", "storage"] {
        let Some(amount) = amounts.value(name).map(quantity).filter(|amount| amount.milli_value() % 1000 != 0) else {
            continue;
        };
        let (path, amount) = (path.key(name), amount.to_string());
        found.push(format!("{path}: fractional byte value {amount:?} is invalid, must be an integer"));
    }
}

fn affinity(found: &mut Vec<String>, affinity: &Map<String, Value>, path: &Path) {
    for kind in ["podAffinity", "podAntiAffinity"] {
        let (of, path) = (affinity.object(kind), path.child(kind));
        let (required, preferred) =
            ("requiredDuringSchedulingIgnoredDuringExecution", "preferredDuringSchedulingIgnoredDuringExecution");
        for (index, _) in of.list(required).iter().enumerate().filter(|(_, term)| !term.has("labelSelector")) {
            let path = path.child(required).index(index).child("labelSelector");
            found.push(format!("{path}: {NULL_SELECTOR}"));
        }
        for (index, weighted) in of.list(preferred).iter().enumerate() {
            if !weighted.object("podAffinityTerm").has("labelSelector") {
                let path = path.child(preferred).index(index).child("podAffinityTerm").child("labelSelector");
                found.push(format!("{path}: {NULL_SELECTOR}"));
            }
        }
    }
}

#[cfg(test)]
mod tests;
