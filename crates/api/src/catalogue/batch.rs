//! The group `batch`.

use crate::resource::{GroupVersion, Resource};
use crate::strategy;

const V1: GroupVersion = GroupVersion::new("batch", "v1");

pub(super) fn rows() -> Vec<Resource> {
    vec![
        V1.namespaced("CronJob", "cronjobs").strategy(strategy::CronJob).short(&["cj"]).category("all").status(),
        V1.namespaced("Job", "jobs")
            .strategy(strategy::Job)
            .category("all")
            .status()
            .selectable(&["status.successful"]),
    ]
}
