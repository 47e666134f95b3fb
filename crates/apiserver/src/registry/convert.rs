//! Between the stored version of an object and the others that are served
//! (upstream: pkg/apis/autoscaling/v1/conversion.go, pkg/apis/events/v1/conversion.go).

use api::Resource;
use apimachinery::{Object, StatusError};
use bytes::Bytes;
use serde_json::{Map, Value};
use store::Entry;

use super::decode_entry;
use crate::custom;
use crate::server::ApiServer;

mod autoscaling;
mod owners;

pub use owners::with_owners_converted;

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
            ("autoscaling", "v1", "HorizontalPodAutoscaler") => autoscaling::to_v1(&mut object),
            ("autoscaling", "v2", "HorizontalPodAutoscaler") => autoscaling::to_v2(&mut object),
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
            ("autoscaling", "v1", "HorizontalPodAutoscaler") => autoscaling::to_v2(&mut object),
            ("autoscaling", "v2", "HorizontalPodAutoscaler") => autoscaling::to_v1(&mut object),
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

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
