//! The group `networking.k8s.io`.

use crate::resource::{GroupVersion, Resource};

const V1: GroupVersion = GroupVersion::new("networking.k8s.io", "v1");

pub(super) fn rows() -> Vec<Resource> {
    vec![
        V1.cluster("IngressClass", "ingressclasses"),
        V1.namespaced("Ingress", "ingresses").short(&["ing"]).status(),
        V1.cluster("IPAddress", "ipaddresses").short(&["ip"]),
        V1.namespaced("NetworkPolicy", "networkpolicies").short(&["netpol"]),
        V1.cluster("ServiceCIDR", "servicecidrs").status(),
    ]
}
