//! `successPolicy` (upstream: `validateSuccessPolicy`).

use apimachinery::field::{Error, Path};
use serde_json::{Map, Value};

use super::indexes;
use crate::check::{self, Errors};
use crate::json::Read;

const MAX_RULES: usize = 20;
const MAX_INDEXES: usize = 64 * 1024;

/// The policy of a job's spec.
pub(super) fn validate(errors: &mut Errors, spec: &Map<String, Value>, path: &Path) {
    let policy = spec.object("successPolicy");
    if spec.text("completionMode") != "Indexed" {
        errors.push(Error::invalid(path, Value::Object(policy.clone()), "requires indexed completion mode"));
        return;
    }
    let (rules, path) = (policy.list("rules"), path.child("rules"));
    if rules.is_empty() {
        let detail = "at least one rules must be specified when the successPolicy is specified";
        errors.push(Error::required(&path, detail));
    }
    if rules.len() > MAX_RULES {
        errors.push(Error::too_many(&path, rules.len(), MAX_RULES));
    }
    let completions = spec.int("completions").unwrap_or_default();
    for (index, rule) in rules.iter().enumerate() {
        one_rule(errors, rule, completions, &path.index(index));
    }
}

fn one_rule(errors: &mut Errors, rule: &Value, completions: i64, path: &Path) {
    if !rule.has("succeededCount") && !rule.has("succeededIndexes") {
        let detail = "at least one of succeededCount or succeededIndexes must be specified";
        errors.push(Error::required(path, detail));
    }
    let mut listed = None;
    if rule.has("succeededIndexes") {
        let (text, path) = (rule.text("succeededIndexes"), path.child("succeededIndexes"));
        if text.len() > MAX_INDEXES {
            errors.push(Error::too_long(&path, MAX_INDEXES));
        }
        match indexes::parse(text, completions) {
            Ok(intervals) => listed = Some(indexes::count(&intervals)),
            Err(cause) => {
                listed = Some(0);
                errors.push(Error::invalid(&path, text, format!("error parsing succeededIndexes: {cause}")));
            }
        }
    }
    let Some(count) = rule.int("succeededCount") else { return };
    check::not_negative(errors, rule.fields(), "succeededCount", path);
    let path = path.child("succeededCount");
    if count > completions {
        let detail = format!("must be less than or equal to {completions} (the number of specified completions)");
        errors.push(Error::invalid(&path, count, detail));
    }
    if let Some(listed) = listed.filter(|listed| count > *listed) {
        let detail = format!(
            "must be less than or equal to {listed} (the number of indexes in the specified succeededIndexes field)"
        );
        errors.push(Error::invalid(&path, count, detail));
    }
}
