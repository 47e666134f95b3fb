//! What the kinds that make pods from a template share.

use apimachinery::Object;
use apimachinery::field::{self, Error, Path};
use serde_json::{Map, Value};

use super::pod::{default_pod_spec, pod_warnings, validate_template};
use crate::check::{self, Errors, names};
use crate::json::{Read, Write};
use crate::resource::{Generation, Strategy};

/// The strategy of `PodTemplate` objects.
pub(crate) struct PodTemplate;

impl Strategy for PodTemplate {
    fn default(&self, object: &mut Object) {
        if let Some(spec) = object.object_at("template").and_then(|template| template.object_made("spec")) {
            default_pod_spec(spec);
        }
    }

    fn validate(&self, object: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        validate_template(&mut errors, object.object("template"), &Path::new("template"));
        errors
    }

    fn warnings(&self, object: &Object) -> Vec<String> {
        warnings(object, &[])
    }

    fn generation(&self) -> Generation {
        Generation::Content
    }
}

/// `spec.selector`: there, valid and not empty.
pub(super) fn selector(errors: &mut Errors, spec: &Map<String, Value>, kind: &str, path: &Path) {
    if !spec.has("selector") {
        errors.push(Error::required(&path.child("selector"), ""));
        return;
    }
    check::label_selector(errors, spec, "selector", path);
    let selector = spec.object("selector");
    if selector.object("matchLabels").is_empty() && selector.list("matchExpressions").is_empty() {
        let detail = format!("empty selector is invalid for {kind}");
        errors.push(Error::invalid(&path.child("selector"), Value::Object(selector.clone()), detail));
    }
}

/// `spec.template`: valid, selected by the selector, and restarting always.
pub(super) fn template(errors: &mut Errors, spec: &Map<String, Value>, kind: &str, path: &Path) {
    let (template, path) = (spec.object("template"), path.child("template"));
    selected(errors, spec, &path);
    validate_template(errors, template, &path);
    restarts_always(errors, template.object("spec"), kind, &path);
}

/// The pods of a template restart, and have no time to end by.
pub(super) fn restarts_always(errors: &mut Errors, pod: &Map<String, Value>, kind: &str, path: &Path) {
    if !matches!(pod.text("restartPolicy"), "Always" | "") {
        let policy = pod.text("restartPolicy");
        errors.push(Error::not_supported(&path.child("spec").child("restartPolicy"), policy, &["Always"]));
    }
    if pod.has("activeDeadlineSeconds") {
        let detail = format!("activeDeadlineSeconds in {kind} is not Supported");
        errors.push(Error::forbidden(&path.child("spec").child("activeDeadlineSeconds"), detail));
    }
}

/// The template's labels are what the selector selects.
pub(super) fn selected(errors: &mut Errors, spec: &Map<String, Value>, path: &Path) {
    let labels = spec.object("template").object("metadata").object("labels");
    if !check::selects(spec.value("selector"), labels) {
        let value = if labels.is_empty() { Value::Null } else { Value::Object(labels.clone()) };
        let detail = "`selector` does not match template `labels`";
        errors.push(Error::invalid(&path.child("metadata").child("labels"), value, detail));
    }
}

/// A count or a percentage, when it is there.
pub(super) fn count_or_percent(errors: &mut Errors, of: &Map<String, Value>, name: &str, path: &Path) {
    match of.value(name) {
        Some(Value::String(text)) => check::named(errors, names::percent, text, &path.child(name)),
        Some(_) => check::not_negative(errors, of, name, path),
        None => {}
    }
}

/// A percentage may not exceed the whole.
pub(super) fn at_most_all(errors: &mut Errors, of: &Map<String, Value>, name: &str, path: &Path) {
    let text = of.text(name);
    if text.strip_suffix('%').and_then(|number| number.parse::<u64>().ok()).is_some_and(|percent| percent > 100) {
        errors.push(Error::invalid(&path.child(name), text, "must not be greater than 100%"));
    }
}

/// Whether a count or percentage comes to nothing.
pub(super) fn is_zero(of: &Map<String, Value>, name: &str) -> bool {
    match of.value(name) {
        Some(Value::String(text)) => {
            text.strip_suffix('%').is_some_and(|number| number.bytes().all(|byte| byte == b'0'))
        }
        Some(value) => value.as_i64() == Some(0),
        None => true,
    }
}

/// Warnings about the pods that a template makes.
pub(super) fn warnings(object: &Object, below: &[&str]) -> Vec<String> {
    let (mut fields, mut path) = (&object.0, Path::default());
    for step in below.iter().chain(&["template"]) {
        (fields, path) = (fields.object(step), path.child(step));
    }
    pod_warnings(fields, &path)
}

/// The same at an update, if the spec changes.
pub(super) fn update_warnings(object: &Object, old: &Object, below: &[&str]) -> Vec<String> {
    if object.value("spec") == old.value("spec") { Vec::new() } else { warnings(object, below) }
}

/// Pods are named after this object, and hosts after pods.
pub(super) fn name_warning(object: &Object) -> Option<String> {
    let wrong = names::dns1123_label(object.name());
    (!wrong.is_empty()).then(|| {
        format!(
            "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS \
             label is recommended: [{}]",
            wrong.join(" ")
        )
    })
}

/// Counts of a status: none is negative, none of `parts` is greater than `replicas`, and what is available is ready
/// (upstream: `ValidateDeploymentStatus`, `ValidateReplicaSetStatus`, `ValidateStatefulSetStatus`).
pub(super) fn status_counts(object: &Object, parts: &[&str], more: &[&str]) -> Errors {
    let mut errors = Errors::new();
    let (status, path) = (object.object("status"), Path::new("status"));
    for field in parts.iter().chain(more).chain(&["replicas", "observedGeneration", "collisionCount"]) {
        check::not_negative(&mut errors, status, field, &path);
    }
    let count = |field: &str| status.int(field).unwrap_or_default();
    for field in parts.iter().filter(|field| count(field) > count("replicas")) {
        errors.push(Error::invalid(&path.child(field), count(field), "cannot be greater than status.replicas"));
    }
    if parts.contains(&"availableReplicas") && count("availableReplicas") > count("readyReplicas") {
        let available = count("availableReplicas");
        let detail = "cannot be greater than readyReplicas";
        errors.push(Error::invalid(&path.child("availableReplicas"), available, detail));
    }
    errors
}

/// A count of collisions never goes back.
pub(super) fn collisions(errors: &mut Errors, object: &Object, old: &Object) {
    let count = |object: &Object| object.object("status").int("collisionCount");
    if let (Some(new), Some(before)) = (count(object).or(Some(0)), count(old))
        && new < before
    {
        errors.push(Error::invalid(&Path::new("status").child("collisionCount"), new, "cannot be decremented"));
    }
}

/// `spec.selector` may not change.
pub(super) fn same_selector(object: &Object, old: &Object) -> Errors {
    let mut errors = Errors::new();
    let path = Path::new("spec").child("selector");
    check::immutable(&mut errors, object.at(&["spec", "selector"]), old.at(&["spec", "selector"]), &path);
    errors
}
