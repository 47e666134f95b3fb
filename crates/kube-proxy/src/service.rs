//! What of a Service matters to a node.
//!
//! upstream: pkg/proxy/serviceport.go, pkg/proxy/util/utils.go (ShouldSkipService)

use std::net::Ipv4Addr;
use std::time::Duration;

use ipnet::Ipv4Net;
use k8s_openapi::api::core::v1::{Service, ServicePort};
use netlink::nft::proto;

const SERVICE_PROXY_NAME: &str = "service.kubernetes.io/service-proxy-name";
const DEFAULT_AFFINITY: Duration = Duration::from_secs(10_800);

/// Which endpoints a kind of traffic may reach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TrafficPolicy {
    /// Those of every node.
    #[default]
    Cluster,
    /// Those of the node that the traffic comes to.
    Local,
}

/// A port of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortInfo {
    /// Its name, or "".
    pub name: String,
    /// The IP protocol.
    pub proto: u8,
    /// The port of the Service's addresses.
    pub port: u16,
    /// The port of every node.
    pub node_port: Option<u16>,
}

/// A Service as a node sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceInfo {
    /// Its address in the cluster.
    pub cluster_ip: Ipv4Addr,
    /// Addresses that somebody routes to the nodes.
    pub external_ips: Vec<Ipv4Addr>,
    /// Addresses of a load balancer that hands packets on as they are.
    pub load_balancer_ips: Vec<Ipv4Addr>,
    /// Who may use the load balancer's addresses; everybody when empty.
    pub source_ranges: Vec<Ipv4Net>,
    /// For traffic to the cluster address.
    pub internal: TrafficPolicy,
    /// For traffic to all other addresses.
    pub external: TrafficPolicy,
    /// How long a client stays with an endpoint.
    pub affinity: Option<Duration>,
    /// Its ports.
    pub ports: Vec<PortInfo>,
}

impl ServiceInfo {
    /// What a Service asks of the node; `None` when nothing, as headless and external names do.
    pub fn of(service: &Service) -> Option<Self> {
        let spec = service.spec.as_ref()?;
        let is_others = service.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(SERVICE_PROXY_NAME));
        if is_others || spec.type_.as_deref() == Some("ExternalName") {
            return None;
        }
        let cluster_ips = spec.cluster_ips.iter().flatten().chain(&spec.cluster_ip);
        let ingress = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
        let ingress = ingress.and_then(|balancer| balancer.ingress.as_ref()).into_iter().flatten();
        let is_vip = |mode: &Option<String>| mode.as_deref().is_none_or(|mode| mode == "VIP");
        let config = spec.session_affinity_config.as_ref().and_then(|config| config.client_ip.as_ref());
        let timeout = config.and_then(|client_ip| u64::try_from(client_ip.timeout_seconds?).ok());
        Some(Self {
            // "None" and IPv6 addresses do not parse, and so a Service without an IPv4 address is skipped.
            cluster_ip: cluster_ips.filter_map(|ip| ip.parse().ok()).next()?,
            external_ips: addresses(spec.external_ips.iter().flatten()),
            load_balancer_ips: addresses(ingress.filter(|one| is_vip(&one.ip_mode)).filter_map(|one| one.ip.as_ref())),
            source_ranges: spec
                .load_balancer_source_ranges
                .iter()
                .flatten()
                .filter_map(|range| range.trim().parse().ok())
                .collect(),
            internal: policy(spec.internal_traffic_policy.as_deref()),
            external: policy(spec.external_traffic_policy.as_deref()),
            affinity: (spec.session_affinity.as_deref() == Some("ClientIP"))
                .then(|| timeout.map_or(DEFAULT_AFFINITY, Duration::from_secs)),
            ports: spec.ports.iter().flatten().filter_map(PortInfo::of).collect(),
        })
    }
}

impl PortInfo {
    fn of(port: &ServicePort) -> Option<Self> {
        Some(Self {
            name: port.name.clone().unwrap_or_default(),
            proto: protocol(port.protocol.as_deref())?,
            port: number(port.port)?,
            node_port: port.node_port.and_then(number),
        })
    }
}

/// The number of a protocol as the API names it; TCP when it does not.
pub(crate) fn protocol(name: Option<&str>) -> Option<u8> {
    match name.unwrap_or("TCP") {
        "TCP" => Some(proto::TCP),
        "UDP" => Some(proto::UDP),
        "SCTP" => Some(proto::SCTP),
        _ => None,
    }
}

/// A port from 1 to 65535.
pub(crate) fn number(port: i32) -> Option<u16> {
    u16::try_from(port).ok().filter(|port| *port != 0)
}

fn policy(name: Option<&str>) -> TrafficPolicy {
    if name == Some("Local") { TrafficPolicy::Local } else { TrafficPolicy::Cluster }
}

/// The IPv4 addresses in order, each once.
fn addresses<'a>(texts: impl Iterator<Item = &'a String>) -> Vec<Ipv4Addr> {
    let mut addresses: Vec<Ipv4Addr> = texts.filter_map(|text| text.parse().ok()).collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::ServiceSpec;

    fn service(spec: ServiceSpec) -> Service {
        Service { spec: Some(spec), ..Service::default() }
    }

    #[test]
    fn headless_external_and_foreign_services_ask_nothing() {
        let with_ip = |ip: &str| ServiceSpec { cluster_ip: Some(ip.into()), ..ServiceSpec::default() };
        assert!(ServiceInfo::of(&service(with_ip("10.96.0.1"))).is_some());
        assert!(ServiceInfo::of(&service(with_ip("None"))).is_none());
        assert!(ServiceInfo::of(&service(with_ip("fd00::1"))).is_none());
        assert!(ServiceInfo::of(&Service::default()).is_none());
        let named = ServiceSpec { type_: Some("ExternalName".into()), ..with_ip("10.96.0.1") };
        assert!(ServiceInfo::of(&service(named)).is_none());
        let mut foreign = service(with_ip("10.96.0.1"));
        foreign.metadata.labels = Some([(SERVICE_PROXY_NAME.to_owned(), "mine".to_owned())].into());
        assert!(ServiceInfo::of(&foreign).is_none());
    }

    #[test]
    fn affinity_has_upstreams_default_timeout() {
        let sticky = ServiceSpec {
            cluster_ip: Some("10.96.0.1".into()),
            session_affinity: Some("ClientIP".into()),
            ..ServiceSpec::default()
        };
        let info = ServiceInfo::of(&service(sticky)).expect("it has an address");
        assert_eq!(info.affinity, Some(Duration::from_secs(10_800)));
    }
}
