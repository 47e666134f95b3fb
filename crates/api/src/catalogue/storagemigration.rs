//! The group `storagemigration.k8s.io`.

use crate::columns;
use crate::resource::{GroupVersion, Resource};
use crate::strategy;

const V1: GroupVersion = GroupVersion::new("storagemigration.k8s.io", "v1");

pub(super) fn rows() -> Vec<Resource> {
    vec![
        V1.cluster("StorageVersionMigration", "storageversionmigrations")
            .columns(columns::storage_version_migrations())
            .strategy(strategy::StorageVersionMigration)
            .status(),
    ]
}
