//! The group `batch`.

use crate::columns;
use crate::resource::{GroupVersion, Resource};
use crate::strategy;

const V1: GroupVersion = GroupVersion::new("batch", "v1");

pub(super) fn rows() -> Vec<Resource> {
    vec![
        V1.namespaced("CronJob", "cronjobs")
            .columns(columns::cron_jobs())
            .strategy(strategy::CronJob)
            .short(&["cj"])
            .category("all")
            .status(),
        V1.namespaced("Job", "jobs")
            .columns(columns::jobs())
            .strategy(strategy::Job)
            .category("all")
            .status()
            .selectable(&["status.successful"]),
    ]
}
