//! HTTP requests of probes and hooks (upstream: pkg/probe/http).

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONNECTION, HOST, HeaderName, HeaderValue, LOCATION, USER_AGENT};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::HTTPGetAction;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{self, ClientConfig, DigitallySignedStruct, SignatureScheme};

use super::{ConnectError, MAX_BODY, connect};
use crate::pod::machine::ProbeOutcome;

const MAX_REDIRECTS: usize = 10;

/// What to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Over TLS (whose certificate is not verified).
    pub https: bool,
    /// Host to connect to.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Path and query.
    pub path: String,
    /// Further headers.
    pub headers: Vec<(String, String)>,
}

/// What was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Where it sends us, when it does.
    pub location: Option<String>,
    /// The beginning of the body.
    pub body: Vec<u8>,
}

impl Request {
    /// The request of an action, to the pod unless the action names a host.
    pub fn new(action: &HTTPGetAction, pod_ip: &str, port: u16) -> Self {
        let path = action.path.as_deref().unwrap_or_default();
        let host = action.host.as_deref().filter(|host| !host.is_empty()).unwrap_or(pod_ip);
        let headers = action.http_headers.iter().flatten();
        Self {
            https: action.scheme.as_deref().is_some_and(|scheme| scheme.eq_ignore_ascii_case("https")),
            host: host.to_owned(),
            port,
            path: if path.starts_with('/') { path.to_owned() } else { format!("/{path}") },
            headers: headers.map(|header| (header.name.clone(), header.value.clone())).collect(),
        }
    }

    fn url(&self) -> String {
        let scheme = if self.https { "https" } else { "http" };
        format!("{scheme}://{}{}", self.authority(), self.path)
    }

    fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// The request a redirect leads to; `None` when it leads to another host, which probes do not follow.
    fn redirected(&self, location: &str) -> Option<Self> {
        if location.starts_with('/') && !location.starts_with("//") {
            return Some(Self { path: location.to_owned(), ..self.clone() });
        }
        let uri: http::Uri = location.parse().ok()?;
        let host = uri.host()?.trim_matches(['[', ']']);
        if host != self.host {
            return None;
        }
        let https = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if https { 443 } else { 80 });
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        Some(Self { https, port, path, ..self.clone() })
    }
}

/// Probes: 200 to 399 is well; redirects to the same host are followed.
pub async fn probe(request: &Request, limit: Duration) -> ProbeOutcome {
    let mut request = request.clone();
    let first = request.url();
    for _ in 0..=MAX_REDIRECTS {
        let answer = match send(&request, limit).await {
            Ok(answer) => answer,
            Err(err) => {
                let message = format!("Get {first:?}: {}", err.message);
                return ProbeOutcome::Failure { message, refused: err.refused };
            }
        };
        let next = answer.location.as_deref().filter(|_| (300..400).contains(&answer.status));
        match next.map(|location| request.redirected(location)) {
            Some(Some(next)) => request = next,
            // Elsewhere is not asked: the redirect itself counts as well.
            Some(None) => return ProbeOutcome::Success,
            None if (200..400).contains(&answer.status) => return ProbeOutcome::Success,
            None => {
                let message = format!("HTTP probe failed with statuscode: {}", answer.status);
                return ProbeOutcome::Failure { message, refused: false };
            }
        }
    }
    ProbeOutcome::Failure { message: format!("Get {first:?}: stopped after 10 redirects"), refused: false }
}

/// Sends one request and reads the beginning of its answer, all within `limit`.
pub async fn send(request: &Request, limit: Duration) -> Result<Answer, ConnectError> {
    match tokio::time::timeout(limit, exchange(request, limit)).await {
        Ok(result) => result,
        Err(_) => Err(other("context deadline exceeded (Client.Timeout exceeded while awaiting headers)")),
    }
}

impl std::fmt::Display for ConnectError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

fn other(cause: impl ToString) -> ConnectError {
    ConnectError { message: cause.to_string(), refused: false }
}

async fn exchange(request: &Request, limit: Duration) -> Result<Answer, ConnectError> {
    let stream = connect(&request.host, request.port, limit).await?;
    if !request.https {
        return talk(request, stream).await;
    }
    let name = ServerName::try_from(request.host.clone()).map_err(other)?;
    let stream = TlsConnector::from(trusting()?).connect(name, stream).await.map_err(other)?;
    talk(request, stream).await
}

async fn talk<S>(request: &Request, stream: S) -> Result<Answer, ConnectError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(other)?;
    let message = build(request)?;
    let conversation = async {
        let response = sender.send_request(message).await.map_err(other)?;
        let status = response.status().as_u16();
        let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok()).map(str::to_owned);
        // What is too long is cut off: only the status counts.
        let body = Limited::new(response.into_body(), MAX_BODY).collect().await;
        let body = body.map(|whole| whole.to_bytes().to_vec()).unwrap_or_default();
        Ok(Answer { status, location, body })
    };
    tokio::pin!(conversation);
    tokio::pin!(connection);
    tokio::select! {
        answer = &mut conversation => answer,
        // The connection may end with the answer still to be read.
        ended = &mut connection => {
            ended.map_err(other)?;
            conversation.await
        }
    }
}

fn build(request: &Request) -> Result<http::Request<Empty<Bytes>>, ConnectError> {
    let mut message = http::Request::new(Empty::new());
    *message.uri_mut() = request.path.parse().map_err(other)?;
    let headers = message.headers_mut();
    headers.insert(HOST, HeaderValue::from_str(&request.authority()).map_err(other)?);
    headers.insert(USER_AGENT, HeaderValue::from_static("kube-probe/1.37"));
    headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    for (name, value) in &request.headers {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(other)?;
        let value = HeaderValue::from_str(value).map_err(other)?;
        // Host is replaced, and an empty Accept or User-Agent leaves the header out, as upstream.
        if value.is_empty() && matches!(name, ACCEPT | USER_AGENT) {
            headers.remove(&name);
        } else if matches!(name, HOST | ACCEPT | USER_AGENT) {
            headers.insert(name, value);
        } else {
            headers.append(name, value);
        }
    }
    Ok(message)
}

/// TLS that takes any certificate: a probe asks whether the server lives, not who it is.
fn trusting() -> Result<Arc<ClientConfig>, ConnectError> {
    static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    if let Some(config) = CONFIG.get() {
        return Ok(config.clone());
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate))
        .with_no_client_auth();
    Ok(CONFIG.get_or_init(|| Arc::new(config)).clone())
}

#[derive(Debug)]
struct AnyCertificate;

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    fn request(action: serde_json::Value) -> Request {
        Request::new(&serde_json::from_value(action).expect("an action"), "10.0.0.1", 80)
    }

    #[test]
    fn redirects_are_followed_on_the_same_host_only() {
        let request = request(json!({"path": "healthz", "port": 80}));
        assert_eq!(request.url(), "http://10.0.0.1:80/healthz");
        for (location, expected) in [
            ("/ok", Some("http://10.0.0.1:80/ok")),
            ("https://10.0.0.1:444/x?y", Some("https://10.0.0.1:444/x?y")),
            ("http://10.0.0.1/", Some("http://10.0.0.1:80/")),
            ("http://elsewhere/", None),
            ("//elsewhere/", None),
            ("no uri at all \u{7f}", None),
        ] {
            assert_eq!(request.redirected(location).map(|next| next.url()).as_deref(), expected, "{location}");
        }
    }

    #[tokio::test]
    async fn headers_are_sent_and_the_answer_is_read() {
        let headers =
            json!([{"name": "X-A", "value": "1"}, {"name": "Host", "value": "h"}, {"name": "Accept", "value": ""}]);
        let request = request(json!({"path": "/p", "port": 80, "httpHeaders": headers}));
        let (near, mut far) = tokio::io::duplex(4096);
        let server = async {
            let mut seen = Vec::new();
            while !seen.ends_with(b"\r\n\r\n") {
                seen.push(far.read_u8().await.expect("a request"));
            }
            far.write_all(b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy").await.expect("written");
            String::from_utf8(seen).expect("text").to_lowercase()
        };
        let (answer, seen) = tokio::join!(talk(&request, near), server);
        let answer = answer.expect("an answer");
        assert_eq!((answer.status, answer.body.as_slice()), (503, &b"busy"[..]));
        assert!(seen.starts_with("get /p http/1.1\r\n"), "{seen}");
        assert!(seen.contains("x-a: 1\r\n") && seen.contains("host: h\r\n"), "{seen}");
        assert!(seen.contains("user-agent: kube-probe/1.37\r\n") && !seen.contains("accept:"), "{seen}");
    }
}
