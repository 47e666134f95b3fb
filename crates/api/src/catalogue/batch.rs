//! The group `batch`.

use crate::resource::{GroupVersion, Resource};

const V1: GroupVersion = GroupVersion::new("batch", "v1");

pub(super) fn rows() -> Vec<Resource> {
    vec![
        V1.namespaced("CronJob", "cronjobs").short(&["cj"]).category("all").status(),
        V1.namespaced("Job", "jobs").category("all").status().selectable(&["status.successful"]),
    ]
}
