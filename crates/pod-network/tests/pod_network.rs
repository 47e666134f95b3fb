//! Pods on a real bridge in a network namespace of the test's own.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use netlink::route::{self, Changes};
use netlink::{Socket, netns};
use pod_network::{Config, HostPort, PodNetwork};

const PATIENCE: Duration = Duration::from_secs(30);

fn config(directory: &Path) -> Config {
    Config {
        pod_cidr: "10.244.0.0/24".parse().expect("a network"),
        cluster_cidr: "10.244.0.0/16".parse().expect("a network"),
        service_cidr: "10.96.0.0/16".parse().expect("a network"),
        bridge: "kaji0".into(),
        mtu: 1500,
        state_dir: directory.join("state"),
        run_dir: directory.join("netns"),
    }
}

/// Runs `test` with a runtime whose every thread is in a new network namespace, with the pod network set up.
fn on_a_node<F: Future<Output = ()>>(test: impl FnOnce(PodNetwork, Config) -> F + Send) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let run = || {
        // Threads that the runtime starts inherit the namespace of this one.
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        runtime.block_on(async {
            let config = config(directory.path());
            let network = config.clone().build().expect("a sound configuration");
            network.ensure_node().await.expect("root can set a node up");
            test(network, config).await;
        });
        Ok(())
    };
    netns::run_in_new(run).expect("root can make a namespace");
}

/// Listens at `port` of the namespace and tells every client its own address and this name.
fn serve(netns: &Path, port: u16, name: &'static str) {
    let listener = netns::run(netns, || TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))).expect("the port is free");
    std::thread::spawn(move || {
        while let Ok((mut stream, from)) = listener.accept() {
            let _ = write!(stream, "{name} {}", from.ip());
        }
    });
}

fn ask_from_here(address: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn ask(netns: &Path, address: &str) -> io::Result<String> {
    let address = address.parse().map_err(io::Error::other)?;
    netns::run(netns, || ask_from_here(address))
}

fn bind_host_port(host_ip: Option<[u8; 4]>, host_port: u16) -> HostPort {
    let protocol = HostPort::protocol_number("TCP").expect("TCP has a number");
    HostPort { host_ip: host_ip.map(Ipv4Addr::from), host_port, container_port: 80, protocol }
}

#[test]
fn pods_reach_each_other_the_node_and_themselves() {
    on_a_node(|network, _| async move {
        network.ensure_node().await.expect("a second time changes nothing");
        let (a, b) = (network.create_netns("a").await.expect("a"), network.create_netns("b").await.expect("b"));
        let pod_a = network.attach("uid-a", &a, &[]).await.expect("a is attached");
        let pod_b = network.attach("uid-b", &b, &[]).await.expect("b is attached");
        assert_eq!((pod_a.ip, pod_b.ip), ([10, 244, 0, 2].into(), [10, 244, 0, 3].into()));
        assert_eq!(network.attach("uid-a", &a, &[]).await.expect("again"), pod_a);
        serve(&a, 80, "a");
        assert_eq!(ask(&b, "10.244.0.2:80").expect("pod to pod"), "a 10.244.0.3");
        assert_eq!(ask(&a, "127.0.0.1:80").expect("loopback"), "a 127.0.0.1");
        assert_eq!(ask(&a, "10.244.0.2:80").expect("to itself"), "a 10.244.0.2");
        assert_eq!(ask_from_here("10.244.0.2:80".parse().expect("an address")).expect("node to pod"), "a 10.244.0.1");
        // An address of no node, and a Service nobody serves: an answer, not a wait.
        let lost = ask(&a, "10.244.9.9:80").expect_err("no such node");
        assert!(matches!(lost.kind(), io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable), "{lost}");
        for name in ["a", "b"] {
            network.delete_netns(name).await.expect("it was made here");
        }
    });
}

#[test]
fn a_restart_keeps_addresses_and_takes_back_those_of_dead_pods() {
    on_a_node(|network, config| async move {
        let a = network.create_netns("a").await.expect("a");
        let b = network.create_netns("b").await.expect("b");
        let pod_a = network.attach("uid-a", &a, &[]).await.expect("a is attached");
        network.attach("uid-b", &b, &[]).await.expect("b is attached");
        serve(&a, 80, "a");
        drop(network);

        let network = config.build().expect("the state is sound");
        network.ensure_node().await.expect("what runs is adopted");
        let gone = network.retain(BTreeSet::from(["uid-a".to_owned()])).await.expect("b is detached");
        assert_eq!(gone, ["uid-b"]);
        assert_eq!(network.address("uid-a"), Some(pod_a.ip));
        assert_eq!(ask_from_here("10.244.0.2:80".parse().expect("an address")).expect("a goes on"), "a 10.244.0.1");
        // Next fit: the address that b gave back is not reused at once.
        let pod_b = network.attach("uid-c", &b, &[]).await.expect("the namespace takes another link");
        assert_eq!(pod_b.ip, Ipv4Addr::new(10, 244, 0, 4));
        network.detach("uid-a").await.expect("a is detached");
        network.detach("uid-a").await.expect("twice is no error");
        assert_eq!(network.address("uid-a"), None);
        let mut socket = Socket::route().expect("a socket");
        let ports = route::links(&mut socket).expect("the links").into_iter().filter(|link| link.master.is_some());
        assert_eq!(ports.count(), 1);
        for name in ["a", "b"] {
            network.delete_netns(name).await.expect("it was made here");
        }
    });
}

#[test]
fn a_new_namespace_of_the_same_pod_gets_the_same_address() {
    on_a_node(|network, _| async move {
        let first = network.create_netns("first").await.expect("a namespace");
        let second = network.create_netns("second").await.expect("a namespace");
        let before = network.attach("uid", &first, &[]).await.expect("attached");
        let after = network.attach("uid", &second, &[]).await.expect("attached again");
        assert_eq!(before, after);
        serve(&second, 80, "second");
        assert_eq!(
            ask_from_here("10.244.0.2:80".parse().expect("an address")).expect("it answers"),
            "second 10.244.0.1"
        );
        for name in ["first", "second"] {
            network.delete_netns(name).await.expect("it was made here");
        }
    });
}

#[test]
fn host_ports_lead_to_their_pod() {
    on_a_node(|network, _| async move {
        // The node's own address, and one more for a host port bound to it.
        let mut socket = Socket::route().expect("a socket");
        let lo = route::link(&mut socket, "lo").expect("a link").expect("loopback is there").index;
        let mut changes = Changes::new();
        changes.add_address(lo, "192.0.2.1/32".parse().expect("an address"));
        changes.add_address(lo, "192.0.2.2/32".parse().expect("an address"));
        changes.apply(&mut socket).expect("addresses");

        let (a, b) = (network.create_netns("a").await.expect("a"), network.create_netns("b").await.expect("b"));
        let any = bind_host_port(None, 8080);
        network.attach("uid-a", &a, &[any]).await.expect("a is attached");
        network.attach("uid-b", &b, &[bind_host_port(Some([192, 0, 2, 2]), 8080)]).await.expect("b is attached");
        serve(&a, 80, "a");
        serve(&b, 80, "b");
        assert_eq!(ask(&b, "192.0.2.1:8080").expect("from a pod"), "a 10.244.0.3");
        assert_eq!(ask(&a, "192.0.2.2:8080").expect("bound to one address"), "b 10.244.0.2");
        // To itself through the node: the answer must come back the same way.
        assert_eq!(ask(&a, "192.0.2.1:8080").expect("hairpin"), "a 10.244.0.1");
        let local: SocketAddr = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 8080).into();
        assert_eq!(ask_from_here(local).expect("from the node's loopback"), "a 10.244.0.1");

        network.ensure_node().await.expect("the table is made anew from the state");
        assert_eq!(ask(&b, "192.0.2.1:8080").expect("host ports stay"), "a 10.244.0.3");
        network.detach("uid-a").await.expect("a is detached");
        ask(&b, "192.0.2.1:8080").expect_err("nothing listens on the node itself");
        for name in ["a", "b"] {
            network.delete_netns(name).await.expect("it was made here");
        }
    });
}

#[test]
fn a_damaged_state_is_told_while_pods_run_and_forgotten_when_none_does() {
    on_a_node(|network, config| async move {
        let a = network.create_netns("a").await.expect("a");
        network.attach("uid-a", &a, &[]).await.expect("a is attached");
        drop(network);
        let file = config.state_dir.join("pod-addresses.json");
        std::fs::write(&file, "{").expect("the file is ours");
        let err = config.clone().build().expect_err("a pod has an address that nobody knows");
        assert!(err.to_string().contains("are damaged"), "{err}");
        let mut changes = Changes::new();
        let mut socket = Socket::route().expect("a socket");
        let links = route::links(&mut socket).expect("the links");
        let port = links.iter().find(|link| link.master.is_some()).expect("the pod's link");
        changes.delete_link(&port.name, route::Tolerate::Nothing);
        changes.apply(&mut socket).expect("it is there");
        config.build().expect("nothing depends on what is lost");
        netns::delete(&a).expect("it was made here");
    });
}

#[test]
fn a_pod_needs_no_root_for_low_ports() {
    on_a_node(|network, _| async move {
        let a = network.create_netns("a").await.expect("a");
        network.attach("uid-a", &a, &[]).await.expect("a is attached");
        let first = netns::run(&a, || std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start"));
        assert_eq!(first.expect("the setting is there").trim(), "0");
        network.delete_netns("a").await.expect("it was made here");
    });
}
