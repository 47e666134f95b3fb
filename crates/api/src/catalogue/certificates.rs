//! The group `certificates.k8s.io`.

use crate::columns;
use crate::resource::{GroupVersion, Resource};
use crate::strategy;

const V1: GroupVersion = GroupVersion::new("certificates.k8s.io", "v1");

pub(super) fn rows() -> Vec<Resource> {
    vec![
        V1.cluster("CertificateSigningRequest", "certificatesigningrequests")
            .columns(columns::signing_requests())
            .strategy(strategy::CertificateSigningRequest)
            .short(&["csr"])
            .status()
            .part("approval")
            .selectable(&["spec.signerName"]),
        V1.cluster("ClusterTrustBundle", "clustertrustbundles")
            .columns(columns::trust_bundles())
            .strategy(strategy::TrustBundle)
            .selectable(&["spec.signerName"]),
        V1.namespaced("PodCertificateRequest", "podcertificaterequests")
            .columns(columns::pod_certificate_requests())
            .strategy(strategy::PodCertificateRequest)
            .status()
            .selectable(&["spec.signerName", "spec.podName", "spec.nodeName"]),
    ]
}
