//! What of a pod an update may change (upstream: `ValidatePodUpdate` and its neighbours).

use apimachinery::Object;
use apimachinery::field::{Error, Path};
use serde_json::{Map, Value};

use super::validation;
use crate::check::Errors;
use crate::json::{Read, Write};

mod gated;

const CHANGEABLE: &str = "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,\
    `spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be \
    set to 1 if it was previously negative)";

const LISTS: [&str; 2] = ["containers", "initContainers"];

/// Rules of a main-resource update.
pub(super) fn validate(object: &Object, old: &Object) -> Errors {
    let mut errors = Errors::new();
    let path = Path::new("spec");
    let (new, old) = (object.object("spec"), old.object("spec"));
    if new == old {
        return errors;
    }
    for list in LISTS {
        if new.list(list).len() != old.list(list).len() {
            let detail = "pod updates may not add or remove containers";
            errors.push(Error::forbidden(&path.child(list), detail));
        }
    }
    if !errors.is_empty() {
        return errors;
    }
    deadline(&mut errors, new, old, &path.child("activeDeadlineSeconds"));
    if !only_adds_tolerations(new.list("tolerations"), old.list("tolerations")) {
        let detail = "existing toleration can not be modified except its tolerationSeconds";
        errors.push(Error::forbidden(&path.child("tolerations"), detail));
    }
    gated::gates(&mut errors, new, old, &path);
    if !old.list("schedulingGates").is_empty() {
        gated::narrowed(&mut errors, new, old, &path);
    }
    if !errors.is_empty() {
        return errors;
    }
    let allowed = with_changeable_fields_of(old, new);
    if allowed != *new {
        let detail =
            format!("pod updates may not change fields other than {CHANGEABLE}\n{}", difference(new, &allowed));
        errors.push(Error::forbidden(&path, detail));
    }
    errors
}

fn deadline(errors: &mut Errors, new: &Map<String, Value>, old: &Map<String, Value>, path: &Path) {
    match (new.int("activeDeadlineSeconds"), old.int("activeDeadlineSeconds")) {
        (Some(new), Some(old)) if new > old => {
            errors.push(Error::invalid(path, new, "must be less than or equal to previous value"));
        }
        (None, Some(_)) => {
            errors.push(Error::invalid(path, Value::Null, "must not update from a positive integer to nil value"))
        }
        _ => {}
    }
}

fn only_adds_tolerations(new: &[Value], old: &[Value]) -> bool {
    let same = |a: &Value, b: &Value| {
        ["key", "operator", "value", "effect"].iter().all(|field| a.text(field) == b.text(field))
    };
    old.iter().all(|old| new.iter().any(|new| same(new, old)))
}

/// `old` with everything taken from `new` that an update may change.
fn with_changeable_fields_of(old: &Map<String, Value>, new: &Map<String, Value>) -> Map<String, Value> {
    let mut spec = old.clone();
    for list in LISTS {
        for (mine, other) in spec.items_mut(list).zip(new.list(list)) {
            take(mine, other.fields(), "image");
        }
    }
    take(&mut spec, new, "activeDeadlineSeconds");
    take(&mut spec, new, "tolerations");
    if old.int("terminationGracePeriodSeconds").is_some_and(|seconds| seconds < 0)
        && new.int("terminationGracePeriodSeconds") == Some(1)
    {
        take(&mut spec, new, "terminationGracePeriodSeconds");
    }
    take(&mut spec, new, "schedulingGates");
    if !old.list("schedulingGates").is_empty() {
        gated::take(&mut spec, new);
    }
    spec
}

fn take(into: &mut Map<String, Value>, from: &Map<String, Value>, field: &str) {
    match from.get(field) {
        Some(value) => into.insert(field.to_owned(), value.clone()),
        None => into.remove(field),
    };
}

/// The fields that differ, one a line.
fn difference(new: &Map<String, Value>, allowed: &Map<String, Value>) -> String {
    let mut lines = Vec::new();
    compare("", &Value::Object(allowed.clone()), &Value::Object(new.clone()), &mut lines);
    lines.join("\n")
}

fn compare(path: &str, old: &Value, new: &Value, lines: &mut Vec<String>) {
    match (old, new) {
        (Value::Object(a), Value::Object(b)) => {
            let mut names: Vec<&String> = a.keys().chain(b.keys().filter(|name| !a.contains_key(*name))).collect();
            names.sort();
            for name in names {
                let of = |map: &Map<String, Value>| map.get(name).cloned().unwrap_or(Value::Null);
                compare(&format!("{path}.{name}"), &of(a), &of(b), lines);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                compare(&format!("{path}[{index}]"), a, b, lines);
            }
        }
        (a, b) if a != b => lines.push(format!("  spec{path}:\n- \t{a}\n+ \t{b}")),
        _ => {}
    }
}

/// A write of `/ephemeralcontainers` changes nothing else.
pub(super) fn keep_all_but_ephemeral_containers(object: &mut Object, old: &Object) {
    let wanted = object.at(&["spec", "ephemeralContainers"]).cloned();
    let version = object.resource_version().to_owned();
    *object = old.clone();
    object.set_meta_str("resourceVersion", &version);
    if let (Some(spec), Some(wanted)) = (object.object_at("spec"), wanted) {
        spec.insert("ephemeralContainers".into(), wanted);
    } else if let Some(spec) = object.object_at("spec") {
        spec.remove("ephemeralContainers");
    }
}

/// Rules of `/ephemeralcontainers`: they are only added.
pub(super) fn validate_ephemeral_containers(object: &Object, old: &Object) -> Errors {
    let mut errors = Errors::new();
    let path = Path::new("spec");
    validation::ephemeral_containers(&mut errors, object.object("spec"), &path);
    let path = path.child("ephemeralContainers");
    let new = object.object("spec").list("ephemeralContainers");
    for container in old.object("spec").list("ephemeralContainers") {
        let name = container.text("name");
        match new.iter().find(|new| new.text("name") == name) {
            None => errors
                .push(Error::forbidden(&path, format!("existing ephemeral containers {name:?} may not be removed\n"))),
            Some(new) if new != container => {
                errors.push(Error::forbidden(
                    &path,
                    format!("existing ephemeral containers {name:?} may not be changed\n"),
                ));
            }
            Some(_) => {}
        }
    }
    errors
}

/// A write of `/resize` changes only the resources of containers.
pub(super) fn keep_all_but_resources(object: &mut Object, old: &Object) {
    let wanted = object.object("spec").clone();
    let version = object.resource_version().to_owned();
    *object = old.clone();
    object.set_meta_str("resourceVersion", &version);
    let Some(spec) = object.object_at("spec") else { return };
    for list in LISTS {
        for container in spec.items_mut(list) {
            let named = wanted.list(list).iter().find(|other| other.text("name") == container.text("name"));
            if let Some(other) = named {
                take(container, other.fields(), "resources");
                take(container, other.fields(), "resizePolicy");
            }
        }
    }
    take(spec, &wanted, "resources");
}

/// Rules of `/resize`: the class of the pod stays what it is.
pub(super) fn validate_resize(object: &Object, old: &Object) -> Errors {
    let mut errors = Errors::new();
    let path = Path::new("spec");
    validation::pod_spec(&mut errors, object.object("spec"), &path);
    if super::qos::class(object.object("spec")) != super::qos::class(old.object("spec")) {
        let class = super::qos::class(old.object("spec"));
        errors.push(Error::invalid(&path, class, "Pod QOS Class may not change as a result of resizing"));
    }
    if old.object("spec").object("os").text("name") == "windows" {
        errors.push(Error::forbidden(&path, "windows pods cannot be resized"));
    }
    for list in LISTS {
        for (index, before) in old.object("spec").list(list).iter().enumerate() {
            if let Some(new) = object.object("spec").list(list).get(index) {
                resized(
                    &mut errors,
                    new.object("resources"),
                    before.object("resources"),
                    &path.child(list).index(index),
                );
            }
        }
    }
    errors
}

/// Processor time and memory grow and shrink; nothing is taken away, and nothing else changes.
fn resized(errors: &mut Errors, new: &Map<String, Value>, old: &Map<String, Value>, path: &Path) {
    let resizes = |name: &str| matches!(name, "cpu" | "memory");
    let path = path.child("resources");
    for part in ["requests", "limits"] {
        let (new, old, path) = (new.object(part), old.object(part), path.child(part));
        if old.keys().any(|name| resizes(name) && !new.contains_key(name)) {
            errors.push(Error::forbidden(&path, format!("resource {part} cannot be removed")));
        }
        let rest = |list: &Map<String, Value>| -> Map<String, Value> {
            let others = list.iter().filter(|(name, _)| !resizes(name));
            others.map(|(name, value)| (name.clone(), value.clone())).collect()
        };
        if rest(new) != rest(old) {
            errors.push(Error::forbidden(&path, "only cpu and memory resources are mutable"));
        }
    }
}
