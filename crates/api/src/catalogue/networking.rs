//! The group `networking.k8s.io`.

use crate::resource::{GroupVersion, Resource};
use crate::strategy;

const V1: GroupVersion = GroupVersion::new("networking.k8s.io", "v1");

pub(super) fn rows() -> Vec<Resource> {
    vec![
        V1.cluster("IngressClass", "ingressclasses").strategy(strategy::IngressClass),
        V1.namespaced("Ingress", "ingresses").strategy(strategy::Ingress).short(&["ing"]).status(),
        V1.cluster("IPAddress", "ipaddresses").strategy(strategy::IpAddress).short(&["ip"]),
        V1.namespaced("NetworkPolicy", "networkpolicies").strategy(strategy::NetworkPolicy).short(&["netpol"]),
        V1.cluster("ServiceCIDR", "servicecidrs").strategy(strategy::ServiceCidr).status(),
    ]
}
