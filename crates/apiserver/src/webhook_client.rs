//! [`HookClient`]: asks one webhook, of admission or of conversion, over connections that are kept for the next call
//! (upstream: apiserver/pkg/util/webhook/client.go).

use std::time::Duration;

use api::custom::{ConversionWebhook, ServiceReference};
use apimachinery::json::Read;
use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, StatusCode, Uri, header};
use serde_json::Value;
use webhook::Trust;

use crate::body;
use crate::connections::{Connections, Place, SendError, collect};
use crate::server::ApiServer;
use crate::service_resolver::ServicePort;

/// No answer is larger: a page of a list in another version.
const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;

/// Where a webhook is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// At a URL.
    Url(String),
    /// At a Service.
    Service(ServiceReference),
}

impl Target {
    /// Where the webhook of a conversion is.
    pub(crate) fn of_conversion(hook: &ConversionWebhook) -> Self {
        match &hook.service {
            Some(service) => Self::Service(service.clone()),
            None => Self::Url(hook.url.clone().unwrap_or_default()),
        }
    }

    /// The place and the path there.
    fn place(&self) -> Result<(Place, String), String> {
        match self {
            Self::Service(ServiceReference { namespace, name, path, port }) => {
                let service = ServicePort { namespace: namespace.clone(), name: name.clone(), port: *port };
                let path = if path.is_empty() { "/" } else { path };
                Ok((Place::Service(service), path.to_owned()))
            }
            Self::Url(url) if url.is_empty() => Err("webhook configuration must have either service or URL".into()),
            Self::Url(url) => {
                let uri: Uri = url.parse().map_err(|error| format!("Unparsable URL: {error}"))?;
                let host = uri.host().filter(|_| uri.scheme_str() == Some("https"));
                let host = host.ok_or_else(|| format!("Unparsable URL: {url:?} is no https address"))?;
                let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
                Ok((Place::Host { host, port: uri.port_u16().unwrap_or(443) }, uri.path().to_owned()))
            }
        }
    }

    /// `host:port` as the configuration spells it.
    fn authority(&self, place: &Place) -> String {
        match self {
            Self::Service(_) => place.authority(),
            Self::Url(url) => {
                let uri = url.parse::<Uri>().ok();
                uri.as_ref().and_then(Uri::authority).map(ToString::to_string).unwrap_or_default()
            }
        }
    }
}

/// Why a webhook gave no answer, in Go's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HookError {
    /// What the configuration says is no good.
    #[error("could not get REST client: {0}")]
    Client(String),
    /// The call failed, or the answer says that it did.
    #[error("{text}")]
    Call {
        /// The code of the answer; where there is none, that of an unavailable service.
        code: u16,
        /// What is wrong.
        text: String,
    },
}

impl HookError {
    fn call(text: String) -> Self {
        Self::Call { code: StatusCode::SERVICE_UNAVAILABLE.as_u16(), text }
    }

    /// The code that counts in metrics.
    pub(crate) fn code(&self) -> u16 {
        match self {
            Self::Client(_) => StatusCode::INTERNAL_SERVER_ERROR.as_u16(),
            Self::Call { code, .. } => *code,
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct HookClient {
    endpoint: Result<Endpoint, String>,
}

#[derive(Debug)]
struct Endpoint {
    connections: Connections,
    authority: String,
    path: String,
}

impl HookClient {
    /// A client of a webhook whose certificate one of the bundle's CAs signed, or without any one of the system's.
    pub(crate) fn new(target: &Target, ca_bundle: &[u8]) -> Self {
        let bundle = ca_bundle.trim_ascii();
        let ca_pem = (!bundle.is_empty()).then(|| String::from_utf8_lossy(bundle).into_owned());
        let trust = Trust { ca_pem, ..Trust::default() };
        let endpoint = target.place().map(|(place, path)| Endpoint {
            authority: target.authority(&place),
            connections: Connections::new(place, trust),
            path,
        });
        Self { endpoint }
    }

    /// Posts JSON and reads the JSON that is answered, all within a time.
    pub(crate) fn post<'a>(
        &'a self,
        server: &'a ApiServer,
        body: Bytes,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<Value, HookError>> {
        Box::pin(self.answered(server, body, timeout))
    }

    async fn answered(&self, server: &ApiServer, body: Bytes, timeout: Duration) -> Result<Value, HookError> {
        let endpoint = self.endpoint.as_ref().map_err(|cause| HookError::Client(cause.clone()))?;
        endpoint.connections.tls().map_err(HookError::Client)?;
        let path = format!("{}?timeout={}s", endpoint.path, timeout.as_secs());
        let url = format!("https://{}{path}", endpoint.authority);
        match tokio::time::timeout(timeout, endpoint.exchange(server, &path, body)).await {
            Ok(Ok((status, bytes))) => decode(status, &bytes),
            Ok(Err(error)) => Err(HookError::call(format!("Post {url:?}: {error}"))),
            Err(_) => {
                endpoint.connections.forget();
                Err(HookError::call(format!("Post {url:?}: context deadline exceeded")))
            }
        }
    }
}

impl Endpoint {
    async fn exchange(&self, server: &ApiServer, path: &str, body: Bytes) -> Result<(StatusCode, Bytes), String> {
        let request = || self.request(path, body.clone());
        let address = self.connections.address(server).await?;
        let response = match self.connections.send(&server.scope, &address, request()?).await {
            // Reviews may be asked twice.
            Err(SendError { reused: true, .. }) => {
                self.connections.send_anew(&server.scope, &address, request()?).await
            }
            sent => sent,
        };
        let response = response.map_err(|error| error.text)?;
        let status = response.status();
        Ok((status, collect(response.into_body(), MAX_ANSWER_BYTES).await?))
    }

    fn request(&self, path: &str, body: Bytes) -> Result<Request<body::Body>, String> {
        Request::post(path)
            .header(header::HOST, &self.authority)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json, */*")
            .header(header::USER_AGENT, "kube-apiserver-admission")
            .body(body::full(body))
            .map_err(|error| error.to_string())
    }
}

/// The JSON of a good answer; of another one what it says (upstream: rest.Request's `transformResponse`).
fn decode(status: StatusCode, bytes: &[u8]) -> Result<Value, HookError> {
    let call = |text: String| HookError::Call { code: status.as_u16(), text };
    if status.is_success() {
        return serde_json::from_slice(bytes)
            .map_err(|error| HookError::call(format!("couldn't get version/kind; json parse error: {error}")));
    }
    if let Ok(value) = serde_json::from_slice::<Value>(bytes)
        && value.text("kind") == "Status"
    {
        return Err(call(value.text("message").to_owned()));
    }
    let text: String = String::from_utf8_lossy(bytes).trim().chars().take(2048).collect();
    Err(call(match status.as_u16() {
        404 => "the server could not find the requested resource".into(),
        code if code >= 500 => {
            format!("an error on the server ({text:?}) has prevented the request from succeeding")
        }
        code => format!("the server responded with the status code {code} but did not return more information"),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_https() {
        let at = |url: &str| Target::Url(url.into()).place();
        let (place, path) = at("https://hooks.example.com:8443/convert").expect("an address");
        assert_eq!((place.authority().as_str(), path.as_str()), ("hooks.example.com:8443", "/convert"));
        let (place, path) = at("https://[::1]").expect("an address");
        assert_eq!((place, path), (Place::Host { host: "::1".into(), port: 443 }, "/".to_owned()));
        for bad in ["http://a", "", "https://", "a b"] {
            assert!(at(bad).is_err(), "{bad:?}");
        }
        let service = ServiceReference { namespace: "a".into(), name: "b".into(), path: String::new(), port: 7 };
        let (place, path) = Target::Service(service).place().expect("a service");
        assert_eq!((place.authority().as_str(), path.as_str()), ("b.a.svc:7", "/"));
    }

    #[test]
    fn answers_that_are_errors_say_why() {
        for (code, body, expected) in [
            (404, "", "the server could not find the requested resource"),
            (500, "boom", "an error on the server (\"boom\") has prevented the request from succeeding"),
            (418, "", "the server responded with the status code 418 but did not return more information"),
            (403, r#"{"kind":"Status","message":"no"}"#, "no"),
        ] {
            let status = StatusCode::from_u16(code).expect("a code");
            let error = decode(status, body.as_bytes()).expect_err("an error");
            assert_eq!((error.code(), error.to_string().as_str()), (code, expected));
        }
    }
}
