//! Measures the rules in a network namespace of its own: `rules [services] [endpoints]`.

use std::net::Ipv4Addr;
use std::time::Instant;

use client::ObjectKey;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointPort, EndpointSlice};
use kube_proxy::{Kernel, NodeView, PortInfo, Proxier, ServiceInfo, Slice, TrafficPolicy, UdpEndpoints};
use netlink::netns;
use netlink::nft::proto;

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1).filter_map(|argument| argument.parse::<u32>().ok());
    let (services, endpoints) = (arguments.next().unwrap_or(10_000), arguments.next().unwrap_or(3));
    netns::run_in_new(|| measure(services, endpoints).map_err(std::io::Error::other))
}

fn measure(services: u32, endpoints: u32) -> Result<(), netlink::Error> {
    let node = NodeView {
        cluster_cidr: "10.0.0.0/8".parse().expect("a network"),
        service_cidr: "172.16.0.0/12".parse().expect("a network"),
        served_here: vec![],
    };
    let mut proxier = Proxier::new(node);
    for at in 0..services {
        proxier.set_service(key(at), Some(service(at)));
        proxier.set_slice(key(at), Slice::of(&slice(at, endpoints, 0), "here"));
    }
    let none = UdpEndpoints::new();
    let mut kernel = Kernel::open()?;
    let start = Instant::now();
    let update = proxier.everything();
    let computed = start.elapsed();
    kernel.apply(&update, &none)?;
    println!("{services} Services of {endpoints} endpoints: {} commands", update.commands.len());
    println!("whole table: computed {computed:?}, with the kernel {:?}", start.elapsed());

    let mut times = Vec::new();
    for round in 1..=100 {
        let at = round * 7919 % services;
        let slice = Slice::of(&slice(at, endpoints, round), "here");
        let start = Instant::now();
        proxier.set_slice(key(at), slice);
        kernel.apply(&proxier.update(), &none)?;
        times.push(start.elapsed());
    }
    times.sort();
    println!("one Service: p50 {:?}  p99 {:?}", times[50], times[98]);
    Ok(())
}

fn key(at: u32) -> ObjectKey {
    ObjectKey::new("default", format!("service-{at}"))
}

fn service(at: u32) -> ServiceInfo {
    ServiceInfo {
        cluster_ip: Ipv4Addr::from(u32::from(Ipv4Addr::new(172, 16, 0, 1)) + at),
        external_ips: vec![],
        load_balancer_ips: vec![],
        source_ranges: vec![],
        internal: TrafficPolicy::Cluster,
        external: TrafficPolicy::Cluster,
        affinity: None,
        ports: vec![PortInfo { name: String::new(), proto: proto::TCP, port: 80, node_port: None }],
    }
}

fn slice(at: u32, endpoints: u32, round: u32) -> EndpointSlice {
    let first = u32::from(Ipv4Addr::new(10, 1, 0, 1)) + (at + round * 100_000) * endpoints;
    let endpoint = |nth| Endpoint { addresses: vec![Ipv4Addr::from(first + nth).to_string()], ..Endpoint::default() };
    let mut slice = EndpointSlice {
        address_type: "IPv4".into(),
        endpoints: Some((0..endpoints).map(endpoint).collect()),
        ports: Some(vec![EndpointPort { port: Some(8080), ..EndpointPort::default() }]),
        ..EndpointSlice::default()
    };
    slice.metadata.namespace = Some("default".into());
    slice.metadata.labels = Some([("kubernetes.io/service-name".to_owned(), key(at).name)].into());
    slice
}
