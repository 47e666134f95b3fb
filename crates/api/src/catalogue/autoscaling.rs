//! The group `autoscaling`: v2, and v1, which is stored as v2.

use crate::columns;
use crate::resource::{GroupVersion, Resource};
use crate::strategy;

pub(super) fn rows() -> Vec<Resource> {
    vec![row("v2"), row("v1").stored_as("autoscaling", "v2")]
}

fn row(version: &'static str) -> Resource {
    GroupVersion::new("autoscaling", version)
        .namespaced("HorizontalPodAutoscaler", "horizontalpodautoscalers")
        .strategy(strategy::HorizontalPodAutoscaler)
        .columns(columns::autoscalers())
        .short(&["hpa"])
        .category("all")
        .status()
}
