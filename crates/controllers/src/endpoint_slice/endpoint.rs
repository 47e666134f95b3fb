//! One pod as an endpoint.

use std::net::IpAddr;
use std::sync::Arc;

use client::corev1::pod::{is_ready, node_name};
use k8s_openapi::api::core::v1::{Node, ObjectReference, Pod, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointHints, EndpointPort, ForNode, ForZone};

use crate::service_endpoints::{addresses, hostname, publishes_not_ready, target_port};

/// Finds a node.
pub type Nodes<'a> = &'a dyn Fn(&str) -> Option<Arc<Node>>;

/// The zone a node says it is in.
pub fn zone(node: &Node) -> Option<String> {
    node.metadata.labels.as_ref()?.get("topology.kubernetes.io/zone").cloned()
}

/// A pod's address of a family (`IPv4` or `IPv6`).
pub fn address<'a>(pod: &'a Pod, family: &str) -> Option<&'a str> {
    let is_of = |ip: &&str| match ip.parse() {
        Ok(IpAddr::V4(_)) => family == "IPv4",
        Ok(IpAddr::V6(_)) => family == "IPv6",
        Err(_) => false,
    };
    addresses(pod).into_iter().find(is_of)
}

/// The pod as an endpoint of the service.
pub fn endpoint(pod: &Pod, address: &str, service: &Service, nodes: Nodes<'_>) -> Endpoint {
    let serving = is_ready(pod);
    let terminating = pod.metadata.deletion_timestamp.is_some();
    let node = node_name(pod).map(str::to_owned);
    let zone = node.as_deref().and_then(nodes).and_then(|node| zone(&node));
    Endpoint {
        addresses: vec![address.to_owned()],
        conditions: Some(EndpointConditions {
            ready: Some(publishes_not_ready(service) || (serving && !terminating)),
            serving: Some(serving),
            terminating: Some(terminating),
        }),
        hints: hints(service, zone.as_deref(), node.as_deref()),
        hostname: hostname(pod, service),
        node_name: node,
        target_ref: Some(ObjectReference {
            kind: Some("Pod".into()),
            namespace: pod.metadata.namespace.clone(),
            name: pod.metadata.name.clone(),
            uid: pod.metadata.uid.clone(),
            ..ObjectReference::default()
        }),
        zone,
        ..Endpoint::default()
    }
}

fn hints(service: &Service, zone: Option<&str>, node: Option<&str>) -> Option<EndpointHints> {
    let wish = service.spec.as_ref()?.traffic_distribution.as_deref()?;
    let for_zones = zone.map(|name| vec![ForZone { name: name.to_owned() }]);
    match wish {
        "PreferClose" | "PreferSameZone" if for_zones.is_some() => Some(EndpointHints { for_zones, for_nodes: None }),
        "PreferSameNode" => {
            let for_nodes = node.map(|name| vec![ForNode { name: name.to_owned() }]);
            Some(EndpointHints { for_zones, for_nodes })
        }
        _ => None,
    }
}

/// The service's ports as this pod serves them.
pub fn ports(pod: &Pod, service: &Service) -> Vec<EndpointPort> {
    let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
    let served = ports.filter_map(|port| {
        Some(EndpointPort {
            name: Some(port.name.clone().unwrap_or_default()),
            port: Some(target_port(pod, port)?),
            protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".into())),
            app_protocol: port.app_protocol.clone(),
        })
    });
    let mut served: Vec<_> = served.collect();
    served.sort_by(|a, b| (&a.name, &a.protocol, a.port).cmp(&(&b.name, &b.protocol, b.port)));
    served
}
