//! Requests and limits (upstream: `ValidateContainerResourceRequirements`).

use apimachinery::field::{Error, Path};
use serde_json::{Map, Value};

use crate::check::{self, Errors, named, names};
use crate::json::Read;

/// The resources that Kubernetes itself gives a meaning, for containers.
const STANDARD: &[&str] = &["cpu", "memory", "ephemeral-storage"];

/// The resources of a container.
pub(crate) fn requirements(errors: &mut Errors, resources: &Map<String, Value>, path: &Path) {
    let (limits, requests) = (resources.object("limits"), resources.object("requests"));
    for (list, part) in [(limits, "limits"), (requests, "requests")] {
        for (name, value) in list {
            let path = path.child(part).key(name);
            container_resource(errors, name, &path);
            not_below_zero(errors, value, &path);
            whole(errors, name, value, &path);
        }
    }
    let has = |test: fn(&str) -> bool| limits.keys().chain(requests.keys()).any(|name| test(name));
    if has(|name| name.starts_with("hugepages-")) && !has(|name| matches!(name, "cpu" | "memory")) {
        errors.push(Error::forbidden(path, "HugePages require cpu or memory"));
    }
    within_limits(errors, limits, requests, path);
}

/// The resources of a pod as a whole.
pub(super) fn pod_requirements(errors: &mut Errors, resources: &Map<String, Value>, path: &Path) {
    let supported = |name: &str| matches!(name, "cpu" | "memory") || name.starts_with("hugepages-");
    for part in ["limits", "requests"] {
        for (name, value) in resources.object(part) {
            let path = path.child(part).key(name);
            if !supported(name) {
                errors.push(Error::not_supported(&path, name.as_str(), &["cpu", "hugepages-", "memory"]));
            }
            not_below_zero(errors, value, &path);
        }
    }
    within_limits(errors, resources.object("limits"), resources.object("requests"), path);
}

fn within_limits(errors: &mut Errors, limits: &Map<String, Value>, requests: &Map<String, Value>, path: &Path) {
    for (name, request) in requests {
        let path = path.child("requests");
        match limits.get(name) {
            Some(limit) => {
                let (request_is, limit_is) = (check::quantity(request), check::quantity(limit));
                if !overcommits(name) && request_is != limit_is {
                    let detail = format!("must be equal to {name} limit of {}", text(limit));
                    errors.push(Error::invalid(&path, text(request), detail));
                } else if request_is > limit_is {
                    let detail = format!("must be less than or equal to {name} limit of {}", text(limit));
                    errors.push(Error::invalid(&path, text(request), detail));
                }
            }
            None if !overcommits(name) => {
                errors.push(Error::required(&path.key(name), "Limit must be set for non overcommitable resources"));
            }
            None => {}
        }
    }
}

/// A plain list of resources, as `overhead` or a node's capacity.
pub(super) fn resource_list(errors: &mut Errors, list: &Map<String, Value>, path: &Path) {
    for (name, value) in list {
        let path = path.key(name);
        resource_name(errors, name, &path);
        not_below_zero(errors, value, &path);
    }
}

/// The amount of a resource: not negative, and whole where things are counted
/// (upstream: `ValidateResourceQuantityValue`).
pub(crate) fn quantity_of(errors: &mut Errors, name: &str, value: &Value, path: &Path) {
    const COUNTED: &[&str] = &[
        "pods",
        "resourcequotas",
        "services",
        "replicationcontrollers",
        "secrets",
        "configmaps",
        "persistentvolumeclaims",
        "services.nodeports",
        "services.loadbalancers",
    ];
    not_below_zero(errors, value, path);
    if COUNTED.contains(&name) && check::quantity(value).milli_value() % 1000 != 0 {
        errors.push(Error::invalid(path, text(value), "must be an integer"));
    }
    whole(errors, name, value, path);
}

/// A quantity that may not be negative.
pub(crate) fn not_below_zero(errors: &mut Errors, value: &Value, path: &Path) {
    if check::quantity(value).is_negative() {
        errors.push(Error::invalid(path, text(value), "must be greater than or equal to 0"));
    }
}

/// Resources of others come in whole units.
fn whole(errors: &mut Errors, name: &str, value: &Value, path: &Path) {
    if name.contains('/') && !name.starts_with("kubernetes.io/") && check::quantity(value).milli_value() % 1000 != 0 {
        errors.push(Error::invalid(path, text(value), "must be an integer"));
    }
}

/// Whether requests may be smaller than limits.
fn overcommits(name: &str) -> bool {
    !name.starts_with("hugepages-") && (!name.contains('/') || name.starts_with("kubernetes.io/"))
}

fn resource_name(errors: &mut Errors, name: &str, path: &Path) {
    named(errors, names::qualified_name, name, path);
    if !name.contains('/')
        && !STANDARD.contains(&name)
        && !name.starts_with("hugepages-")
        && !matches!(name, "pods" | "storage")
    {
        errors.push(Error::invalid(path, name, "must be a standard resource type or fully qualified"));
    }
}

fn container_resource(errors: &mut Errors, name: &str, path: &Path) {
    resource_name(errors, name, path);
    if !name.contains('/') && !STANDARD.contains(&name) && !name.starts_with("hugepages-") {
        errors.push(Error::invalid(path, name, "must be a standard resource for containers"));
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
