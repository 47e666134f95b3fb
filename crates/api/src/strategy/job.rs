//! Jobs (upstream: pkg/apis/batch/v1/defaults.go, pkg/apis/batch/validation, pkg/registry/batch/job/strategy.go).

use apimachinery::Object;
use apimachinery::field::{self, Error, Path};
use serde_json::{Map, Value, json};

use super::pod::{default_template, validate_template};
use super::workload;
use crate::check::{self, Errors};
use crate::json::{Read, Write};
use crate::resource::{Strategy, WriteContext};

/// The strategy of jobs.
pub(crate) struct Job;

impl Strategy for Job {
    fn default(&self, object: &mut Object) {
        let labels = object.at(&["spec", "template", "metadata", "labels"]).cloned();
        if let Some(labels) = labels.filter(|_| object.labels().next().is_none()) {
            object.metadata_mut().insert("labels".into(), labels);
        }
        if let Some(spec) = object.object_made("spec") {
            default_job_spec(spec);
        }
    }

    fn prepare_for_create(&self, _cx: &WriteContext<'_>, object: &mut Object) {
        if !object.object("spec").flag("manualSelector") {
            generate_selector(object);
        }
    }

    fn validate(&self, object: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        let (spec, path) = (object.object("spec"), Path::new("spec"));
        validate_job_spec(&mut errors, spec, &path);
        if !spec.has("selector") {
            errors.push(Error::required(&path.child("selector"), ""));
        }
        check::label_selector(&mut errors, spec, "selector", &path);
        workload::selected(&mut errors, spec, &path.child("template"));
        errors
    }

    fn validate_update(&self, object: &Object, old: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        let path = Path::new("spec");
        let (new, old) = (object.object("spec"), old.object("spec"));
        let scales = new.text("completionMode") == "Indexed" && new.int("completions") == new.int("parallelism");
        if !scales {
            check::immutable(
                &mut errors,
                new.value("completions"),
                old.value("completions"),
                &path.child("completions"),
            );
        }
        for field in
            ["selector", "completionMode", "podFailurePolicy", "successPolicy", "backoffLimitPerIndex", "managedBy"]
        {
            check::immutable(&mut errors, new.value(field), old.value(field), &path.child(field));
        }
        if !old.flag("suspend") {
            check::immutable(&mut errors, new.value("template"), old.value("template"), &path.child("template"));
        }
        errors
    }
}

/// The defaults of a job's spec.
fn default_job_spec(spec: &mut Map<String, Value>) {
    if !spec.has("completions") && !spec.has("parallelism") {
        spec.default_to("completions", 1);
    }
    spec.default_to("parallelism", 1);
    let limit = if spec.has("backoffLimitPerIndex") { i64::from(i32::MAX) } else { 6 };
    spec.default_to("backoffLimit", limit);
    spec.default_to("completionMode", "NonIndexed");
    spec.default_to("suspend", false);
    let replacement = if spec.has("podFailurePolicy") { "Failed" } else { "TerminatingOrFailed" };
    spec.default_to("podReplacementPolicy", replacement);
    if let Some(policy) = spec.object_at("podFailurePolicy") {
        for rule in policy.items_mut("rules") {
            rule.items_mut("onPodConditions").for_each(|pattern| pattern.default_text("status", "True"));
        }
    }
    default_template(spec);
}

/// Rules of a job's spec, also within a cron job.
pub(super) fn validate_job_spec(errors: &mut Errors, spec: &Map<String, Value>, path: &Path) {
    for field in [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ] {
        check::not_negative(errors, spec, field, path);
    }
    check::one_of(errors, spec, "completionMode", &["Indexed", "NonIndexed"], path);
    if spec.text("completionMode") == "Indexed" && !spec.has("completions") {
        errors.push(Error::required(&path.child("completions"), "when completion mode is Indexed"));
    }
    check::one_of(errors, spec, "podReplacementPolicy", &["Failed", "TerminatingOrFailed"], path);
    let (template, path) = (spec.object("template"), path.child("template"));
    validate_template(errors, template, &path);
    let (policy, path) = (template.object("spec").text("restartPolicy"), path.child("spec").child("restartPolicy"));
    match policy {
        "OnFailure" | "Never" => {}
        "Always" => errors.push(Error::required(&path, "valid values: \"OnFailure\", \"Never\"")),
        other => errors.push(Error::not_supported(&path, other, &["OnFailure", "Never"])),
    }
}

/// A selector that no other job's pods match: the job's uid.
fn generate_selector(object: &mut Object) {
    let (uid, name) = (object.uid().to_owned(), object.name().to_owned());
    let Some(spec) = object.object_made("spec") else { return };
    if let Some(labels) = spec
        .object_made("template")
        .and_then(|template| template.object_made("metadata"))
        .and_then(|metadata| metadata.object_made("labels"))
    {
        for (key, value) in [
            ("controller-uid", &uid),
            ("job-name", &name),
            ("batch.kubernetes.io/controller-uid", &uid),
            ("batch.kubernetes.io/job-name", &name),
        ] {
            labels.insert(key.to_owned(), value.clone().into());
        }
    }
    if let Some(selector) = spec.object_made("selector")
        && let Some(labels) = selector.object_made("matchLabels")
    {
        labels.insert("batch.kubernetes.io/controller-uid".to_owned(), json!(uid));
    }
}
