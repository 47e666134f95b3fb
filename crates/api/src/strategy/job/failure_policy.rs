//! `podFailurePolicy` (upstream: `validatePodFailurePolicy`).

use std::collections::HashSet;

use apimachinery::field::{Error, Path};
use serde_json::{Map, Value};

use crate::check::{self, Errors, names};
use crate::json::Read;

const ACTIONS: &[&str] = &["Count", "FailIndex", "FailJob", "Ignore"];
const OPERATORS: &[&str] = &["In", "NotIn"];
const STATUSES: &[&str] = &["False", "True", "Unknown"];

const MAX_RULES: usize = 20;
const MAX_CODES: usize = 255;
const MAX_CONDITIONS: usize = 20;

/// The policy of a job's spec.
pub(super) fn validate(errors: &mut Errors, spec: &Map<String, Value>, path: &Path) {
    let (rules, path) = (spec.object("podFailurePolicy").list("rules"), path.child("rules"));
    if rules.len() > MAX_RULES {
        errors.push(Error::too_many(&path, rules.len(), MAX_RULES));
    }
    let pod = spec.object("template").object("spec");
    let lists = ["containers", "initContainers"];
    let containers: HashSet<&str> =
        lists.iter().flat_map(|list| pod.list(list)).map(|container| container.text("name")).collect();
    for (index, rule) in rules.iter().enumerate() {
        let path = path.index(index);
        action(errors, rule, spec.has("backoffLimitPerIndex"), &path.child("action"));
        let (codes, conditions) = (rule.has("onExitCodes"), !rule.list("onPodConditions").is_empty());
        if codes {
            exit_codes(errors, rule.object("onExitCodes"), &containers, &path.child("onExitCodes"));
        }
        pod_conditions(errors, rule.list("onPodConditions"), &path.child("onPodConditions"));
        match (codes, conditions) {
            (true, true) => {
                let detail = "specifying both OnExitCodes and OnPodConditions is not supported";
                errors.push(Error::invalid_whole(&path, detail));
            }
            (false, false) => {
                let detail = "specifying one of OnExitCodes and OnPodConditions is required";
                errors.push(Error::invalid_whole(&path, detail));
            }
            _ => {}
        }
    }
}

fn one_of_required(errors: &mut Errors, value: &str, allowed: &[&str], path: &Path) {
    if value.is_empty() {
        let quoted: Vec<String> = allowed.iter().map(|word| format!("{word:?}")).collect();
        errors.push(Error::required(path, format!("valid values: [{}]", quoted.join(" "))));
    } else if !allowed.contains(&value) {
        errors.push(Error::not_supported(path, value, allowed));
    }
}

fn action(errors: &mut Errors, rule: &Value, per_index: bool, path: &Path) {
    let action = rule.text("action");
    one_of_required(errors, action, ACTIONS, path);
    if action == "FailIndex" && !per_index {
        errors.push(Error::invalid(path, action, "requires the backoffLimitPerIndex to be set"));
    }
}

fn exit_codes(errors: &mut Errors, rule: &Map<String, Value>, containers: &HashSet<&str>, path: &Path) {
    let operator = rule.text("operator");
    one_of_required(errors, operator, OPERATORS, &path.child("operator"));
    if rule.has("containerName") && !containers.contains(rule.text("containerName")) {
        let detail = "must be one of the container or initContainer names in the pod template";
        errors.push(Error::invalid(&path.child("containerName"), rule.text("containerName"), detail));
    }
    let path = path.child("values");
    let codes: Vec<i64> = rule.list("values").iter().filter_map(Value::as_i64).collect();
    if codes.is_empty() {
        errors.push(Error::invalid(&path, codes.clone(), "at least one value is required"));
    } else if codes.len() > MAX_CODES {
        errors.push(Error::too_many(&path, codes.len(), MAX_CODES));
    }
    let mut seen = HashSet::new();
    for (index, code) in codes.iter().enumerate() {
        if operator == "In" && *code == 0 {
            errors.push(Error::invalid(&path.index(index), 0, "must not be 0 for the In operator"));
        }
        if !seen.insert(code) {
            errors.push(Error::duplicate(&path.index(index), *code));
        }
    }
    if !codes.is_sorted() {
        errors.push(Error::invalid(&path, codes, "must be ordered"));
    }
}

fn pod_conditions(errors: &mut Errors, patterns: &[Value], path: &Path) {
    if patterns.len() > MAX_CONDITIONS {
        errors.push(Error::too_many(path, patterns.len(), MAX_CONDITIONS));
    }
    for (index, pattern) in patterns.iter().enumerate() {
        let path = path.index(index);
        check::named(errors, names::qualified_name, pattern.text("type"), &path.child("type"));
        one_of_required(errors, pattern.text("status"), STATUSES, &path.child("status"));
    }
}
