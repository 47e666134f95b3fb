//! [`Client`]: HTTPS to one webhook, over connections that are kept for the next call
//! (upstream: apiserver/pkg/util/webhook/client.go).

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use api::Resource;
use apimachinery::Object;
use apimachinery::json::Read;
use bytes::Bytes;
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::hooks::Target;
use crate::server::ApiServer;

/// So many idle connections are kept to a webhook.
const MAX_IDLE: usize = 16;

/// No answer is larger: an object at its limit, encoded twice.
const MAX_ANSWER_BYTES: usize = 8 * 1024 * 1024;

/// Where the system keeps the authorities it trusts.
const SYSTEM_ROOTS: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

type Sender = SendRequest<Full<Bytes>>;

/// See the module.
pub(super) struct Client {
    target: Target,
    ca_bundle: Vec<u8>,
    tls: OnceLock<Result<Arc<ClientConfig>, String>>,
    idle: Mutex<Vec<Sender>>,
}

/// Where to connect and what to ask there.
struct Endpoint {
    /// `host:port` to connect to; where it is a Service, that of its cluster IP.
    address: (String, u16),
    /// The name that the certificate must have.
    server_name: String,
    /// `host:port`, as URLs name it.
    authority: String,
    path_and_query: String,
}

impl Client {
    pub(super) fn new(target: Target, ca_bundle: Vec<u8>) -> Self {
        Self { target, ca_bundle, tls: OnceLock::new(), idle: Mutex::default() }
    }

    /// Posts JSON and reads the JSON that is answered, all within a time; errors are told in Go's words.
    pub(super) async fn post(&self, server: &Arc<ApiServer>, body: Bytes, timeout: Duration) -> Result<Value, String> {
        let endpoint = self.endpoint(timeout)?;
        let url = format!("https://{}{}", endpoint.authority, endpoint.path_and_query);
        match tokio::time::timeout(timeout, self.exchange(server, &endpoint, body)).await {
            Ok(Ok((status, bytes))) => decode(status, &bytes),
            Ok(Err(error)) => Err(format!("Post {url:?}: {error}")),
            Err(_) => Err(format!("Post {url:?}: context deadline exceeded")),
        }
    }

    fn endpoint(&self, timeout: Duration) -> Result<Endpoint, String> {
        let query = format!("timeout={}s", timeout.as_secs());
        match &self.target {
            Target::Service { namespace, name, path, port } => {
                let server_name = format!("{name}.{namespace}.svc");
                let path = if path.is_empty() { "/" } else { path };
                Ok(Endpoint {
                    address: (String::new(), *port),
                    authority: format!("{server_name}:{port}"),
                    path_and_query: format!("{path}?{query}"),
                    server_name,
                })
            }
            Target::Url(url) if url.is_empty() => Err("webhook configuration must have either service or URL".into()),
            Target::Url(url) => {
                let uri: Uri = url.parse().map_err(|error| format!("Unparsable URL: {error}"))?;
                let host = uri.host().unwrap_or_default();
                let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
                Ok(Endpoint {
                    address: (bare.clone(), uri.port_u16().unwrap_or(443)),
                    server_name: bare,
                    authority: uri.authority().map(ToString::to_string).unwrap_or_default(),
                    path_and_query: format!("{}?{query}", uri.path()),
                })
            }
        }
    }

    async fn exchange(
        &self,
        server: &Arc<ApiServer>,
        endpoint: &Endpoint,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), String> {
        let kept = self.idle.lock().pop();
        if let Some(mut sender) = kept.filter(|sender| !sender.is_closed()) {
            // The other end may have closed it just now: then a new connection gets its turn.
            if sender.ready().await.is_ok()
                && let Ok(answer) = self.send(sender, endpoint, body.clone()).await
            {
                return Ok(answer);
            }
        }
        let sender = self.connect(server, endpoint).await?;
        self.send(sender, endpoint, body).await
    }

    async fn send(&self, mut sender: Sender, endpoint: &Endpoint, body: Bytes) -> Result<(StatusCode, Bytes), String> {
        let request = Request::post(&endpoint.path_and_query)
            .header(header::HOST, &endpoint.authority)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json, */*")
            .header(header::USER_AGENT, "kube-apiserver-admission")
            .body(Full::new(body))
            .map_err(|error| error.to_string())?;
        let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let status = response.status();
        let bytes = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await;
        let bytes = bytes.map_err(|error| error.to_string())?.to_bytes();
        let mut idle = self.idle.lock();
        if idle.len() < MAX_IDLE {
            idle.push(sender);
        }
        Ok((status, bytes))
    }

    async fn connect(&self, server: &Arc<ApiServer>, endpoint: &Endpoint) -> Result<Sender, String> {
        let (host, port) = match &self.target {
            Target::Service { namespace, name, port, .. } => resolve(server, namespace, name, *port).await?,
            Target::Url(_) => endpoint.address.clone(),
        };
        let dialing = |error: std::io::Error| {
            let cause = match error.kind() {
                std::io::ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
                _ => error.to_string(),
            };
            format!("dial tcp {host}:{port}: {cause}")
        };
        let stream = TcpStream::connect((host.as_str(), port)).await.map_err(dialing)?;
        stream.set_nodelay(true).map_err(dialing)?;
        let name = ServerName::try_from(endpoint.server_name.clone()).map_err(|error| error.to_string())?;
        let tls = TlsConnector::from(self.tls()?).connect(name, stream).await;
        let tls = tls.map_err(|error| format!("tls: failed to verify certificate: x509: {error}"))?;
        let (sender, connection) = http1::handshake(TokioIo::new(tls)).await.map_err(|error| error.to_string())?;
        server.scope.spawn("apiserver/webhook", async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection to a webhook");
            }
        });
        Ok(sender)
    }

    fn tls(&self) -> Result<Arc<ClientConfig>, String> {
        self.tls.get_or_init(|| tls_config(&self.ca_bundle)).clone()
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("target", &self.target).finish_non_exhaustive()
    }
}

/// Trusts the bundle's authorities, or without one the system's.
fn tls_config(ca_bundle: &[u8]) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    if ca_bundle.is_empty() {
        let bundle = SYSTEM_ROOTS.iter().find_map(|path| std::fs::read(path).ok()).unwrap_or_default();
        roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&bundle).flatten());
    } else {
        for certificate in CertificateDer::pem_slice_iter(ca_bundle) {
            let certificate = certificate.map_err(|error| format!("unable to load root certificates: {error}"))?;
            roots.add(certificate).map_err(|error| format!("unable to load root certificates: {error}"))?;
        }
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Address and port behind a Service (upstream: kube-aggregator's `ResolveCluster`).
async fn resolve(server: &ApiServer, namespace: &str, name: &str, port: u16) -> Result<(String, u16), String> {
    let registry = &server.registry;
    let row: Arc<Resource> = registry.row("", "v1", "services").map_err(|error| error.message)?;
    let service = registry.find(&row, namespace, name).await.map_err(|error| error.message)?;
    let service: Object = service.ok_or_else(|| format!("service {name:?} not found"))?;
    let spec = service.object("spec");
    match (spec.text("type"), spec.text("clusterIP")) {
        ("ExternalName", _) => Ok((spec.text("externalName").to_owned(), port)),
        ("ClusterIP" | "", "None" | "") => Err("cannot route to service with ClusterIP \"None\"".into()),
        (_, address) => {
            let known = spec.list("ports").iter().any(|one| one.int("port") == Some(i64::from(port)));
            let unknown = || format!("no service port {port} found for service {name:?}");
            if known { Ok((address.to_owned(), port)) } else { Err(unknown()) }
        }
    }
}

/// The JSON of a good answer; of another one what it says (upstream: rest.Request's `transformResponse`).
fn decode(status: StatusCode, bytes: &[u8]) -> Result<Value, String> {
    if status.is_success() {
        return serde_json::from_slice(bytes)
            .map_err(|error| format!("couldn't get version/kind; json parse error: {error}"));
    }
    if let Ok(value) = serde_json::from_slice::<Value>(bytes)
        && value.text("kind") == "Status"
    {
        return Err(value.text("message").to_owned());
    }
    let text: String = String::from_utf8_lossy(bytes).trim().chars().take(2048).collect();
    Err(match status.as_u16() {
        404 => "the server could not find the requested resource".into(),
        code if code >= 500 => {
            format!("an error on the server ({text:?}) has prevented the request from succeeding")
        }
        code => format!("the server responded with the status code {code} but did not return more information"),
    })
}
