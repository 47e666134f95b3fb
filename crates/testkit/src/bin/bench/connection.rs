//! One HTTP/2 connection with a client certificate: as little as a client can be, for it shares the machine's cores.

use std::sync::Arc;

use base64::Engine as _;
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use kube::config::Kubeconfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::Value;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};

/// Where the server is and how to be believed.
pub struct Dialer {
    address: String,
    tls: TlsConnector,
}

impl Dialer {
    /// From a kubeconfig with embedded certificates.
    pub fn new(kubeconfig: &Kubeconfig) -> Self {
        let kubeconfig = serde_json::to_value(kubeconfig).expect("JSON");
        let (cluster, user) = (&kubeconfig["clusters"][0]["cluster"], &kubeconfig["users"][0]["user"]);
        let decode = |data: &Value| {
            base64::engine::general_purpose::STANDARD.decode(data.as_str().expect("embedded data")).expect("base64")
        };
        let ca = decode(&cluster["certificate-authority-data"]);
        let certificate = decode(&user["client-certificate-data"]);
        let key = decode(&user["client-key-data"]);
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(&ca).expect("PEM")).expect("a certificate");
        let mut tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_client_auth_cert(
                vec![CertificateDer::from_pem_slice(&certificate).expect("PEM")],
                PrivateKeyDer::from_pem_slice(&key).expect("PEM"),
            )
            .expect("a client certificate");
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let server = cluster["server"].as_str().expect("an address");
        let address = server.trim_start_matches("https://").to_owned();
        Self { address, tls: TlsConnector::from(Arc::new(tls)) }
    }

    /// A new connection.
    pub async fn dial(&self) -> Connection {
        let stream = tokio::net::TcpStream::connect(&self.address).await.expect("the server listens");
        stream.set_nodelay(true).expect("a socket");
        let name = ServerName::try_from("127.0.0.1").expect("an address");
        let stream = self.tls.connect(name, stream).await.expect("TLS");
        // Windows as Go's client has them.
        let (sender, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(4 << 20)
            .initial_connection_window_size(1 << 30)
            .handshake(TokioIo::new(stream))
            .await
            .expect("HTTP/2");
        tokio::spawn(connection);
        Connection { sender }
    }
}

/// One connection; clones share it.
#[derive(Clone)]
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
}

impl Connection {
    /// Sends a request and answers the head of a success.
    pub async fn open(&mut self, method: &Method, path: &str, kind: &str, body: Bytes) -> Response<Incoming> {
        let request = Request::builder()
            .method(method)
            .uri(format!("https://127.0.0.1{path}"))
            .header("content-type", kind)
            .header("accept", "application/json")
            .body(Full::new(body))
            .expect("a request");
        self.sender.ready().await.expect("the connection stands");
        let response = self.sender.send_request(request).await.expect("an answer");
        if !response.status().is_success() {
            let status = response.status();
            let body = response.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
            panic!("{method} {path}: {status} {}", String::from_utf8_lossy(&body));
        }
        response
    }

    /// Sends a request and answers how many bytes came back.
    pub async fn call(&mut self, method: &Method, path: &str, kind: &str, body: Bytes) -> usize {
        let mut body = self.open(method, path, kind, body).await.into_body();
        let mut size = 0;
        while let Some(frame) = body.frame().await {
            size += frame.expect("a whole answer").data_ref().map_or(0, Bytes::len);
        }
        size
    }
}
