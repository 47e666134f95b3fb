//! Jobs (upstream: pkg/apis/batch/v1/defaults.go, pkg/apis/batch/validation, pkg/registry/batch/job/strategy.go).

use apimachinery::Object;
use apimachinery::field::{self, Error, Path};
use serde_json::{Map, Value, json};

mod failure_policy;
mod indexes;
mod status;
mod success_policy;
mod update;

use super::pod::{default_template, validate_template};
use super::workload;
use crate::check::{self, Errors, names};
use crate::json::{Read, Write};
use crate::resource::{Strategy, WriteContext};

/// Words about a job's spec, also within a cron job (upstream: pkg/api/job/warnings.go).
pub(super) fn job_warnings(object: &Object, below: &[&str]) -> Vec<String> {
    const COMPLETIONS: i64 = 100_000;
    const PARALLELISM: i64 = 10_000;
    let (mut spec, mut path) = (&object.0, Path::default());
    for step in below {
        (spec, path) = (spec.object(step), path.child(step));
    }
    let count = |field: &str| spec.int(field).unwrap_or_default();
    let mut found = Vec::new();
    let is_indexed = spec.text("completionMode") == "Indexed";
    if is_indexed && count("completions") > COMPLETIONS && count("parallelism") > PARALLELISM {
        found.push(format!(
            "{path}: In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, \
             Kubernetes might not be able to track completedIndexes when a big number of indexes fail"
        ));
    }
    found.extend(workload::warnings(object, below));
    found
}

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

    fn warnings(&self, object: &Object) -> Vec<String> {
        workload::name_warning(object).into_iter().chain(job_warnings(object, &["spec"])).collect()
    }

    fn update_warnings(&self, object: &Object, old: &Object) -> Vec<String> {
        if object.value("spec") == old.value("spec") { Vec::new() } else { job_warnings(object, &["spec"]) }
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
        generated_selector(&mut errors, object, spec, &path);
        host_names(&mut errors, object, spec);
        errors
    }

    fn validate_update(&self, object: &Object, old: &Object) -> Vec<field::Error> {
        update::validate(object, old)
    }

    fn validate_status_update(&self, object: &Object, old: &Object) -> Vec<field::Error> {
        status::validate(object, old)
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
    if spec.has("maxFailedIndexes") && !spec.has("backoffLimitPerIndex") {
        errors.push(Error::required(&path.child("backoffLimitPerIndex"), "when maxFailedIndexes is specified"));
    }
    if spec.has("managedBy") {
        let (manager, path) = (spec.text("managedBy"), path.child("managedBy"));
        check::named(errors, names::domain_prefixed_path, manager, &path);
        if manager.len() > MAX_MANAGER {
            errors.push(Error::too_long(&path, MAX_MANAGER));
        }
    }
    check::one_of(errors, spec, "completionMode", &["Indexed", "NonIndexed"], path);
    if spec.text("completionMode") == "Indexed" {
        indexed(errors, spec, path);
    } else {
        for field in ["backoffLimitPerIndex", "maxFailedIndexes"] {
            if let Some(number) = spec.int(field) {
                errors.push(Error::invalid(&path.child(field), number, "requires indexed completion mode"));
            }
        }
    }
    if spec.has("podFailurePolicy") {
        failure_policy::validate(errors, spec, &path.child("podFailurePolicy"));
    }
    if spec.has("successPolicy") {
        success_policy::validate(errors, spec, &path.child("successPolicy"));
    }
    let replacements: &[&str] =
        if spec.has("podFailurePolicy") { &["Failed"] } else { &["Failed", "TerminatingOrFailed"] };
    check::one_of(errors, spec, "podReplacementPolicy", replacements, path);
    let (template, path) = (spec.object("template"), path.child("template"));
    validate_template(errors, template, &path);
    let (policy, path) = (template.object("spec").text("restartPolicy"), path.child("spec").child("restartPolicy"));
    match policy {
        "OnFailure" if spec.has("podFailurePolicy") => {
            let detail = "only \"Never\" is supported when podFailurePolicy is specified";
            errors.push(Error::invalid(&path, policy, detail));
        }
        "OnFailure" | "Never" => {}
        "" | "Always" => errors.push(Error::required(&path, "valid values: \"OnFailure\", \"Never\"")),
        other => errors.push(Error::not_supported(&path, other, &["OnFailure", "Never"])),
    }
}

/// The length of `managedBy`.
const MAX_MANAGER: usize = 63;

/// Beyond so many completions a job with a limit per index must keep its status small.
const MANY_COMPLETIONS: i64 = 100_000;

/// What holds for indexed jobs, whose status lists indexes.
fn indexed(errors: &mut Errors, spec: &Map<String, Value>, path: &Path) {
    const MANY: i64 = 10_000;
    let (completions, parallelism) = (spec.int("completions"), spec.int("parallelism"));
    let failed = spec.int("maxFailedIndexes");
    let mut at_most = |field: &str, number: Option<i64>, limit: i64, more: &str| {
        if let Some(number) = number.filter(|number| *number > limit) {
            let detail = format!("must be less than or equal to {limit}{more}");
            errors.push(Error::invalid(&path.child(field), number, detail));
        }
    };
    at_most("parallelism", parallelism, MANY_COMPLETIONS, " when completion mode is Indexed");
    at_most("maxFailedIndexes", failed, MANY_COMPLETIONS, "");
    let many = completions.is_some_and(|count| count > MANY_COMPLETIONS) && spec.has("backoffLimitPerIndex");
    if many {
        let more = " when completions are above 100000 and used with backoff limit per index";
        at_most("parallelism", parallelism, MANY, more);
        at_most("maxFailedIndexes", failed, MANY, more);
    }
    if completions.is_none() {
        errors.push(Error::required(&path.child("completions"), "when completion mode is Indexed"));
    }
    if let (Some(completions), Some(failed)) = (completions, failed)
        && failed > completions
    {
        let detail = "must be less than or equal to completions";
        errors.push(Error::invalid(&path.child("maxFailedIndexes"), failed, detail));
    }
    if many && failed.is_none() {
        let detail = "must be specified when completions is above 100000";
        errors.push(Error::required(&path.child("maxFailedIndexes"), detail));
    }
}

/// A selector that the server was to make is the one that it makes.
fn generated_selector(errors: &mut Errors, object: &Object, spec: &Map<String, Value>, path: &Path) {
    if spec.flag("manualSelector") || !spec.has("selector") {
        return;
    }
    let labels = spec.object("template").object("metadata").object("labels");
    let expected = own_labels(object.uid(), object.name());
    let path_of_labels = path.child("template").child("metadata").child("labels");
    for (key, value) in &expected {
        match labels.text(key) {
            "" => errors.push(Error::required(&path_of_labels, format!("must be '{value}'"))),
            found if found != *value => {
                errors.push(Error::invalid(
                    &path_of_labels,
                    Value::Object(labels.clone()),
                    format!("must be '{value}'"),
                ));
            }
            _ => {}
        }
    }
    let expected: Map<String, Value> =
        expected.into_iter().map(|(key, value)| (key.to_owned(), value.into())).collect();
    if !check::selects(spec.value("selector"), &expected) {
        let selector = Value::Object(spec.object("selector").clone());
        errors.push(Error::invalid(&path.child("selector"), selector, "`selector` not auto-generated"));
    }
}

/// The labels of a job's pods.
fn own_labels<'a>(uid: &'a str, name: &'a str) -> [(&'static str, &'a str); 4] {
    [
        ("controller-uid", uid),
        ("job-name", name),
        ("batch.kubernetes.io/controller-uid", uid),
        ("batch.kubernetes.io/job-name", name),
    ]
}

/// The pods of an indexed job have host names of the job's name and their index.
fn host_names(errors: &mut Errors, object: &Object, spec: &Map<String, Value>) {
    let count = spec.int("completions").unwrap_or_default();
    if spec.text("completionMode") == "Indexed" && count > 0 {
        let longest = format!("{}-{}", object.name(), count - 1);
        if !names::dns1123_label(&longest).is_empty() {
            let detail = format!("will not able to create pod with invalid DNS label: {longest}");
            errors.push(Error::invalid(&Path::new("metadata").child("name"), object.name(), detail));
        }
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
        for (key, value) in own_labels(&uid, &name) {
            labels.insert(key.to_owned(), value.into());
        }
    }
    if let Some(selector) = spec.object_made("selector")
        && let Some(labels) = selector.object_made("matchLabels")
    {
        labels.insert("batch.kubernetes.io/controller-uid".to_owned(), json!(uid));
    }
}

#[cfg(test)]
mod tests;
