//! The group `certificates.k8s.io`.

use crate::resource::{GroupVersion, Resource};

const V1: GroupVersion = GroupVersion::new("certificates.k8s.io", "v1");

pub(super) fn rows() -> Vec<Resource> {
    vec![
        V1.cluster("CertificateSigningRequest", "certificatesigningrequests")
            .short(&["csr"])
            .status()
            .part("approval")
            .selectable(&["spec.signerName"]),
        V1.cluster("ClusterTrustBundle", "clustertrustbundles").selectable(&["spec.signerName"]),
        V1.namespaced("PodCertificateRequest", "podcertificaterequests").status().selectable(&[
            "spec.signerName",
            "spec.podName",
            "spec.nodeName",
        ]),
    ]
}
