//! The group `policy`.

use crate::columns;
use crate::resource::{GroupVersion, Resource};
use crate::strategy;

const V1: GroupVersion = GroupVersion::new("policy", "v1");

pub(super) fn rows() -> Vec<Resource> {
    vec![
        V1.namespaced("PodDisruptionBudget", "poddisruptionbudgets")
            .columns(columns::disruption_budgets())
            .strategy(strategy::PodDisruptionBudget)
            .short(&["pdb"])
            .status(),
    ]
}
