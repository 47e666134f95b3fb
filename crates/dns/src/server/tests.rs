//! The server on a loopback of the test's own, asked over UDP and TCP.

use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;

use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{Name, RData};
use netlink::netns;
use netlink::route::Changes;

use super::*;
use crate::zone::{ServiceRecord, SliceRecord};
use client::ObjectKey;
use k8s_openapi::api::core::v1::{Service, ServiceSpec};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};

const PATIENCE: Duration = Duration::from_secs(30);

fn zone() -> Zone {
    let mut zone = Zone::new("cluster.local", vec![Ipv4Addr::LOCALHOST.into()], 30);
    let mut add = |name: &str, spec| {
        let service = Service { spec: Some(spec), ..Service::default() };
        zone.set_service(ObjectKey::new("default", name), ServiceRecord::of(&service));
    };
    add("web", ServiceSpec { cluster_ip: Some("10.96.1.1".into()), ..ServiceSpec::default() });
    add("many", ServiceSpec { cluster_ip: Some("None".into()), ..ServiceSpec::default() });
    add(
        "outside",
        ServiceSpec {
            type_: Some("ExternalName".into()),
            external_name: Some("www.example.com".into()),
            ..ServiceSpec::default()
        },
    );
    let endpoint = |last: u8| Endpoint { addresses: vec![format!("10.244.0.{last}")], ..Endpoint::default() };
    let mut slice = EndpointSlice { endpoints: Some((0..200).map(endpoint).collect()), ..EndpointSlice::default() };
    slice.metadata.namespace = Some("default".into());
    slice.metadata.labels = Some([("kubernetes.io/service-name".to_owned(), "many".to_owned())].into());
    zone.set_slice(ObjectKey::new("default", "many-1"), SliceRecord::of(&slice));
    zone
}

/// Runs `test` with the address of a server whose resolver knows `www.example.com` alone, each time under another
/// address, and says "no such name" to the rest.
fn serving<F: Future<Output = ()>>(synced: bool, resolvers: usize, test: impl FnOnce(SocketAddr) -> F + Send) {
    let run = || {
        let mut socket = netlink::Socket::route().map_err(io::Error::other)?;
        let mut changes = Changes::new();
        changes.set_up("lo");
        changes.apply(&mut socket).map_err(io::Error::other)?;
        tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
            let scope = Scope::root();
            let mut addresses = Vec::new();
            for _ in 0..resolvers {
                let resolver = UdpSocket::bind("127.0.0.1:0").await?;
                addresses.push(resolver.local_addr()?);
                scope.spawn("resolver", resolve(resolver));
            }
            let server = Arc::new(Server::new(zone(), Forwarder::to(addresses)));
            if synced {
                server.set_synced();
            }
            let udp = UdpSocket::bind("127.0.0.1:0").await?;
            let address = udp.local_addr()?;
            let tcp = TcpListener::bind(address).await?;
            scope.spawn("udp", server.clone().serve_udp(udp, scope.clone()));
            scope.spawn("tcp", server.serve_tcp(tcp, scope.clone()));
            timeout(PATIENCE, test(address)).await?;
            assert!(scope.shutdown(PATIENCE).await);
            Ok(())
        })
    };
    netns::run_in_new(run).expect("a server can be set up");
}

async fn resolve(socket: UdpSocket) {
    let mut asked = 0;
    let mut buffer = [0; 512];
    while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
        let request = Message::from_vec(&buffer[..length]).expect("a question of ours");
        let name = request.queries[0].name().clone();
        asked += 1;
        let mut message = head(&request, ResponseCode::NoError);
        if name == Name::from_str("www.example.com.").expect("a name") {
            let data = RData::A(A(Ipv4Addr::new(192, 0, 2, asked)));
            message.add_answer(Record::from_rdata(name, 60, data));
        } else {
            message.metadata.response_code = ResponseCode::NXDomain;
        }
        socket.send_to(&message.to_vec().expect("an answer"), from).await.expect("it is sent");
    }
}

fn question(name: &str, kind: RecordType) -> Message {
    let mut request = Message::query();
    request.metadata.recursion_desired = true;
    request.add_query(Query::query(Name::from_str(name).expect("a name"), kind));
    request
}

async fn ask_bytes(server: SocketAddr, bytes: &[u8]) -> Message {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    socket.connect(server).await.expect("loopback");
    socket.send(bytes).await.expect("it is sent");
    let mut buffer = [0; 4096];
    let length = socket.recv(&mut buffer).await.expect("an answer");
    Message::from_vec(&buffer[..length]).expect("a message")
}

async fn ask(server: SocketAddr, name: &str, kind: RecordType) -> Message {
    let request = question(name, kind);
    let answer = ask_bytes(server, &request.to_vec().expect("a question")).await;
    assert_eq!((answer.metadata.id, &answer.queries), (request.metadata.id, &request.queries));
    answer
}

fn data(message: &Message) -> Vec<String> {
    message.answers.iter().map(|record| record.data.to_string()).collect()
}

#[test]
fn the_zone_is_answered_over_udp_and_tcp() {
    serving(true, 1, |server| async move {
        let answer = ask(server, "web.default.svc.cluster.local.", RecordType::A).await;
        assert_eq!(data(&answer), ["10.96.1.1"]);
        assert!(answer.metadata.authoritative && answer.metadata.recursion_available);
        let missing = ask(server, "absent.default.svc.cluster.local.", RecordType::A).await;
        assert_eq!(missing.metadata.response_code, ResponseCode::NXDomain);
        assert_eq!(missing.authorities[0].record_type(), RecordType::SOA);
        let empty = ask(server, "web.default.svc.cluster.local.", RecordType::AAAA).await;
        assert_eq!(empty.metadata.response_code, ResponseCode::NoError);
        assert_eq!(empty.authorities[0].record_type(), RecordType::SOA);

        let mut stream = TcpStream::connect(server).await.expect("it listens");
        for name in ["web", "many"] {
            let request = question(&format!("{name}.default.svc.cluster.local."), RecordType::A);
            let bytes = request.to_vec().expect("a question");
            stream.write_u16(bytes.len() as u16).await.expect("it is sent");
            stream.write_all(&bytes).await.expect("it is sent");
            let mut answer = vec![0; stream.read_u16().await.expect("an answer").into()];
            stream.read_exact(&mut answer).await.expect("an answer");
            let answer = Message::from_vec(&answer).expect("a message");
            assert_eq!(answer.answers.len(), if name == "web" { 1 } else { 200 });
        }
    });
}

#[test]
fn what_does_not_fit_is_cut_and_says_so() {
    serving(true, 1, |server| async move {
        let answer = ask(server, "many.default.svc.cluster.local.", RecordType::A).await;
        assert!(answer.metadata.truncation && answer.answers.is_empty());
    });
}

#[test]
fn other_names_are_asked_of_the_resolvers_and_kept() {
    serving(true, 1, |server| async move {
        let first = ask(server, "www.example.com.", RecordType::A).await;
        assert_eq!(data(&first), ["192.0.2.1"]);
        assert!(!first.metadata.authoritative);
        assert_eq!(data(&ask(server, "WWW.example.com.", RecordType::A).await), ["192.0.2.1"]);
        let missing = ask(server, "absent.example.com.", RecordType::A).await;
        assert_eq!(missing.metadata.response_code, ResponseCode::NXDomain);
        let through = ask(server, "outside.default.svc.cluster.local.", RecordType::A).await;
        assert_eq!(data(&through), ["www.example.com.", "192.0.2.1"]);
    });
}

#[test]
fn without_a_resolver_or_before_the_zone_is_known_it_is_a_failure() {
    serving(false, 0, |server| async move {
        for name in ["www.example.com.", "web.default.svc.cluster.local."] {
            let answer = ask(server, name, RecordType::A).await;
            assert_eq!(answer.metadata.response_code, ResponseCode::ServFail, "{name}");
        }
    });
}

#[test]
fn malformed_messages_are_told_or_ignored() {
    serving(true, 1, |server| async move {
        let mut bytes = question("web.default.svc.cluster.local.", RecordType::A).to_vec().expect("a question");
        bytes.truncate(20);
        assert_eq!(ask_bytes(server, &bytes).await.metadata.response_code, ResponseCode::FormErr);
        let mut two = question("a.", RecordType::A);
        two.add_query(Query::query(Name::root(), RecordType::A));
        let two = two.to_vec().expect("questions");
        assert_eq!(ask_bytes(server, &two).await.metadata.response_code, ResponseCode::FormErr);
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        for garbage in [&b""[..], b"x", &[0xff; 11], &[0xff; 600]] {
            socket.send_to(garbage, server).await.expect("it is sent");
        }
        // It is still there.
        assert_eq!(data(&ask(server, "web.default.svc.cluster.local.", RecordType::A).await), ["10.96.1.1"]);
    });
}
