//! What an autoscaler measures (upstream: `validateMetricSpec`).

use apimachinery::field::{Error, Path};
use serde_json::{Map, Value};

use crate::check::{self, Errors, names};
use crate::json::Read;

/// Metric types and the fields that belong to them.
const KINDS: &[(&str, &str)] = &[
    ("ContainerResource", "containerResource"),
    ("External", "external"),
    ("Object", "object"),
    ("Pods", "pods"),
    ("Resource", "resource"),
];

/// The fields in the order in which they are looked at.
const FIELDS: &[&str] = &["object", "external", "pods", "resource", "containerResource"];

/// What is asked of the `apiVersion` of another object.
#[derive(Clone, Copy)]
pub(super) enum ApiVersion {
    /// Nothing: it was as it is before.
    Kept,
    /// That it can be read.
    Any,
    /// That it has a group, too.
    Grouped,
}

impl ApiVersion {
    /// What is wrong with one (upstream: `ValidateAPIVersion`).
    pub(super) fn wrong(self, text: &str) -> Option<String> {
        let slashes = text.matches('/').count();
        match self {
            Self::Kept => None,
            _ if slashes > 1 => Some(format!("unexpected GroupVersion string: {text}")),
            Self::Grouped if slashes == 0 || text.starts_with('/') => {
                Some("apiVersion must specify API group".to_owned())
            }
            Self::Any | Self::Grouped => None,
        }
    }
}

/// Kind, name, and version of another object.
pub(super) fn reference(errors: &mut Errors, of: &Map<String, Value>, version: ApiVersion, path: &Path) {
    for field in ["kind", "name"] {
        check::required_name(errors, names::path_segment_name, of, field, path);
    }
    if let Some(detail) = version.wrong(of.text("apiVersion")) {
        errors.push(Error::invalid(&path.child("apiVersion"), of.text("apiVersion"), detail));
    }
}

/// One metric.
pub(super) fn metric(errors: &mut Errors, metric: &Value, version: ApiVersion, path: &Path) {
    let kind = metric.text("type");
    if kind.is_empty() {
        errors.push(Error::required(&path.child("type"), "must specify a metric source type"));
    }
    let present: Vec<&str> = FIELDS.iter().copied().filter(|field| metric.has(field)).collect();
    if let Some(first) = present.first() {
        source(errors, first, metric.object(first), version, &path.child(first));
    }
    let expected = KINDS.iter().find(|(name, _)| *name == kind).map(|(_, field)| *field);
    match expected {
        Some(field) if !metric.has(field) => {
            let detail = "must populate information for the given metric source";
            errors.push(Error::required(&path.child(field), detail));
        }
        Some(_) => {}
        None => {
            let known: Vec<&str> = KINDS.iter().map(|(name, _)| *name).collect();
            errors.push(Error::not_supported(&path.child("type"), kind, &known));
        }
    }
    if present.len() > 1 {
        for field in present.iter().filter(|field| Some(**field) != expected) {
            errors.push(Error::forbidden(&path.child(field), "must populate the given metric source only"));
        }
    }
}

fn source(errors: &mut Errors, kind: &str, source: &Map<String, Value>, version: ApiVersion, path: &Path) {
    if kind == "object" {
        reference(errors, source.object("describedObject"), version, &path.child("describedObject"));
    }
    match kind {
        "resource" | "containerResource" => {
            if source.text("name").is_empty() {
                errors.push(Error::required(&path.child("name"), "must specify a resource name"));
            }
            if kind == "containerResource" && source.text("container").is_empty() {
                errors.push(Error::required(&path.child("container"), "must specify a container"));
            }
        }
        _ => identifier(errors, source.object("metric"), &path.child("metric")),
    }
    let (target, path) = (source.object("target"), path.child("target"));
    self::target(errors, target, &path);
    let has = |field: &str| target.has(field);
    match kind {
        "object" if !has("value") && !has("averageValue") => {
            let detail = "must set either a target value or averageValue";
            errors.push(Error::required(&path.child("averageValue"), detail));
        }
        "external" if !has("value") && !has("averageValue") => {
            let detail = "must set either a target value for metric or a per-pod target";
            errors.push(Error::required(&path.child("averageValue"), detail));
        }
        "external" if has("value") && has("averageValue") => {
            let detail = "may not set both a target value for metric and a per-pod target";
            errors.push(Error::forbidden(&path.child("value"), detail));
        }
        "pods" if !target.value("averageValue").is_some_and(is_positive) => {
            let detail = "must specify a positive target averageValue";
            errors.push(Error::required(&path.child("averageValue"), detail));
        }
        "resource" | "containerResource" => match (has("averageUtilization"), has("averageValue")) {
            (false, false) => {
                let detail = "must set either a target raw value or a target utilization";
                errors.push(Error::required(&path.child("averageUtilization"), detail));
            }
            (true, true) => {
                let detail = "may not set both a target raw value and a target utilization";
                errors.push(Error::forbidden(&path.child("averageValue"), detail));
            }
            _ => {}
        },
        _ => {}
    }
}

fn identifier(errors: &mut Errors, metric: &Map<String, Value>, path: &Path) {
    let (name, at) = (metric.text("name"), path.child("name"));
    if name.is_empty() {
        errors.push(Error::required(&at, "must specify a metric name"));
    } else {
        check::named(errors, names::path_segment_name, name, &at);
    }
    check::label_selector(errors, metric, "selector", path);
}

fn target(errors: &mut Errors, target: &Map<String, Value>, path: &Path) {
    match target.text("type") {
        "" => errors.push(Error::required(&path.child("type"), "must specify a metric target type")),
        "Utilization" | "Value" | "AverageValue" => {}
        other => {
            let detail = "must be either Utilization, Value, or AverageValue";
            errors.push(Error::invalid(&path.child("type"), other, detail));
        }
    }
    for field in ["value", "averageValue"] {
        if let Some(value) = target.value(field).filter(|value| !is_positive(value)) {
            errors.push(Error::invalid(&path.child(field), value.clone(), "must be positive"));
        }
    }
    if let Some(utilization) = target.int("averageUtilization").filter(|utilization| *utilization < 1) {
        errors.push(Error::invalid(&path.child("averageUtilization"), utilization, "must be greater than 0"));
    }
}

fn is_positive(value: &Value) -> bool {
    let quantity = check::quantity(value);
    !quantity.is_negative() && !quantity.is_zero()
}
