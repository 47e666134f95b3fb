//! The group `policy`.

use crate::resource::{GroupVersion, Resource};
use crate::strategy;

const V1: GroupVersion = GroupVersion::new("policy", "v1");

pub(super) fn rows() -> Vec<Resource> {
    vec![
        V1.namespaced("PodDisruptionBudget", "poddisruptionbudgets")
            .strategy(strategy::PodDisruptionBudget)
            .short(&["pdb"])
            .status(),
    ]
}
