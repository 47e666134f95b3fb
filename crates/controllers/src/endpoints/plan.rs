//! The Endpoints object of a service. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use client::corev1::pod::{is_ready, node_name};
use k8s_openapi::api::core::v1::{
    EndpointAddress, EndpointPort, EndpointSubset, Endpoints, ObjectReference, Pod, Service,
};
use kube::ResourceExt;
use kube::api::ObjectMeta;

use crate::service_endpoints::{HEADLESS, addresses, hostname, is_headless, publishes_not_ready, target_port};

const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
const MANAGER: &str = "endpoint-controller";
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";
/// More addresses are left out (upstream: `maxCapacity`).
const MAX_ADDRESSES: usize = 1000;

/// Whether we wrote the object.
pub fn is_ours(endpoints: &Endpoints) -> bool {
    endpoints.metadata.labels.as_ref().and_then(|labels| labels.get(MANAGED_BY)).map(String::as_str) == Some(MANAGER)
}

/// The object to write; `None` when the existing one is right.
pub fn plan(service: &Service, pods: &[Arc<Pod>], existing: Option<&Endpoints>) -> Option<Endpoints> {
    let over = pods.len() > MAX_ADDRESSES;
    let subsets = subsets(service, &pods[..pods.len().min(MAX_ADDRESSES)]);
    let mut metadata = existing.map_or_else(
        || ObjectMeta { name: service.metadata.name.clone(), namespace: service.namespace(), ..ObjectMeta::default() },
        |existing| existing.metadata.clone(),
    );
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.remove(HEADLESS);
    if is_headless(service) {
        labels.insert(HEADLESS.into(), String::new());
    }
    labels.insert(MANAGED_BY.into(), MANAGER.into());
    metadata.labels = Some(labels);
    let mut annotations = metadata.annotations.take().unwrap_or_default();
    annotations.remove(OVER_CAPACITY);
    if over {
        annotations.insert(OVER_CAPACITY.into(), "truncated".into());
    }
    metadata.annotations = Some(annotations).filter(|annotations| !annotations.is_empty());
    let wanted = Endpoints { metadata, subsets: Some(subsets).filter(|subsets| !subsets.is_empty()) };
    let same = existing.is_some_and(|existing| {
        existing.metadata.labels == wanted.metadata.labels
            && existing.metadata.annotations == wanted.metadata.annotations
            && existing.subsets.as_deref().unwrap_or_default() == wanted.subsets.as_deref().unwrap_or_default()
    });
    (!same).then_some(wanted)
}

type PortKey = (String, String, i32, Option<String>);

/// Each port with the addresses behind it; ports with the same addresses share a subset
/// (upstream: pkg/api/v1/endpoints `RepackSubsets`).
fn subsets(service: &Service, pods: &[Arc<Pod>]) -> Vec<EndpointSubset> {
    let mut behind: BTreeMap<Option<PortKey>, BTreeSet<usize>> = BTreeMap::new();
    let ports: Vec<_> = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten()).collect();
    for (at, pod) in pods.iter().enumerate() {
        if ports.is_empty() && is_headless(service) {
            behind.entry(None).or_default().insert(at);
        }
        for port in &ports {
            let Some(number) = target_port(pod, port) else { continue };
            let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".into());
            let key = (port.name.clone().unwrap_or_default(), protocol, number, port.app_protocol.clone());
            behind.entry(Some(key)).or_default().insert(at);
        }
    }
    let mut grouped: BTreeMap<BTreeSet<usize>, Vec<PortKey>> = BTreeMap::new();
    for (port, members) in behind {
        grouped.entry(members).or_default().extend(port);
    }
    let subset = |(members, ports): (BTreeSet<usize>, Vec<PortKey>)| {
        let chosen = members.into_iter().map(|at| &pods[at]);
        let (ready, not): (Vec<_>, Vec<_>) = chosen.partition(|pod| publishes_not_ready(service) || is_ready(pod));
        EndpointSubset {
            addresses: written(service, &ready),
            not_ready_addresses: written(service, &not),
            ports: Some(ports.into_iter().map(port).collect::<Vec<_>>()).filter(|ports| !ports.is_empty()),
        }
    };
    grouped.into_iter().map(subset).collect()
}

fn port((name, protocol, port, app_protocol): PortKey) -> EndpointPort {
    EndpointPort { name: Some(name).filter(|name| !name.is_empty()), port, protocol: Some(protocol), app_protocol }
}

fn written(service: &Service, pods: &[&Arc<Pod>]) -> Option<Vec<EndpointAddress>> {
    let address = |pod: &&Arc<Pod>| {
        Some(EndpointAddress {
            ip: (*addresses(pod).first()?).to_owned(),
            hostname: hostname(pod, service),
            node_name: node_name(pod).map(str::to_owned),
            target_ref: Some(ObjectReference {
                kind: Some("Pod".into()),
                namespace: pod.namespace(),
                name: pod.metadata.name.clone(),
                uid: pod.uid(),
                ..ObjectReference::default()
            }),
        })
    };
    let mut written: Vec<_> = pods.iter().filter_map(address).collect();
    written.sort_by(|a, b| a.ip.cmp(&b.ip));
    (!written.is_empty()).then_some(written)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn ready_and_unready_share_a_subset_and_a_second_look_changes_nothing() {
        let service: Service = serde_json::from_value(json!({
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]},
        }))
        .expect("a service");
        let pod = |ip: &str, ready: &str| -> Arc<Pod> {
            let value = json!({"metadata": {"name": ip, "uid": ip},
                "status": {"podIP": ip, "conditions": [{"type": "Ready", "status": ready}]}});
            Arc::new(serde_json::from_value(value).expect("a pod"))
        };
        let pods = [pod("10.0.0.2", "True"), pod("10.0.0.1", "True"), pod("10.0.0.3", "False")];
        let written = plan(&service, &pods, None).expect("an object");
        let [subset] = written.subsets.as_deref().expect("subsets") else { panic!("one subset") };
        let ips =
            |list: &Option<Vec<EndpointAddress>>| list.iter().flatten().map(|one| one.ip.clone()).collect::<Vec<_>>();
        assert_eq!(
            (ips(&subset.addresses), ips(&subset.not_ready_addresses)),
            (vec!["10.0.0.1".into(), "10.0.0.2".into()], vec!["10.0.0.3".to_string()])
        );
        assert_eq!(plan(&service, &pods, Some(&written)), None);
    }
}
