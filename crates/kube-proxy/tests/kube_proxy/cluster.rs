//! A node with pods and an outside, each a network namespace, and the rules of the Services under test.
//!
//! Pods `a` and `b` serve TCP and UDP at 8080 and say who they are and whom they see; `client` only asks. They are
//! 10.244.0.2, .3 and .9 on a bridge; `outside` is 192.0.2.2 on a link to the node, 192.0.2.1.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use client::ObjectKey;
use ipnet::Ipv4Net;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use kube_proxy::{Kernel, NodeView, PortInfo, Proxier, ServiceInfo, Slice, TrafficPolicy, Update};
use netlink::nft::proto;
use netlink::route::{self, Changes, Tolerate, VethPair};
use netlink::{Socket, netns};

const PATIENCE: Duration = Duration::from_secs(30);
/// For what is expected to stay silent.
const BRIEFLY: Duration = Duration::from_millis(300);

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Answered { by: String, seen: String },
    Refused,
    Silence,
    Failed(String),
}

/// An endpoint of a Service under test.
pub struct Backend {
    pod: String,
    ready: bool,
    local: bool,
}

impl Backend {
    pub fn ready(pod: &str) -> Self {
        Self { pod: pod.into(), ready: true, local: false }
    }

    pub fn local(pod: &str) -> Self {
        Self { local: true, ..Self::ready(pod) }
    }

    pub fn terminating(pod: &str) -> Self {
        Self { ready: false, ..Self::ready(pod) }
    }
}

pub fn service(cluster_ip: &str) -> ServiceInfo {
    ServiceInfo {
        cluster_ip: cluster_ip.parse().expect("an address"),
        external_ips: vec![],
        load_balancer_ips: vec![],
        source_ranges: vec![],
        internal: TrafficPolicy::Cluster,
        external: TrafficPolicy::Cluster,
        affinity: None,
        ports: vec![PortInfo { name: String::new(), proto: proto::TCP, port: 80, node_port: None }],
    }
}

pub struct Cluster {
    directory: PathBuf,
    proxier: RefCell<Proxier>,
    kernel: RefCell<Kernel>,
}

impl Cluster {
    /// Runs `test` in the node's namespace; takes everything away afterwards.
    pub fn run(test: impl FnOnce(&Cluster) + Send) {
        static SERIAL: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let serial = SERIAL.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("kaji-proxy-{}-{serial}", std::process::id()));
        let cleanup = Cleanup(directory.clone());
        let run = || {
            let node =
                NodeView { cluster_cidr: net("10.244.0.0/16"), service_cidr: net("10.96.0.0/16"), served_here: vec![] };
            let kernel = RefCell::new(Kernel::open().map_err(io::Error::other)?);
            let cluster = Cluster { directory, proxier: RefCell::new(Proxier::new(node)), kernel };
            cluster.build().map_err(io::Error::other)?;
            cluster.restart();
            test(&cluster);
            Ok(())
        };
        netns::run_in_new(run).expect("root can make a cluster");
        drop(cleanup);
    }

    fn build(&self) -> Result<(), netlink::Error> {
        fs::write("/proc/sys/net/ipv4/ip_forward", "1").expect("root may forward");
        let mut node = Socket::route()?;
        let mut changes = Changes::new();
        changes.set_up("lo");
        changes.add_bridge("kaji0", [2, 0, 0, 0, 0, 1], 1500, Tolerate::Nothing);
        changes.apply(&mut node)?;
        for (setting, value) in [("conf/all/send_redirects", "0"), ("conf/kaji0/send_redirects", "0")] {
            fs::write(format!("/proc/sys/net/ipv4/{setting}"), value).expect("root may set this");
        }
        // As the pod network does: frames between pods are routed, so the bridge need not call netfilter.
        let _ = fs::write("/proc/sys/net/bridge/bridge-nf-call-iptables", "0");
        let bridge = index(&mut node, "kaji0")?;
        let mut changes = Changes::new();
        changes.add_address(bridge, net("10.244.0.1/24"));
        changes.add_link_route(net("10.96.0.0/16"), bridge, Some(Ipv4Addr::new(10, 244, 0, 1)));
        changes.apply(&mut node)?;
        for (name, last) in [("a", 2), ("b", 3), ("client", 9)] {
            let ip = Ipv4Addr::new(10, 244, 0, last);
            self.connect(&mut node, name, Some(bridge), Ipv4Net::from(ip), Ipv4Addr::new(10, 244, 0, 1))?;
        }
        self.connect(&mut node, "outside", None, net("192.0.2.2/24"), Ipv4Addr::new(192, 0, 2, 1))?;
        let uplink = index(&mut node, "outside")?;
        let mut changes = Changes::new();
        changes.add_address(uplink, net("192.0.2.1/24"));
        changes.apply(&mut node)?;
        for name in ["a", "b"] {
            self.listen(name).expect("the port is free");
        }
        Ok(())
    }

    fn connect(
        &self,
        node: &mut Socket,
        name: &str,
        bridge: Option<u32>,
        address: Ipv4Net,
        gateway: Ipv4Addr,
    ) -> Result<(), netlink::Error> {
        let path = self.directory.join(name);
        netns::create(&path).expect("a new namespace");
        let namespace = fs::File::open(&path).expect("it was just made");
        let mut changes = Changes::new();
        changes.add_veth(
            VethPair {
                name,
                peer: "eth0",
                peer_mac: [2, 0, 0, 0, 1, address.addr().octets()[3]],
                peer_namespace: Some(namespace.as_raw_fd()),
                master: bridge,
                mtu: 1500,
            },
            Tolerate::Nothing,
        );
        changes.set_up(name);
        changes.apply(node)?;
        let mut inside = netns::run(&path, || Ok(Socket::route())).expect("it was just made")?;
        let eth0 = index(&mut inside, "eth0")?;
        let mut changes = Changes::new();
        changes.set_up("lo");
        changes.set_up("eth0");
        changes.add_address(eth0, address);
        changes.add_link_route(Ipv4Net::from(gateway), eth0, None);
        changes.add_gateway_route(Ipv4Net::default(), gateway, eth0);
        changes.apply(&mut inside)
    }

    /// A pod that tells every client who it is and whom it sees, as often as it is asked.
    fn listen(&self, name: &'static str) -> io::Result<()> {
        let (tcp, udp) = netns::run(&self.directory.join(name), || {
            Ok((TcpListener::bind("0.0.0.0:8080")?, UdpSocket::bind("0.0.0.0:8080")?))
        })?;
        thread::spawn(move || {
            while let Ok((mut stream, from)) = tcp.accept() {
                thread::spawn(move || {
                    while stream.read_exact(&mut [0]).is_ok() {
                        let _ = writeln!(stream, "{name} {}", from.ip());
                    }
                });
            }
        });
        thread::spawn(move || {
            while let Ok((_, from)) = udp.recv_from(&mut [0; 16]) {
                let _ = udp.send_to(name.as_bytes(), from);
            }
        });
        Ok(())
    }

    /// The Service has these endpoints from now on, as the kernel sees it.
    pub fn serve(&self, name: &str, service: ServiceInfo, backends: &[Backend]) {
        let key = ObjectKey::new("default", name);
        let slice = slice(name, &service, backends);
        let update = {
            let mut proxier = self.proxier.borrow_mut();
            proxier.set_service(key.clone(), Some(service));
            proxier.set_slice(key, Slice::of(&slice, "here"));
            proxier.update()
        };
        self.apply(&update);
    }

    /// The table made anew, as after a restart.
    pub fn restart(&self) {
        let update = self.proxier.borrow_mut().everything();
        self.apply(&update);
    }

    fn apply(&self, update: &Update) {
        let udp = self.proxier.borrow().udp_endpoints();
        if let Err(err) = self.kernel.borrow_mut().apply(update, &udp) {
            panic!("{err}: {:?}", std::error::Error::source(&err));
        }
    }

    /// One request on a connection of its own.
    pub fn ask(&self, from: &str, to: &str) -> Outcome {
        self.request(from, to, PATIENCE)
    }

    /// One request that is expected to get no answer at all.
    pub fn ask_briefly(&self, from: &str, to: &str) -> Outcome {
        self.request(from, to, BRIEFLY)
    }

    fn request(&self, from: &str, to: &str, patience: Duration) -> Outcome {
        let result = self.connect_from(from, to, patience).and_then(|mut stream| talk(&mut stream));
        result.unwrap_or_else(|err| match err.kind() {
            io::ErrorKind::ConnectionRefused => Outcome::Refused,
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Outcome::Silence,
            _ => Outcome::Failed(err.to_string()),
        })
    }

    /// A connection that stays open.
    pub fn open(&self, from: &str, to: &str) -> io::Result<TcpStream> {
        self.connect_from(from, to, PATIENCE)
    }

    fn connect_from(&self, from: &str, to: &str, patience: Duration) -> io::Result<TcpStream> {
        let to: SocketAddr = to.parse().map_err(io::Error::other)?;
        let connect = || {
            let stream = TcpStream::connect_timeout(&to, patience)?;
            stream.set_read_timeout(Some(patience))?;
            Ok(stream)
        };
        if from == "node" { connect() } else { netns::run(&self.directory.join(from), connect) }
    }

    /// A UDP socket of a pod, connected.
    pub fn udp(&self, from: &str, to: &str) -> UdpSocket {
        let to: SocketAddrV4 = to.parse().expect("an address");
        let open = || {
            let socket = UdpSocket::bind("0.0.0.0:0")?;
            socket.connect(to)?;
            socket.set_read_timeout(Some(PATIENCE))?;
            Ok(socket)
        };
        netns::run(&self.directory.join(from), open).expect("a socket")
    }
}

/// Takes the mounts away, also when the test failed.
struct Cleanup(PathBuf);

impl Drop for Cleanup {
    fn drop(&mut self) {
        for entry in fs::read_dir(&self.0).into_iter().flatten().flatten() {
            let _ = netns::delete(&entry.path());
        }
        let _ = fs::remove_dir(&self.0);
    }
}

/// One request on an open connection.
pub fn talk(stream: &mut TcpStream) -> io::Result<Outcome> {
    stream.write_all(b"?")?;
    let mut answer = Vec::new();
    let mut byte = [0];
    while byte != *b"\n" {
        stream.read_exact(&mut byte)?;
        answer.push(byte[0]);
    }
    let answer = String::from_utf8_lossy(&answer).trim().to_owned();
    let (by, seen) = answer.split_once(' ').ok_or_else(|| io::Error::other(answer.clone()))?;
    Ok(Outcome::Answered { by: by.into(), seen: seen.into() })
}

/// One datagram and its answer.
pub fn exchange(socket: &UdpSocket) -> String {
    socket.send(b"?").expect("it is connected");
    let mut answer = [0; 16];
    let length = socket.recv(&mut answer).expect("an answer");
    String::from_utf8_lossy(&answer[..length]).into_owned()
}

fn net(text: &str) -> Ipv4Net {
    text.parse().expect("a network")
}

fn index(socket: &mut Socket, name: &str) -> Result<u32, netlink::Error> {
    Ok(route::link(socket, name)?.expect("the link was just made").index)
}

fn slice(name: &str, service: &ServiceInfo, backends: &[Backend]) -> EndpointSlice {
    let last = BTreeMap::from([("a", 2), ("b", 3)]);
    let endpoint = |backend: &Backend| Endpoint {
        addresses: vec![format!("10.244.0.{}", last[backend.pod.as_str()])],
        conditions: Some(EndpointConditions {
            ready: Some(backend.ready),
            serving: Some(true),
            terminating: Some(!backend.ready),
        }),
        node_name: Some(if backend.local { "here".into() } else { "there".into() }),
        ..Endpoint::default()
    };
    let protocol = if service.ports[0].proto == proto::UDP { "UDP" } else { "TCP" };
    let port = EndpointPort {
        name: Some(String::new()),
        port: Some(8080),
        protocol: Some(protocol.into()),
        ..EndpointPort::default()
    };
    let mut slice = EndpointSlice {
        address_type: "IPv4".into(),
        endpoints: Some(backends.iter().map(endpoint).collect()),
        ports: Some(vec![port]),
        ..EndpointSlice::default()
    };
    slice.metadata.namespace = Some("default".into());
    slice.metadata.labels = Some([("kubernetes.io/service-name".to_owned(), name.to_owned())].into());
    slice
}
