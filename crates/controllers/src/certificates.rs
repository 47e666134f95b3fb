//! CertificateSigningRequests: approved where that needs no person, signed, and removed when nobody needs them any more
//! (upstream: pkg/controller/certificates).

use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

pub mod request;

pub mod approver;
pub mod cleaner;
pub mod policy;
pub mod signer;

/// Client certificates for the API.
pub const API_CLIENT: &str = "kubernetes.io/kube-apiserver-client";
/// Client certificates of kubelets.
pub const KUBELET_CLIENT: &str = "kubernetes.io/kube-apiserver-client-kubelet";
/// Serving certificates of kubelets.
pub const KUBELET_SERVING: &str = "kubernetes.io/kubelet-serving";
/// Whatever else.
pub const LEGACY_UNKNOWN: &str = "kubernetes.io/legacy-unknown";

pub(crate) fn has_condition(csr: &CertificateSigningRequest, kind: &str) -> bool {
    conditions(csr).iter().any(|condition| condition.type_ == kind && condition.status != "False")
}

pub(crate) fn conditions(csr: &CertificateSigningRequest) -> &[CertificateSigningRequestCondition] {
    csr.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default()
}

pub(crate) fn is_issued(csr: &CertificateSigningRequest) -> bool {
    csr.status.as_ref().and_then(|status| status.certificate.as_ref()).is_some_and(|bytes| !bytes.0.is_empty())
}

/// Adds a condition that holds from now on.
pub(crate) fn add_condition(csr: &mut CertificateSigningRequest, kind: &str, reason: &str, message: &str) {
    let now = Time(component_base::now());
    let condition = CertificateSigningRequestCondition {
        type_: kind.to_owned(),
        status: "True".to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_update_time: Some(now.clone()),
        last_transition_time: Some(now),
    };
    csr.status.get_or_insert_default().conditions.get_or_insert_default().push(condition);
}
