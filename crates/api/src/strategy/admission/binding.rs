//! Bindings (upstream: `validateValidatingAdmissionPolicyBindingSpec`, `validateMutatingAdmissionPolicyBindingSpec`).

use std::collections::BTreeSet;

use apimachinery::Object;
use apimachinery::field::{Error, Path};
use serde_json::{Map, Value};

use super::matching;
use crate::check::{self, Errors, names};
use crate::json::Read;

const ACTIONS: [&str; 3] = ["Audit", "Deny", "Warn"];

/// What is wrong with a binding.
pub(super) fn check(object: &Object, mutating: bool) -> Errors {
    let mut errors = Errors::new();
    let (spec, path) = (object.object("spec"), Path::new("spec"));
    check::required_name(&mut errors, names::dns1123_subdomain, spec, "policyName", &path);
    if let Some(reference) = spec.value("paramRef") {
        param_ref(&mut errors, reference.fields(), &path.child("paramRef"));
    }
    if let Some(constraints) = spec.value("matchResources") {
        matching::check(&mut errors, constraints.fields(), &path.child("matchResources"));
        if mutating {
            matching::only_changes(&mut errors, constraints.fields(), &path.child("matchResources"));
        }
    }
    if !mutating {
        actions(&mut errors, spec, &path.child("validationActions"));
    }
    errors
}

/// Upstream: `validateParamRef`.
fn param_ref(errors: &mut Errors, reference: &Map<String, Value>, path: &Path) {
    let name = reference.text("name");
    let both = !name.is_empty() && reference.has("selector");
    let exclusive = "name and selector are mutually exclusive";
    if !name.is_empty() {
        check::named(errors, names::path_segment_name, name, &path.child("name"));
    }
    if both {
        errors.push(Error::forbidden(&path.child("name"), exclusive));
    }
    check::label_selector(errors, reference, "selector", path);
    if both {
        errors.push(Error::forbidden(&path.child("selector"), exclusive));
    }
    if name.is_empty() && !reference.has("selector") {
        errors.push(Error::required(path, "one of name or selector must be specified"));
    }
    check::required_one_of(errors, reference, "parameterNotFoundAction", &["Deny", "Allow"], path);
}

/// Upstream: `validateValidationActions`.
fn actions(errors: &mut Errors, spec: &Map<String, Value>, path: &Path) {
    let mut seen = BTreeSet::new();
    for (index, action) in spec.texts("validationActions").enumerate() {
        if !ACTIONS.contains(&action) {
            errors.push(Error::not_supported(&path.index(index), action, &ACTIONS));
        }
        if !seen.insert(action) {
            errors.push(Error::duplicate(&path.index(index), action));
        }
    }
    if seen.contains("Deny") && seen.contains("Warn") {
        let detail = "must not contain both Deny and Warn (repeating the same validation failure information in the \
                      API response and headers serves no purpose)";
        errors.push(Error::invalid(path, spec.list("validationActions").to_vec(), detail));
    }
    if seen.is_empty() {
        errors.push(Error::required(path, "at least one validation action is required"));
    }
}
