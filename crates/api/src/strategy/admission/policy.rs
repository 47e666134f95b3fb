//! Policies (upstream: `validateValidatingAdmissionPolicySpec`, `validateMutatingAdmissionPolicySpec`).

use std::collections::BTreeSet;

use apimachinery::Object;
use apimachinery::field::{Error, Path};
use serde_json::{Map, Value};

use super::matching;
use crate::check::{self, Errors, names};
use crate::json::Read;
use crate::strategy::webhooks;

/// So many annotations one policy may leave (upstream: `maxAuditAnnotations`).
const MAX_ANNOTATIONS: usize = 20;

/// The longest expression of an annotation: less than its value, which is often longer than the expression
/// (upstream: `maxAuditAnnotationValueExpressionLength`).
const MAX_ANNOTATION_EXPRESSION: usize = 5 * 1024;

/// What is wrong with a policy, or with its update from `old`.
pub(super) fn check(object: &Object, old: Option<&Object>, mutating: bool) -> Errors {
    let mut errors = Errors::new();
    let (spec, path) = (object.object("spec"), Path::new("spec"));
    check::required_one_of(&mut errors, spec, "failurePolicy", &["Fail", "Ignore"], &path);
    if let Some(kind) = spec.value("paramKind") {
        param_kind(&mut errors, kind.fields(), &path.child("paramKind"));
    }
    let at = path.child("matchConstraints");
    match spec.value("matchConstraints") {
        None => errors.push(Error::required(&at, "")),
        Some(constraints) => {
            matching::check(&mut errors, constraints.fields(), &at);
            if constraints.list("resourceRules").is_empty() {
                errors.push(Error::required(&at.child("resourceRules"), ""));
            }
            if mutating {
                matching::only_changes(&mut errors, constraints.fields(), &at);
            }
        }
    }
    // What was valid stays so, whatever this server has come to think of it.
    let stays = |field: &str| old.is_some_and(|old| old.object("spec").value(field) == spec.value(field));
    if !(stays("paramKind") && stays("matchConditions")) {
        webhooks::conditions(&mut errors, spec.list("matchConditions"), &path.child("matchConditions"));
    }
    for (index, one) in spec.list("variables").iter().enumerate() {
        let path = path.child("variables").index(index);
        specified(&mut errors, one, "name", &path);
        specified(&mut errors, one, "expression", &path);
    }
    if mutating {
        mutations(&mut errors, spec, &path);
        check::required_one_of(&mut errors, spec, "reinvocationPolicy", &["IfNeeded", "Never"], &path);
    } else {
        validations(&mut errors, spec, object.name(), &path);
    }
    errors
}

/// A text that must be there and more than blanks.
fn specified(errors: &mut Errors, of: &Value, field: &str, path: &Path) {
    if of.text(field).trim().is_empty() {
        errors.push(Error::required(&path.child(field), format!("{field} is not specified")));
    }
}

/// Upstream: `validateParamKind`.
fn param_kind(errors: &mut Errors, kind: &Map<String, Value>, path: &Path) {
    let at = path.child("apiVersion");
    let api_version = kind.text("apiVersion");
    let parts: Vec<&str> = api_version.split('/').collect();
    match parts[..] {
        [""] => errors.push(Error::required(&at, "")),
        [version] => version_name(errors, version, api_version, &at),
        [group, version] => {
            let wrong = if group.is_empty() { Vec::new() } else { names::dns1123_subdomain(group) };
            if !wrong.is_empty() {
                errors.push(Error::invalid(&at, group, wrong.join(",")));
            }
            version_name(errors, version, api_version, &at);
        }
        _ => {
            errors.push(Error::invalid(&at, api_version, format!("unexpected GroupVersion string: {api_version}")));
        }
    }
    if check::required(errors, kind, "kind", path) {
        let name = kind.text("kind");
        let wrong = names::dns1035_label(&name.to_lowercase());
        if !wrong.is_empty() {
            let detail = format!("may have mixed case, but should otherwise match: {}", wrong.join(","));
            errors.push(Error::invalid(&path.child("kind"), name, detail));
        }
    }
}

fn version_name(errors: &mut Errors, version: &str, whole: &str, at: &Path) {
    if version.is_empty() {
        errors.push(Error::invalid(at, whole, "version must be specified"));
        return;
    }
    let wrong = names::dns1035_label(version);
    if !wrong.is_empty() {
        errors.push(Error::invalid(at, version, wrong.join(",")));
    }
}

fn validations(errors: &mut Errors, spec: &Map<String, Value>, name: &str, path: &Path) {
    let (rules, annotations) = (spec.list("validations"), spec.list("auditAnnotations"));
    if rules.is_empty() && annotations.is_empty() {
        for field in ["validations", "auditAnnotations"] {
            let detail = "validations or auditAnnotations must contain at least one item";
            errors.push(Error::required(&path.child(field), detail));
        }
        return;
    }
    for (index, rule) in rules.iter().enumerate() {
        validation(errors, rule, &path.child("validations").index(index));
    }
    let path = path.child("auditAnnotations");
    if annotations.len() > MAX_ANNOTATIONS {
        let detail = format!("must not have more than {MAX_ANNOTATIONS} auditAnnotations");
        errors.push(Error::invalid(&path, annotations.to_vec(), detail));
    }
    let mut keys = BTreeSet::new();
    for (index, one) in annotations.iter().enumerate() {
        let path = path.index(index);
        annotation(errors, one, name, &path);
        if !keys.insert(one.text("key")) {
            errors.push(Error::duplicate(&path.child("key"), one.text("key")));
        }
    }
}

/// Upstream: `validateValidation`.
fn validation(errors: &mut Errors, rule: &Value, path: &Path) {
    specified(errors, rule, "expression", path);
    let is_blank = |field: &str| !rule.text(field).is_empty() && rule.text(field).trim().is_empty();
    if is_blank("messageExpression") {
        let at = path.child("messageExpression");
        errors.push(Error::invalid(&at, rule.text("messageExpression"), "must be non-empty if specified"));
    }
    let (message, at) = (rule.text("message"), path.child("message"));
    if is_blank("message") {
        errors.push(Error::invalid(&at, message, "message must be non-empty if specified"));
    } else if message.trim().contains(['\n', '\r']) {
        errors.push(Error::invalid(&at, message, "message must not contain line breaks"));
    }
    if rule.has("reason") {
        let reasons = ["Forbidden", "Invalid", "RequestEntityTooLarge"];
        if !reasons.contains(&rule.text("reason")) {
            errors.push(Error::not_supported(&path.child("reason"), rule.text("reason"), &reasons));
        }
    }
}

/// Upstream: `validateAuditAnnotation`.
fn annotation(errors: &mut Errors, one: &Value, policy: &str, path: &Path) {
    let (key, at) = (one.text("key"), path.child("key"));
    if policy.is_empty() {
        errors.push(Error::invalid(&at, key, "requires metadata.name be non-empty"));
    } else {
        check::named(errors, names::qualified_name, &format!("{policy}/{key}"), &at);
    }
    specified(errors, one, "valueExpression", path);
    if one.text("valueExpression").trim().len() > MAX_ANNOTATION_EXPRESSION {
        let detail = format!("must not exceed {MAX_ANNOTATION_EXPRESSION} bytes in length");
        errors.push(Error::required(&path.child("valueExpression"), detail));
    }
}

/// The ways to say a change, each with its field.
const PATCHES: [(&str, &str); 2] = [("ApplyConfiguration", "applyConfiguration"), ("JSONPatch", "jsonPatch")];

fn mutations(errors: &mut Errors, spec: &Map<String, Value>, path: &Path) {
    let path = path.child("mutations");
    if spec.list("mutations").is_empty() {
        errors.push(Error::required(&path, "mutations must contain at least one item"));
    }
    for (index, mutation) in spec.list("mutations").iter().enumerate() {
        let path = path.index(index);
        let kind = mutation.text("patchType");
        if !check::required(errors, mutation.fields(), "patchType", &path) {
            continue;
        }
        let Some((_, own)) = PATCHES.iter().find(|(name, _)| *name == kind) else {
            errors.push(Error::not_supported(&path.child("patchType"), kind, &PATCHES.map(|(name, _)| name)));
            continue;
        };
        match mutation.value(own) {
            None => {
                errors.push(Error::required(&path.child(own), format!("must be specified when patchType is {kind}")));
            }
            Some(patch) => specified(errors, patch, "expression", &path.child(own)),
        }
        for (_, other) in PATCHES.iter().filter(|(name, _)| *name != kind) {
            if mutation.has(other) {
                let detail = format!("must not be specified when patchType is {kind}");
                errors.push(Error::invalid(&path.child(other), format!("{{{other}}}"), detail));
            }
        }
    }
}
