//! Over TLS: who a client certificate is, and the streams to a kubelet: logs as text, exec as bytes both ways.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use apimachinery::{StatusError, UserInfo};
use apiserver::authenticator::{Authenticator, PeerCertificates};
use apiserver::{Config, KubeletClientConfig};
use arc_swap::ArcSwap;
use component_base::Scope;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tokio_rustls::{TlsAcceptor, TlsConnector, client::TlsStream};

use crate::harness::Cluster;

/// A CA and what it signs.
pub struct Ca {
    pub pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, in PEM.
pub struct Leaf {
    pub cert: String,
    pub key: String,
}

impl Ca {
    pub fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "ca");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    fn leaf(&self, name: &str) -> Leaf {
        self.leaf_at(name, "127.0.0.1")
    }

    /// A certificate for a name, of whoever answers at a host.
    pub fn leaf_at(&self, name: &str, host: &str) -> Leaf {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec![host.into()]).expect("parameters");
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let cert = params.signed_by(&key, &self.issuer).expect("a certificate").pem();
        Leaf { cert, key: key.serialize_pem() }
    }
}

/// Everybody who shows a certificate is an administrator.
pub struct AnyCertificate;

#[async_trait::async_trait]
impl Authenticator for AnyCertificate {
    async fn authenticate(
        &self,
        _parts: &http::request::Parts,
        peer: Option<&PeerCertificates>,
    ) -> Result<Option<UserInfo>, StatusError> {
        Ok(peer.map(|_| UserInfo::new("admin", ["system:masters"])))
    }
}

/// Answers logs with the request's own path, and echoes on exec.
async fn kubelet(ca: &Ca, scope: &Scope) -> SocketAddr {
    let leaf = ca.leaf("kubelet");
    let tls = apiserver::serve::tls_config(&leaf.cert, &leaf.key, &ca.pem).expect("TLS");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (acceptor, tasks) = (TlsAcceptor::from(Arc::new(tls)), scope.clone());
    scope.spawn("kubelet", async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tasks.spawn("kubelet/connection", async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                assert!(stream.get_ref().1.peer_certificates().is_some(), "the server shows its certificate");
                let service =
                    service_fn(|request| async { Ok::<_, std::convert::Infallible>(kubelet_answer(request)) });
                let http = hyper::server::conn::http1::Builder::new();
                let _ = http.serve_connection(TokioIo::new(stream), service).with_upgrades().await;
            });
        }
    });
    address
}

fn kubelet_answer(request: Request<Incoming>) -> Response<Full<bytes::Bytes>> {
    let line = request.uri().to_string();
    let mut response = Response::new(Full::new(line.clone().into()));
    if line.starts_with("/exec") {
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        response.headers_mut().insert("connection", "Upgrade".parse().expect("a header"));
        response.headers_mut().insert("upgrade", "SPDY/3.1".parse().expect("a header"));
        #[allow(clippy::disallowed_methods, reason = "a fake, and it ends with its connection")]
        tokio::spawn(async move {
            let mut io = TokioIo::new(hyper::upgrade::on(request).await.expect("upgraded"));
            io.write_all(format!("{line}\n").as_bytes()).await.expect("written");
            let mut word = [0; 4];
            io.read_exact(&mut word).await.expect("read");
            io.write_all(&word).await.expect("written");
        });
    } else if line.contains("waiting") {
        *response.status_mut() = StatusCode::BAD_REQUEST;
        *response.body_mut() =
            Full::new("container \"c\" in pod \"waiting\" is waiting to start: ContainerCreating\n".into());
    }
    response
}

/// A server behind TLS, and an administrator's certificate.
pub struct Fixture {
    ca: Ca,
    admin: Leaf,
    address: SocketAddr,
    scope: Scope,
}

async fn fixture() -> Fixture {
    let ca = Ca::new();
    let scope = Scope::root();
    let kubelet = kubelet(&ca, &scope).await;
    let client = ca.leaf("apiserver-kubelet-client");
    let kubelet_client = KubeletClientConfig { ca_pem: ca.pem.clone(), cert_pem: client.cert, key_pem: client.key };
    let config = Config { kubelet: Some(kubelet_client), ..Config::default() };
    let cluster = Cluster::with(config, Arc::new(AnyCertificate), &scope).await;
    cluster.post("/api/v1/namespaces/default/serviceaccounts", json!({"metadata": {"name": "default"}})).await;
    let node = json!({"metadata": {"name": "n"}, "status": {
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": kubelet.port()}},
    }});
    assert_eq!(cluster.post("/api/v1/nodes", node).await.code, 201);
    for name in ["p", "waiting"] {
        let pod =
            json!({"metadata": {"name": name}, "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "i"}]}});
        assert_eq!(cluster.post("/api/v1/namespaces/default/pods", pod).await.code, 201);
    }
    Fixture::of(&cluster, ca, scope).await
}

impl Fixture {
    /// Has a server answer on the loopback.
    pub async fn of(cluster: &Cluster, ca: Ca, scope: Scope) -> Self {
        let serving = ca.leaf("kube-apiserver");
        let tls = apiserver::serve::tls_config(&serving.cert, &serving.key, &ca.pem).expect("TLS");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let tls = Arc::new(ArcSwap::from_pointee(tls));
        apiserver::serve::serve(&cluster.server.service(), vec![listener], &tls, &scope);
        let admin = ca.leaf("admin");
        Self { ca, admin, address, scope }
    }

    pub async fn connect(&self, with_certificate: bool) -> TlsStream<TcpStream> {
        self.connect_by(with_certificate, "http/1.1").await
    }

    async fn connect_by(&self, with_certificate: bool, protocol: &str) -> TlsStream<TcpStream> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.ca.pem.as_bytes()).expect("a certificate")).expect("a root");
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots);
        let mut config = if with_certificate {
            let chain = vec![CertificateDer::from_pem_slice(self.admin.cert.as_bytes()).expect("a certificate")];
            let key = PrivateKeyDer::from_pem_slice(self.admin.key.as_bytes()).expect("a key");
            builder.with_client_auth_cert(chain, key).expect("a client")
        } else {
            builder.with_no_client_auth()
        };
        config.alpn_protocols = vec![protocol.into()];
        let stream = TcpStream::connect(self.address).await.expect("connected");
        let name = ServerName::try_from("127.0.0.1").expect("a name");
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.expect("a handshake")
    }

    /// Sends a request without a body and reads the whole answer.
    async fn get(&self, path: &str, with_certificate: bool) -> (u16, String) {
        let io = TokioIo::new(self.connect(with_certificate).await);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.expect("a connection");
        self.scope.spawn("client", async move {
            let _ = connection.await;
        });
        let request =
            Request::builder().uri(path).header("host", "x").body(Full::<bytes::Bytes>::default()).expect("a request");
        let response = sender.send_request(request).await.expect("an answer");
        let code = response.status().as_u16();
        let bytes = response.into_body().collect().await.expect("a body").to_bytes();
        (code, String::from_utf8_lossy(&bytes).into_owned())
    }

    pub async fn end(self) {
        assert!(self.scope.shutdown(Duration::from_secs(30)).await, "all tasks end");
    }
}

const PODS: &str = "/api/v1/namespaces/default/pods";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_an_identity() {
    let fixture = fixture().await;
    assert_eq!(fixture.get("/api/v1/namespaces", true).await.0, 200);
    let (code, text) = fixture.get("/api/v1/namespaces", false).await;
    assert_eq!(code, 403, "{text}");
    assert!(text.contains(r#"User \"system:anonymous\" cannot list resource \"namespaces\""#), "{text}");
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_come_from_the_kubelet() {
    let fixture = fixture().await;
    let (code, text) = fixture.get(&format!("{PODS}/p/log?tailLines=3&follow=true"), true).await;
    assert_eq!((code, text.as_str()), (200, "/containerLogs/default/p/c?follow=true&tailLines=3"));
    let (code, text) = fixture.get(&format!("{PODS}/waiting/log"), true).await;
    assert_eq!(code, 400);
    assert!(
        text.contains(r#""message":"container \"c\" in pod \"waiting\" is waiting to start: ContainerCreating""#),
        "{text}"
    );
    assert_eq!(fixture.get("/api/v1/nodes/n/proxy/healthz", true).await, (200, "/healthz".into()));
    assert_eq!(fixture.get(&format!("{PODS}/p/exec?command=sh"), true).await.0, 400, "no upgrade asked for");
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exec_passes_bytes_both_ways() {
    let fixture = fixture().await;
    let mut io = fixture.connect(true).await;
    let head = format!(
        "POST {PODS}/p/exec?command=sh&stdin=true HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nContent-Length: 0\r\n\r\n"
    );
    let talk = async {
        io.write_all(head.as_bytes()).await.expect("written");
        let mut seen = Vec::new();
        while !seen.ends_with(b"command=sh\n") {
            seen.push(io.read_u8().await.expect("a byte"));
        }
        let seen = String::from_utf8_lossy(&seen).into_owned();
        assert!(seen.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{seen}");
        assert!(seen.ends_with("/exec/default/p/c?input=1&command=sh\n"), "{seen}");
        io.write_all(b"ping").await.expect("written");
        let mut word = [0; 4];
        io.read_exact(&mut word).await.expect("read");
        assert_eq!(&word, b"ping");
    };
    tokio::time::timeout(Duration::from_secs(30), talk).await.expect("in time");
    drop(io);
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exec_passes_bytes_over_http_2() {
    let fixture = fixture().await;
    let io = TokioIo::new(fixture.connect_by(true, "h2").await);
    let talk = async {
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.expect("a connection");
        fixture.scope.spawn("client", async move {
            let _ = connection.await;
        });
        let body = Full::<bytes::Bytes>::default;
        let request = Request::builder().uri("https://x/livez").body(body()).expect("a request");
        // The answer comes after the server's settings, which say that it knows the extended CONNECT.
        assert_eq!(sender.send_request(request).await.expect("an answer").status(), 200);
        let mut request = Request::builder()
            .method("CONNECT")
            .uri(format!("https://x{PODS}/p/exec?command=sh&stdin=true"))
            .body(body())
            .expect("a request");
        request.extensions_mut().insert(hyper::ext::Protocol::from_static("websocket"));
        let response = sender.send_request(request).await.expect("an answer");
        assert_eq!(response.status(), 200);
        let mut io = TokioIo::new(hyper::upgrade::on(response).await.expect("a tunnel"));
        let mut seen = Vec::new();
        while !seen.ends_with(b"\n") {
            seen.push(io.read_u8().await.expect("a byte"));
        }
        assert_eq!(String::from_utf8_lossy(&seen), "/exec/default/p/c?input=1&command=sh\n");
        io.write_all(b"ping").await.expect("written");
        let mut word = [0; 4];
        io.read_exact(&mut word).await.expect("read");
        assert_eq!(&word, b"ping");
    };
    tokio::time::timeout(Duration::from_secs(30), talk).await.expect("in time");
    fixture.end().await;
}
