//! Flow schemas and priority levels (upstream: pkg/apis/flowcontrol/v1/defaults.go, pkg/apis/flowcontrol/validation).

use apimachinery::Object;
use apimachinery::field::{self, Error, Path};
use serde_json::{Map, Value};

use crate::check::{self, Errors, names};
use crate::json::{Read, Write};
use crate::resource::Strategy;

mod mandatory;
mod rules;

/// The strategy of flow schemas.
pub(crate) struct FlowSchema;

/// The largest `matchingPrecedence`.
const MAX_PRECEDENCE: i64 = 10_000;

impl Strategy for FlowSchema {
    fn row_rank(&self, object: &Object) -> i64 {
        object.object("spec").int("matchingPrecedence").unwrap_or_default()
    }

    fn default(&self, object: &mut Object) {
        if let Some(spec) = object.object_made("spec") {
            spec.default_int("matchingPrecedence", 1000);
        }
    }

    fn validate(&self, object: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        let (spec, path) = (object.object("spec"), Path::new("spec"));
        let precedence = spec.int("matchingPrecedence").unwrap_or_default();
        let at = path.child("matchingPrecedence");
        if precedence <= 0 {
            errors.push(Error::invalid(&at, precedence, "must be a positive value"));
        } else if precedence > MAX_PRECEDENCE {
            errors.push(Error::invalid(&at, precedence, format!("must not be greater than {MAX_PRECEDENCE}")));
        } else if precedence == 1 && object.name() != "exempt" {
            let detail = "only the schema named 'exempt' may have matchingPrecedence 1";
            errors.push(Error::invalid(&at, precedence, detail));
        }
        if spec.has("distinguisherMethod") {
            let (method, path) = (spec.object("distinguisherMethod"), path.child("distinguisherMethod"));
            check::required_one_of(&mut errors, method, "type", &["ByNamespace", "ByUser"], &path);
        }
        let (level, at) = (spec.object("priorityLevelConfiguration"), path.child("priorityLevelConfiguration"));
        if level.text("name").is_empty() {
            errors.push(Error::required(&at.child("name"), "must reference a priority level"));
        } else {
            check::named(&mut errors, names::dns1123_subdomain, level.text("name"), &at.child("name"));
        }
        for (index, rule) in spec.list("rules").iter().enumerate() {
            rules::rule(&mut errors, rule, &path.child("rules").index(index));
        }
        mandatory::flow_schema(&mut errors, object);
        errors
    }

    fn status_keeps_metadata(&self) -> bool {
        true
    }

    fn validate_status_update(&self, object: &Object, _old: &Object) -> Vec<field::Error> {
        conditions(object)
    }
}

/// The strategy of priority levels.
pub(crate) struct PriorityLevel;

impl Strategy for PriorityLevel {
    fn default(&self, object: &mut Object) {
        let Some(spec) = object.object_made("spec") else { return };
        if let Some(exempt) = spec.object_at("exempt") {
            exempt.default_to("nominalConcurrencyShares", 0);
            exempt.default_to("lendablePercent", 0);
        }
        let Some(limited) = spec.object_at("limited") else { return };
        limited.default_to("nominalConcurrencyShares", 30);
        limited.default_to("lendablePercent", 0);
        if let Some(response) = limited.object_at("limitResponse")
            && response.text("type") == "Queue"
            && let Some(queuing) = response.object_at("queuing")
        {
            queuing.default_int("handSize", 8);
            queuing.default_int("queues", 64);
            queuing.default_int("queueLengthLimit", 50);
        }
    }

    fn validate(&self, object: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        let (spec, path) = (object.object("spec"), Path::new("spec"));
        let kind = spec.text("type");
        if (object.name() == "exempt") != (kind == "Exempt") {
            let detail = "must be 'Exempt' if and only if `name` is 'exempt'";
            errors.push(Error::invalid(&path.child("type"), kind, detail));
        }
        check::required_one_of(&mut errors, spec, "type", &["Exempt", "Limited"], &path);
        match kind {
            "Exempt" if spec.has("limited") => {
                let detail = "must be nil if the type is not Limited";
                errors.push(Error::forbidden(&path.child("limited"), detail));
            }
            "Limited" if spec.has("exempt") => {
                errors.push(Error::forbidden(&path.child("exempt"), "must be nil if the type is Limited"));
            }
            "Limited" if !spec.has("limited") => {
                errors.push(Error::required(&path.child("limited"), "must not be empty when type is Limited"));
            }
            _ => {}
        }
        if spec.has("exempt") {
            shares(&mut errors, spec.object("exempt"), &path.child("exempt"));
        }
        if kind == "Limited" && spec.has("limited") {
            limited(&mut errors, spec.object("limited"), &path.child("limited"));
        }
        mandatory::priority_level(&mut errors, object);
        errors
    }

    fn status_keeps_metadata(&self) -> bool {
        true
    }

    fn validate_status_update(&self, object: &Object, _old: &Object) -> Vec<field::Error> {
        conditions(object)
    }
}

/// Each type of condition once.
fn conditions(object: &Object) -> Errors {
    let (mut errors, path) = (Errors::new(), Path::new("status").child("conditions"));
    let conditions = object.object("status").list("conditions");
    for (index, condition) in conditions.iter().enumerate() {
        let (kind, path) = (condition.text("type"), path.index(index).child("type"));
        if conditions[..index].iter().any(|other| other.text("type") == kind) {
            errors.push(Error::duplicate(&path, kind));
        }
        if kind.is_empty() {
            errors.push(Error::required(&path, ""));
        }
    }
    errors
}

fn shares(errors: &mut Errors, level: &Map<String, Value>, path: &Path) {
    if let Some(shares) = level.int("nominalConcurrencyShares").filter(|shares| *shares < 0) {
        errors.push(Error::invalid(&path.child("nominalConcurrencyShares"), shares, "must be a non-negative integer"));
    }
    if let Some(percent) = level.int("lendablePercent").filter(|percent| !(0..=100).contains(percent)) {
        errors.push(Error::invalid(&path.child("lendablePercent"), percent, "must be between 0 and 100, inclusive"));
    }
}

fn limited(errors: &mut Errors, level: &Map<String, Value>, path: &Path) {
    shares(errors, level, path);
    if let Some(percent) = level.int("borrowingLimitPercent").filter(|percent| *percent < 0) {
        let detail = "if specified, must be a non-negative integer";
        errors.push(Error::invalid(&path.child("borrowingLimitPercent"), percent, detail));
    }
    let (response, path) = (level.object("limitResponse"), path.child("limitResponse"));
    let kind = response.text("type");
    check::required_one_of(errors, response, "type", &["Queue", "Reject"], &path);
    match (kind, response.has("queuing")) {
        ("Reject", true) => {
            let detail = "must be nil if limited.limitResponse.type is not Limited";
            errors.push(Error::forbidden(&path.child("queuing"), detail));
        }
        ("Queue", false) => {
            let detail = "must not be empty if limited.limitResponse.type is Limited";
            errors.push(Error::required(&path.child("queuing"), detail));
        }
        ("Queue", true) => queuing(errors, response.object("queuing"), &path.child("queuing")),
        _ => {}
    }
}

/// More queues than this are refused.
const MAX_QUEUES: i64 = 10_000_000;

fn queuing(errors: &mut Errors, queuing: &Map<String, Value>, path: &Path) {
    let number = |field: &str| queuing.int(field).unwrap_or_default();
    let (queues, hand) = (number("queues"), number("handSize"));
    for (field, number) in [("queueLengthLimit", number("queueLengthLimit")), ("queues", queues), ("handSize", hand)] {
        if number <= 0 {
            errors.push(Error::invalid(&path.child(field), number, "must be positive"));
        }
    }
    if queues > MAX_QUEUES {
        let detail = format!("must not be greater than {MAX_QUEUES}");
        errors.push(Error::invalid(&path.child("queues"), queues, detail));
    }
    if hand > queues {
        let detail = format!("should not be greater than queues ({queues})");
        errors.push(Error::invalid(&path.child("handSize"), hand, detail));
    } else if hand > 0 && entropy_bits(queues, hand) > 60 {
        let detail =
            format!("required entropy bits of deckSize {queues} and handSize {hand} should not be greater than 60");
        errors.push(Error::invalid(&path.child("handSize"), hand, detail));
    }
}

/// How many bits a hand takes from the hash of a flow (upstream: shufflesharding `RequiredEntropyBits`); counted no
/// further than to what is too many.
fn entropy_bits(queues: i64, hand: i64) -> u64 {
    let mut bits = 0.0;
    for dealt in 0..hand {
        bits += ((queues - dealt).max(1) as f64).log2();
        if bits > 60.0 {
            break;
        }
    }
    bits.ceil() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use serde_json::json;

    fn check(strategy: &dyn Strategy, spec: Value, expected: &Expect) {
        let text = json!({"metadata": {"name": "mine"}, "spec": spec});
        let mut object = Object::from_value(text).expect("an object");
        strategy.default(&mut object);
        let errors = strategy.validate(&object);
        expected.assert_eq(&errors.iter().map(|error| format!("{error}\n")).collect::<String>());
    }

    #[test]
    fn schemas_are_checked() {
        let all =
            json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"], "clusterScope": true});
        let user = json!({"kind": "User", "user": {"name": "ann"}});
        check(
            &FlowSchema,
            json!({
                "priorityLevelConfiguration": {"name": "low"}, "distinguisherMethod": {"type": "ByUser"},
                "rules": [{"subjects": [user.clone()], "resourceRules": [all.clone()], "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["/healthz", "/a/*"]}]}],
            }),
            &expect![[""]],
        );
        check(
            &FlowSchema,
            json!({
                "matchingPrecedence": 1, "distinguisherMethod": {"type": "ByLuck"},
                "rules": [
                    {},
                    {"subjects": [{"kind": "User", "group": {"name": "g"}}, {"kind": "Nobody"}],
                     "resourceRules": [{"verbs": ["*", "get"], "apiGroups": ["apps"], "resources": ["Pods"]}],
                     "nonResourceRules": [{"verbs": ["fly"], "nonResourceURLs": ["healthz", "/a*b"]}]},
                ],
            }),
            &expect![[r#"
                spec.matchingPrecedence: Invalid value: 1: only the schema named 'exempt' may have matchingPrecedence 1
                spec.distinguisherMethod.type: Unsupported value: "ByLuck": supported values: "ByNamespace", "ByUser"
                spec.priorityLevelConfiguration.name: Required value: must reference a priority level
                spec.rules[0].subjects: Required value: subjects must contain at least one value
                spec.rules[0]: Required value: at least one of resourceRules and nonResourceRules has to be non-empty
                spec.rules[1].subjects[0].user: Required value: user is required when subject kind is 'User'
                spec.rules[1].subjects[0].group: Forbidden: group is forbidden when subject kind is not 'Group'
                spec.rules[1].subjects[1].kind: Unsupported value: "Nobody": supported values: "Group", "ServiceAccount", "User"
                spec.rules[1].resourceRules[0].verbs: Invalid value: ["*","get"]: if '*' is present, must not specify other verbs
                spec.rules[1].resourceRules[0].namespaces: Required value: resource rules that are not cluster scoped must supply at least one namespace
                spec.rules[1].nonResourceRules[0].verbs: Unsupported value: ["fly"]: supported values: "create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"
                spec.rules[1].nonResourceRules[0].nonResourceURLs[0]: Invalid value: "healthz": must start with slash
                spec.rules[1].nonResourceRules[0].nonResourceURLs[1]: Invalid value: "/a*b": wildcard can only do suffix matching
            "#]],
        );
    }

    #[test]
    fn levels_are_checked() {
        let limited = |queuing: Value| json!({"type": "Limited", "limited": {"limitResponse": {"type": "Queue", "queuing": queuing}}});
        check(&PriorityLevel, limited(json!({})), &expect![[""]]);
        check(
            &PriorityLevel,
            limited(json!({"queues": 10, "handSize": 11, "queueLengthLimit": -1})),
            &expect![[r#"
                spec.limited.limitResponse.queuing.queueLengthLimit: Invalid value: -1: must be positive
                spec.limited.limitResponse.queuing.handSize: Invalid value: 11: should not be greater than queues (10)
            "#]],
        );
        check(
            &PriorityLevel,
            limited(json!({"queues": 1_000_000, "handSize": 4})),
            &expect![[r#"
                spec.limited.limitResponse.queuing.handSize: Invalid value: 4: required entropy bits of deckSize 1000000 and handSize 4 should not be greater than 60
            "#]],
        );
        check(
            &PriorityLevel,
            json!({"type": "Limited"}),
            &expect![[r#"
                spec.limited: Required value: must not be empty when type is Limited
            "#]],
        );
        check(
            &PriorityLevel,
            json!({"type": "Exempt", "exempt": {"lendablePercent": 101}}),
            &expect![[r#"
                spec.type: Invalid value: "Exempt": must be 'Exempt' if and only if `name` is 'exempt'
                spec.exempt.lendablePercent: Invalid value: 101: must be between 0 and 100, inclusive
            "#]],
        );
    }

    #[test]
    fn what_the_server_relies_on_stays() {
        let named = |strategy: &dyn Strategy, name: &str, spec: Value| {
            let mut object = Object::from_value(json!({"metadata": {"name": name}, "spec": spec})).expect("an object");
            strategy.default(&mut object);
            strategy.validate(&object).iter().map(|error| error.detail.clone()).collect::<Vec<_>>().join("\n")
        };
        assert_eq!(named(&PriorityLevel, "exempt", json!({"type": "Exempt", "exempt": {"lendablePercent": 50}})), "");
        expect![["spec of 'exempt' must equal the fixed value"]].assert_eq(&named(
            &FlowSchema,
            "exempt",
            json!({"priorityLevelConfiguration": {"name": "low"}, "matchingPrecedence": 1}),
        ));
        let reject = |shares: i32| json!({"type": "Limited", "limited": {"nominalConcurrencyShares": shares, "limitResponse": {"type": "Reject"}}});
        assert_eq!(named(&PriorityLevel, "catch-all", reject(5)), "");
        expect![["spec of 'catch-all' must equal the fixed value"]].assert_eq(&named(
            &PriorityLevel,
            "catch-all",
            reject(6),
        ));
    }
}
