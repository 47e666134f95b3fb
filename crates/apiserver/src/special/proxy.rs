//! proxy of nodes, pods and services: HTTP to what is behind the object
//! (upstream: pkg/registry/core/{node,pod,service}/strategy.go `ResourceLocation`, apimachinery/pkg/util/proxy).

use apimachinery::StatusError;
use async_trait::async_trait;
use http::{HeaderValue, Response, StatusCode, header};

use super::streams::{kubelet_address, kubelets};
use crate::body::{self, Body};
use crate::forward::{Io, forward, is_upgrade};
use crate::handler::{Call, Handler};
use crate::registry::Cx;

mod backend;
mod location;

use backend::connect;

/// What stands behind the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proxy {
    /// The node's kubelet.
    Node,
    /// A port of the pod.
    Pod,
    /// A port of one of the service's endpoints.
    Service,
}

/// `scheme:name:port`, of which only the name must be there.
#[derive(Debug, PartialEq, Eq)]
struct Target<'a> {
    scheme: &'a str,
    name: &'a str,
    port: &'a str,
}

impl<'a> Target<'a> {
    /// Upstream: apimachinery/pkg/util/net/port_split.go `SplitSchemeNamePort`.
    fn parse(text: &'a str) -> Option<Self> {
        let parts: Vec<&str> = text.split(':').collect();
        let target = match parts.as_slice() {
            [name] => Self { scheme: "", name, port: "" },
            [name, port] => Self { scheme: "", name, port },
            [scheme @ ("" | "http" | "https"), name, port] => Self { scheme, name, port },
            _ => return None,
        };
        (!target.name.is_empty()).then_some(target)
    }
}

#[async_trait]
impl Handler for Proxy {
    async fn handle(&self, call: Call) -> Result<Response<Body>, StatusError> {
        let cx = &call.cx;
        crate::admission::connect::connect(cx).await?;
        if cx.info.rest.is_empty()
            && !is_upgrade(&call.parts.headers)
            && matches!(call.parts.method.as_str(), "GET" | "HEAD")
        {
            return Ok(redirect_to_root(call.parts.uri.path(), call.parts.uri.query()));
        }
        let target = Target::parse(&cx.info.name).ok_or_else(|| StatusError::bad_request(invalid(cx)))?;
        let (io, host): (Box<dyn Io>, String) = match self {
            Self::Node => node(cx, &target).await?,
            Self::Pod => connect(cx, target.scheme, location::pod(cx, &target).await?).await?,
            Self::Service => connect(cx, target.scheme, location::service(cx, &target).await?).await?,
        };
        let mut path = if cx.info.rest.is_empty() { "/".to_owned() } else { cx.info.rest.clone() };
        if let Some(query) = call.parts.uri.query() {
            path = format!("{path}?{query}");
        }
        let prefix = call.parts.uri.path().strip_suffix(&cx.info.rest).unwrap_or_default().to_owned();
        let scope = cx.server.scope.clone();
        let mut response = forward(io, call.parts, call.body, &host, &path, &scope).await?;
        keep_location_here(&mut response, &prefix);
        Ok(response)
    }
}

fn invalid(cx: &Cx) -> String {
    format!("invalid {} request {:?}", cx.row.singular, cx.info.name)
}

/// Relative links need the closing slash.
fn redirect_to_root(path: &str, query: Option<&str>) -> Response<Body> {
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    let mut response = Response::new(body::empty());
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    if let Ok(location) = HeaderValue::from_str(&format!("{path}/{query}")) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

/// A redirect within the backend stays within the proxy (upstream: proxy/transport.go `rewriteURL`).
fn keep_location_here(response: &mut Response<Body>, prefix: &str) {
    let location = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
    let Some(path) = location.filter(|location| location.starts_with('/')) else { return };
    if let Ok(value) = HeaderValue::from_str(&format!("{prefix}{path}")) {
        response.headers_mut().insert(header::LOCATION, value);
    }
}

/// The node's kubelet, or another port of the node.
async fn node(cx: &Cx, target: &Target<'_>) -> Result<(Box<dyn Io>, String), StatusError> {
    let address = kubelet_address(cx, target.name).await?;
    if target.port.is_empty() || target.port == address.port.to_string() {
        return Ok((kubelets(cx)?.connect(&address).await?, address.authority()));
    }
    let port = target.port.parse().map_err(|_| StatusError::bad_request(invalid(cx)))?;
    connect(cx, target.scheme, (address.host, port)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_taken_apart() {
        for (text, expected) in [
            ("a", Some(("", "a", ""))),
            ("a:80", Some(("", "a", "80"))),
            ("https:a:web", Some(("https", "a", "web"))),
            ("http:a:", Some(("http", "a", ""))),
            ("ftp:a:1", None),
            (":1", None),
        ] {
            assert_eq!(Target::parse(text).map(|target| (target.scheme, target.name, target.port)), expected, "{text}");
        }
    }
}
