//! What a job's status may say (upstream: `validateJobStatus`, `ValidateJobStatusUpdate`).

use std::collections::HashSet;

use apimachinery::Object;
use apimachinery::field::{Error, Path};
use serde_json::{Map, Value};

use super::indexes;
use crate::check::{self, Errors};
use crate::json::Read;

/// Whether a condition is there and true.
pub(super) fn is_true(job: &Object, kind: &str) -> bool {
    let conditions = job.object("status").list("conditions");
    conditions.iter().any(|condition| condition.text("type") == kind && condition.text("status") == "True")
}

/// Rules of a write of the status. What the old status broke already it may go on breaking.
pub(super) fn validate(object: &Object, old: &Object) -> Errors {
    let mut errors = Errors::new();
    let (status, path) = (object.object("status"), Path::new("status"));
    for field in ["active", "succeeded", "failed", "ready", "terminating"] {
        check::not_negative(&mut errors, status, field, &path);
    }
    uncounted(&mut errors, status.object("uncountedTerminatedPods"), &path.child("uncountedTerminatedPods"));
    let mut found = rules(object);
    let before = rules(old);
    found.retain(|error| !before.iter().any(|known| known.field == error.field && known.detail == error.detail));
    errors.extend(found);
    changes(&mut errors, object, old, &path);
    errors
}

fn uncounted(errors: &mut Errors, pods: &Map<String, Value>, path: &Path) {
    let mut seen = HashSet::new();
    for list in ["succeeded", "failed"] {
        for (index, uid) in pods.texts(list).enumerate() {
            let path = path.child(list).index(index);
            if uid.is_empty() {
                errors.push(Error::invalid(&path, uid, "must not be empty"));
            } else if !seen.insert(uid) {
                errors.push(Error::duplicate(&path, uid));
            }
        }
    }
}

/// Rules between the parts of a status.
fn rules(job: &Object) -> Errors {
    let mut errors = Errors::new();
    let (status, spec, path) = (job.object("status"), job.object("spec"), Path::new("status"));
    let (complete, failed) = (is_true(job, "Complete"), is_true(job, "Failed"));
    let (target, criteria) = (is_true(job, "FailureTarget"), is_true(job, "SuccessCriteriaMet"));
    for (broken, detail) in [
        (complete && failed, "cannot set Complete=True and Failed=true conditions"),
        (complete && target, "cannot set Complete=True and FailureTarget=true conditions"),
        (failed && !target, "cannot set Failed=True condition without the FailureTarget=true condition"),
        (complete && !criteria, "cannot set Complete=True condition without the SuccessCriteriaMet=true condition"),
        (criteria && failed, "cannot set SuccessCriteriaMet=True and Failed=true conditions"),
        (criteria && target, "cannot set SuccessCriteriaMet=True and FailureTarget=true conditions"),
    ] {
        if broken {
            errors.push(Error::invalid_whole(&path.child("conditions"), detail));
        }
    }
    times(&mut errors, status, complete, complete || failed, &path);
    counts(&mut errors, status, complete || failed, &path);
    listed(&mut errors, status, spec, &path);
    errors
}

fn times(errors: &mut Errors, status: &Map<String, Value>, complete: bool, finished: bool, path: &Path) {
    let (start, end) = (status.text("startTime"), status.text("completionTime"));
    if finished && start.is_empty() {
        errors.push(Error::required(&path.child("startTime"), "startTime is required for finished job"));
    }
    let path = path.child("completionTime");
    match (complete, end) {
        (true, "") => errors.push(Error::required(&path, "completionTime is required for Complete jobs")),
        (false, end) if !end.is_empty() => {
            let detail = "cannot set completionTime when there is no Complete=True condition";
            errors.push(Error::invalid(&path, end, detail));
        }
        _ => {}
    }
    // Both are in the one canonical form, which sorts.
    if !start.is_empty() && !end.is_empty() && end < start {
        errors.push(Error::invalid(&path, end, "must be equal to or after `startTime`"));
    }
}

fn counts(errors: &mut Errors, status: &Map<String, Value>, finished: bool, path: &Path) {
    let number = |field: &str| status.int(field).unwrap_or_default();
    for field in ["active", "terminating"] {
        if finished && number(field) > 0 {
            let detail = format!("{field}>0 is invalid for finished job");
            errors.push(Error::invalid(&path.child(field), number(field), detail));
        }
    }
    if number("ready") > number("active") {
        let detail = "cannot set more ready pods than active";
        errors.push(Error::invalid(&path.child("ready"), number("ready"), detail));
    }
    let uncounted = status.object("uncountedTerminatedPods");
    if finished && ["succeeded", "failed"].iter().any(|list| !uncounted.list(list).is_empty()) {
        let value = Value::Object(uncounted.clone());
        let path = path.child("uncountedTerminatedPods");
        errors.push(Error::invalid(&path, value, "must be empty for finished job"));
    }
}

fn listed(errors: &mut Errors, status: &Map<String, Value>, spec: &Map<String, Value>, path: &Path) {
    let (completed, failed) = (status.text("completedIndexes"), status.text("failedIndexes"));
    if spec.text("completionMode") != "Indexed" && !completed.is_empty() {
        let detail = "cannot set non-empty completedIndexes when non-indexed completion mode";
        errors.push(Error::invalid(&path.child("completedIndexes"), completed, detail));
    }
    if !spec.has("backoffLimitPerIndex") && status.has("failedIndexes") {
        let detail = "cannot set non-null failedIndexes when backoffLimitPerIndex is null";
        errors.push(Error::invalid(&path.child("failedIndexes"), failed, detail));
    }
    let Some(completions) = spec.int("completions") else { return };
    let mut read = |field: &str, text: &str| match indexes::parse(text, completions) {
        Ok(intervals) => intervals,
        Err(cause) => {
            errors.push(Error::invalid(&path.child(field), text, format!("error parsing {field}: {cause}")));
            Vec::new()
        }
    };
    let (done, lost) = (read("completedIndexes", completed), read("failedIndexes", failed));
    if let Some(index) = indexes::common(&done, &lost) {
        let detail = format!("failedIndexes and completedIndexes overlap at index: {index}");
        errors.push(Error::invalid(&path.child("failedIndexes"), failed, detail));
    }
}

/// Rules between the old and the new status: what is decided stays.
fn changes(errors: &mut Errors, object: &Object, old: &Object, path: &Path) {
    for kind in ["Complete", "Failed", "FailureTarget", "SuccessCriteriaMet"] {
        if is_true(old, kind) && !is_true(object, kind) {
            let detail = format!("cannot disable the terminal {kind}=True condition");
            let detail = match kind {
                "FailureTarget" | "SuccessCriteriaMet" => format!("cannot disable the {kind}=True condition"),
                _ => detail,
            };
            errors.push(Error::invalid_whole(&path.child("conditions"), detail));
        }
    }
    let (new_status, old_status) = (object.object("status"), old.object("status"));
    let finished = is_true(old, "Complete") || is_true(old, "Failed");
    if finished && new_status.text("completionTime") != old_status.text("completionTime") {
        let detail = "completionTime cannot be mutated";
        errors.push(Error::invalid(&path.child("completionTime"), new_status.text("completionTime"), detail));
    }
    let starts_anew = is_true(old, "Suspended") || object.object("spec").flag("suspend");
    let start = old_status.text("startTime");
    if !start.is_empty() && new_status.text("startTime") != start && !starts_anew {
        let path = path.child("startTime");
        if new_status.text("startTime").is_empty() {
            errors.push(Error::required(&path, "startTime cannot be removed for unsuspended job"));
        } else {
            let detail = "startTime cannot be modified for unsuspended job";
            errors.push(Error::invalid(&path, new_status.text("startTime"), detail));
        }
    }
}
