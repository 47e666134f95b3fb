//! [`TestServer`]: the other side, for tests: HTTPS on a free port of this machine, answers from a closure.

use std::net::Ipv4Addr;
use std::sync::Arc;

use base64::Engine;
use bytes::Bytes;
use component_base::Scope;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, KeyPair};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;

/// A request as the server saw it.
#[derive(Debug)]
pub struct Seen {
    /// The path.
    pub path: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, where it is JSON.
    pub body: Value,
}

/// What is answered: a status code and JSON.
pub type Answer = (u16, Value);

/// See the module. It ends with its scope.
#[derive(Clone, Debug)]
pub struct TestServer {
    /// `https://127.0.0.1:<port>`.
    pub url: String,
    /// Its certificate, in PEM.
    pub ca_pem: String,
}

impl TestServer {
    /// Starts a server; `answer` is told the server's own URL too.
    ///
    /// # Panics
    /// When the machine gives no port.
    pub async fn start(scope: &Scope, answer: impl Fn(&str, Seen) -> Answer + Send + Sync + 'static) -> Self {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("a name");
        let certificate = params.self_signed(&key).expect("a certificate");
        let tls = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
            )
            .expect("a key that fits");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let url = format!("https://{}", listener.local_addr().expect("an address"));
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let answer: Arc<Answering> = Arc::new({
            let url = url.clone();
            move |seen| answer(&url, seen)
        });
        let tasks = scope.clone();
        scope.spawn("test-server", async move {
            while let Ok((stream, _)) = listener.accept().await {
                tasks.spawn("test-connection", connection(acceptor.clone(), stream, answer.clone()));
            }
        });
        Self { url, ca_pem: certificate.pem() }
    }

    /// A kubeconfig file that names this server (with `path` appended) and a bearer token.
    pub fn kubeconfig(&self, path: &str) -> String {
        let ca = base64::engine::general_purpose::STANDARD.encode(&self.ca_pem);
        format!(
            "clusters: [{{name: hook, cluster: {{server: '{}{path}', certificate-authority-data: {ca}}}}}]\n\
             users: [{{name: api, user: {{token: shared-secret}}}}]\n\
             contexts: [{{name: hook, context: {{cluster: hook, user: api}}}}]\n\
             current-context: hook\n",
            self.url
        )
    }
}

type Answering = dyn Fn(Seen) -> Answer + Send + Sync;

async fn connection(acceptor: TlsAcceptor, stream: TcpStream, answer: Arc<Answering>) {
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let service = service_fn(move |request: Request<Incoming>| {
        let answer = answer.clone();
        async move {
            let (parts, body) = request.into_parts();
            let bytes = body.collect().await?.to_bytes();
            let body = serde_json::from_slice(&bytes).unwrap_or_default();
            let (code, value) = answer(Seen { path: parts.uri.path().to_owned(), headers: parts.headers, body });
            let mut response = Response::new(Full::new(Bytes::from(value.to_string())));
            *response.status_mut() = http::StatusCode::from_u16(code).unwrap_or_default();
            Ok::<_, hyper::Error>(response)
        }
    });
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}
