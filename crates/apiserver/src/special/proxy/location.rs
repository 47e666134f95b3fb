//! Where pods and services are.

use std::net::IpAddr;

use apimachinery::json::Read;
use apimachinery::{Object, StatusError};
use serde_json::Value;
use store::RangeRequest;

use super::backend::not_allowed;
use super::{Target, invalid};
use crate::registry::{Cx, decode_entry};
use crate::status;

/// The pod's address, and the port that is asked for or its first one.
pub(super) async fn pod(cx: &Cx, target: &Target<'_>) -> Result<(String, u16), StatusError> {
    let pods = cx.registry().row("", "v1", "pods")?;
    let pod =
        cx.registry().find(&pods, &cx.info.namespace, target.name).await?.ok_or_else(|| pods.not_found(target.name))?;
    // A name would be looked up.
    let address = pod.str_at(&["status", "podIP"]).filter(|ip| ip.parse::<IpAddr>().is_ok());
    let address = address.ok_or_else(not_allowed)?;
    let port = match target.port {
        "" => first_container_port(&pod).unwrap_or(if target.scheme == "https" { 443 } else { 80 }),
        port => port
            .parse()
            .ok()
            .or_else(|| named_container_port(&pod, port))
            .ok_or_else(|| StatusError::bad_request(invalid(cx)))?,
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

/// One ready endpoint of the service's port that is a pod of this namespace: others may have been written by anybody
/// (upstream: core/service/storage/storage.go `ResourceLocation`, `isValidAddress`).
pub(super) async fn service(cx: &Cx, target: &Target<'_>) -> Result<(String, u16), StatusError> {
    let registry = cx.registry();
    let services = registry.row("", "v1", "services")?;
    let service = registry.find(&services, &cx.info.namespace, target.name).await?;
    let service = service.ok_or_else(|| services.not_found(target.name))?;
    let port_name = service_port_name(&service, target.port).ok_or_else(|| {
        StatusError::unavailable(format!("no service port {:?} found for service {:?}", target.port, target.name))
    })?;
    let slices = registry.row("discovery.k8s.io", "v1", "endpointslices")?;
    let range =
        RangeRequest { prefix: format!("{}{}/", slices.key_prefix(), cx.info.namespace), ..RangeRequest::default() };
    let range = registry.store().range(&range).await.map_err(|error| status::of_store(&error))?;
    let mut found: Vec<Endpoint> = Vec::new();
    for entry in &range.entries {
        let slice = decode_entry(entry)?;
        if slice.labels().any(|label| label == ("kubernetes.io/service-name", target.name)) {
            found.extend(ready_endpoints(&slice, &port_name, &cx.info.namespace));
        }
    }
    while !found.is_empty() {
        let Endpoint { pod, address, port } = found.swap_remove(rand::random_range(0..found.len()));
        if is_of_pod(cx, &pod, &address).await? {
            return Ok((address, port));
        }
    }
    Err(StatusError::unavailable(format!("no endpoints available for service {:?}", target.name)))
}

/// What an EndpointSlice says of one pod.
struct Endpoint {
    pod: String,
    address: String,
    port: u16,
}

async fn is_of_pod(cx: &Cx, name: &str, address: &str) -> Result<bool, StatusError> {
    let pods = cx.registry().row("", "v1", "pods")?;
    let Some(pod) = cx.registry().find(&pods, &cx.info.namespace, name).await? else { return Ok(false) };
    let mut ips = pod.object("status").list("podIPs").iter();
    Ok(ips.any(|ip| ip.text("ip") == address))
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

fn ready_endpoints(slice: &Object, port_name: &str, namespace: &str) -> Vec<Endpoint> {
    let port = slice.list("ports").iter().find(|port| port.text("name") == port_name);
    let Some(port) = port.and_then(|port| u16::try_from(port.int("port")?).ok()) else { return Vec::new() };
    let ready = slice.list("endpoints").iter().filter(|endpoint| endpoint["conditions"]["ready"] != false);
    let of_pods = ready.filter(|endpoint| endpoint.object("targetRef").text("namespace") == namespace);
    let endpoint = |endpoint: &Value| {
        let (pod, address) = (endpoint.object("targetRef").text("name"), endpoint.texts("addresses").next()?);
        Some(Endpoint { pod: pod.to_owned(), address: address.to_owned(), port })
    };
    of_pods.filter_map(endpoint).collect()
}
