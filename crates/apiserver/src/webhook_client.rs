//! Asking webhooks: HTTPS to an address or to a Service of the cluster
//! (upstream: apiserver/pkg/util/webhook/client.go).

use std::sync::Arc;
use std::time::Duration;

use api::custom::ServiceReference;
use apimachinery::StatusError;
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};

use crate::registry::Registry;
use crate::serve::{TlsError, certificates};
use crate::server::ApiServer;

/// The most bytes that an answer may have.
const LARGEST_ANSWER: usize = 16 * 1024 * 1024;

/// Who is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target<'t> {
    pub(crate) url: Option<&'t str>,
    pub(crate) service: Option<&'t ServiceReference>,
    /// The CA of its certificate, in PEM.
    pub(crate) ca_bundle: &'t [u8],
    pub(crate) timeout: Duration,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WebhookError {
    /// Neither an address nor a Service, or an address that is none.
    #[error("the webhook's address {0:?} is not valid")]
    Address(String),
    /// The Service cannot be reached under an address.
    #[error("{0}")]
    Service(#[source] StatusError),
    /// Nobody says whose certificates to trust.
    #[error("the webhook has no CA bundle")]
    NoAuthority,
    /// The CA bundle is no good.
    #[error(transparent)]
    Authority(#[from] TlsError),
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
    /// No connection.
    #[error("Post {url:?}: {cause}")]
    Connect {
        url: String,
        #[source]
        cause: std::io::Error,
    },
    /// The connection broke.
    #[error("Post {url:?}: {cause}")]
    Http {
        url: String,
        #[source]
        cause: hyper::Error,
    },
    /// It took too long.
    #[error("Post {url:?}: context deadline exceeded")]
    Timeout { url: String },
    /// Another answer than 200.
    #[error("the server answered {0}")]
    Code(StatusCode),
    /// The answer is too large or broke off.
    #[error("read the answer: {0}")]
    Body(String),
    /// The answer is no JSON.
    #[error("the answer is no JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// Where a webhook is, ready to connect.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    /// Where to connect to.
    host: String,
    port: u16,
    /// What the certificate is for.
    name: String,
    path: String,
}

impl Place {
    fn url(&self) -> String {
        format!("https://{}:{}{}", self.name, self.port, self.path)
    }
}

/// Posts a review and reads the answer.
pub(crate) async fn post(server: &ApiServer, target: &Target<'_>, review: &Value) -> Result<Value, WebhookError> {
    let place = place(&server.registry, target).await?;
    match tokio::time::timeout(target.timeout, exchange(server, &place, target.ca_bundle, review)).await {
        Ok(answer) => answer,
        Err(_) => Err(WebhookError::Timeout { url: place.url() }),
    }
}

async fn place(registry: &Registry, target: &Target<'_>) -> Result<Place, WebhookError> {
    if let Some(service) = target.service {
        let row = registry.row("", "v1", "services").map_err(WebhookError::Service)?;
        let found = registry.find(&row, &service.namespace, &service.name).await.map_err(WebhookError::Service)?;
        let found = found.ok_or_else(|| WebhookError::Service(row.not_found(&service.name)))?;
        let host = match found.str_at(&["spec", "type"]) {
            Some("ExternalName") => found.str_at(&["spec", "externalName"]),
            _ => found.str_at(&["spec", "clusterIP"]).filter(|address| *address != "None"),
        };
        let host = host.ok_or_else(|| {
            let words = format!("no endpoints available for service {:?}", service.name);
            WebhookError::Service(StatusError::unavailable(words))
        })?;
        let path = if service.path.is_empty() { "/" } else { &service.path };
        return Ok(Place {
            host: host.to_owned(),
            port: service.port,
            name: format!("{}.{}.svc", service.name, service.namespace),
            path: path.to_owned(),
        });
    }
    let url = target.url.unwrap_or_default();
    of_url(url).ok_or_else(|| WebhookError::Address(url.to_owned()))
}

fn of_url(url: &str) -> Option<Place> {
    let uri: http::Uri = url.parse().ok()?;
    let name = uri.host()?.trim_matches(['[', ']']).to_owned();
    let path = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str).to_owned();
    (uri.scheme_str() == Some("https")).then(|| Place {
        host: name.clone(),
        port: uri.port_u16().unwrap_or(443),
        name,
        path,
    })
}

async fn exchange(server: &ApiServer, place: &Place, ca: &[u8], review: &Value) -> Result<Value, WebhookError> {
    let tls = TlsConnector::from(Arc::new(trusting(ca)?));
    let name = ServerName::try_from(place.name.clone()).map_err(|_| WebhookError::Address(place.url()))?;
    let connect = async {
        let stream = TcpStream::connect((place.host.as_str(), place.port)).await?;
        stream.set_nodelay(true)?;
        tls.connect(name, stream).await
    };
    let stream = connect.await.map_err(|cause| WebhookError::Connect { url: place.url(), cause })?;
    let broken = |cause| WebhookError::Http { url: place.url(), cause };
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    server.scope.spawn("apiserver/webhook", async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "connection to a webhook");
        }
    });
    let mut request = Request::post(&place.path)
        .header(header::HOST, format!("{}:{}", place.name, place.port))
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, "application/json")
        .header(header::USER_AGENT, "kube-apiserver-admission")
        .body(Full::new(Bytes::from(review.to_string())))
        .map_err(|_| WebhookError::Address(place.url()))?;
    request.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
    let response = sender.send_request(request).await.map_err(broken)?;
    if response.status() != StatusCode::OK {
        return Err(WebhookError::Code(response.status()));
    }
    let body = Limited::new(response.into_body(), LARGEST_ANSWER).collect().await;
    let body = body.map_err(|error| WebhookError::Body(error.to_string()))?.to_bytes();
    Ok(serde_json::from_slice(&body)?)
}

/// TLS that trusts this CA alone.
fn trusting(ca: &[u8]) -> Result<ClientConfig, WebhookError> {
    if ca.is_empty() {
        return Err(WebhookError::NoAuthority);
    }
    let mut roots = RootCertStore::empty();
    for certificate in certificates("webhook CA", &String::from_utf8_lossy(ca))? {
        roots.add(certificate)?;
    }
    let mut tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(tls)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_https() {
        let place = of_url("https://hooks.example.com:8443/convert?a=b").expect("an address");
        assert_eq!((place.host.as_str(), place.port, place.path.as_str()), ("hooks.example.com", 8443, "/convert?a=b"));
        assert_eq!(place.url(), "https://hooks.example.com:8443/convert?a=b");
        assert_eq!(of_url("https://[::1]").expect("an address").host, "::1");
        for bad in ["http://a", "", "https://", "a b"] {
            assert_eq!(of_url(bad), None, "{bad:?}");
        }
    }
}
