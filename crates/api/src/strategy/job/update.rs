//! What may change of a job's spec (upstream: `ValidateJobSpecUpdate`, pkg/registry/batch/job/strategy.go).

use apimachinery::Object;
use apimachinery::field::{Error, Path};
use serde_json::{Map, Value};

use super::status::is_true;
use crate::check::{self, Errors};
use crate::json::{Read, Write};

/// Fields that never change.
const FIXED: &[&str] =
    &["selector", "completionMode", "podFailurePolicy", "successPolicy", "backoffLimitPerIndex", "managedBy"];

/// Where pods of a suspended job may run may still change.
const SCHEDULING: &[&str] = &["nodeSelector", "tolerations", "schedulingGates"];

/// Rules of an update of the spec.
pub(super) fn validate(object: &Object, old: &Object) -> Errors {
    let mut errors = Errors::new();
    let path = Path::new("spec");
    let (new, old_spec) = (object.object("spec"), old.object("spec"));
    completions(&mut errors, new, old_spec, &path.child("completions"));
    for field in FIXED {
        check::immutable(&mut errors, new.value(field), old_spec.value(field), &path.child(field));
    }
    let mut template = old_spec.object("template").clone();
    let waits = !old.object("status").has("startTime") || is_true(old, "Suspended");
    if old_spec.flag("suspend") && waits {
        take_scheduling(&mut template, new.object("template"));
    }
    let template = Value::Object(template);
    check::immutable(&mut errors, new.value("template"), Some(&template), &path.child("template"));
    errors
}

/// Indexed jobs grow and shrink when parallelism does too.
fn completions(errors: &mut Errors, new: &Map<String, Value>, old: &Map<String, Value>, path: &Path) {
    if new.text("completionMode") != "Indexed" {
        check::immutable(errors, new.value("completions"), old.value("completions"), path);
        return;
    }
    if let Some(count) = new.int("completions")
        && Some(count) != old.int("completions")
        && Some(count) != new.int("parallelism")
    {
        errors.push(Error::invalid(path, count, "can only be modified in tandem with spec.parallelism"));
    }
}

/// Takes over what a suspended job may change of its template: metadata, scheduling directives, resources.
fn take_scheduling(template: &mut Map<String, Value>, new: &Map<String, Value>) {
    let take = |mine: &mut Map<String, Value>, other: &Map<String, Value>, field: &str| match other.get(field) {
        Some(value) => {
            mine.insert(field.to_owned(), value.clone());
        }
        None => {
            mine.remove(field);
        }
    };
    let new_metadata = new.object("metadata");
    if let Some(metadata) = template.object_made("metadata") {
        take(metadata, new_metadata, "labels");
        take(metadata, new_metadata, "annotations");
    }
    if !new.has("metadata") && template.object("metadata").is_empty() {
        template.remove("metadata");
    }
    let new_spec = new.object("spec");
    let Some(spec) = template.object_at("spec") else { return };
    SCHEDULING.iter().for_each(|field| take(spec, new_spec, field));
    match (spec.has("affinity"), new_spec.has("affinity")) {
        (true, false) if spec.object("affinity").keys().all(|kind| kind == "nodeAffinity") => {
            spec.remove("affinity");
        }
        (_, true) => {
            if let Some(affinity) = spec.object_made("affinity") {
                take(affinity, new_spec.object("affinity"), "nodeAffinity");
            }
        }
        _ => {}
    }
    for list in ["containers", "initContainers"] {
        for (mine, other) in spec.items_mut(list).zip(new_spec.list(list)) {
            take(mine, other.fields(), "resources");
        }
    }
}
