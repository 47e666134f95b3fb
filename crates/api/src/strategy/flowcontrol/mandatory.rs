//! The objects whose spec is fixed (upstream: pkg/apis/flowcontrol/internalbootstrap).

use apimachinery::Object;
use apimachinery::field::{Error, Path};
use serde_json::{Value, json};

use crate::check::Errors;
use crate::json::Read;

/// What everybody asks for, by the groups that ask.
fn schema(level: &str, precedence: i32, groups: &[&str]) -> Value {
    let subjects: Vec<Value> = groups.iter().map(|name| json!({"kind": "Group", "group": {"name": name}})).collect();
    let all =
        json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": true, "namespaces": ["*"]});
    let paths = json!({"verbs": ["*"], "nonResourceURLs": ["*"]});
    json!({
        "priorityLevelConfiguration": {"name": level}, "matchingPrecedence": precedence,
        "rules": [{"subjects": subjects, "resourceRules": [all], "nonResourceRules": [paths]}],
    })
}

/// The schemas `exempt` and `catch-all` stay as they are.
pub(super) fn flow_schema(errors: &mut Errors, object: &Object) {
    let fixed = match object.name() {
        "exempt" => schema("exempt", 1, &["system:masters"]),
        "catch-all" => {
            let mut fixed = schema("catch-all", 10_000, &["system:unauthenticated", "system:authenticated"]);
            fixed["distinguisherMethod"] = json!({"type": "ByUser"});
            fixed
        }
        _ => return,
    };
    equal(errors, object, object.object("spec").clone().into(), &fixed, "");
}

/// The levels `exempt`, but for its shares, and `catch-all` stay as they are.
pub(super) fn priority_level(errors: &mut Errors, object: &Object) {
    let mut spec = object.object("spec").clone();
    match object.name() {
        "exempt" => {
            spec.remove("exempt");
            equal(errors, object, spec.into(), &json!({"type": "Exempt"}), " except the 'spec.exempt' field");
        }
        "catch-all" => {
            let limited =
                json!({"nominalConcurrencyShares": 5, "lendablePercent": 0, "limitResponse": {"type": "Reject"}});
            equal(errors, object, spec.into(), &json!({"type": "Limited", "limited": limited}), "");
        }
        _ => {}
    }
}

fn equal(errors: &mut Errors, object: &Object, spec: Value, fixed: &Value, but: &str) {
    if spec != *fixed {
        let detail = format!("spec of '{}'{but} must equal the fixed value", object.name());
        errors.push(Error::invalid(&Path::new("spec"), Value::Object(object.object("spec").clone()), detail));
    }
}
