//! The group `authentication.k8s.io`.

use crate::resource::{GroupVersion, Resource, Verbs};

const V1: GroupVersion = GroupVersion::new("authentication.k8s.io", "v1");

pub(super) fn rows() -> Vec<Resource> {
    vec![
        V1.cluster("SelfSubjectReview", "selfsubjectreviews").verbs(Verbs::CreateOnly),
        V1.cluster("TokenReview", "tokenreviews").verbs(Verbs::CreateOnly),
    ]
}
