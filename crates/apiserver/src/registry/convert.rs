//! Between the stored version of an object and the others that are served
//! (upstream: pkg/apis/autoscaling/v1/conversion.go, pkg/apis/events/v1/conversion.go).

use api::Resource;
use apimachinery::{Object, StatusError};
use bytes::Bytes;
use serde_json::{Map, Value, json};
use store::Entry;

use super::decode_entry;
use crate::custom;
use crate::server::ApiServer;

/// A stored object as the row serves it, whatever version and form it was written in.
pub async fn current(server: &ApiServer, row: &Resource, entry: &Entry) -> Result<Object, StatusError> {
    custom::convert::object(server, row, to_served(row, decode_entry(entry)?)).await
}

/// An object that the row serves, as it is stored.
pub async fn stored(server: &ApiServer, row: &Resource, object: Object) -> Result<Object, StatusError> {
    custom::convert::to_stored(server, row, to_stored(row, object)).await
}

/// Whether objects of this row are stored in another version than it serves. What custom resources need is done by
/// [`custom::convert`].
pub fn converts(row: &Resource) -> bool {
    row.custom.is_none() && (row.storage_version != row.gvk.version || row.storage_group != row.gvk.group)
}

/// The stored bytes in the version that `row` serves; the same bytes where they are.
pub fn served(row: &Resource, stored: &Bytes) -> Result<Bytes, StatusError> {
    if !converts(row) {
        return Ok(stored.clone());
    }
    let object: Object = serde_json::from_slice(stored)
        .map_err(|error| StatusError::internal(format!("a stored {} cannot be read: {error}", row.gvk.kind)))?;
    let served = to_served(row, object);
    serde_json::to_vec(&served).map(Bytes::from).map_err(StatusError::internal)
}

/// A stored object in the version that `row` serves.
pub fn to_served(row: &Resource, mut object: Object) -> Object {
    if converts(row) {
        match (row.gvk.group.as_str(), row.gvk.version.as_str(), row.gvk.kind.as_str()) {
            ("events.k8s.io", _, "Event") => rename(&mut object.0, EVENT_FIELDS),
            ("autoscaling", "v1", "HorizontalPodAutoscaler") => autoscaler_to_v1(&mut object),
            ("autoscaling", "v2", "HorizontalPodAutoscaler") => autoscaler_to_v2(&mut object),
            _ => {}
        }
        object.set_type(&row.gvk);
    }
    object
}

/// An object of the version that `row` serves, as it is stored.
pub fn to_stored(row: &Resource, mut object: Object) -> Object {
    if converts(row) {
        match (row.gvk.group.as_str(), row.gvk.version.as_str(), row.gvk.kind.as_str()) {
            ("events.k8s.io", _, "Event") => rename_back(&mut object.0, EVENT_FIELDS),
            ("autoscaling", "v1", "HorizontalPodAutoscaler") => autoscaler_to_v2(&mut object),
            ("autoscaling", "v2", "HorizontalPodAutoscaler") => autoscaler_to_v1(&mut object),
            _ => {}
        }
        let stored = apimachinery::GroupVersionKind::new(
            row.storage_group.clone(),
            row.storage_version.clone(),
            row.gvk.kind.clone(),
        );
        object.set_type(&stored);
    }
    object
}

/// Fields of an event: core/v1 name, events.k8s.io/v1 name.
const EVENT_FIELDS: &[(&str, &str)] = &[
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("reportingComponent", "reportingController"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
];

fn rename(fields: &mut Map<String, Value>, names: &[(&str, &str)]) {
    for (from, to) in names {
        if let Some(value) = fields.remove(*from) {
            fields.insert((*to).to_owned(), value);
        }
    }
}

fn rename_back(fields: &mut Map<String, Value>, names: &[(&str, &str)]) {
    for (to, from) in names {
        if let Some(value) = fields.remove(*from) {
            fields.insert((*to).to_owned(), value);
        }
    }
}

/// The annotation under which v1 keeps the metrics that it has no fields for.
const METRICS_ANNOTATION: &str = "autoscaling.alpha.kubernetes.io/metrics";

fn autoscaler_to_v1(object: &mut Object) {
    let metrics = object.0.get_mut("spec").and_then(Value::as_object_mut).and_then(|spec| spec.remove("metrics"));
    let (cpu, others): (Vec<Value>, Vec<Value>) = match metrics {
        Some(Value::Array(metrics)) => metrics.into_iter().partition(is_cpu_utilization),
        _ => (Vec::new(), Vec::new()),
    };
    if let (Some(metric), Some(spec)) = (cpu.first(), object.0.get_mut("spec").and_then(Value::as_object_mut)) {
        let target = metric["resource"]["target"]["averageUtilization"].clone();
        spec.insert("targetCPUUtilizationPercentage".into(), target);
    }
    if !others.is_empty() {
        let annotations = object.metadata_mut().entry("annotations").or_insert_with(|| json!({}));
        annotations[METRICS_ANNOTATION] = Value::String(Value::Array(others).to_string());
    }
    if let Some(status) = object.0.get_mut("status").and_then(Value::as_object_mut) {
        if let Some(Value::Array(metrics)) = status.remove("currentMetrics") {
            let current = metrics.iter().find(|metric| metric["resource"]["name"] == "cpu");
            if let Some(current) = current.map(|metric| metric["resource"]["current"]["averageUtilization"].clone()) {
                status.insert("currentCPUUtilizationPercentage".into(), current);
            }
        }
        status.remove("conditions");
    }
}

fn autoscaler_to_v2(object: &mut Object) {
    let mut metrics: Vec<Value> = Vec::new();
    if let Some(annotations) = object.metadata_mut().get_mut("annotations").and_then(Value::as_object_mut) {
        if let Some(Value::String(text)) = annotations.remove(METRICS_ANNOTATION) {
            metrics = serde_json::from_str(&text).unwrap_or_default();
        }
    }
    if let Some(spec) = object.0.get_mut("spec").and_then(Value::as_object_mut) {
        if let Some(percentage) = spec.remove("targetCPUUtilizationPercentage") {
            let target = json!({"type": "Utilization", "averageUtilization": percentage});
            metrics.insert(0, json!({"type": "Resource", "resource": {"name": "cpu", "target": target}}));
        }
        if !metrics.is_empty() {
            spec.insert("metrics".into(), metrics.into());
        }
    }
    if let Some(status) = object.0.get_mut("status").and_then(Value::as_object_mut) {
        if let Some(current) = status.remove("currentCPUUtilizationPercentage") {
            let current = json!({"averageUtilization": current, "averageValue": "0"});
            status.insert(
                "currentMetrics".into(),
                json!([{"type": "Resource", "resource": {"name": "cpu", "current": current}}]),
            );
        }
    }
}

fn is_cpu_utilization(metric: &Value) -> bool {
    metric["type"] == "Resource"
        && metric["resource"]["name"] == "cpu"
        && !metric["resource"]["target"]["averageUtilization"].is_null()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(group: &str, version: &str, plural: &str) -> std::sync::Arc<Resource> {
        let gvr = apimachinery::GroupVersionResource::new(group, version, plural);
        api::catalogue::by_resource(&gvr).expect("in the catalogue").clone()
    }

    #[test]
    fn an_event_is_one_object_with_two_faces() {
        let row = row("events.k8s.io", "v1", "events");
        let event = Object::from_value(json!({
            "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e"},
            "regarding": {"kind": "Pod"}, "note": "text", "reportingController": "x",
        }))
        .expect("an object");
        let stored = to_stored(&row, event.clone());
        assert_eq!(stored.api_version(), "v1");
        assert_eq!(stored.str_at(&["message"]), Some("text"));
        assert_eq!(to_served(&row, stored), event);
    }
}
