//! Rules that are right in the kernel's eyes: real sockets, in network namespaces of the test's own.

#[path = "kube_proxy/api.rs"]
mod api;
#[path = "kube_proxy/cluster.rs"]
mod cluster;

use std::collections::BTreeMap;
use std::time::Duration;

use cluster::{Backend, Cluster, Outcome};
use kube_proxy::{ServiceInfo, TrafficPolicy};

fn spread(cluster: &Cluster, from: &str, to: &str, asked: usize) -> BTreeMap<String, usize> {
    let mut seen = BTreeMap::new();
    for _ in 0..asked {
        match cluster.ask(from, to) {
            Outcome::Answered { by, .. } => *seen.entry(by).or_insert(0) += 1,
            other => panic!("{from} to {to}: {other:?}"),
        }
    }
    seen
}

fn answered(by: &str, seen: &str) -> Outcome {
    Outcome::Answered { by: by.into(), seen: seen.into() }
}

#[test]
fn requests_spread_over_the_endpoints() {
    Cluster::run(|cluster| {
        cluster.serve("web", cluster::service("10.96.0.1"), &[Backend::ready("a"), Backend::ready("b")]);
        for from in ["node", "client"] {
            let seen = spread(cluster, from, "10.96.0.1:80", 100);
            assert!(seen.len() == 2 && seen.values().all(|count| *count >= 20), "{from}: {seen:?}");
        }
        // Update: one endpoint goes, one comes.
        cluster.serve("web", cluster::service("10.96.0.1"), &[Backend::ready("b")]);
        assert_eq!(spread(cluster, "client", "10.96.0.1:80", 10), BTreeMap::from([("b".into(), 10)]));
        cluster.serve("web", cluster::service("10.96.0.1"), &[Backend::terminating("b"), Backend::ready("a")]);
        assert_eq!(spread(cluster, "client", "10.96.0.1:80", 10), BTreeMap::from([("a".into(), 10)]));
        cluster.serve("web", cluster::service("10.96.0.1"), &[Backend::terminating("b")]);
        assert_eq!(spread(cluster, "client", "10.96.0.1:80", 5), BTreeMap::from([("b".into(), 5)]));
    });
}

#[test]
fn a_connection_outlives_its_endpoint_s_place_in_the_rules() {
    Cluster::run(|cluster| {
        cluster.serve("web", cluster::service("10.96.0.1"), &[Backend::ready("a")]);
        let mut open = cluster.open("client", "10.96.0.1:80").expect("it is served");
        cluster.serve("web", cluster::service("10.96.0.1"), &[Backend::terminating("a"), Backend::ready("b")]);
        assert_eq!(cluster::talk(&mut open).expect("the connection goes on"), answered("a", "10.244.0.9"));
        assert_eq!(cluster.ask("client", "10.96.0.1:80"), answered("b", "10.244.0.9"));
        // The whole table anew, as after a restart.
        let mut open = cluster.open("client", "10.96.0.1:80").expect("it is served");
        cluster.restart();
        assert_eq!(cluster::talk(&mut open).expect("the connection goes on"), answered("b", "10.244.0.9"));
        assert_eq!(cluster.ask("client", "10.96.0.1:80"), answered("b", "10.244.0.9"));
    });
}

#[test]
fn only_strangers_and_those_who_ask_themselves_are_masqueraded() {
    Cluster::run(|cluster| {
        cluster.serve("web", cluster::service("10.96.0.1"), &[Backend::local("a")]);
        assert_eq!(cluster.ask("client", "10.96.0.1:80"), answered("a", "10.244.0.9"));
        assert_eq!(cluster.ask("a", "10.96.0.1:80"), answered("a", "10.244.0.1"));
        assert_eq!(cluster.ask("outside", "10.96.0.1:80"), answered("a", "10.244.0.1"));
    });
}

#[test]
fn node_ports_answer_at_every_address_of_the_node() {
    Cluster::run(|cluster| {
        let mut web = cluster::service("10.96.0.1");
        web.ports[0].node_port = Some(30080);
        cluster.serve("web", web.clone(), &[Backend::ready("a")]);
        for (from, to) in [
            ("outside", "192.0.2.1:30080"),
            ("client", "192.0.2.1:30080"),
            ("client", "10.244.0.1:30080"),
            ("a", "192.0.2.1:30080"),
            ("node", "192.0.2.1:30080"),
        ] {
            assert_eq!(cluster.ask(from, to), answered("a", "10.244.0.1"), "{from} to {to}");
        }
        // A local policy keeps the client's address.
        web.external = TrafficPolicy::Local;
        cluster.serve("web", web.clone(), &[Backend::local("a"), Backend::ready("b")]);
        assert_eq!(cluster.ask("outside", "192.0.2.1:30080"), answered("a", "192.0.2.2"));
        cluster.serve("web", web, &[Backend::ready("b")]);
        assert_eq!(cluster.ask("client", "192.0.2.1:30080"), answered("b", "10.244.0.9"));
        assert_eq!(cluster.ask_briefly("outside", "192.0.2.1:30080"), Outcome::Silence);
    });
}

#[test]
fn external_addresses_lead_in() {
    Cluster::run(|cluster| {
        let web = ServiceInfo {
            external_ips: vec!["198.51.100.7".parse().expect("an address")],
            ..cluster::service("10.96.0.1")
        };
        cluster.serve("web", web, &[Backend::ready("a")]);
        assert_eq!(cluster.ask("outside", "198.51.100.7:80"), answered("a", "10.244.0.1"));
    });
}

#[test]
fn a_load_balancer_s_address_is_open_to_its_source_ranges() {
    Cluster::run(|cluster| {
        let mut web = ServiceInfo {
            load_balancer_ips: vec!["198.51.100.8".parse().expect("an address")],
            source_ranges: vec!["192.0.2.0/24".parse().expect("a network")],
            ..cluster::service("10.96.0.1")
        };
        cluster.serve("web", web.clone(), &[Backend::ready("a")]);
        assert_eq!(cluster.ask("outside", "198.51.100.8:80"), answered("a", "10.244.0.1"));
        web.source_ranges = vec!["203.0.113.0/24".parse().expect("a network")];
        cluster.serve("web", web, &[Backend::ready("a")]);
        assert_eq!(cluster.ask_briefly("outside", "198.51.100.8:80"), Outcome::Silence);
    });
}

#[test]
fn nobody_there_is_said_at_once() {
    Cluster::run(|cluster| {
        let mut web = cluster::service("10.96.0.1");
        web.ports[0].node_port = Some(30080);
        cluster.serve("web", web, &[]);
        for from in ["client", "node"] {
            assert_eq!(cluster.ask(from, "10.96.0.1:80"), Outcome::Refused, "{from}");
            // A port that the Service does not have.
            assert_eq!(cluster.ask(from, "10.96.0.1:81"), Outcome::Refused, "{from}");
        }
        assert_eq!(cluster.ask("outside", "192.0.2.1:30080"), Outcome::Refused);
        // No Service has this address.
        assert_eq!(cluster.ask_briefly("client", "10.96.0.99:80"), Outcome::Silence);
    });
}

#[test]
fn a_client_stays_with_its_endpoint() {
    Cluster::run(|cluster| {
        let mut sticky = cluster::service("10.96.0.1");
        sticky.affinity = Some(Duration::from_secs(600));
        sticky.ports[0].node_port = Some(30080);
        let both = [Backend::ready("a"), Backend::ready("b")];
        cluster.serve("web", sticky.clone(), &both);
        let first = spread(cluster, "client", "10.96.0.1:80", 20);
        assert_eq!(first.len(), 1, "{first:?}");
        let kept = first.keys().next().expect("there is one").clone();
        // The other endpoint goes and comes back, the client stays; then its own goes.
        cluster.serve("web", sticky.clone(), &[Backend::ready(&kept)]);
        cluster.serve("web", sticky.clone(), &both);
        assert_eq!(spread(cluster, "client", "10.96.0.1:80", 20), first);
        let other = if kept == "a" { "b" } else { "a" };
        cluster.serve("web", sticky.clone(), &[Backend::ready(other)]);
        assert_eq!(spread(cluster, "client", "10.96.0.1:80", 5), BTreeMap::from([(other.to_owned(), 5)]));
        let by_node_port = spread(cluster, "outside", "192.0.2.1:30080", 10);
        assert_eq!(by_node_port.len(), 1, "{by_node_port:?}");
        // Switched off while it lives.
        sticky.affinity = None;
        cluster.serve("web", sticky, &both);
        assert_eq!(spread(cluster, "client", "10.96.0.1:80", 60).len(), 2);
    });
}

#[test]
fn a_udp_client_that_keeps_its_socket_follows_the_endpoints() {
    Cluster::run(|cluster| {
        let mut dns = cluster::service("10.96.0.53");
        dns.ports[0].proto = netlink::nft::proto::UDP;
        cluster.serve("dns", dns.clone(), &[Backend::ready("a")]);
        let socket = cluster.udp("client", "10.96.0.53:80");
        assert_eq!(cluster::exchange(&socket), "a");
        cluster.serve("dns", dns, &[Backend::ready("b")]);
        assert_eq!(cluster::exchange(&socket), "b");
    });
}

#[test]
fn the_loop_follows_the_api_and_its_rules_outlive_it() {
    Cluster::run(|cluster| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let api = api::Api::new(vec![api::service("10.96.0.1", 30080)], vec![api::slice(&[("10.244.0.2", true)])]);
            let scope = component_base::Scope::root();
            let informers = client::Informers::new(api.client(), &scope);
            let config = kube_proxy::Config {
                node_name: "here".into(),
                cluster_cidr: "10.244.0.0/16".parse().expect("a network"),
                service_cidr: "10.96.0.0/16".parse().expect("a network"),
                served_here: vec![],
                min_sync_period: Duration::ZERO,
            };
            let proxy = config.build(&informers);
            let mut passes = proxy.passes();
            let task = scope.spawn_draining("kube-proxy", proxy.run(scope.clone()));
            let mut pass = async || {
                let changed = tokio::time::timeout(Duration::from_secs(30), passes.changed());
                changed.await.expect("a pass in time").expect("it runs");
            };
            pass().await;
            assert_eq!(cluster.ask("client", "10.96.0.1:80"), answered("a", "10.244.0.9"));
            assert_eq!(cluster.ask("outside", "192.0.2.1:30080"), answered("a", "10.244.0.1"));
            api.modify(api::slice(&[("10.244.0.2", false), ("10.244.0.3", true)]));
            pass().await;
            assert_eq!(cluster.ask("client", "10.96.0.1:80"), answered("b", "10.244.0.9"));
            assert!(scope.shutdown(Duration::from_secs(30)).await);
            task.await.expect("it ended by itself");
            assert_eq!(cluster.ask("client", "10.96.0.1:80"), answered("b", "10.244.0.9"));
        });
    });
}
