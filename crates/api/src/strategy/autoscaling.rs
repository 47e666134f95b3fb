//! HorizontalPodAutoscalers of both versions (upstream: pkg/apis/autoscaling/v2/defaults.go, pkg/apis/autoscaling/validation).

use apimachinery::Object;
use apimachinery::field::{self, Error, Path};
use serde_json::{Map, Value, json};

use crate::check::{self, Errors};
use crate::json::{Read, Write};
use crate::resource::Strategy;

mod metrics;

use self::metrics::ApiVersion;

/// The strategy of autoscalers.
pub(crate) struct HorizontalPodAutoscaler;

impl Strategy for HorizontalPodAutoscaler {
    fn default(&self, object: &mut Object) {
        let is_v2 = object.api_version() == "autoscaling/v2";
        let Some(spec) = object.object_made("spec") else { return };
        spec.default_to("minReplicas", 1);
        if !is_v2 {
            return;
        }
        if spec.list("metrics").is_empty() {
            let target = json!({"type": "Utilization", "averageUtilization": 80});
            spec.insert("metrics".into(), json!([{"type": "Resource", "resource": {"name": "cpu", "target": target}}]));
        }
        if let Some(behavior) = spec.object_at("behavior") {
            behaviour(behavior);
        }
    }

    fn validate(&self, object: &Object) -> Vec<field::Error> {
        rules(object, None)
    }

    fn validate_update(&self, object: &Object, old: &Object) -> Vec<field::Error> {
        rules(object, Some(old))
    }

    fn judges_updates_alone(&self) -> bool {
        true
    }

    fn validate_status_update(&self, object: &Object, _old: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        for field in ["currentReplicas", "desiredReplicas"] {
            check::not_negative(&mut errors, object.object("status"), field, &Path::new("status"));
        }
        errors
    }
}

/// What holds for every autoscaler; versions of targets that were there before may stay.
fn rules(object: &Object, old: Option<&Object>) -> Errors {
    let mut errors = Errors::new();
    let (spec, path) = (object.object("spec"), Path::new("spec"));
    let old = old.map(|old| old.object("spec"));
    let (min, max) = (spec.int("minReplicas").unwrap_or(1), spec.int("maxReplicas").unwrap_or_default());
    check::at_least(&mut errors, spec, "minReplicas", 0, &path);
    if max == 0 {
        errors.push(Error::required(&path.child("maxReplicas"), "must be set and greater than 0"));
    } else if max < 0 {
        errors.push(Error::invalid(&path.child("maxReplicas"), max, "must be greater than 0"));
    }
    if max < min {
        errors.push(Error::invalid(&path.child("maxReplicas"), max, "must be greater than or equal to `minReplicas`"));
    }
    let target = spec.object("scaleTargetRef");
    let same = |old: &Map<String, Value>| {
        let before = old.object("scaleTargetRef");
        ["apiVersion", "kind"].iter().all(|field| before.text(field) == target.text(field))
    };
    let version = match target.text("kind") {
        _ if old.is_some_and(same) => ApiVersion::Kept,
        "ReplicationController" => ApiVersion::Any,
        _ => ApiVersion::Grouped,
    };
    metrics::reference(&mut errors, target, version, &path.child("scaleTargetRef"));
    let is_wrong = |metric: &Value| {
        let described = metric.object("object").object("describedObject");
        metric.text("type") == "Object" && ApiVersion::Any.wrong(described.text("apiVersion")).is_some()
    };
    let were_wrong = old.is_some_and(|old| old.list("metrics").iter().any(is_wrong));
    let version = if were_wrong { ApiVersion::Kept } else { ApiVersion::Any };
    for (index, metric) in spec.list("metrics").iter().enumerate() {
        metrics::metric(&mut errors, metric, version, &path.child("metrics").index(index));
    }
    // CPU is of pods that run: with none, something else must say when there is work (KEP-2021).
    let of_others = |metric: &Value| matches!(metric.text("type"), "Object" | "External");
    if min == 0 && !spec.list("metrics").iter().any(of_others) {
        let detail = "must specify at least one Object or External metric to support scaling to zero replicas";
        errors.push(Error::forbidden(&path.child("metrics"), detail));
    }
    for direction in ["scaleUp", "scaleDown"] {
        if let Some(rules) = spec.object("behavior").value(direction) {
            scaling_rules(&mut errors, rules, &path.child("behavior").child(direction));
        }
    }
    let percentage = spec.int("targetCPUUtilizationPercentage");
    if percentage.is_some_and(|percentage| percentage < 1) {
        let path = path.child("targetCPUUtilizationPercentage");
        errors.push(Error::invalid(&path, percentage, "must be greater than 0"));
    }
    errors
}

/// The longest period of a policy and the longest window, in seconds.
const MAX_PERIOD: i64 = 1800;
const MAX_WINDOW: i64 = 3600;

fn scaling_rules(errors: &mut Errors, rules: &Value, path: &Path) {
    if let Some(window) = rules.int("stabilizationWindowSeconds") {
        let path = path.child("stabilizationWindowSeconds");
        if window < 0 {
            errors.push(Error::invalid(&path, window, "must be greater than or equal to zero"));
        } else if window > MAX_WINDOW {
            errors.push(Error::invalid(&path, window, format!("must be less than or equal to {MAX_WINDOW}")));
        }
    }
    check::one_of(errors, rules.fields(), "selectPolicy", &["Disabled", "Max", "Min"], path);
    if rules.value("tolerance").is_some_and(|tolerance| check::quantity(tolerance).is_negative()) {
        let tolerance = rules.value("tolerance").cloned().unwrap_or_default();
        errors.push(Error::invalid(&path.child("tolerance"), tolerance, "must be greater than or equal to 0"));
    }
    let path = path.child("policies");
    if rules.list("policies").is_empty() {
        errors.push(Error::required(&path, "must specify at least one Policy"));
    }
    for (index, policy) in rules.list("policies").iter().enumerate() {
        let path = path.index(index);
        if !matches!(policy.text("type"), "Percent" | "Pods") {
            errors.push(Error::not_supported(&path.child("type"), policy.text("type"), &["Percent", "Pods"]));
        }
        for field in ["value", "periodSeconds"] {
            let number = policy.int(field).unwrap_or_default();
            if number <= 0 {
                errors.push(Error::invalid(&path.child(field), number, "must be greater than zero"));
            }
        }
        if let Some(period) = policy.int("periodSeconds").filter(|period| *period > MAX_PERIOD) {
            let detail = format!("must be less than or equal to {MAX_PERIOD}");
            errors.push(Error::invalid(&path.child("periodSeconds"), period, detail));
        }
    }
}

fn behaviour(behavior: &mut Map<String, Value>) {
    if let Some(up) = behavior.object_made("scaleUp") {
        up.default_to("selectPolicy", "Max");
        up.default_to("stabilizationWindowSeconds", 0);
        let fast = json!([
            {"type": "Pods", "value": 4, "periodSeconds": 15},
            {"type": "Percent", "value": 100, "periodSeconds": 15},
        ]);
        up.default_to("policies", fast);
    }
    if let Some(down) = behavior.object_made("scaleDown") {
        down.default_to("selectPolicy", "Max");
        down.default_to("policies", json!([{"type": "Percent", "value": 100, "periodSeconds": 15}]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(mut spec: Value, expected: &Expect) {
        spec["scaleTargetRef"] = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"});
        let text = json!({"apiVersion": "autoscaling/v2", "metadata": {"name": "web"}, "spec": spec});
        let mut object = Object::from_value(text).expect("an object");
        HorizontalPodAutoscaler.default(&mut object);
        let errors = HorizontalPodAutoscaler.validate(&object);
        expected.assert_eq(&errors.iter().map(|error| format!("{error}\n")).collect::<String>());
    }

    #[test]
    fn right_autoscalers_are_taken() {
        check(json!({"maxReplicas": 3, "behavior": {"scaleUp": {}, "scaleDown": {}}}), &expect![[""]]);
        check(
            json!({"maxReplicas": 3, "metrics": [
                {"type": "Pods", "pods": {"metric": {"name": "rps"}, "target": {"type": "AverageValue", "averageValue": "1k"}}},
                {"type": "Object", "object": {
                    "metric": {"name": "rps"}, "describedObject": {"kind": "Ingress", "name": "web"},
                    "target": {"type": "Value", "value": "2k"},
                }},
            ]}),
            &expect![[""]],
        );
    }

    #[test]
    fn none_may_run_where_something_else_is_measured() {
        let external = json!({"type": "External", "external": {"metric": {"name": "queue"}, "target": {"type": "Value", "value": "1"}}});
        check(json!({"minReplicas": 0, "maxReplicas": 3, "metrics": [external]}), &expect![[""]]);
        check(
            json!({"minReplicas": 0, "maxReplicas": 3}),
            &expect![[r#"
                spec.metrics: Forbidden: must specify at least one Object or External metric to support scaling to zero replicas
            "#]],
        );
    }

    #[test]
    fn targets_have_groups() {
        let scaler = |version: &str, kind: &str| {
            let target = json!({"apiVersion": version, "kind": kind, "name": "web"});
            let text = json!({"apiVersion": "autoscaling/v2", "metadata": {"name": "web"}, "spec": {"maxReplicas": 1, "scaleTargetRef": target}});
            Object::from_value(text).expect("an object")
        };
        let wrong = |scaler: &Object| rules(scaler, None).first().map(ToString::to_string).unwrap_or_default();
        assert_eq!(wrong(&scaler("v1", "ReplicationController")), "");
        let none = scaler("", "Deployment");
        let refusal = "spec.scaleTargetRef.apiVersion: Invalid value: \"\": apiVersion must specify API group";
        assert_eq!(wrong(&none), refusal);
        assert!(wrong(&scaler("a/b/c", "X")).ends_with("unexpected GroupVersion string: a/b/c"));
        // What has none may keep it, but not for another kind.
        assert!(HorizontalPodAutoscaler.validate_update(&none, &none).is_empty());
        assert_eq!(HorizontalPodAutoscaler.validate_update(&none, &scaler("", "ReplicaSet")).len(), 1);
    }

    #[test]
    fn wrong_metrics_are_refused() {
        check(
            json!({
                "minReplicas": -1, "maxReplicas": 0,
                "metrics": [
                    {"type": "Resource", "resource": {"name": "", "target": {"type": "Utilization"}}},
                    {"type": "Pods", "resource": {"name": "cpu", "target": {"type": "Sometimes", "averageUtilization": 0}}},
                    {"type": "Else"},
                    {"type": "External", "external": {"metric": {}, "target": {"type": "Value", "value": "-1", "averageValue": "1"}}},
                ],
                "behavior": {"scaleUp": {"selectPolicy": "Any", "stabilizationWindowSeconds": 4000, "policies": [{"type": "X", "value": 0, "periodSeconds": 2000}]}},
            }),
            &expect![[r#"
                spec.minReplicas: Invalid value: -1: must be greater than or equal to 0
                spec.maxReplicas: Required value: must be set and greater than 0
                spec.metrics[0].resource.name: Required value: must specify a resource name
                spec.metrics[0].resource.target.averageUtilization: Required value: must set either a target raw value or a target utilization
                spec.metrics[1].resource.target.type: Invalid value: "Sometimes": must be either Utilization, Value, or AverageValue
                spec.metrics[1].resource.target.averageUtilization: Invalid value: 0: must be greater than 0
                spec.metrics[1].pods: Required value: must populate information for the given metric source
                spec.metrics[2].type: Unsupported value: "Else": supported values: "ContainerResource", "External", "Object", "Pods", "Resource"
                spec.metrics[3].external.metric.name: Required value: must specify a metric name
                spec.metrics[3].external.target.value: Invalid value: "-1": must be positive
                spec.metrics[3].external.target.value: Forbidden: may not set both a target value for metric and a per-pod target
                spec.behavior.scaleUp.stabilizationWindowSeconds: Invalid value: 4000: must be less than or equal to 3600
                spec.behavior.scaleUp.selectPolicy: Unsupported value: "Any": supported values: "Disabled", "Max", "Min"
                spec.behavior.scaleUp.policies[0].type: Unsupported value: "X": supported values: "Percent", "Pods"
                spec.behavior.scaleUp.policies[0].value: Invalid value: 0: must be greater than zero
                spec.behavior.scaleUp.policies[0].periodSeconds: Invalid value: 2000: must be less than or equal to 1800
            "#]],
        );
    }
}
