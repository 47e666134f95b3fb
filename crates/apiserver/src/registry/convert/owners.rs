//! Field owners between versions: an owner's paths are in the names of the version that it wrote
//! (upstream: apimachinery/pkg/util/managedfields/internal/versionconverter.go).

use api::Resource;
use apimachinery::Object;
use serde_json::{Map, Value};

use super::EVENT_FIELDS;

/// Fields of an autoscaler: part, v2 name, v1 name.
const AUTOSCALER_FIELDS: &[(&str, &str, &str)] = &[
    ("f:spec", "metrics", "targetCPUUtilizationPercentage"),
    ("f:status", "currentMetrics", "currentCPUUtilizationPercentage"),
];

/// Whether objects of the row are served in other versions too, with other names.
fn has_faces(row: &Resource) -> bool {
    matches!(
        (row.gvk.group.as_str(), row.gvk.kind.as_str()),
        ("autoscaling", "HorizontalPodAutoscaler") | ("" | "events.k8s.io", "Event")
    )
}

/// Runs `change` with the paths of all owners in the names of the row's version, and gives them back theirs.
pub fn with_owners_converted<T>(
    row: &Resource,
    object: &mut Object,
    old: Option<&Object>,
    change: impl FnOnce(&mut Object, Option<&Object>) -> T,
) -> T {
    if !has_faces(row) {
        return change(object, old);
    }
    let old = old.cloned().map(|mut old| {
        rename(row, &mut old, true);
        old
    });
    rename(row, object, true);
    let done = change(object, old.as_ref());
    rename(row, object, false);
    done
}

/// Renames the paths of the owners that wrote another version, into the row's names or back.
fn rename(row: &Resource, object: &mut Object, into_row: bool) {
    let own = row.gvk.api_version();
    let entries = object.0.get_mut("metadata").and_then(|metadata| metadata.get_mut("managedFields"));
    let entries = entries.and_then(Value::as_array_mut).into_iter().flatten();
    for entry in entries {
        let version = entry.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
        if version == own || version.is_empty() {
            continue;
        }
        // The first name of each pair is that of the stored version.
        let forward = (own == "autoscaling/v1" || own == "events.k8s.io/v1") == into_row;
        if let Some(fields) = entry.get_mut("fieldsV1").and_then(Value::as_object_mut) {
            match row.gvk.kind.as_str() {
                "Event" => EVENT_FIELDS.iter().for_each(|(stored, other)| move_path(fields, stored, other, forward)),
                _ => {
                    for (part, stored, other) in AUTOSCALER_FIELDS {
                        if let Some(part) = fields.get_mut(*part).and_then(Value::as_object_mut) {
                            move_path(part, stored, other, forward);
                        }
                    }
                }
            }
        }
    }
}

fn move_path(fields: &mut Map<String, Value>, stored: &str, other: &str, forward: bool) {
    let (from, to) = if forward { (stored, other) } else { (other, stored) };
    if let Some(value) = fields.remove(&format!("f:{from}")) {
        fields.insert(format!("f:{to}"), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths_are_in_the_names_of_the_writer() {
        let gvr =
            |version: &str| apimachinery::GroupVersionResource::new("autoscaling", version, "horizontalpodautoscalers");
        let fields = |name: &str| json!({"f:spec": {"f:maxReplicas": {}, name: {}}});
        let with = |version: &str, name: &str| {
            let entry = json!({"apiVersion": version, "manager": "m", "fieldsV1": fields(name)});
            Object::from_value(json!({"metadata": {"managedFields": [entry]}})).expect("an object")
        };
        let (v1_name, v2_name) = ("f:targetCPUUtilizationPercentage", "f:metrics");
        for (version, entry, own, seen) in [
            ("v2", "autoscaling/v1", v1_name, v2_name),
            ("v1", "autoscaling/v2", v2_name, v1_name),
            ("v2", "autoscaling/v2", v2_name, v2_name),
        ] {
            let row = api::catalogue::by_resource(&gvr(version)).expect("in the catalogue");
            let mut object = with(entry, own);
            let found = with_owners_converted(row, &mut object, None, |object, _| object.clone());
            assert_eq!(found, with(entry, seen), "{version} {entry}");
            assert_eq!(object, with(entry, own), "{version} {entry}");
        }
    }
}
