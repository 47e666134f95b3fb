//! The group `admissionregistration.k8s.io`.

use crate::resource::{GroupVersion, Resource};
use crate::strategy;

const V1: GroupVersion = GroupVersion::new("admissionregistration.k8s.io", "v1");

pub(super) fn rows() -> Vec<Resource> {
    vec![
        V1.cluster("MutatingAdmissionPolicy", "mutatingadmissionpolicies")
            .strategy(strategy::Policy)
            .category("api-extensions"),
        V1.cluster("MutatingAdmissionPolicyBinding", "mutatingadmissionpolicybindings")
            .strategy(strategy::PolicyBinding)
            .category("api-extensions"),
        V1.cluster("MutatingWebhookConfiguration", "mutatingwebhookconfigurations")
            .strategy(strategy::WebhookConfiguration { mutating: true })
            .category("api-extensions"),
        V1.cluster("ValidatingAdmissionPolicy", "validatingadmissionpolicies")
            .strategy(strategy::Policy)
            .category("api-extensions")
            .status(),
        V1.cluster("ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings")
            .strategy(strategy::PolicyBinding)
            .category("api-extensions"),
        V1.cluster("ValidatingWebhookConfiguration", "validatingwebhookconfigurations")
            .strategy(strategy::WebhookConfiguration { mutating: false })
            .category("api-extensions"),
    ]
}
