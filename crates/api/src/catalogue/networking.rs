//! The group `networking.k8s.io`.

use crate::columns;
use crate::resource::{GroupVersion, Resource};
use crate::strategy;

const V1: GroupVersion = GroupVersion::new("networking.k8s.io", "v1");

pub(super) fn rows() -> Vec<Resource> {
    vec![
        V1.cluster("IngressClass", "ingressclasses")
            .columns(columns::ingress_classes())
            .strategy(strategy::IngressClass),
        V1.namespaced("Ingress", "ingresses")
            .columns(columns::ingresses())
            .strategy(strategy::Ingress)
            .short(&["ing"])
            .status(),
        V1.cluster("IPAddress", "ipaddresses")
            .columns(columns::ip_addresses())
            .strategy(strategy::IpAddress)
            .short(&["ip"]),
        V1.namespaced("NetworkPolicy", "networkpolicies")
            .columns(columns::network_policies())
            .strategy(strategy::NetworkPolicy)
            .short(&["netpol"]),
        V1.cluster("ServiceCIDR", "servicecidrs")
            .columns(columns::service_cidrs())
            .strategy(strategy::ServiceCidr)
            .status(),
    ]
}
