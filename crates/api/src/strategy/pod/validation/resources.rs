//! Requests and limits (upstream: `ValidateContainerResourceRequirements`).

use apimachinery::field::{Error, Path};
use apimachinery::quantity::Quantity;
use apimachinery::resources::{is_compute, is_compute_of_quotas, is_counted, is_extended, is_native};
use serde_json::{Map, Value};

use crate::check::{self, Errors, named, names};
use crate::json::Read;

/// The resources of a container.
pub(crate) fn requirements(errors: &mut Errors, resources: &Map<String, Value>, path: &Path) {
    checked(errors, resources, container_resource, path);
}

/// The resources of a pod as a whole.
pub(super) fn pod_requirements(errors: &mut Errors, resources: &Map<String, Value>, path: &Path) {
    let pod_resource = |errors: &mut Errors, name: &str, path: &Path| {
        if !matches!(name, "cpu" | "memory") && !is_huge_page(name) {
            errors.push(Error::not_supported(path, name, &["cpu", "hugepages-", "memory"]));
        }
    };
    checked(errors, resources, pod_resource, path);
}

/// The overhead of a pod, which is judged as limits are.
pub(super) fn overhead(errors: &mut Errors, overhead: &Map<String, Value>, path: &Path) {
    requirements(errors, &Map::from_iter([("limits".to_owned(), overhead.clone().into())]), path);
}

fn checked(
    errors: &mut Errors,
    resources: &Map<String, Value>,
    name_of: impl Fn(&mut Errors, &str, &Path),
    path: &Path,
) {
    let (limits, requests) = (resources.object("limits"), resources.object("requests"));
    for (list, part) in [(limits, "limits"), (requests, "requests")] {
        for (name, value) in list {
            let at = path.child(part).key(name);
            name_of(errors, name, &at);
            quantity_of(errors, name, value, &at);
            if is_huge_page(name) && !in_pages(name, value) {
                let detail = format!("{} is not positive integer multiple of {name}", text(value));
                errors.push(Error::invalid(&at, text(value), detail));
            }
        }
    }
    let has = |test: fn(&str) -> bool| limits.keys().chain(requests.keys()).any(|name| test(name));
    if has(is_huge_page) && !has(|name| matches!(name, "cpu" | "memory")) {
        errors.push(Error::forbidden(path, "HugePages require cpu or memory"));
    }
    for (name, request) in requests {
        within_limit(errors, name, request, limits.get(name), path);
    }
}

fn within_limit(errors: &mut Errors, name: &str, request: &Value, limit: Option<&Value>, path: &Path) {
    let Some(limit) = limit else {
        if !overcommits(name) {
            let detail = "Limit must be set for non overcommitable resources";
            errors.push(Error::required(&path.child("limits"), detail));
        }
        return;
    };
    let (asked, most) = (check::quantity(request), check::quantity(limit));
    let words = if !overcommits(name) && asked != most {
        "equal to"
    } else if asked > most {
        "less than or equal to"
    } else {
        return;
    };
    let detail = format!("must be {words} {name} limit of {}", text(limit));
    errors.push(Error::invalid(&path.child("requests"), text(request), detail));
}

fn is_huge_page(name: &str) -> bool {
    name.starts_with("hugepages-")
}

/// Whether the amount is whole pages (upstream: `IsHugePageResourceValueDivisible`).
fn in_pages(name: &str, value: &Value) -> bool {
    let size = name.strip_prefix("hugepages-").and_then(|size| Quantity::parse(size).ok());
    size.is_some_and(|size| {
        size.value() > 0 && size.milli_value() % 1000 == 0 && check::quantity(value).value() % size.value() == 0
    })
}

/// The amount of a resource: not negative, and whole where things are counted
/// (upstream: `ValidateResourceQuantityValue`).
pub(crate) fn quantity_of(errors: &mut Errors, name: &str, value: &Value, path: &Path) {
    not_below_zero(errors, value, path);
    if is_counted(name) && check::quantity(value).milli_value() % 1000 != 0 {
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
    if is_extended(name) && check::quantity(value).milli_value() % 1000 != 0 {
        errors.push(Error::invalid(path, text(value), "must be an integer"));
    }
}

/// Whether requests may be smaller than limits.
pub(crate) fn overcommits(name: &str) -> bool {
    is_native(name) && !is_huge_page(name)
}

/// The name of any resource.
pub(crate) fn resource_name(errors: &mut Errors, name: &str, path: &Path) {
    named(errors, names::qualified_name, name, path);
    let is_known = is_huge_page(name) || is_compute_of_quotas(name) || is_counted(name) || name == "storage";
    if !name.contains('/') && !is_known {
        errors.push(Error::invalid(path, name, "must be a standard resource type or fully qualified"));
    }
}

/// The name of a resource that a container can have.
pub(crate) fn container_resource(errors: &mut Errors, name: &str, path: &Path) {
    resource_name(errors, name, path);
    if !name.contains('/') {
        if !is_compute(name) && !is_huge_page(name) {
            errors.push(Error::invalid(path, name, "must be a standard resource for containers"));
        }
    } else if !is_native(name) && !is_extended(name) {
        errors.push(Error::invalid(path, name, "doesn't follow extended resource name standard"));
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn amounts_are_checked() {
        let resources = json!({
            "limits": {"cpu": "1", "memory": "1Gi", "hugepages-2Mi": "3Mi", "a.example/gpu": "1500m", "requests.a.example/b": "1"},
            "requests": {"cpu": "2", "a.example/gpu": "1", "a.example/tpu": "1"},
        });
        let mut errors = Errors::new();
        requirements(&mut errors, resources.as_object().expect("an object"), &Path::new("resources"));
        let mut fields: Vec<String> = errors.iter().map(|error| error.field.to_string()).collect();
        fields.sort_unstable();
        let expected = [
            "resources.limits",
            "resources.limits[a.example/gpu]",
            "resources.limits[hugepages-2Mi]",
            "resources.limits[requests.a.example/b]",
            "resources.requests",
            "resources.requests",
        ];
        assert_eq!(fields, expected);
    }
}
