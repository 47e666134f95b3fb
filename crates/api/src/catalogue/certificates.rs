//! The group `certificates.k8s.io`.

use crate::resource::{GroupVersion, Resource};
use crate::strategy;

const V1: GroupVersion = GroupVersion::new("certificates.k8s.io", "v1");

pub(super) fn rows() -> Vec<Resource> {
    vec![
        V1.cluster("CertificateSigningRequest", "certificatesigningrequests")
            .strategy(strategy::CertificateSigningRequest)
            .short(&["csr"])
            .status()
            .part("approval")
            .selectable(&["spec.signerName"]),
        V1.cluster("ClusterTrustBundle", "clustertrustbundles")
            .strategy(strategy::TrustBundle)
            .selectable(&["spec.signerName"]),
        V1.namespaced("PodCertificateRequest", "podcertificaterequests")
            .strategy(strategy::Unversioned)
            .status()
            .selectable(&["spec.signerName", "spec.podName", "spec.nodeName"]),
    ]
}
