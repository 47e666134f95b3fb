//! The group `events.k8s.io`.

use crate::columns;
use crate::resource::{GroupVersion, Resource};
use crate::strategy;

const V1: GroupVersion = GroupVersion::new("events.k8s.io", "v1");

pub(super) fn rows() -> Vec<Resource> {
    vec![
        V1.namespaced("Event", "events")
            .columns(columns::new_events())
            .strategy(strategy::Event("regarding"))
            .short(&["ev"])
            .stored_as("", "v1")
            .selectable(&[
                "regarding.kind",
                "regarding.namespace",
                "regarding.name",
                "regarding.uid",
                "regarding.apiVersion",
                "regarding.resourceVersion",
                "regarding.fieldPath",
                "reason",
                "reportingController",
                "type",
            ]),
    ]
}
