//! Golden transactions: what each change of Services and EndpointSlices asks of the kernel.

use std::time::Duration;

use expect_test::{Expect, expect};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};

use super::*;
use crate::service::{PortInfo, TrafficPolicy};
use netlink::nft::proto;

fn node() -> NodeView {
    NodeView {
        cluster_cidr: "10.244.0.0/16".parse().expect("a network"),
        service_cidr: "10.96.0.0/16".parse().expect("a network"),
        served_here: vec![Ipv4Addr::new(10, 96, 0, 10)],
    }
}

fn key(name: &str) -> ObjectKey {
    ObjectKey::new("default", name)
}

fn service(last: u8) -> ServiceInfo {
    ServiceInfo {
        cluster_ip: Ipv4Addr::new(10, 96, 0, last),
        external_ips: vec![],
        load_balancer_ips: vec![],
        source_ranges: vec![],
        internal: TrafficPolicy::Cluster,
        external: TrafficPolicy::Cluster,
        affinity: None,
        ports: vec![PortInfo { name: "http".into(), proto: proto::TCP, port: 80, node_port: None }],
    }
}

/// A slice of a Service; each endpoint is its last octet and a letter: ready, terminating, here, or neither.
fn slice(service: &str, endpoints: &[(u8, char)]) -> Slice {
    let endpoint = |(last, state): &(u8, char)| Endpoint {
        addresses: vec![format!("10.244.0.{last}")],
        conditions: Some(EndpointConditions {
            ready: Some(matches!(state, 'r' | 'h')),
            serving: Some(*state != 'n'),
            terminating: Some(*state == 't'),
        }),
        node_name: Some(if *state == 'h' { "here".into() } else { "there".into() }),
        ..Endpoint::default()
    };
    let mut object = EndpointSlice {
        address_type: "IPv4".into(),
        endpoints: Some(endpoints.iter().map(endpoint).collect()),
        ports: Some(vec![EndpointPort {
            name: Some("http".into()),
            port: Some(8080),
            protocol: Some("TCP".into()),
            ..EndpointPort::default()
        }]),
        ..EndpointSlice::default()
    };
    object.metadata.namespace = Some("default".into());
    object.metadata.labels = Some([("kubernetes.io/service-name".to_owned(), service.to_owned())].into());
    Slice::of(&object, "here").expect("it is of a Service")
}

fn check(proxier: &mut Proxier, expected: Expect) {
    let lines: String = proxier.update().commands.iter().map(|command| format!("{command}\n")).collect();
    expected.assert_eq(if lines.is_empty() { "nothing" } else { &lines });
}

/// A proxier with one Service `web` of these endpoints, its table already made.
fn with_web(web: ServiceInfo, endpoints: &[(u8, char)]) -> Proxier {
    let mut proxier = Proxier::new(node());
    proxier.set_service(key("web"), Some(web));
    proxier.set_slice(key("web-1"), Some(slice("web", endpoints)));
    proxier.everything();
    proxier
}

#[test]
fn the_first_service_brings_its_elements_and_the_shared_chain() {
    let mut proxier = Proxier::new(node());
    proxier.everything();
    proxier.set_service(key("web"), Some(service(1)));
    proxier.set_slice(key("web-1"), Some(slice("web", &[(2, 'h'), (3, 'r')])));
    check(
        &mut proxier,
        expect![[r#"
            add chain lb-2
            add rule lb-2 ip saddr != 10.244.0.0/16 meta mark set meta mark | 0x4000
            add rule lb-2 dnat ip to ip daddr . meta l4proto . th dport . numgen random mod 2 map @endpoints
            add rule lb-2 dnat ip to ip daddr . meta l4proto . th dport . numgen random mod 1 map @endpoints
            add element cluster-ips { 10.96.0.1 }
            add element endpoints { 10.96.0.1 . tcp . 80 . 0 : 10.244.0.2 . 8080 }
            add element endpoints { 10.96.0.1 . tcp . 80 . 1 : 10.244.0.3 . 8080 }
            add element hairpin-connections { 10.244.0.2 . 10.244.0.2 }
            add element service-ips { 10.96.0.1 . tcp . 80 : goto lb-2 }
        "#]],
    );
    check(&mut proxier, expect!["nothing"]);
}

#[test]
fn a_terminating_endpoint_leaves_the_rotation_at_once() {
    let mut proxier = with_web(service(1), &[(2, 'r'), (3, 'r')]);
    proxier.set_slice(key("web-1"), Some(slice("web", &[(2, 't'), (3, 'r')])));
    check(
        &mut proxier,
        expect![[r#"
            add chain lb-1
            add rule lb-1 ip saddr != 10.244.0.0/16 meta mark set meta mark | 0x4000
            add rule lb-1 dnat ip to ip daddr . meta l4proto . th dport . numgen random mod 1 map @endpoints
            delete element endpoints { 10.96.0.1 . tcp . 80 . 0 }
            delete element endpoints { 10.96.0.1 . tcp . 80 . 1 }
            delete element service-ips { 10.96.0.1 . tcp . 80 }
            add element endpoints { 10.96.0.1 . tcp . 80 . 0 : 10.244.0.3 . 8080 }
            add element service-ips { 10.96.0.1 . tcp . 80 : goto lb-1 }
        "#]],
    );
}

#[test]
fn a_replaced_endpoint_touches_one_element() {
    let mut proxier = with_web(service(1), &[(2, 'r'), (3, 'r')]);
    proxier.set_slice(key("web-1"), Some(slice("web", &[(2, 'r'), (4, 'r')])));
    check(
        &mut proxier,
        expect![[r#"
            delete element endpoints { 10.96.0.1 . tcp . 80 . 1 }
            add element endpoints { 10.96.0.1 . tcp . 80 . 1 : 10.244.0.4 . 8080 }
        "#]],
    );
}

#[test]
fn without_endpoints_it_is_refused_and_with_them_again_served() {
    let mut proxier = with_web(service(1), &[(2, 'r')]);
    proxier.set_slice(key("web-1"), None);
    check(
        &mut proxier,
        expect![[r#"
            delete element endpoints { 10.96.0.1 . tcp . 80 . 0 }
            delete element service-ips { 10.96.0.1 . tcp . 80 }
            add element no-endpoint-services { 10.96.0.1 . tcp . 80 : goto reject-chain }
        "#]],
    );
    proxier.set_slice(key("web-1"), Some(slice("web", &[(2, 'r')])));
    check(
        &mut proxier,
        expect![[r#"
            delete element no-endpoint-services { 10.96.0.1 . tcp . 80 }
            add element endpoints { 10.96.0.1 . tcp . 80 . 0 : 10.244.0.2 . 8080 }
            add element service-ips { 10.96.0.1 . tcp . 80 : goto lb-1 }
        "#]],
    );
}

#[test]
fn a_node_port_and_an_external_address_are_masqueraded() {
    let mut proxier = Proxier::new(node());
    proxier.everything();
    let mut web = service(1);
    web.ports[0].node_port = Some(30599);
    web.external_ips = vec![Ipv4Addr::new(192, 0, 2, 9)];
    proxier.set_service(key("web"), Some(web));
    proxier.set_slice(key("web-1"), Some(slice("web", &[(2, 'r')])));
    check(
        &mut proxier,
        expect![[r#"
            add chain lb-1
            add rule lb-1 ip saddr != 10.244.0.0/16 meta mark set meta mark | 0x4000
            add rule lb-1 dnat ip to ip daddr . meta l4proto . th dport . numgen random mod 1 map @endpoints
            add chain lb-external-1
            add rule lb-external-1 meta mark set meta mark | 0x4000
            add rule lb-external-1 dnat ip to ip daddr . meta l4proto . th dport . numgen random mod 1 map @endpoints
            add chain lb-nodeport-1
            add rule lb-nodeport-1 meta mark set meta mark | 0x4000
            add rule lb-nodeport-1 dnat ip to meta l4proto . th dport . numgen random mod 1 map @nodeport-endpoints
            add element cluster-ips { 10.96.0.1 }
            add element endpoints { 10.96.0.1 . tcp . 80 . 0 : 10.244.0.2 . 8080 }
            add element endpoints { 192.0.2.9 . tcp . 80 . 0 : 10.244.0.2 . 8080 }
            add element nodeport-endpoints { tcp . 30599 . 0 : 10.244.0.2 . 8080 }
            add element service-ips { 10.96.0.1 . tcp . 80 : goto lb-1 }
            add element service-ips { 192.0.2.9 . tcp . 80 : goto lb-external-1 }
            add element service-nodeports { tcp . 30599 : goto lb-nodeport-1 }
        "#]],
    );
}

#[test]
fn affinity_has_chains_of_its_own_that_keep_their_clients() {
    let mut sticky = service(1);
    sticky.affinity = Some(Duration::from_secs(60));
    let mut proxier = with_web(service(1), &[(2, 'r')]);
    proxier.set_service(key("web"), Some(sticky));
    check(
        &mut proxier,
        expect![[r#"
            add set { ipv4_addr timeout 60s } as affinity-60-9E572F56-default/web/tcp/http__10.244.0.2/8080
            add map { mark : verdict } as cluster-picks-D43CCDAC-default/web/tcp/http
            add chain cluster-D43CCDAC-default/web/tcp/http
            add chain endpoint-9E572F56-default/web/tcp/http__10.244.0.2/8080
            add chain service-D43CCDAC-default/web/tcp/http
            delete element endpoints { 10.96.0.1 . tcp . 80 . 0 }
            delete element service-ips { 10.96.0.1 . tcp . 80 }
            add element cluster-picks-D43CCDAC-default/web/tcp/http { 0 : goto endpoint-9E572F56-default/web/tcp/http__10.244.0.2/8080 }
            add element service-ips { 10.96.0.1 . tcp . 80 : goto service-D43CCDAC-default/web/tcp/http }
            add rule cluster-D43CCDAC-default/web/tcp/http ip saddr @affinity-60-9E572F56-default/web/tcp/http__10.244.0.2/8080 goto endpoint-9E572F56-default/web/tcp/http__10.244.0.2/8080
            add rule cluster-D43CCDAC-default/web/tcp/http numgen random mod 1 vmap @cluster-picks-D43CCDAC-default/web/tcp/http
            add rule endpoint-9E572F56-default/web/tcp/http__10.244.0.2/8080 update @affinity-60-9E572F56-default/web/tcp/http__10.244.0.2/8080 { ip saddr }
            add rule endpoint-9E572F56-default/web/tcp/http__10.244.0.2/8080 dnat to 10.244.0.2:8080
            add rule service-D43CCDAC-default/web/tcp/http ip saddr != 10.244.0.0/16 meta mark set meta mark | 0x4000
            add rule service-D43CCDAC-default/web/tcp/http goto cluster-D43CCDAC-default/web/tcp/http
        "#]],
    );
    // Another endpoint: the set of the first, and so its clients, stay.
    proxier.set_slice(key("web-1"), Some(slice("web", &[(2, 'r'), (3, 'r')])));
    check(
        &mut proxier,
        expect![[r#"
        add set { ipv4_addr timeout 60s } as affinity-60-39FB28A8-default/web/tcp/http__10.244.0.3/8080
        add chain endpoint-39FB28A8-default/web/tcp/http__10.244.0.3/8080
        flush chain cluster-D43CCDAC-default/web/tcp/http
        add element cluster-picks-D43CCDAC-default/web/tcp/http { 1 : goto endpoint-39FB28A8-default/web/tcp/http__10.244.0.3/8080 }
        add rule cluster-D43CCDAC-default/web/tcp/http ip saddr @affinity-60-9E572F56-default/web/tcp/http__10.244.0.2/8080 goto endpoint-9E572F56-default/web/tcp/http__10.244.0.2/8080
        add rule cluster-D43CCDAC-default/web/tcp/http ip saddr @affinity-60-39FB28A8-default/web/tcp/http__10.244.0.3/8080 goto endpoint-39FB28A8-default/web/tcp/http__10.244.0.3/8080
        add rule cluster-D43CCDAC-default/web/tcp/http numgen random mod 2 vmap @cluster-picks-D43CCDAC-default/web/tcp/http
        add rule cluster-D43CCDAC-default/web/tcp/http numgen random mod 1 vmap @cluster-picks-D43CCDAC-default/web/tcp/http
        add rule endpoint-39FB28A8-default/web/tcp/http__10.244.0.3/8080 update @affinity-60-39FB28A8-default/web/tcp/http__10.244.0.3/8080 { ip saddr }
        add rule endpoint-39FB28A8-default/web/tcp/http__10.244.0.3/8080 dnat to 10.244.0.3:8080
    "#]],
    );
    proxier.set_slice(key("web-1"), Some(slice("web", &[(3, 'r')])));
    check(
        &mut proxier,
        expect![[r#"
            flush chain cluster-D43CCDAC-default/web/tcp/http
            flush chain endpoint-9E572F56-default/web/tcp/http__10.244.0.2/8080
            delete element cluster-picks-D43CCDAC-default/web/tcp/http { 0 }
            delete element cluster-picks-D43CCDAC-default/web/tcp/http { 1 }
            add element cluster-picks-D43CCDAC-default/web/tcp/http { 0 : goto endpoint-39FB28A8-default/web/tcp/http__10.244.0.3/8080 }
            add rule cluster-D43CCDAC-default/web/tcp/http ip saddr @affinity-60-39FB28A8-default/web/tcp/http__10.244.0.3/8080 goto endpoint-39FB28A8-default/web/tcp/http__10.244.0.3/8080
            add rule cluster-D43CCDAC-default/web/tcp/http numgen random mod 1 vmap @cluster-picks-D43CCDAC-default/web/tcp/http
            delete set affinity-60-9E572F56-default/web/tcp/http__10.244.0.2/8080
            delete chain endpoint-9E572F56-default/web/tcp/http__10.244.0.2/8080
        "#]],
    );
}

#[test]
fn a_local_policy_keeps_the_client_address_and_the_endpoints_of_this_node() {
    let mut web = service(1);
    web.ports[0].node_port = Some(30599);
    web.external = TrafficPolicy::Local;
    let mut proxier = with_web(service(1), &[(2, 'h'), (3, 'r')]);
    proxier.set_service(key("web"), Some(web.clone()));
    check(
        &mut proxier,
        expect![[r#"
            add map { mark : ipv4_addr . inet_service } as cluster-endpoints-D43CCDAC-default/web/tcp/http
            add map { mark : ipv4_addr . inet_service } as local-endpoints-D43CCDAC-default/web/tcp/http
            add chain cluster-D43CCDAC-default/web/tcp/http
            add chain external-D43CCDAC-default/web/tcp/http
            add chain local-D43CCDAC-default/web/tcp/http
            add element cluster-endpoints-D43CCDAC-default/web/tcp/http { 0 : 10.244.0.2 . 8080 }
            add element cluster-endpoints-D43CCDAC-default/web/tcp/http { 1 : 10.244.0.3 . 8080 }
            add element local-endpoints-D43CCDAC-default/web/tcp/http { 0 : 10.244.0.2 . 8080 }
            add element service-nodeports { tcp . 30599 : goto external-D43CCDAC-default/web/tcp/http }
            add rule cluster-D43CCDAC-default/web/tcp/http dnat ip to numgen random mod 2 map @cluster-endpoints-D43CCDAC-default/web/tcp/http
            add rule cluster-D43CCDAC-default/web/tcp/http dnat ip to numgen random mod 1 map @cluster-endpoints-D43CCDAC-default/web/tcp/http
            add rule external-D43CCDAC-default/web/tcp/http ip saddr 10.244.0.0/16 goto cluster-D43CCDAC-default/web/tcp/http
            add rule external-D43CCDAC-default/web/tcp/http fib saddr type local meta mark set meta mark | 0x4000
            add rule external-D43CCDAC-default/web/tcp/http fib saddr type local goto cluster-D43CCDAC-default/web/tcp/http
            add rule external-D43CCDAC-default/web/tcp/http goto local-D43CCDAC-default/web/tcp/http
            add rule local-D43CCDAC-default/web/tcp/http dnat ip to numgen random mod 1 map @local-endpoints-D43CCDAC-default/web/tcp/http
        "#]],
    );
    // No endpoint here any more: from outside it is dropped, from inside it goes on.
    proxier.set_slice(key("web-1"), Some(slice("web", &[(3, 'r')])));
    check(
        &mut proxier,
        expect![[r#"
            add chain lb-1
            add rule lb-1 ip saddr != 10.244.0.0/16 meta mark set meta mark | 0x4000
            add rule lb-1 dnat ip to ip daddr . meta l4proto . th dport . numgen random mod 1 map @endpoints
            flush chain cluster-D43CCDAC-default/web/tcp/http
            flush chain external-D43CCDAC-default/web/tcp/http
            flush chain local-D43CCDAC-default/web/tcp/http
            delete element cluster-endpoints-D43CCDAC-default/web/tcp/http { 0 }
            delete element cluster-endpoints-D43CCDAC-default/web/tcp/http { 1 }
            delete element endpoints { 10.96.0.1 . tcp . 80 . 0 }
            delete element endpoints { 10.96.0.1 . tcp . 80 . 1 }
            delete element hairpin-connections { 10.244.0.2 . 10.244.0.2 }
            delete element service-ips { 10.96.0.1 . tcp . 80 }
            add element cluster-endpoints-D43CCDAC-default/web/tcp/http { 0 : 10.244.0.3 . 8080 }
            add element endpoints { 10.96.0.1 . tcp . 80 . 0 : 10.244.0.3 . 8080 }
            add element service-ips { 10.96.0.1 . tcp . 80 : goto lb-1 }
            add rule cluster-D43CCDAC-default/web/tcp/http dnat ip to numgen random mod 1 map @cluster-endpoints-D43CCDAC-default/web/tcp/http
            add rule external-D43CCDAC-default/web/tcp/http ip saddr 10.244.0.0/16 goto cluster-D43CCDAC-default/web/tcp/http
            add rule external-D43CCDAC-default/web/tcp/http fib saddr type local meta mark set meta mark | 0x4000
            add rule external-D43CCDAC-default/web/tcp/http fib saddr type local goto cluster-D43CCDAC-default/web/tcp/http
            add rule external-D43CCDAC-default/web/tcp/http drop
            delete set local-endpoints-D43CCDAC-default/web/tcp/http
            delete chain local-D43CCDAC-default/web/tcp/http
        "#]],
    );
    web.internal = TrafficPolicy::Local;
    proxier.set_service(key("web"), Some(web));
    check(
        &mut proxier,
        expect![[r#"
        delete element endpoints { 10.96.0.1 . tcp . 80 . 0 }
        delete element service-ips { 10.96.0.1 . tcp . 80 }
        add element no-endpoint-services { 10.96.0.1 . tcp . 80 : drop }
    "#]],
    );
}

#[test]
fn source_ranges_stand_before_the_load_balancers_address() {
    let mut web = service(1);
    web.load_balancer_ips = vec![Ipv4Addr::new(192, 0, 2, 9)];
    web.source_ranges = vec!["198.51.100.0/24".parse().expect("a network")];
    let mut proxier = with_web(service(1), &[(2, 'r')]);
    proxier.set_service(key("web"), Some(web));
    check(
        &mut proxier,
        expect![[r#"
        add chain lb-external-1
        add rule lb-external-1 meta mark set meta mark | 0x4000
        add rule lb-external-1 dnat ip to ip daddr . meta l4proto . th dport . numgen random mod 1 map @endpoints
        add chain firewall-D43CCDAC-default/web/tcp/http
        add element endpoints { 192.0.2.9 . tcp . 80 . 0 : 10.244.0.2 . 8080 }
        add element service-ips { 192.0.2.9 . tcp . 80 : goto firewall-D43CCDAC-default/web/tcp/http }
        add rule firewall-D43CCDAC-default/web/tcp/http ip saddr 198.51.100.0/24 goto lb-external-1
        add rule firewall-D43CCDAC-default/web/tcp/http drop
    "#]],
    );
}

#[test]
fn the_address_that_the_node_serves_is_left_alone() {
    let mut proxier = Proxier::new(node());
    proxier.everything();
    proxier.set_service(key("kube-dns"), Some(service(10)));
    check(&mut proxier, expect!["nothing"]);
}

#[test]
fn of_two_claims_the_first_name_wins_in_any_order() {
    let claiming = |last| ServiceInfo { external_ips: vec![Ipv4Addr::new(192, 0, 2, 9)], ..service(last) };
    let mut made = Vec::new();
    for order in [["a", "b"], ["b", "a"]] {
        let mut proxier = Proxier::new(node());
        proxier.everything();
        for name in order {
            proxier.set_service(key(name), Some(claiming(name.as_bytes()[0])));
            proxier.set_slice(key(name), Some(slice(name, &[(name.as_bytes()[0], 'r')])));
            proxier.update();
        }
        let commands = proxier.everything().commands;
        made.push(
            commands.iter().map(Command::to_string).filter(|line| line.contains("192.0.2.9")).collect::<Vec<_>>(),
        );
        proxier.set_service(key("a"), None);
        let handed_over: Vec<_> = proxier.update().commands.iter().map(Command::to_string).collect();
        let expected = "add element endpoints { 192.0.2.9 . tcp . 80 . 0 : 10.244.0.98 . 8080 }";
        assert!(handed_over.iter().any(|line| line == expected), "{handed_over:?}");
    }
    assert_eq!(made[0], made[1]);
    assert!(made[0].contains(&"add element endpoints { 192.0.2.9 . tcp . 80 . 0 : 10.244.0.97 . 8080 }".to_owned()));
}

#[test]
fn an_address_that_changes_hands_in_one_pass_is_never_without_an_owner() {
    let mut proxier = with_web(service(1), &[(2, 'r')]);
    proxier.set_service(key("next"), Some(service(1)));
    proxier.set_slice(key("next-1"), Some(slice("next", &[(2, 'r')])));
    proxier.set_service(key("web"), None);
    proxier.set_slice(key("web-1"), None);
    check(&mut proxier, expect!["nothing"]);
}

#[test]
fn what_goes_takes_everything_with_it() {
    let mut sticky = service(1);
    sticky.affinity = Some(Duration::from_secs(60));
    let mut proxier = with_web(sticky, &[(2, 'h')]);
    proxier.set_service(key("web"), None);
    check(
        &mut proxier,
        expect![[r#"
        flush chain cluster-D43CCDAC-default/web/tcp/http
        flush chain endpoint-9E572F56-default/web/tcp/http__10.244.0.2/8080
        flush chain service-D43CCDAC-default/web/tcp/http
        delete element cluster-ips { 10.96.0.1 }
        delete element hairpin-connections { 10.244.0.2 . 10.244.0.2 }
        delete element service-ips { 10.96.0.1 . tcp . 80 }
        delete set affinity-60-9E572F56-default/web/tcp/http__10.244.0.2/8080
        delete set cluster-picks-D43CCDAC-default/web/tcp/http
        delete chain cluster-D43CCDAC-default/web/tcp/http
        delete chain endpoint-9E572F56-default/web/tcp/http__10.244.0.2/8080
        delete chain service-D43CCDAC-default/web/tcp/http
    "#]],
    );
    assert!(proxier.is_empty() && proxier.udp_endpoints().is_empty());
}
