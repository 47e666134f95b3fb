//! The client side of the OCI distribution protocol. Upstream: github.com/opencontainers/distribution-spec.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, LOCATION, RANGE, WWW_AUTHENTICATE};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use parking_lot::Mutex;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde::Deserialize;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};

use super::RegistryConfig;
use super::layout::{DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST};
use super::reference::Reference;
use crate::runtime::{Error, RegistryAuth};

const REDIRECTS: usize = 5;
const DOCUMENT_LIMIT: usize = 8 << 20;
/// How long a registry may take to answer or to send the next piece.
pub(super) const IDLE: Duration = Duration::from_secs(60);

/// Why a registry did not give what was asked for.
#[derive(Debug, thiserror::Error)]
pub(super) enum RegistryError {
    #[error("not found")]
    NotFound,
    #[error("{0}")]
    Unauthorized(String),
    #[error("unexpected status {status} from {url}{detail}")]
    Status { status: StatusCode, url: String, detail: String },
    #[error("{0}")]
    Transport(String),
    #[error("{0}")]
    Protocol(String),
}

impl RegistryError {
    /// Whether asking again may help.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            RegistryError::Transport(_) => true,
            RegistryError::Status { status, .. } => {
                status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS
            }
            _ => false,
        }
    }
}

/// Speaks to every registry of the node.
pub(super) struct Client {
    http: hyper_util::client::legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    plain_http: Vec<String>,
}

impl Client {
    pub(super) fn new(config: &RegistryConfig) -> Result<Self, Error> {
        let mut roots = RootCertStore::clone(&webhook::trust::system_roots());
        for file in &config.ca_files {
            let doing = || format!("reading the certificates of {}", file.display());
            for certificate in CertificateDer::pem_file_iter(file).map_err(|err| Error::failed(doing(), err))? {
                let certificate = certificate.map_err(|err| Error::failed(doing(), err))?;
                roots.add(certificate).map_err(|err| Error::failed(doing(), err))?;
            }
        }
        let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|err| Error::failed("setting up TLS", err))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(Duration::from_secs(30)));
        let https = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .enable_http2()
            .wrap_connector(tcp);
        let http = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
            .pool_idle_timeout(Duration::from_secs(10))
            .build(https);
        Ok(Self { http, plain_http: config.plain_http.clone() })
    }

    /// The repository of `reference`, asked with `auth`.
    pub(super) fn repository<'a>(&'a self, reference: &Reference, auth: Option<&'a RegistryAuth>) -> Repository<'a> {
        let host = if reference.host == "docker.io" { "registry-1.docker.io" } else { &reference.host };
        Repository {
            client: self,
            host: host.to_owned(),
            name: reference.repository.clone(),
            plain: AtomicBool::new(self.plain_http.iter().any(|plain| plain == host)),
            scope: format!("repository:{}:pull", reference.repository),
            auth,
            authorization: Mutex::new(None),
        }
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, RegistryError> {
        let url = request.uri().to_string();
        let transport = |cause: String| RegistryError::Transport(format!("{url}: {cause}"));
        match tokio::time::timeout(IDLE, self.http.request(request)).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(err)) => Err(transport(chain(&err))),
            Err(_) => Err(transport(format!("no answer within {} s", IDLE.as_secs()))),
        }
    }
}

/// Whether a host is this machine itself, where TLS guards nothing.
fn is_loopback(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name).trim_matches(['[', ']']);
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// An error with all its sources: hyper's own message says little.
fn chain(err: &dyn std::error::Error) -> String {
    let mut text = err.to_string();
    let mut source = err.source();
    while let Some(err) = source {
        text = format!("{text}: {err}");
        source = err.source();
    }
    text
}

/// One repository of one registry.
pub(super) struct Repository<'a> {
    client: &'a Client,
    host: String,
    name: String,
    /// Spoken to without TLS.
    plain: AtomicBool,
    scope: String,
    auth: Option<&'a RegistryAuth>,
    authorization: Mutex<Option<String>>,
}

impl Repository<'_> {
    /// A manifest or index by tag or digest.
    pub(super) async fn manifest(&self, selector: &str) -> Result<Bytes, RegistryError> {
        let accept = [OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST].join(", ");
        collect(self.get(&format!("manifests/{selector}"), &[(ACCEPT.as_str(), &accept)]).await?).await
    }

    /// A small blob, whole.
    pub(super) async fn blob(&self, digest: &str) -> Result<Bytes, RegistryError> {
        collect(self.get(&format!("blobs/{digest}"), &[]).await?).await
    }

    /// A blob from `offset` on. The answer's status tells whether the registry went there (206) or starts anew (200).
    pub(super) async fn blob_from(&self, digest: &str, offset: u64) -> Result<Response<Incoming>, RegistryError> {
        let range = format!("bytes={offset}-");
        let headers: &[(&str, &str)] = if offset > 0 { &[(RANGE.as_str(), &range)] } else { &[] };
        self.get(&format!("blobs/{digest}"), headers).await
    }

    /// A registry of this machine is tried by plain HTTP when it does not speak TLS, as Docker does.
    async fn get(&self, what: &str, headers: &[(&str, &str)]) -> Result<Response<Incoming>, RegistryError> {
        let url = |scheme| format!("{scheme}://{}/v2/{}/{what}", self.host, self.name);
        if self.plain.load(Ordering::Relaxed) {
            return self.get_url(&url("http"), headers).await;
        }
        match self.get_url(&url("https"), headers).await {
            Err(RegistryError::Transport(cause)) if is_loopback(&self.host) => {
                let answer = self.get_url(&url("http"), headers).await;
                match answer {
                    Err(RegistryError::Transport(_) | RegistryError::Status { .. }) => {
                        Err(RegistryError::Transport(cause))
                    }
                    answer => {
                        self.plain.store(true, Ordering::Relaxed);
                        answer
                    }
                }
            }
            answer => answer,
        }
    }

    async fn get_url(&self, url: &str, headers: &[(&str, &str)]) -> Result<Response<Incoming>, RegistryError> {
        let response = self.follow(url, headers).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return check(url, response).await;
        }
        self.authorize(response.headers()).await?;
        let response = self.follow(url, headers).await?;
        match response.status() {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(RegistryError::Unauthorized(
                "pull access denied, repository does not exist or may require authorization".to_owned(),
            )),
            _ => check(url, response).await,
        }
    }

    /// Goes where the registry sends us; the credentials stay with their host.
    async fn follow(&self, url: &str, headers: &[(&str, &str)]) -> Result<Response<Incoming>, RegistryError> {
        let first: Uri = url.parse().map_err(|_| RegistryError::Protocol(format!("{url:?} is not a URL")))?;
        let mut uri = first.clone();
        for _ in 0..=REDIRECTS {
            let mut request = Request::builder().method(Method::GET).uri(uri.clone());
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let authorization = self.authorization.lock().clone();
            if let Some(authorization) = authorization.filter(|_| uri.authority() == first.authority()) {
                request = request.header(AUTHORIZATION, authorization);
            }
            let request = request.body(Full::default()).map_err(|err| RegistryError::Protocol(err.to_string()))?;
            let response = self.client.send(request).await?;
            if !response.status().is_redirection() {
                return Ok(response);
            }
            let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
            uri = resolve(&uri, location)
                .ok_or_else(|| RegistryError::Protocol(format!("redirected to {location:?}, which is no URL")))?;
        }
        Err(RegistryError::Protocol(format!("{url} redirects more than {REDIRECTS} times")))
    }

    /// Answers the challenge of a 401: basic, or a token from the realm that it names.
    async fn authorize(&self, headers: &HeaderMap) -> Result<(), RegistryError> {
        let denied = |text: &str| RegistryError::Unauthorized(text.to_owned());
        let challenge = headers
            .get_all(WWW_AUTHENTICATE)
            .iter()
            .filter_map(|value| Challenge::parse(value.to_str().ok()?))
            .next()
            .ok_or_else(|| denied("the registry asks for credentials without saying which"))?;
        let authorization = if challenge.scheme.eq_ignore_ascii_case("bearer") {
            format!("Bearer {}", self.token(&challenge).await?)
        } else {
            self.basic().ok_or_else(|| denied("authorization failed: no basic auth credentials"))?
        };
        *self.authorization.lock() = Some(authorization);
        Ok(())
    }

    fn basic(&self) -> Option<String> {
        let auth = self.auth.filter(|auth| !auth.username.is_empty())?;
        Some(format!("Basic {}", STANDARD.encode(format!("{}:{}", auth.username, auth.password))))
    }

    async fn token(&self, challenge: &Challenge) -> Result<String, RegistryError> {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(default)]
            token: String,
            #[serde(default)]
            access_token: String,
        }
        let realm = challenge.parameters.get("realm").cloned().unwrap_or_default();
        let service = challenge.parameters.get("service").cloned().unwrap_or_default();
        let scope = challenge.parameters.get("scope").unwrap_or(&self.scope);
        let query = format!("service={}&scope={}", escape(&service), escape(scope));
        let identity = self.auth.map(|auth| auth.identity_token.as_str()).filter(|token| !token.is_empty());
        let request = match identity {
            Some(token) => {
                let form = format!("grant_type=refresh_token&client_id=kaji&refresh_token={}&{query}", escape(token));
                Request::post(&realm).header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(Full::from(form))
            }
            None => {
                let joint = if realm.contains('?') { '&' } else { '?' };
                let mut request = Request::get(format!("{realm}{joint}{query}"));
                if let Some(basic) = self.basic() {
                    request = request.header(AUTHORIZATION, basic);
                }
                request.body(Full::default())
            }
        };
        let request = request.map_err(|err| RegistryError::Protocol(format!("token realm {realm:?}: {err}")))?;
        let response = self.client.send(request).await?;
        if !response.status().is_success() {
            let status = response.status();
            return Err(RegistryError::Unauthorized(format!("failed to authorize: {realm} answered {status}")));
        }
        let answer: Answer = serde_json::from_slice(&collect(response).await?)
            .map_err(|err| RegistryError::Protocol(format!("token from {realm}: {err}")))?;
        Ok(if answer.token.is_empty() { answer.access_token } else { answer.token })
    }
}

async fn check(url: &str, response: Response<Incoming>) -> Result<Response<Incoming>, RegistryError> {
    match response.status() {
        status if status.is_success() => Ok(response),
        StatusCode::NOT_FOUND => Err(RegistryError::NotFound),
        status => {
            let body = collect(response).await.unwrap_or_default();
            let detail = String::from_utf8_lossy(&body[..body.len().min(300)]).trim().to_owned();
            let detail = if detail.is_empty() { detail } else { format!(": {detail}") };
            Err(RegistryError::Status { status, url: url.to_owned(), detail })
        }
    }
}

async fn collect(response: Response<Incoming>) -> Result<Bytes, RegistryError> {
    let body = Limited::new(response.into_body(), DOCUMENT_LIMIT).collect();
    match tokio::time::timeout(IDLE, body).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(err)) => Err(RegistryError::Transport(err.to_string())),
        Err(_) => Err(RegistryError::Transport(format!("nothing came for {} s", IDLE.as_secs()))),
    }
}

fn resolve(base: &Uri, location: &str) -> Option<Uri> {
    let target: Uri = location.parse().ok()?;
    if target.scheme().is_some() {
        return Some(target);
    }
    let mut parts = base.clone().into_parts();
    parts.path_and_query = Some(target.path_and_query()?.clone());
    Uri::from_parts(parts).ok()
}

/// `application/x-www-form-urlencoded`, for values.
fn escape(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, b| {
        match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(b)),
            _ => out.push_str(&format!("%{b:02X}")),
        }
        out
    })
}

/// A `WWW-Authenticate` header.
#[derive(Debug, PartialEq)]
struct Challenge {
    scheme: String,
    parameters: HashMap<String, String>,
}

impl Challenge {
    fn parse(header: &str) -> Option<Self> {
        let (scheme, mut rest) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
        if !scheme.eq_ignore_ascii_case("bearer") && !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let mut parameters = HashMap::new();
        while let Some((key, after)) = rest.trim_start_matches([' ', ',']).split_once('=') {
            let (value, after) = match after.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"')?,
                None => after.split_once(',').unwrap_or((after, "")),
            };
            parameters.insert(key.trim().to_ascii_lowercase(), value.to_owned());
            rest = after;
        }
        Some(Self { scheme: scheme.to_owned(), parameters })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_is_read() {
        let header =
            r#"Bearer realm="https://auth.example/token",service="registry.example",scope="repository:a/b:pull,push""#;
        let challenge = Challenge::parse(header).expect("a bearer challenge");
        assert_eq!(challenge.parameters["realm"], "https://auth.example/token");
        assert_eq!(challenge.parameters["scope"], "repository:a/b:pull,push");
        assert!(Challenge::parse("Negotiate").is_none());
        assert_eq!(Challenge::parse("Basic realm=x").expect("basic").parameters["realm"], "x");
    }

    #[test]
    fn loopback_is_told_from_the_world() {
        for (host, loopback) in [
            ("localhost:5000", true),
            ("127.0.0.1:5000", true),
            ("[::1]:5000", true),
            ("localhost", true),
            ("quay.io", false),
        ] {
            assert_eq!(is_loopback(host), loopback, "{host}");
        }
    }

    #[test]
    fn redirects_resolve_against_where_they_came_from() {
        let base: Uri = "https://a.example/v2/x".parse().expect("a URL");
        assert_eq!(resolve(&base, "/blob?x=1").expect("a path").to_string(), "https://a.example/blob?x=1");
        assert_eq!(resolve(&base, "http://cdn.example/b").expect("a URL").to_string(), "http://cdn.example/b");
    }
}
