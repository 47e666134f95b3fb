//! The group `authorization.k8s.io`.

use crate::resource::{GroupVersion, Resource, Verbs};

const V1: GroupVersion = GroupVersion::new("authorization.k8s.io", "v1");

pub(super) fn rows() -> Vec<Resource> {
    vec![
        V1.namespaced("LocalSubjectAccessReview", "localsubjectaccessreviews").verbs(Verbs::CreateOnly),
        V1.cluster("SelfSubjectAccessReview", "selfsubjectaccessreviews").verbs(Verbs::CreateOnly),
        V1.cluster("SelfSubjectRulesReview", "selfsubjectrulesreviews").verbs(Verbs::CreateOnly),
        V1.cluster("SubjectAccessReview", "subjectaccessreviews").verbs(Verbs::CreateOnly),
    ]
}
