//! The group `admissionregistration.k8s.io`.

use crate::columns;
use crate::resource::{GroupVersion, Resource};
use crate::strategy;

const V1: GroupVersion = GroupVersion::new("admissionregistration.k8s.io", "v1");

pub(super) fn rows() -> Vec<Resource> {
    vec![
        V1.cluster("MutatingAdmissionPolicy", "mutatingadmissionpolicies")
            .columns(columns::admission_policies("Mutations", "mutations"))
            .strategy(strategy::Policy { mutating: true })
            .category("api-extensions"),
        V1.cluster("MutatingAdmissionPolicyBinding", "mutatingadmissionpolicybindings")
            .columns(columns::admission_policy_bindings())
            .strategy(strategy::PolicyBinding { mutating: true })
            .category("api-extensions"),
        V1.cluster("MutatingWebhookConfiguration", "mutatingwebhookconfigurations")
            .columns(columns::webhooks())
            .strategy(strategy::WebhookConfiguration { mutating: true })
            .category("api-extensions"),
        V1.cluster("ValidatingAdmissionPolicy", "validatingadmissionpolicies")
            .columns(columns::admission_policies("Validations", "validations"))
            .strategy(strategy::Policy { mutating: false })
            .category("api-extensions")
            .status(),
        V1.cluster("ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings")
            .columns(columns::admission_policy_bindings())
            .strategy(strategy::PolicyBinding { mutating: false })
            .category("api-extensions"),
        V1.cluster("ValidatingWebhookConfiguration", "validatingwebhookconfigurations")
            .columns(columns::webhooks())
            .strategy(strategy::WebhookConfiguration { mutating: false })
            .category("api-extensions"),
    ]
}
