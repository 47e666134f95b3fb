//! Autoscalers between v2, in which they are stored, and v1, which keeps in annotations what it has no fields for
//! (upstream: pkg/apis/autoscaling/v1/conversion.go, pkg/apis/autoscaling/annotations.go).

use apimachinery::Object;
use serde_json::{Map, Value, json};

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const CURRENT_METRICS: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";

/// What is aimed at where nothing is said, in percent.
const DEFAULT_UTILIZATION: u8 = 80;

/// Where v1 writes the parts of a v2 target or a v2 current value: field of v2, field of v1.
const TARGETS: Names =
    Names { utilization: "targetAverageUtilization", average: "targetAverageValue", value: "targetValue" };
const CURRENTS: Names =
    Names { utilization: "currentAverageUtilization", average: "currentAverageValue", value: "currentValue" };

struct Names {
    utilization: &'static str,
    average: &'static str,
    value: &'static str,
}

/// v2 into v1.
pub(super) fn to_v1(object: &mut Object) {
    let mut kept = Map::new();
    if let Some(spec) = object.0.get_mut("spec").and_then(Value::as_object_mut) {
        let metrics = list(spec.remove("metrics"));
        let (cpu, others): (Vec<Value>, Vec<Value>) = metrics.into_iter().partition(is_cpu_utilization);
        if let Some(metric) = cpu.last() {
            let target = metric["resource"]["target"]["averageUtilization"].clone();
            spec.insert("targetCPUUtilizationPercentage".into(), target);
        }
        keep(&mut kept, METRICS, others.iter().map(|metric| flat(metric, "target", &TARGETS)).collect());
        if let Some(behavior) = spec.remove("behavior").filter(|behavior| !behavior.is_null()) {
            kept.insert(BEHAVIOR.into(), behavior.to_string().into());
        }
    }
    if let Some(status) = object.0.get_mut("status").and_then(Value::as_object_mut) {
        let metrics = list(status.remove("currentMetrics"));
        let cpu = metrics.iter().find(|metric| {
            metric["resource"]["name"] == "cpu" && !metric["resource"]["current"]["averageUtilization"].is_null()
        });
        if let Some(metric) = cpu {
            let current = metric["resource"]["current"]["averageUtilization"].clone();
            status.insert("currentCPUUtilizationPercentage".into(), current);
        }
        keep(&mut kept, CURRENT_METRICS, metrics.iter().map(|metric| flat(metric, "current", &CURRENTS)).collect());
        keep(&mut kept, CONDITIONS, list(status.remove("conditions")));
    }
    if !kept.is_empty() {
        let annotations = object.metadata_mut().entry("annotations").or_insert_with(|| json!({}));
        if let Some(annotations) = annotations.as_object_mut() {
            annotations.extend(kept);
        }
    }
}

/// v1 into v2.
pub(super) fn to_v2(object: &mut Object) {
    let mut kept = [METRICS, CURRENT_METRICS, CONDITIONS, BEHAVIOR].map(|name| take_annotation(object, name));
    if let Some(spec) = object.0.get_mut("spec").and_then(Value::as_object_mut) {
        let mut metrics: Vec<Value> =
            list(kept[0].take()).iter().map(|metric| nested(metric, "target", &TARGETS)).collect();
        if let Some(percentage) = spec.remove("targetCPUUtilizationPercentage").filter(|value| !value.is_null()) {
            let target = json!({"type": "Utilization", "averageUtilization": percentage});
            metrics.push(json!({"type": "Resource", "resource": {"name": "cpu", "target": target}}));
        }
        if metrics.is_empty() {
            let target = json!({"type": "Utilization", "averageUtilization": DEFAULT_UTILIZATION});
            metrics.push(json!({"type": "Resource", "resource": {"name": "cpu", "target": target}}));
        }
        spec.insert("metrics".into(), metrics.into());
        if let Some(behavior) = kept[3].take().filter(Value::is_object) {
            spec.insert("behavior".into(), behavior);
        }
    }
    let (currents, conditions) = (list(kept[1].take()), list(kept[2].take()));
    let Some(status) = object.0.get_mut("status").and_then(Value::as_object_mut) else { return };
    let mut metrics: Vec<Value> = currents.iter().map(|metric| nested(metric, "current", &CURRENTS)).collect();
    let percentage = status.remove("currentCPUUtilizationPercentage").filter(|value| !value.is_null());
    let has_cpu = metrics.iter().any(|metric| metric["resource"]["name"] == "cpu");
    if let Some(percentage) = percentage.filter(|_| !has_cpu) {
        let current = json!({"averageUtilization": percentage, "averageValue": "0"});
        metrics.push(json!({"type": "Resource", "resource": {"name": "cpu", "current": current}}));
    }
    if !metrics.is_empty() {
        status.insert("currentMetrics".into(), metrics.into());
    }
    if !conditions.is_empty() {
        status.insert("conditions".into(), conditions.into());
    }
}

fn list(value: Option<Value>) -> Vec<Value> {
    match value {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    }
}

fn keep(kept: &mut Map<String, Value>, name: &str, items: Vec<Value>) {
    if !items.is_empty() {
        kept.insert(name.to_owned(), Value::Array(items).to_string().into());
    }
}

/// An annotation that holds JSON; one that cannot be read holds nothing.
fn take_annotation(object: &mut Object, name: &str) -> Option<Value> {
    let metadata = object.0.get_mut("metadata")?.as_object_mut()?;
    let annotations = metadata.get_mut("annotations")?.as_object_mut()?;
    let text = annotations.remove(name)?;
    if annotations.is_empty() {
        metadata.remove("annotations");
    }
    serde_json::from_str(text.as_str()?).ok()
}

fn is_cpu_utilization(metric: &Value) -> bool {
    metric["type"] == "Resource"
        && metric["resource"]["name"] == "cpu"
        && !metric["resource"]["target"]["averageUtilization"].is_null()
}

/// A metric, or its status, in v1: everything in one object.
fn flat(metric: &Value, part: &str, names: &Names) -> Value {
    let mut out = json!({"type": metric["type"]});
    for kind in ["object", "external", "pods", "resource", "containerResource"] {
        let Some(source) = metric.get(kind).and_then(Value::as_object) else { continue };
        let (numbers, mut flat) = (source.get(part).cloned().unwrap_or_default(), Map::new());
        let mut put = |name: &str, value: &Value| {
            if !value.is_null() {
                flat.insert(name.to_owned(), value.clone());
            }
        };
        for name in ["name", "container"] {
            put(name, source.get(name).unwrap_or(&Value::Null));
        }
        if let Some(identifier) = source.get("metric") {
            put("metricName", &identifier["name"]);
            put(if kind == "external" { "metricSelector" } else { "selector" }, &identifier["selector"]);
        }
        put("target", source.get("describedObject").unwrap_or(&Value::Null));
        put(names.utilization, &numbers["averageUtilization"]);
        put(if kind == "object" { "averageValue" } else { names.average }, &numbers["averageValue"]);
        put(names.value, &numbers["value"]);
        if kind == "object" && numbers["value"].is_null() {
            put(names.value, &"0".into());
        }
        out[kind] = Value::Object(flat);
    }
    out
}

/// A metric, or its status, in v2: identifier and numbers in objects of their own.
fn nested(metric: &Value, part: &str, names: &Names) -> Value {
    let mut out = json!({"type": metric["type"]});
    for kind in ["object", "external", "pods", "resource", "containerResource"] {
        let Some(source) = metric.get(kind).and_then(Value::as_object) else { continue };
        let get = |name: &str| source.get(name).cloned().unwrap_or_default();
        let average = get(if kind == "object" { "averageValue" } else { names.average });
        let (utilization, value) = (get(names.utilization), get(names.value));
        let mut numbers = Map::new();
        // A target of an object has a value always; it counts where there is no average.
        let value = if kind == "object" && part == "target" && !average.is_null() { Value::Null } else { value };
        for (name, number) in [("averageUtilization", &utilization), ("averageValue", &average), ("value", &value)] {
            if !number.is_null() {
                numbers.insert(name.to_owned(), number.clone());
            }
        }
        if part == "target" {
            let kind = match () {
                () if !utilization.is_null() => "Utilization",
                () if !average.is_null() => "AverageValue",
                () => "Value",
            };
            numbers.insert("type".into(), kind.into());
        }
        let mut nested = Map::from_iter([(part.to_owned(), Value::Object(numbers))]);
        for name in ["name", "container"] {
            if let Some(text) = source.get(name) {
                nested.insert(name.to_owned(), text.clone());
            }
        }
        if let Some(name) = source.get("metricName") {
            let mut identifier = json!({"name": name});
            let selector = get(if kind == "external" { "metricSelector" } else { "selector" });
            if !selector.is_null() {
                identifier["selector"] = selector;
            }
            nested.insert("metric".into(), identifier);
        }
        if let Some(target) = source.get("target") {
            nested.insert("describedObject".into(), target.clone());
        }
        out[kind] = Value::Object(nested);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_v1_has_no_fields_for_survives() {
        let v2 = json!({
            "metadata": {"name": "web"},
            "spec": {
                "maxReplicas": 3, "minReplicas": 1,
                "behavior": {"scaleDown": {"stabilizationWindowSeconds": 60}},
                "metrics": [
                    {"type": "Pods", "pods": {"metric": {"name": "rps", "selector": {"matchLabels": {"a": "b"}}}, "target": {"type": "AverageValue", "averageValue": "1k"}}},
                    {"type": "Object", "object": {"describedObject": {"kind": "Ingress", "name": "web"}, "metric": {"name": "rps"}, "target": {"type": "Value", "value": "2k"}}},
                    {"type": "External", "external": {"metric": {"name": "q"}, "target": {"type": "Value", "value": "30"}}},
                    {"type": "ContainerResource", "containerResource": {"name": "cpu", "container": "a", "target": {"type": "Utilization", "averageUtilization": 5}}},
                    {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}},
                ],
            },
            "status": {
                "currentReplicas": 1, "desiredReplicas": 1,
                "conditions": [{"type": "AbleToScale", "status": "True"}],
                "currentMetrics": [{"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 7, "averageValue": "70m"}}}],
            },
        });
        let mut object = Object::from_value(v2.clone()).expect("an object");
        to_v1(&mut object);
        assert_eq!(object.0["spec"], json!({"maxReplicas": 3, "minReplicas": 1, "targetCPUUtilizationPercentage": 80}));
        assert_eq!(object.0["status"]["currentCPUUtilizationPercentage"], 7);
        let metrics = object.at(&["metadata", "annotations", METRICS]).and_then(Value::as_str).expect("kept");
        assert!(
            metrics.starts_with(
                r#"[{"pods":{"metricName":"rps","selector":{"matchLabels":{"a":"b"}},"targetAverageValue":"1k"}"#
            ),
            "{metrics}"
        );
        to_v2(&mut object);
        assert_eq!(object.into_value(), v2);
    }

    #[test]
    fn broken_annotations_are_dropped() {
        let v1 = json!({"metadata": {"annotations": {METRICS: "[{", "mine": "x"}}, "spec": {"maxReplicas": 1}});
        let mut object = Object::from_value(v1).expect("an object");
        to_v2(&mut object);
        assert_eq!(object.0["metadata"], json!({"annotations": {"mine": "x"}}));
        assert_eq!(object.0["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"], 80);
    }
}
