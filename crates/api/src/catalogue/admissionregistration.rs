//! The group `admissionregistration.k8s.io`.

use crate::resource::{GroupVersion, Resource};

const V1: GroupVersion = GroupVersion::new("admissionregistration.k8s.io", "v1");

pub(super) fn rows() -> Vec<Resource> {
    vec![
        V1.cluster("MutatingAdmissionPolicy", "mutatingadmissionpolicies").category("api-extensions"),
        V1.cluster("MutatingAdmissionPolicyBinding", "mutatingadmissionpolicybindings").category("api-extensions"),
        V1.cluster("MutatingWebhookConfiguration", "mutatingwebhookconfigurations").category("api-extensions"),
        V1.cluster("ValidatingAdmissionPolicy", "validatingadmissionpolicies").category("api-extensions").status(),
        V1.cluster("ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings").category("api-extensions"),
        V1.cluster("ValidatingWebhookConfiguration", "validatingwebhookconfigurations").category("api-extensions"),
    ]
}
