//! Containers of the three sorts, their ports and mounts.

use std::collections::HashSet;

use apimachinery::field::{Error, Path};
use serde_json::{Map, Value};

use super::{Volumes, environment, handler, mounts, resources, security};
use crate::check::{self, Errors, names};
use crate::json::Read;

/// All containers of a pod.
pub(super) fn containers(errors: &mut Errors, spec: &Map<String, Value>, volumes: &Volumes<'_>, path: &Path) {
    let mut seen = HashSet::new();
    let mut host_ports = HashSet::new();
    let grace = spec.int("terminationGracePeriodSeconds").unwrap_or_default();
    if spec.list("containers").is_empty() {
        errors.push(Error::required(&path.child("containers"), ""));
    }
    for list in ["containers", "initContainers"] {
        for (index, container) in spec.list(list).iter().enumerate() {
            let path = path.child(list).index(index);
            common(errors, container.fields(), volumes, &path);
            unique_name(errors, container, &mut seen, &path);
            let restarts = container.text("restartPolicy");
            if list == "initContainers" && restarts != "Always" {
                init_only(errors, container, &path);
            }
            handlers(errors, container, grace, &path);
            restart_rules(errors, container, &path);
            check::one_of(errors, container.fields(), "restartPolicy", &["Always", "OnFailure", "Never"], &path);
            ports_on_host(errors, container, spec.flag("hostNetwork"), &mut host_ports, &path);
        }
    }
    let ephemeral = spec.list("ephemeralContainers");
    for (index, container) in ephemeral.iter().enumerate() {
        let path = path.child("ephemeralContainers").index(index);
        ephemeral_container(errors, container, spec, volumes, &path);
        unique_name(errors, container, &mut seen, &path);
    }
}

/// The ephemeral containers of a pod, as a write of the subresource brings them.
pub(crate) fn ephemeral_containers(errors: &mut Errors, spec: &Map<String, Value>, path: &Path) {
    let volumes: Volumes<'_> = spec.list("volumes").iter().map(|volume| volume.text("name")).collect();
    let mut seen: HashSet<&str> =
        ["containers", "initContainers"].iter().flat_map(|list| spec.list(list)).map(|one| one.text("name")).collect();
    for (index, container) in spec.list("ephemeralContainers").iter().enumerate() {
        let path = path.child("ephemeralContainers").index(index);
        ephemeral_container(errors, container, spec, &volumes, &path);
        unique_name(errors, container, &mut seen, &path);
    }
}

fn ephemeral_container(
    errors: &mut Errors,
    container: &Value,
    spec: &Map<String, Value>,
    volumes: &Volumes<'_>,
    path: &Path,
) {
    common(errors, container.fields(), volumes, path);
    let target = container.text("targetContainerName");
    let known =
        ["containers", "initContainers"].iter().flat_map(|list| spec.list(list)).any(|one| one.text("name") == target);
    if !target.is_empty() && !known {
        errors.push(Error::not_found(&path.child("targetContainerName"), target));
    }
    for field in
        ["ports", "livenessProbe", "readinessProbe", "startupProbe", "lifecycle", "resizePolicy", "restartPolicy"]
    {
        if container.has(field) {
            errors.push(Error::forbidden(&path.child(field), "cannot be set for an Ephemeral Container"));
        }
    }
    if !container.object("resources").is_empty() {
        errors.push(Error::forbidden(&path.child("resources"), "cannot be set for an Ephemeral Container"));
    }
    for (index, mount) in container.list("volumeMounts").iter().enumerate() {
        for field in ["subPath", "subPathExpr"] {
            if !mount.text(field).is_empty() {
                let path = path.child("volumeMounts").index(index).child(field);
                errors.push(Error::forbidden(&path, "cannot be set for an Ephemeral Container"));
            }
        }
    }
}

fn unique_name<'a>(errors: &mut Errors, container: &'a Value, seen: &mut HashSet<&'a str>, path: &Path) {
    let name = container.text("name");
    if !name.is_empty() && !seen.insert(name) {
        errors.push(Error::duplicate(&path.child("name"), name));
    }
}

/// What holds for containers of any sort.
fn common(errors: &mut Errors, container: &Map<String, Value>, volumes: &Volumes<'_>, path: &Path) {
    check::required_name(errors, names::dns1123_label, container, "name", path);
    let image = container.text("image");
    if image.is_empty() {
        errors.push(Error::required(&path.child("image"), ""));
    } else if image.trim() != image {
        errors.push(Error::invalid(&path.child("image"), image, "must not have leading or trailing whitespace"));
    }
    let policies = ["FallbackToLogsOnError", "File"];
    check::one_of(errors, container, "terminationMessagePolicy", &policies, path);
    ports(errors, container.list("ports"), &path.child("ports"));
    environment::variables(errors, container.list("env"), &path.child("env"));
    environment::sources(errors, container.list("envFrom"), &path.child("envFrom"));
    mounts::mounts(errors, container, volumes, path);
    check::required_one_of(errors, container, "imagePullPolicy", &["Always", "IfNotPresent", "Never"], path);
    resources::requirements(errors, container.object("resources"), &path.child("resources"));
    resize_policy(errors, container.list("resizePolicy"), &path.child("resizePolicy"));
    security::container(errors, container.object("securityContext"), &path.child("securityContext"));
}

fn handlers(errors: &mut Errors, container: &Value, grace_s: i64, path: &Path) {
    let lifecycle = container.object("lifecycle");
    for hook in ["postStart", "preStop"] {
        if lifecycle.has(hook) {
            handler::hook(errors, lifecycle.object(hook), grace_s, &path.child("lifecycle").child(hook));
        }
    }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let Some(probe) = container.value(name) else { continue };
        let path = path.child(name);
        handler::probe(errors, probe.fields(), &path);
        if name == "readinessProbe" {
            if probe.has("terminationGracePeriodSeconds") {
                let detail = "must not be set for readinessProbes";
                let value = probe.int("terminationGracePeriodSeconds").unwrap_or_default();
                errors.push(Error::invalid(&path.child("terminationGracePeriodSeconds"), value, detail));
            }
        } else if probe.int("successThreshold").is_some_and(|threshold| threshold != 1) {
            let threshold = probe.int("successThreshold").unwrap_or_default();
            errors.push(Error::invalid(&path.child("successThreshold"), threshold, "must be 1"));
        }
    }
}

/// `restartPolicyRules` (upstream: `validateContainerRestartPolicyRules`).
fn restart_rules(errors: &mut Errors, container: &Value, path: &Path) {
    const MAX_RULES: usize = 20;
    const MAX_CODES: usize = 255;
    let (rules, at) = (container.list("restartPolicyRules"), path.child("restartPolicyRules"));
    if !rules.is_empty() && container.text("restartPolicy").is_empty() {
        let detail = "must specify restartPolicy when restart rules are used";
        errors.push(Error::required(&path.child("restartPolicy"), detail));
    }
    if rules.len() > MAX_RULES {
        errors.push(Error::too_long(&at, MAX_RULES));
    }
    for (index, rule) in rules.iter().enumerate() {
        let path = at.index(index);
        check::required_one_of(errors, rule.fields(), "action", &["Restart", "RestartAllContainers"], &path);
        let (codes, path) = (rule.object("exitCodes"), path.child("exitCodes"));
        if !rule.has("exitCodes") {
            errors.push(Error::required(&path, "must be specified"));
            continue;
        }
        check::required_one_of(errors, codes, "operator", &["In", "NotIn"], &path);
        match codes.list("values").len() {
            0 => errors.push(Error::required(&path.child("values"), "must not be empty")),
            count if count > MAX_CODES => errors.push(Error::too_long(&path.child("values"), MAX_CODES)),
            _ => {}
        }
    }
}

/// What an init container that runs to its end may not have.
fn init_only(errors: &mut Errors, container: &Value, path: &Path) {
    for field in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
        if container.has(field) {
            let detail = "may not be set for init containers without restartPolicy=Always";
            errors.push(Error::forbidden(&path.child(field), detail));
        }
    }
}

fn ports(errors: &mut Errors, ports: &[Value], path: &Path) {
    let mut seen = HashSet::new();
    for (index, port) in ports.iter().enumerate() {
        let path = path.index(index);
        let name = port.text("name");
        if !name.is_empty() {
            let before = errors.len();
            check::named(errors, names::port_name, name, &path.child("name"));
            if errors.len() == before && !seen.insert(name) {
                errors.push(Error::duplicate(&path.child("name"), name));
            }
        }
        match port.int("containerPort") {
            None | Some(0) => errors.push(Error::required(&path.child("containerPort"), "")),
            Some(number) => check::port_number(errors, number, &path.child("containerPort")),
        }
        if let Some(number) = port.int("hostPort").filter(|number| *number != 0) {
            check::port_number(errors, number, &path.child("hostPort"));
        }
        check::required_one_of(errors, port.fields(), "protocol", &["SCTP", "TCP", "UDP"], &path);
    }
}

/// Host ports may be used once in a pod, and are the container's own with the host's network.
fn ports_on_host<'a>(
    errors: &mut Errors,
    container: &'a Value,
    host_network: bool,
    seen: &mut HashSet<(&'a str, &'a str, i64)>,
    path: &Path,
) {
    for (index, port) in container.list("ports").iter().enumerate() {
        let path = path.child("ports").index(index);
        let (number, on_host) =
            (port.int("containerPort").unwrap_or_default(), port.int("hostPort").unwrap_or_default());
        // A pod's own ports have been defaulted; those of a template will be in its pods.
        if host_network && on_host != 0 && on_host != number {
            let detail = "must match `containerPort` when `hostNetwork` is true";
            errors.push(Error::invalid(&path.child("hostPort"), on_host, detail));
        }
        if on_host != 0 && !seen.insert((port.text("protocol"), port.text("hostIP"), on_host)) {
            let text = format!("{}/{}/{on_host}", port.text("protocol"), port.text("hostIP"));
            errors.push(Error::duplicate(&path.child("hostPort"), text));
        }
    }
}

fn resize_policy(errors: &mut Errors, policies: &[Value], path: &Path) {
    let mut seen = HashSet::new();
    for (index, policy) in policies.iter().enumerate() {
        let path = path.index(index);
        if !seen.insert(policy.text("resourceName")) {
            errors.push(Error::duplicate(&path, policy.text("resourceName")));
        }
        check::required_one_of(errors, policy.fields(), "resourceName", &["cpu", "memory"], &path);
        check::required_one_of(errors, policy.fields(), "restartPolicy", &["NotRequired", "RestartContainer"], &path);
    }
}
