//! Fields that 1.37 has and does not take unless a feature is enabled, none of which is by default: they are dropped from
//! what is written, as long as what is stored does not use the feature already
//! (upstream: pkg/registry/resource/*/strategy.go, `dropDisabledFields`).

use serde_json::{Map, Value};

use crate::json::{Read, Write};

/// `DRAListTypeAttributes`.
const LISTS: [&str; 4] = ["bools", "ints", "strings", "versions"];

/// Drops what a slice's spec may not have.
pub(super) fn slice(spec: &mut Map<String, Value>, old: &Map<String, Value>) {
    let used = |uses: fn(&Value) -> bool| old.list("devices").iter().any(uses);
    let (lists, node, groups) =
        (used(has_lists), used(|device| device.has("nodeAllocatableResources")), used(has_groups));
    for device in spec.items_mut("devices") {
        if !lists && let Some(attributes) = device.object_at("attributes") {
            for attribute in attributes.values_mut().filter_map(Value::as_object_mut) {
                attribute.retain(|field, _| !LISTS.contains(&field.as_str()));
            }
        }
        if !node {
            device.remove("nodeAllocatableResources");
        }
        if !groups {
            for consumption in device.items_mut("consumesCounters") {
                consumption.remove("compatibilityGroups");
            }
        }
    }
    if !old.has("skipNodeOperations") {
        spec.remove("skipNodeOperations");
    }
}

fn has_lists(device: &Value) -> bool {
    let mut attributes = device.object("attributes").values();
    attributes.any(|attribute| LISTS.iter().any(|list| attribute.has(list)))
}

fn has_groups(device: &Value) -> bool {
    device.list("consumesCounters").iter().any(|consumption| consumption.has("compatibilityGroups"))
}

/// Drops what a claim's spec may not have: `DRADerivedAttributes`.
pub(super) fn claim(spec: &mut Map<String, Value>, old: &Map<String, Value>) {
    const FIELD: &str = "derivedAttributes";
    let uses = |request: &Value| {
        request.object("exactly").has(FIELD) || request.list("firstAvailable").iter().any(|one| one.has(FIELD))
    };
    if old.object("devices").list("requests").iter().any(uses) {
        return;
    }
    let Some(devices) = spec.object_at("devices") else { return };
    for request in devices.items_mut("requests") {
        if let Some(exactly) = request.object_at("exactly") {
            exactly.remove(FIELD);
        }
        for one in request.items_mut("firstAvailable") {
            one.remove(FIELD);
        }
    }
}

/// Drops what a claim's status may not have: `DRAOptionalNodeOperations`.
pub(super) fn claim_status(status: &mut Map<String, Value>, old: &Map<String, Value>) {
    const FIELD: &str = "skipNodeOperations";
    let results = |status: &'_ Map<String, Value>| -> bool {
        status.object("allocation").object("devices").list("results").iter().any(|result| result.has(FIELD))
    };
    if results(old) {
        return;
    }
    let devices = status.object_at("allocation").and_then(|allocation| allocation.object_at("devices"));
    for result in devices.into_iter().flat_map(|devices| devices.items_mut("results")) {
        result.remove(FIELD);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(drop: fn(&mut Map<String, Value>, &Map<String, Value>), all: &Value, plain: &Value) {
        let dropped = |old: &Value| {
            let mut new = all.clone();
            if let Some(new) = new.as_object_mut() {
                drop(new, old.fields());
            }
            new
        };
        assert_eq!(&dropped(&json!({})), plain, "created");
        assert_eq!(&dropped(plain), plain, "updated where nobody used it");
        assert_eq!(&dropped(all), all, "what is used stays");
    }

    #[test]
    fn what_no_feature_enables_is_dropped_unless_it_is_used() {
        check(
            slice,
            &json!({"skipNodeOperations": ["*"], "devices": [{
                "name": "a", "nodeAllocatableResources": {"cpu": {}},
                "attributes": {"x": {"ints": [1]}, "y": {"string": "z"}},
                "consumesCounters": [{"counterSet": "s", "compatibilityGroups": ["g"]}],
            }]}),
            &json!({"devices": [{
                "name": "a", "attributes": {"x": {}, "y": {"string": "z"}}, "consumesCounters": [{"counterSet": "s"}],
            }]}),
        );
        check(
            claim,
            &json!({"devices": {"requests": [
                {"name": "a", "exactly": {"derivedAttributes": [{"name": "n"}]}},
                {"name": "b", "firstAvailable": [{"name": "c", "derivedAttributes": [{"name": "n"}]}]},
            ]}}),
            &json!({"devices": {"requests": [
                {"name": "a", "exactly": {}}, {"name": "b", "firstAvailable": [{"name": "c"}]},
            ]}}),
        );
        check(
            claim_status,
            &json!({"allocation": {"devices": {"results": [{"request": "a", "skipNodeOperations": ["*"]}]}}}),
            &json!({"allocation": {"devices": {"results": [{"request": "a"}]}}}),
        );
    }
}
