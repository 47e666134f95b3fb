//! What goes on after the head of an answer passes this server as it comes: streams and upgrades.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use apiserver::Config;
use apiserver::aggregation::ProxyClientConfig;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use component_base::Scope;
use http::{Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;

use super::{API_SERVICES, until};
use crate::harness::Cluster;
use crate::streams::{AnyCertificate, Ca, Fixture};

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

const GROUP_VERSION: &str = "/apis/ext.example.org/v1";

/// A server that streams, the second line when it is told to, and that echoes where it is upgraded.
async fn extension(ca: &Ca, scope: &Scope, go_on: &Arc<Notify>) -> u16 {
    let leaf = ca.leaf_at("extension", "ext.default.svc");
    let tls = apiserver::serve::tls_config(&leaf.cert, &leaf.key, &ca.pem).expect("TLS");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let (acceptor, tasks, go_on) = (TlsAcceptor::from(Arc::new(tls)), scope.clone(), go_on.clone());
    scope.spawn("extension", async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, echoes, go_on) = (acceptor.clone(), tasks.clone(), go_on.clone());
            tasks.spawn("extension/connection", async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let service = service_fn(move |request: Request<Incoming>| {
                    let answer = answer(request, &echoes, &go_on);
                    async move { Ok::<_, Infallible>(answer) }
                });
                let http = hyper::server::conn::http1::Builder::new();
                let _ = http.serve_connection(TokioIo::new(stream), service).with_upgrades().await;
            });
        }
    });
    port
}

fn answer(request: Request<Incoming>, echoes: &Scope, go_on: &Arc<Notify>) -> Answer {
    let whole = |text: String| Response::new(Full::new(Bytes::from(text)).boxed_unsync());
    match request.uri().path().strip_prefix(GROUP_VERSION) {
        Some("") => {
            let list = json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "ext.example.org/v1", "resources": []});
            whole(list.to_string())
        }
        Some("/stream") => {
            let told = go_on.clone();
            let lines = futures::stream::unfold(0, move |sent| {
                let told = told.clone();
                async move {
                    let line = *["one\n", "two\n"].get(sent)?;
                    if sent > 0 {
                        told.notified().await;
                    }
                    Some((Ok::<_, Infallible>(Frame::data(Bytes::from_static(line.as_bytes()))), sent + 1))
                }
            });
            Response::new(StreamBody::new(lines).boxed_unsync())
        }
        Some("/echo") => {
            let mut switched = whole(String::new());
            *switched.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            for (name, value) in [("connection", "Upgrade"), ("upgrade", "echo")] {
                switched.headers_mut().insert(name, value.parse().expect("a header"));
            }
            echoes.spawn("extension/echo", async move {
                let mut io = TokioIo::new(hyper::upgrade::on(request).await.expect("upgraded"));
                let mut word = [0; 4];
                io.read_exact(&mut word).await.expect("read");
                word.reverse();
                io.write_all(&word).await.expect("written");
            });
            switched
        }
        _ => {
            let mut unknown = whole(String::new());
            *unknown.status_mut() = StatusCode::NOT_FOUND;
            unknown
        }
    }
}

/// All that is read until this is.
async fn read_until(io: &mut (impl AsyncRead + Unpin), end: &str) -> String {
    let mut seen = Vec::new();
    while !seen.ends_with(end.as_bytes()) {
        seen.push(io.read_u8().await.expect("a byte"));
    }
    String::from_utf8_lossy(&seen).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_and_upgrades_pass_through() {
    let (ca, scope, go_on) = (Ca::new(), Scope::root(), Arc::new(Notify::new()));
    let port = extension(&ca, &scope, &go_on).await;
    let proxy = ca.leaf_at("front-proxy-client", "front-proxy-client");
    let proxy_client = ProxyClientConfig {
        cert_pem: proxy.cert,
        key_pem: proxy.key,
        ca_pem: ca.pem.clone(),
        allowed_names: Vec::new(),
    };
    let config = Config { proxy_client: Some(proxy_client), client_ca_pem: ca.pem.clone(), ..Config::default() };
    let cluster = Cluster::with(config, Arc::new(AnyCertificate), &scope).await;
    let service = json!({"metadata": {"name": "ext"}, "spec": {"type": "ExternalName", "externalName": "localhost"}});
    assert_eq!(cluster.post("/api/v1/namespaces/default/services", service).await.code, 201);
    let api_service = json!({"metadata": {"name": "v1.ext.example.org"}, "spec": {
        "group": "ext.example.org", "version": "v1", "groupPriorityMinimum": 2000, "versionPriority": 10,
        "caBundle": STANDARD.encode(&ca.pem), "service": {"namespace": "default", "name": "ext", "port": port},
    }});
    assert_eq!(cluster.post(API_SERVICES, api_service).await.code, 201);
    until(&cluster, "v1.ext.example.org", "Passed").await;
    let fixture = Fixture::of(&cluster, ca, scope).await;

    let talk = async {
        let mut io = fixture.connect(true).await;
        let head = format!("GET {GROUP_VERSION}/stream HTTP/1.1\r\nHost: x\r\n\r\n");
        io.write_all(head.as_bytes()).await.expect("written");
        let first = read_until(&mut io, "one\n").await;
        assert!(first.starts_with("HTTP/1.1 200 OK\r\n"), "{first}");
        // The first line is here while the second is not yet written.
        go_on.notify_one();
        read_until(&mut io, "two\n").await;

        let mut io = fixture.connect(true).await;
        let head =
            format!("GET {GROUP_VERSION}/echo HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n");
        io.write_all(head.as_bytes()).await.expect("written");
        let switched = read_until(&mut io, "\r\n\r\n").await.to_lowercase();
        assert!(switched.starts_with("http/1.1 101 switching protocols\r\n"), "{switched}");
        assert!(switched.contains("upgrade: echo\r\n"), "{switched}");
        io.write_all(b"ping").await.expect("written");
        assert_eq!(read_until(&mut io, "gnip").await, "gnip");
    };
    tokio::time::timeout(Duration::from_secs(30), talk).await.expect("in time");
    drop(cluster);
    fixture.end().await;
}
