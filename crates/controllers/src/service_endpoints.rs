//! Which pods stand behind a service, at which ports: what Endpoints and EndpointSlices are both made from.
//!
//! upstream: staging/src/k8s.io/endpointslice/util/controller_utils.go

use std::sync::Arc;

use client::corev1::pod::{is_ready, is_terminal, node_name};
use client::labels::{Labels, contains_all};
use client::{Event, Lister, ObjectKey};
use k8s_openapi::api::core::v1::{Container, Pod, Service, ServicePort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// The label that names a headless service's objects.
pub const HEADLESS: &str = "service.kubernetes.io/headless";
/// When the change happened that the object shows.
pub const TRIGGER_TIME: &str = "endpoints.kubernetes.io/last-change-trigger-time";

/// The labels a service asks its pods for; `None` when somebody else makes its endpoints.
pub fn selector(service: &Service) -> Option<&Labels> {
    let spec = service.spec.as_ref()?;
    if spec.type_.as_deref() == Some("ExternalName") {
        return None;
    }
    spec.selector.as_ref().filter(|selector| !selector.is_empty())
}

/// Whether pods count although they are not ready.
pub fn publishes_not_ready(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.publish_not_ready_addresses).unwrap_or(false)
}

/// Whether the service has no address of its own.
pub fn is_headless(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref()) == Some("None")
}

/// The pods that a service selects and that have an address; with `leaving` also those being deleted.
pub fn pods(service: &Service, lister: &Lister<Pod>, leaving: bool) -> Vec<Arc<Pod>> {
    let Some(selector) = selector(service) else { return Vec::new() };
    let stands_behind = |pod: &Arc<Pod>| {
        let labels = pod.metadata.labels.as_ref();
        labels.is_some_and(|labels| contains_all(selector, labels))
            && !is_terminal(pod)
            && (leaving || pod.metadata.deletion_timestamp.is_none())
            && !addresses(pod).is_empty()
    };
    let namespace = service.metadata.namespace.as_deref().unwrap_or_default();
    lister.list_in(namespace).into_iter().filter(stands_behind).collect()
}

/// A pod's addresses, the first one first.
pub fn addresses(pod: &Pod) -> Vec<&str> {
    let Some(status) = &pod.status else { return Vec::new() };
    let listed: Vec<&str> = status.pod_ips.iter().flatten().map(|one| one.ip.as_str()).collect();
    if listed.is_empty() { status.pod_ip.as_deref().filter(|ip| !ip.is_empty()).into_iter().collect() } else { listed }
}

/// The number of the container port that a service port means on a pod.
pub fn target_port(pod: &Pod, port: &ServicePort) -> Option<i32> {
    let protocol = port.protocol.as_deref().unwrap_or("TCP");
    match &port.target_port {
        None => Some(port.port),
        Some(IntOrString::Int(0)) => Some(port.port),
        Some(IntOrString::Int(number)) => Some(*number),
        Some(IntOrString::String(name)) if name.is_empty() => Some(port.port),
        Some(IntOrString::String(name)) => {
            let spec = pod.spec.as_ref()?;
            let restarts = |one: &&Container| one.restart_policy.as_deref() == Some("Always");
            let sidecars = spec.init_containers.iter().flatten().filter(restarts);
            let mut ports = spec.containers.iter().chain(sidecars).flat_map(|one| one.ports.iter().flatten());
            let named = |one: &&k8s_openapi::api::core::v1::ContainerPort| {
                one.name.as_ref() == Some(name) && one.protocol.as_deref().unwrap_or("TCP") == protocol
            };
            ports.find(named).map(|one| one.container_port)
        }
    }
}

/// The host name a pod has within the service's domain.
pub fn hostname(pod: &Pod, service: &Service) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let same = spec.subdomain.is_some() && spec.subdomain == service.metadata.name;
    spec.hostname.clone().filter(|name| same && !name.is_empty())
}

/// The services whose endpoints an event of a pod changes.
pub fn affected(event: &Event<Pod>, services: &Lister<Service>) -> Vec<ObjectKey> {
    let changed = match event {
        Event::Updated { old, new } => differs(old, new),
        Event::Added(_) | Event::Deleted(_) => true,
    };
    if !changed {
        return Vec::new();
    }
    let empty = Labels::new();
    let labels_of = |pod: &Arc<Pod>| pod.metadata.labels.clone().unwrap_or_default();
    let (now, before) = match event {
        Event::Updated { old, new } => (labels_of(new), labels_of(old)),
        Event::Added(pod) | Event::Deleted(pod) => (labels_of(pod), empty),
    };
    let namespace = event.object().metadata.namespace.clone().unwrap_or_default();
    let selects = |service: &Arc<Service>| {
        selector(service).is_some_and(|wanted| contains_all(wanted, &now) || contains_all(wanted, &before))
    };
    services.list_in(&namespace).iter().filter(|one| selects(one)).map(|one| ObjectKey::of(&**one)).collect()
}

/// Whether a pod changed in anything that endpoints show.
fn differs(old: &Pod, new: &Pod) -> bool {
    let host = |pod: &Pod| pod.spec.as_ref().map(|spec| (spec.hostname.clone(), spec.subdomain.clone()));
    old.metadata.labels != new.metadata.labels
        || old.metadata.deletion_timestamp.is_some() != new.metadata.deletion_timestamp.is_some()
        || is_ready(old) != is_ready(new)
        || is_terminal(old) != is_terminal(new)
        || addresses(old) != addresses(new)
        || node_name(old) != node_name(new)
        || host(old) != host(new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn named_ports_are_looked_up_in_the_pod() {
        let pod: Pod = serde_json::from_value(json!({"spec": {"containers": [{"name": "c", "ports": [
            {"name": "web", "containerPort": 8080}, {"name": "dns", "containerPort": 53, "protocol": "UDP"}]}]}}))
        .expect("a pod");
        for (port, expected) in [
            (json!({"port": 80}), Some(80)),
            (json!({"port": 80, "targetPort": 8000}), Some(8000)),
            (json!({"port": 80, "targetPort": "web"}), Some(8080)),
            (json!({"port": 53, "targetPort": "dns", "protocol": "UDP"}), Some(53)),
            (json!({"port": 53, "targetPort": "dns", "protocol": "TCP"}), None),
            (json!({"port": 80, "targetPort": "none"}), None),
        ] {
            let port: ServicePort = serde_json::from_value(port).expect("a port");
            assert_eq!(target_port(&pod, &port), expected, "{port:?}");
        }
    }
}
