//! What a pod's spec must be (upstream: pkg/apis/core/validation/validation.go, `ValidatePodSpec`).
//!
//! The same rules hold for the template of a workload, with other paths.

use std::collections::HashSet;

use apimachinery::field::{Error, Path};
use serde_json::{Map, Value};

use crate::check::{self, Errors, names};
use crate::json::Read;

mod affinity;
mod claims;
mod container;
mod environment;
mod handler;
mod mounts;
mod os;
mod resources;
mod security;
mod volume;

pub(crate) use affinity::node_selector;
pub(crate) use affinity::tolerations;
pub(crate) use container::ephemeral_containers;
pub(crate) use resources::{container_resource, not_below_zero, overcommits, quantity_of, requirements, resource_name};
pub(crate) use volume::source as volume_source;

/// The names of the pod's volumes, to which mounts refer.
pub(crate) type Volumes<'a> = HashSet<&'a str>;

/// Rules for a pod's spec.
pub(crate) fn pod_spec(errors: &mut Errors, spec: &Map<String, Value>, path: &Path) {
    let volumes = volume::volumes(errors, spec.list("volumes"), &path.child("volumes"));
    container::containers(errors, spec, &volumes, path);
    if check::required(errors, spec, "restartPolicy", path) {
        check::one_of(errors, spec, "restartPolicy", &["Always", "OnFailure", "Never"], path);
    }
    let dns_policies = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
    check::required_one_of(errors, spec, "dnsPolicy", &dns_policies, path);
    dns_config(errors, spec, path);
    check::labels(errors, spec.object("nodeSelector"), &path.child("nodeSelector"));
    security::pod(errors, spec, path);
    affinity::affinity(errors, spec.object("affinity"), &path.child("affinity"));
    affinity::tolerations(errors, spec.list("tolerations"), &path.child("tolerations"));
    affinity::spread(errors, spec.list("topologySpreadConstraints"), &path.child("topologySpreadConstraints"));
    for (name, rule) in [
        ("serviceAccountName", names::dns1123_subdomain as check::Rule),
        ("nodeName", names::dns1123_subdomain),
        ("hostname", names::dns1123_label),
        ("subdomain", names::dns1123_label),
        ("runtimeClassName", names::dns1123_subdomain),
        ("priorityClassName", names::dns1123_subdomain),
    ] {
        if !spec.text(name).is_empty() {
            check::named(errors, rule, spec.text(name), &path.child(name));
        }
    }
    if let Some(seconds) = spec.int("activeDeadlineSeconds")
        && !(1..=i64::from(i32::MAX)).contains(&seconds)
    {
        let detail = "must be between 1 and 2147483647, inclusive";
        errors.push(Error::invalid(&path.child("activeDeadlineSeconds"), seconds, detail));
    }
    check::not_negative(errors, spec, "terminationGracePeriodSeconds", path);
    check::one_of(errors, spec, "preemptionPolicy", &["PreemptLowerPriority", "Never"], path);
    pull_secrets(errors, spec.list("imagePullSecrets"), &path.child("imagePullSecrets"));
    host_aliases(errors, spec.list("hostAliases"), &path.child("hostAliases"));
    gates(errors, spec, path);
    if spec.has("resources") {
        resources::pod_requirements(errors, spec.object("resources"), &path.child("resources"));
    }
    resources::overhead(errors, spec.object("overhead"), &path.child("overhead"));
    os::os(errors, spec, path);
    claims::claims(errors, spec, path);
}

/// Rules for `spec.template` of a workload whose selector must select it.
pub(crate) fn template(errors: &mut Errors, template: &Map<String, Value>, path: &Path) {
    template_metadata(errors, template, path);
    let spec = template.object("spec");
    pod_spec(errors, spec, &path.child("spec"));
    if !spec.list("ephemeralContainers").is_empty() {
        let path = path.child("spec").child("ephemeralContainers");
        errors.push(Error::forbidden(&path, "ephemeral containers not allowed in pod template"));
    }
}

/// The labels and annotations of a template.
pub(crate) fn template_metadata(errors: &mut Errors, template: &Map<String, Value>, path: &Path) {
    let metadata = template.object("metadata");
    check::labels(errors, metadata.object("labels"), &path.child("labels"));
    for key in metadata.object("annotations").keys() {
        check::named(errors, names::qualified_name, &key.to_lowercase(), &path.child("annotations"));
    }
}

fn dns_config(errors: &mut Errors, spec: &Map<String, Value>, path: &Path) {
    let path = path.child("dnsConfig");
    let config = spec.object("dnsConfig");
    let servers = config.list("nameservers");
    if spec.text("dnsPolicy") == "None" && servers.is_empty() {
        let detail = "must provide at least one DNS nameserver when `dnsPolicy` is None";
        errors.push(Error::required(&path.child("nameservers"), detail));
    }
    if servers.len() > 3 {
        errors.push(Error::invalid(
            &path.child("nameservers"),
            servers.to_vec(),
            "must not have more than 3 nameservers",
        ));
    }
    for (index, server) in config.texts("nameservers").enumerate() {
        check::ip_address(errors, server, &path.child("nameservers").index(index));
    }
    let searches = config.list("searches");
    if searches.len() > 32 {
        errors.push(Error::invalid(
            &path.child("searches"),
            searches.to_vec(),
            "must not have more than 32 search paths",
        ));
    }
    for (index, search) in config.texts("searches").enumerate().filter(|(_, search)| *search != ".") {
        let name = search.strip_suffix('.').unwrap_or(search);
        check::named(errors, names::dns1123_subdomain, &name.replace('_', "-"), &path.child("searches").index(index));
    }
    for (index, option) in config.list("options").iter().enumerate() {
        check::required(errors, option.fields(), "name", &path.child("options").index(index));
    }
}

fn pull_secrets(errors: &mut Errors, secrets: &[Value], path: &Path) {
    for (index, secret) in secrets.iter().enumerate() {
        if secret.text("name").is_empty() {
            errors.push(Error::required(&path.index(index).child("name"), "name must not be empty"));
        }
    }
}

fn host_aliases(errors: &mut Errors, aliases: &[Value], path: &Path) {
    for (index, alias) in aliases.iter().enumerate() {
        let path = path.index(index);
        check::ip_address(errors, alias.text("ip"), &path.child("ip"));
        for (index, name) in alias.texts("hostnames").enumerate() {
            check::named(errors, names::dns1123_subdomain, name, &path.child("hostnames").index(index));
        }
    }
}

fn gates(errors: &mut Errors, spec: &Map<String, Value>, path: &Path) {
    for (index, gate) in spec.list("readinessGates").iter().enumerate() {
        let path = path.child("readinessGates").index(index).child("conditionType");
        check::named(errors, names::qualified_name, gate.text("conditionType"), &path);
    }
    if !spec.list("schedulingGates").is_empty() && !spec.text("nodeName").is_empty() {
        let detail = "cannot be set until all schedulingGates have been cleared";
        errors.push(Error::forbidden(&path.child("nodeName"), detail));
    }
    let mut seen = HashSet::new();
    for (index, gate) in spec.list("schedulingGates").iter().enumerate() {
        let path = path.child("schedulingGates").index(index);
        check::named(errors, names::qualified_name, gate.text("name"), &path.child("name"));
        if !seen.insert(gate.text("name")) {
            errors.push(Error::duplicate(&path, gate.text("name")));
        }
    }
}
