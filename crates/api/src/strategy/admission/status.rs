//! The status of validating policies (upstream: `validateValidatingAdmissionPolicyStatus`,
//! apimachinery/pkg/apis/meta/v1/validation `ValidateConditions`).

use std::collections::BTreeSet;

use apimachinery::Object;
use apimachinery::field::{Error, Path};
use serde_json::Value;

use crate::check::{self, Errors, names};
use crate::json::Read;

/// The longest reason and the longest message of a condition.
const LONGEST: (usize, usize) = (1024, 32 * 1024);

/// What is wrong with a status.
pub(super) fn check(object: &Object) -> Errors {
    let mut errors = Errors::new();
    let (status, path) = (object.object("status"), Path::new("status"));
    let at = path.child("typeChecking").child("expressionWarnings");
    for (index, warning) in status.object("typeChecking").list("expressionWarnings").iter().enumerate() {
        let at = at.index(index);
        check::required(&mut errors, warning.fields(), "warning", &at);
        if warning.text("fieldRef").trim().is_empty() {
            errors.push(Error::required(&at.child("fieldRef"), ""));
        }
    }
    let mut seen = BTreeSet::new();
    for (index, one) in status.list("conditions").iter().enumerate() {
        let at = path.child("conditions").index(index);
        if !seen.insert(one.text("type")) {
            errors.push(Error::duplicate(&at.child("type"), one.text("type")));
        }
        condition(&mut errors, one, &at);
    }
    errors
}

fn condition(errors: &mut Errors, one: &Value, at: &Path) {
    let fields = one.fields();
    check::required_name(errors, names::qualified_name, fields, "type", at);
    check::required_one_of(errors, fields, "status", &["False", "True", "Unknown"], at);
    check::not_negative(errors, fields, "observedGeneration", at);
    check::required(errors, fields, "lastTransitionTime", at);
    if check::required(errors, fields, "reason", at) {
        check::named(errors, reason, one.text("reason"), &at.child("reason"));
    }
    for (field, longest) in [("reason", LONGEST.0), ("message", LONGEST.1)] {
        if one.text(field).len() > longest {
            errors.push(Error::invalid(&at.child(field), one.text(field), names::max_len_error(longest)));
        }
    }
}

fn reason(text: &str) -> Vec<String> {
    let inner = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | ',' | ':');
    let last = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let is_right =
        text.starts_with(|first: char| first.is_ascii_alphabetic()) && text.chars().all(inner) && text.ends_with(last);
    let words = "a condition reason must start with alphabetic character, optionally followed by a string of \
                 alphanumeric characters or '_,:', and must end with an alphanumeric character or '_'";
    let examples = ["my_name", "MY_NAME", "MyName", "ReasonA,ReasonB", "ReasonA:ReasonB"];
    if is_right {
        Vec::new()
    } else {
        vec![names::regex_error(words, "[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?", &examples)]
    }
}
