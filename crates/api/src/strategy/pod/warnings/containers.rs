//! What containers say and hardly mean, and annotations about them.

use std::collections::HashSet;

use apimachinery::field::Path;
use serde_json::{Map, Value, json};

use super::in_whole_bytes;
use crate::json::Read;

const SECCOMP: &str = "container.seccomp.security.alpha.kubernetes.io/";
const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";

/// The annotations of a pod or template.
pub(super) struct Annotations<'a> {
    pub(super) annotations: &'a Map<String, Value>,
    pub(super) at: Path,
    pub(super) is_template: bool,
}

/// All lists of containers, in the order in which upstream visits them.
pub(super) const LISTS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

pub(super) fn containers(found: &mut Vec<String>, spec: &Map<String, Value>, of: &Annotations<'_>, path: &Path) {
    let of_pod = spec.object("securityContext").value("appArmorProfile");
    for list in LISTS {
        for (index, container) in spec.list(list).iter().enumerate() {
            let path = path.child(list).index(index);
            profiles(found, container, of_pod, of);
            let (resources, at) = (container.object("resources"), path.child("resources"));
            for part in ["limits", "requests"] {
                in_whole_bytes(found, resources.object(part), &at.child(part));
            }
            environment(found, container.list("env"), &path.child("env"));
        }
    }
}

/// Profiles of security that annotations name and fields do not.
fn profiles(found: &mut Vec<String>, container: &Value, of_pod: Option<&Value>, of: &Annotations<'_>) {
    let (name, context) = (container.text("name"), container.object("securityContext"));
    let seccomp = format!("{SECCOMP}{name}");
    if of.annotations.has(&seccomp) && !context.has("seccompProfile") {
        let words = "non-functional in v1.27+; use the \"seccompProfile\" field instead";
        found.push(format!("{}: {words}", of.at.key(&seccomp)));
    }
    let app_armor = format!("{APP_ARMOR}{name}");
    if !of.is_template || !of.annotations.has(&app_armor) || context.has("appArmorProfile") {
        return;
    }
    let named = match of.annotations.text(&app_armor) {
        "unconfined" => Some(json!({ "type": "Unconfined" })),
        "runtime/default" => Some(json!({ "type": "RuntimeDefault" })),
        other => other
            .strip_prefix("localhost/")
            .filter(|profile| !profile.is_empty())
            .map(|profile| json!({ "type": "Localhost", "localhostProfile": profile })),
    };
    if of_pod.is_none() || of_pod != named.as_ref() {
        let words = "deprecated since v1.30; use the \"appArmorProfile\" field instead";
        found.push(format!("{}: {words}", of.at.key(&app_armor)));
    }
}

/// A variable that is there again and does not build on the former one.
fn environment(found: &mut Vec<String>, variables: &[Value], path: &Path) {
    let mut seen = HashSet::new();
    for (index, variable) in variables.iter().enumerate() {
        let (name, value) = (variable.text("name"), variable.text("value"));
        if seen.insert(name) {
            continue;
        }
        let reference = format!("$({name})");
        if variable.has("valueFrom") || value == reference || !value.contains(&reference) {
            let path = path.index(index);
            found.push(format!("{path}: hides previous definition of {name:?}, which may be dropped when using apply"));
        }
    }
}
