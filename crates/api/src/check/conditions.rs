//! Conditions of a status (upstream: apimachinery/pkg/apis/meta/v1/validation `ValidateConditions`).

use apimachinery::field::{Error, Path};
use apimachinery::validation as names;
use serde_json::Value;

use super::Errors;
use crate::json::Read;

const MAX_REASON: usize = 1024;
const MAX_MESSAGE: usize = 32 * 1024;

/// Each type once, each with a status, a time and a reason.
pub(crate) fn conditions(errors: &mut Errors, conditions: &[Value], path: &Path) {
    for (index, condition) in conditions.iter().enumerate() {
        let (path, kind) = (path.index(index), condition.text("type"));
        if conditions[..index].iter().any(|other| other.text("type") == kind) {
            errors.push(Error::duplicate(&path.child("type"), kind));
        }
        super::named(errors, names::qualified_name, kind, &path.child("type"));
        let status = condition.text("status");
        if !matches!(status, "True" | "False" | "Unknown") {
            errors.push(Error::not_supported(&path.child("status"), status, &["False", "True", "Unknown"]));
        }
        if let Some(generation) = condition.int("observedGeneration").filter(|generation| *generation < 0) {
            let detail = "must be greater than or equal to zero";
            errors.push(Error::invalid(&path.child("observedGeneration"), generation, detail));
        }
        if condition.text("lastTransitionTime").is_empty() {
            errors.push(Error::required(&path.child("lastTransitionTime"), "must be set"));
        }
        reason(errors, condition.text("reason"), &path.child("reason"));
        if condition.text("message").len() > MAX_MESSAGE {
            errors.push(Error::too_long(&path.child("message"), MAX_MESSAGE));
        }
    }
}

fn reason(errors: &mut Errors, reason: &str, path: &Path) {
    if reason.is_empty() {
        errors.push(Error::required(path, "must be set"));
        return;
    }
    let good = reason.starts_with(|char: char| char.is_ascii_alphabetic())
        && reason.ends_with(|char: char| char.is_ascii_alphanumeric() || char == '_')
        && reason.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_,:".contains(&byte));
    if !good {
        let words = "a condition reason must start with alphabetic character, optionally followed by a string of \
                     alphanumeric characters or '_,:', and must end with an alphanumeric character or '_'";
        let examples = ["my_name", "MY_NAME", "MyName", "ReasonA,ReasonB", "ReasonA:ReasonB"];
        let detail = names::regex_error(words, "[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?", &examples);
        errors.push(Error::invalid(path, reason, detail));
    }
    if reason.len() > MAX_REASON {
        errors.push(Error::too_long(path, MAX_REASON));
    }
}

/// Whether the condition of this type is true.
pub(crate) fn holds(conditions: &[Value], kind: &str) -> bool {
    conditions.iter().any(|condition| condition.text("type") == kind && condition.text("status") == "True")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn conditions_are_whole() {
        let lines = |list: Value| {
            let mut errors = Errors::new();
            conditions(&mut errors, list.as_array().map(Vec::as_slice).unwrap_or_default(), &Path::new("conditions"));
            errors.iter().map(|error| error.field.to_string()).collect::<Vec<_>>()
        };
        let right = json!({"type": "Ready", "status": "True", "reason": "AllWell", "lastTransitionTime": "2026-01-01T00:00:00Z"});
        assert!(lines(json!([right])).is_empty());
        assert_eq!(lines(json!([right, right])), ["conditions[1].type"]);
        assert_eq!(
            lines(json!([{"type": "a b", "status": "Maybe", "reason": "1st", "observedGeneration": -1}])),
            ["type", "status", "observedGeneration", "lastTransitionTime", "reason"]
                .map(|field| format!("conditions[0].{field}"))
        );
    }
}
