//! [`Client`]: JSON to one server and back, with a deadline and a limit on what is read.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, InvalidHeaderValue};
use http::{HeaderValue, Method, Request, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls_pki_types::ServerName;
use serde_json::Value;

use crate::kubeconfig::Endpoint;
use crate::trust::TrustError;

/// The largest answer that is read.
const MAX_ANSWER_BYTES: usize = 4 * 1024 * 1024;

/// How often a call that failed in passing is tried, and the delay before the second try
/// (upstream: `DefaultRetryBackoffWithInitialDelay`: factor 1.5, five steps).
const STEPS: u32 = 5;
const FIRST_DELAY: Duration = Duration::from_millis(500);

/// Why a client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The URL is none.
    #[error("{url:?} is no URL: {cause}")]
    Url {
        /// The URL.
        url: String,
        /// What is wrong with it.
        cause: String,
    },
    /// The certificates cannot be used.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The credentials cannot be sent.
    #[error("the credentials cannot be sent in a header")]
    Authorization,
}

/// Why a call brought no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Nobody answered in time.
    #[error("{0}: context deadline exceeded")]
    Timeout(String),
    /// The connection failed.
    #[error("{url}: {cause}")]
    Connection {
        /// The URL.
        url: String,
        /// What went wrong, with its causes.
        cause: String,
    },
    /// The answer says that it failed.
    #[error("{url}: the server answered {code}: {text}")]
    Refused {
        /// The URL.
        url: String,
        /// The status code.
        code: u16,
        /// The beginning of the body.
        text: String,
    },
    /// The answer is no JSON.
    #[error("{url}: the answer cannot be read: {cause}")]
    Unreadable {
        /// The URL.
        url: String,
        /// What is wrong with it.
        cause: String,
    },
}

impl CallError {
    /// Whether another try may help (upstream: `webhook.DefaultShouldRetry`).
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Connection { .. } => true,
            Self::Refused { code, .. } => matches!(code, 429 | 500 | 502 | 503 | 504),
            Self::Timeout(_) | Self::Unreadable { .. } => false,
        }
    }
}

/// Speaks to one server. Cheap to clone; connections are kept and shared.
#[derive(Clone, Debug)]
pub struct Client {
    http: HyperClient<HttpsConnector<HttpConnector>, Full<Bytes>>,
    url: String,
    authorization: Option<HeaderValue>,
}

impl Client {
    /// A client of this server.
    pub fn new(endpoint: &Endpoint) -> Result<Self, BuildError> {
        let broken = |cause: String| BuildError::Url { url: endpoint.server.clone(), cause };
        endpoint.server.parse::<Uri>().map_err(|cause| broken(cause.to_string()))?;
        let authorization = endpoint.authorization.as_deref().map(HeaderValue::from_str).transpose();
        let mut authorization = authorization.map_err(|_| BuildError::Authorization)?;
        if let Some(value) = &mut authorization {
            value.set_sensitive(true);
        }
        let mut builder = HttpsConnectorBuilder::new().with_tls_config(endpoint.trust.config()?).https_or_http();
        if let Some(name) = &endpoint.server_name {
            let name = ServerName::try_from(name.clone()).map_err(|cause| broken(cause.to_string()))?;
            builder = builder.with_server_name_resolver(FixedServerNameResolver::new(name));
        }
        let connector = builder.enable_http1().enable_http2().build();
        let http = HyperClient::builder(TokioExecutor::new()).build(connector);
        Ok(Self { http, url: endpoint.server.clone(), authorization })
    }

    /// The server's URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Posts JSON to the server's URL and reads the JSON it answers.
    pub async fn post(&self, body: &Value, timeout: Duration) -> Result<Value, CallError> {
        let bytes = self.send(Method::POST, &self.url, self.authorization.clone(), body.to_string().into(), timeout);
        let bytes = bytes.await?;
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&bytes)
            .map_err(|cause| CallError::Unreadable { url: self.url.clone(), cause: cause.to_string() })
    }

    /// [`Self::post`], tried again with growing delays while the failure may pass.
    pub async fn post_patiently(&self, body: &Value, timeout: Duration) -> Result<Value, CallError> {
        self.post_patiently_from(body, timeout, FIRST_DELAY).await
    }

    /// [`Self::post_patiently`] with another delay before the second try.
    pub async fn post_patiently_from(
        &self,
        body: &Value,
        timeout: Duration,
        first_delay: Duration,
    ) -> Result<Value, CallError> {
        let mut delay = first_delay;
        for _ in 1..STEPS {
            match self.post(body, timeout).await {
                Err(error) if error.is_passing() => {}
                answered => return answered,
            }
            tokio::time::sleep(delay).await;
            delay = delay.mul_f32(1.5);
        }
        self.post(body, timeout).await
    }

    /// Reads a document of the server; the URL may be of another host.
    pub async fn get(&self, url: &str, timeout: Duration) -> Result<Bytes, CallError> {
        self.send(Method::GET, url, self.authorization.clone(), Bytes::new(), timeout).await
    }

    /// Reads a document with a bearer token of its own, or with none.
    pub async fn get_as(&self, url: &str, bearer: Option<&str>, timeout: Duration) -> Result<Bytes, CallError> {
        let wrong = |cause: InvalidHeaderValue| CallError::Connection { url: url.to_owned(), cause: cause.to_string() };
        let header =
            bearer.map(|token| HeaderValue::from_str(&format!("Bearer {token}"))).transpose().map_err(wrong)?;
        self.send(Method::GET, url, header, Bytes::new(), timeout).await
    }

    async fn send(
        &self,
        method: Method,
        url: &str,
        authorization: Option<HeaderValue>,
        body: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, CallError> {
        let failed = |cause: &dyn std::error::Error| CallError::Connection { url: url.to_owned(), cause: chain(cause) };
        let mut request = Request::builder().method(&method).uri(url).header(ACCEPT, "application/json");
        if method == Method::POST {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let request = request.body(Full::new(body)).map_err(|cause| failed(&cause))?;
        let exchange = async {
            let response = self.http.request(request).await.map_err(|cause| failed(&cause))?;
            let code = response.status();
            let bytes = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await;
            let bytes = bytes.map_err(|cause| failed(&*cause))?.to_bytes();
            if code.is_success() {
                return Ok(bytes);
            }
            let text = String::from_utf8_lossy(&bytes).chars().take(256).collect();
            Err(CallError::Refused { url: url.to_owned(), code: code.as_u16(), text })
        };
        tokio::time::timeout(timeout, exchange).await.map_err(|_| CallError::Timeout(url.to_owned()))?
    }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
