//! proxy of nodes, pods and services: HTTP to what is behind the object
//! (upstream: pkg/registry/core/{node,pod,service}/strategy.go `ResourceLocation`, apimachinery/pkg/util/proxy).

use std::sync::{Arc, OnceLock};

use apimachinery::{Object, StatusError};
use async_trait::async_trait;
use http::{HeaderValue, Response, StatusCode, header};
use rustls_pki_types::ServerName;
use serde_json::Value;
use store::RangeRequest;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use webhook::Trust;

use super::streams::kubelet_of;
use crate::body::{self, Body};
use crate::forward::{CONNECT_TIMEOUT, Io, dialing, forward, is_upgrade};
use crate::handler::{Call, Handler};
use crate::registry::{Cx, decode_entry};
use crate::status;

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
        let invalid = || StatusError::bad_request(format!("invalid {} request {:?}", cx.row.singular, cx.info.name));
        let target = Target::parse(&cx.info.name).ok_or_else(invalid)?;
        let (io, host): (Box<dyn Io>, String) = match self {
            Self::Node => {
                let (address, kubelets) = kubelet_of(cx, target.name).await?;
                (kubelets.connect(&address).await?, address.authority())
            }
            Self::Pod => connect(&target, pod_address(cx, &target).await?).await?,
            Self::Service => connect(&target, service_address(cx, &target).await?).await?,
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

/// A connection to the backend, over TLS where the path says so. Whom it is made with is not checked: the certificates
/// of what runs in a cluster are its users' own affair (upstream: controlplane/apiserver `CreateProxyTransport`).
async fn connect(target: &Target<'_>, (host, port): (String, u16)) -> Result<(Box<dyn Io>, String), StatusError> {
    let authority = format!("{host}:{port}");
    let dial = async {
        let stream = TcpStream::connect((host.as_str(), port)).await?;
        if target.scheme != "https" {
            return Ok::<Box<dyn Io>, std::io::Error>(Box::new(stream));
        }
        let name = ServerName::try_from(host.clone()).map_err(std::io::Error::other)?;
        let stream = TlsConnector::from(anybody()?).connect(name, stream).await?;
        Ok(Box::new(stream))
    };
    match tokio::time::timeout(CONNECT_TIMEOUT, dial).await {
        Ok(Ok(stream)) => Ok((stream, authority)),
        Ok(Err(error)) => Err(unreachable(&authority, &error)),
        Err(_) => Err(unreachable(&authority, &"i/o timeout")),
    }
}

/// The TLS side that takes every certificate and shows none; made when it is needed first.
fn anybody() -> std::io::Result<Arc<ClientConfig>> {
    static ANYBODY: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    if let Some(made) = ANYBODY.get() {
        return Ok(made.clone());
    }
    let trust = Trust { insecure: true, ..Trust::default() };
    let mut tls = trust.config().map_err(std::io::Error::other)?;
    // Only HTTP/1.1 changes protocols.
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(ANYBODY.get_or_init(|| Arc::new(tls)).clone())
}

/// Upstream: `NewServiceUnavailable` of proxy handlers for a backend that does not answer.
fn unreachable(authority: &str, error: &dyn std::fmt::Display) -> StatusError {
    let mut unavailable = dialing(&format!("dial tcp {authority}: {error}"));
    unavailable.code = 503;
    unavailable.reason = "ServiceUnavailable";
    unavailable
}

async fn pod_address(cx: &Cx, target: &Target<'_>) -> Result<(String, u16), StatusError> {
    let pods = cx.registry().row("", "v1", "pods")?;
    let pod =
        cx.registry().find(&pods, &cx.info.namespace, target.name).await?.ok_or_else(|| pods.not_found(target.name))?;
    let address = pod.str_at(&["status", "podIP"]).filter(|ip| !ip.is_empty());
    let address = address.ok_or_else(|| StatusError::bad_request("address not allowed"))?;
    let port = match target.port {
        "" => first_container_port(&pod).unwrap_or(80),
        port => port
            .parse()
            .ok()
            .or_else(|| named_container_port(&pod, port))
            .ok_or_else(|| StatusError::bad_request(format!("invalid pod request {:?}", cx.info.name)))?,
    };
    Ok((address.to_owned(), port))
}

fn container_ports(pod: &Object) -> impl Iterator<Item = &Value> {
    let containers = pod.at(&["spec", "containers"]).and_then(Value::as_array).into_iter().flatten();
    containers.filter_map(|container| container["ports"].as_array()).flatten()
}

fn first_container_port(pod: &Object) -> Option<u16> {
    container_ports(pod).find_map(|port| u16::try_from(port["containerPort"].as_u64()?).ok())
}

fn named_container_port(pod: &Object, name: &str) -> Option<u16> {
    let port = container_ports(pod).find(|port| port["name"] == name)?;
    u16::try_from(port["containerPort"].as_u64()?).ok()
}

/// One ready endpoint of the service's port (upstream: core/service/storage/storage.go `ResourceLocation`).
async fn service_address(cx: &Cx, target: &Target<'_>) -> Result<(String, u16), StatusError> {
    let registry = cx.registry();
    let services = registry.row("", "v1", "services")?;
    let service = registry.find(&services, &cx.info.namespace, target.name).await?;
    let service = service.ok_or_else(|| services.not_found(target.name))?;
    let none = || StatusError::unavailable(format!("no endpoints available for service {:?}", target.name));
    let port_name = service_port_name(&service, target.port).ok_or_else(|| {
        StatusError::unavailable(format!("no service port {:?} found for service {:?}", target.port, target.name))
    })?;
    let slices = registry.row("discovery.k8s.io", "v1", "endpointslices")?;
    let range =
        RangeRequest { prefix: format!("{}{}/", slices.key_prefix(), cx.info.namespace), ..RangeRequest::default() };
    let range = registry.store().range(&range).await.map_err(|error| status::of_store(&error))?;
    let mut found: Vec<(String, u16)> = Vec::new();
    for entry in &range.entries {
        let slice = decode_entry(entry)?;
        if slice.labels().any(|label| label == ("kubernetes.io/service-name", target.name)) {
            found.extend(ready_addresses(&slice, &port_name));
        }
    }
    if found.is_empty() {
        return Err(none());
    }
    let chosen = rand::random_range(0..found.len());
    Ok(found.swap_remove(chosen))
}

/// The name of the service's port that a number or a name means; an only port needs neither.
fn service_port_name(service: &Object, asked: &str) -> Option<String> {
    let ports = service.at(&["spec", "ports"]).and_then(Value::as_array)?;
    let port = match asked {
        "" if ports.len() == 1 => ports.first(),
        "" => ports.iter().find(|port| port["name"].as_str().unwrap_or_default().is_empty()),
        asked => ports.iter().find(|port| {
            port["name"] == asked || port["port"].as_u64().map(|port| port.to_string()).as_deref() == Some(asked)
        }),
    };
    port.map(|port| port["name"].as_str().unwrap_or_default().to_owned())
}

fn ready_addresses(slice: &Object, port_name: &str) -> Vec<(String, u16)> {
    let list = |field: &str| slice.0.get(field).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let port = list("ports").iter().find(|port| port["name"].as_str().unwrap_or_default() == port_name);
    let Some(port) = port.and_then(|port| u16::try_from(port["port"].as_u64()?).ok()) else { return Vec::new() };
    let ready = list("endpoints").iter().filter(|endpoint| endpoint["conditions"]["ready"] != false);
    let addresses = ready.filter_map(|endpoint| endpoint["addresses"][0].as_str());
    addresses.map(|address| (address.to_owned(), port)).collect()
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
