//! Which slices to create, change and delete so that they show the pods, with as few writes as possible. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use client::corev1::pod::condition;
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointPort, EndpointSlice};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::ObjectMeta;

use super::endpoint::{Nodes, address, endpoint, ports};
use crate::owners::controller_ref;
use crate::service_endpoints::{HEADLESS, TRIGGER_TIME, is_headless};

/// More endpoints do not go into one slice.
const MAX_ENDPOINTS: usize = 100;
/// Names the service of a slice.
pub const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// Names who writes a slice.
pub const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
/// We do.
pub const MANAGER: &str = "endpointslice-controller.k8s.io";

/// What to write.
#[derive(Debug, Default, PartialEq)]
pub struct Changes {
    /// New slices.
    pub create: Vec<EndpointSlice>,
    /// Changed ones, whole.
    pub update: Vec<EndpointSlice>,
    /// Ones that nobody needs.
    pub delete: Vec<Arc<EndpointSlice>>,
}

/// Endpoints with the same ports can share slices.
struct Group {
    ports: Vec<EndpointPort>,
    /// By the pod's uid.
    endpoints: BTreeMap<String, Endpoint>,
}

/// Compares the slices that exist with the pods that stand behind the service.
pub fn plan(service: &Service, pods: &[Arc<Pod>], nodes: Nodes<'_>, existing: Vec<Arc<EndpointSlice>>) -> Changes {
    let families = families(service);
    let mut changes = Changes::default();
    let (current, other): (Vec<_>, Vec<_>) =
        existing.into_iter().partition(|slice| families.contains(&slice.address_type));
    changes.delete.extend(other);
    for family in families {
        let of_family = current.iter().filter(|slice| slice.address_type == family).cloned().collect();
        plan_family(service, &family, pods, nodes, of_family, &mut changes);
    }
    changes
}

fn families(service: &Service) -> Vec<String> {
    let families = service.spec.as_ref().and_then(|spec| spec.ip_families.clone()).unwrap_or_default();
    if families.is_empty() { vec!["IPv4".into()] } else { families }
}

fn plan_family(
    service: &Service,
    family: &str,
    pods: &[Arc<Pod>],
    nodes: Nodes<'_>,
    existing: Vec<Arc<EndpointSlice>>,
    changes: &mut Changes,
) {
    let mut groups: Vec<Group> = Vec::new();
    for pod in pods {
        let Some(ip) = address(pod, family) else { continue };
        let ports = ports(pod, service);
        let one = endpoint(pod, ip, service, nodes);
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        match groups.iter_mut().find(|group| group.ports == ports) {
            Some(group) => drop(group.endpoints.insert(uid, one)),
            None => groups.push(Group { ports, endpoints: [(uid, one)].into() }),
        }
    }
    // A service without endpoints has one empty slice: that says "none" in place of "not known yet".
    if groups.is_empty() {
        groups.push(Group { ports: Vec::new(), endpoints: BTreeMap::new() });
    }
    let trigger = trigger_time(service, pods);
    let new = |ports: &[EndpointPort], endpoints| new_slice(service, family, ports, endpoints, trigger);
    let mut unused = existing;
    let mut own = Changes::default();
    for group in groups {
        let sorted: (Vec<_>, Vec<_>) = unused.into_iter().partition(|slice| same_ports(slice, &group.ports));
        unused = sorted.1;
        plan_group(service, group, sorted.0, trigger, &new, &mut own);
    }
    own.delete.extend(unused);
    own.recycle();
    changes.create.append(&mut own.create);
    changes.update.append(&mut own.update);
    changes.delete.append(&mut own.delete);
}

impl Changes {
    /// A slice that nobody needs takes the place of a new one: a change of ports is one update.
    fn recycle(&mut self) {
        while !self.create.is_empty() {
            let Some(old) = self.delete.pop() else { return };
            let new = self.create.remove(0);
            let mut metadata = old.metadata.clone();
            metadata.labels = new.metadata.labels;
            metadata.annotations.get_or_insert_default().extend(new.metadata.annotations.unwrap_or_default());
            self.update.push(EndpointSlice { metadata, ..new });
        }
    }
}

fn same_ports(slice: &EndpointSlice, ports: &[EndpointPort]) -> bool {
    slice.ports.as_deref().unwrap_or_default() == ports
}

fn plan_group(
    service: &Service,
    group: Group,
    existing: Vec<Arc<EndpointSlice>>,
    trigger: Option<Timestamp>,
    new: &dyn Fn(&[EndpointPort], Vec<Endpoint>) -> EndpointSlice,
    changes: &mut Changes,
) {
    let Group { ports, mut endpoints } = group;
    // What stays in each slice, in its order.
    let mut kept: Vec<(Arc<EndpointSlice>, Vec<Endpoint>)> = Vec::new();
    for slice in existing {
        let stay = slice.endpoints.iter().flatten().filter_map(|old| endpoints.remove(uid(old)?)).collect();
        kept.push((slice, stay));
    }
    let mut rest: Vec<Endpoint> = endpoints.into_values().collect();
    // New endpoints go first where a write is needed anyway, then into the fullest slice with room for all of them.
    for (_, stay) in kept.iter_mut().filter(|(slice, stay)| *stay != current(slice)) {
        let room = MAX_ENDPOINTS.saturating_sub(stay.len()).min(rest.len());
        stay.extend(rest.drain(..room));
    }
    if !rest.is_empty() {
        let fits = kept.iter_mut().filter(|(_, stay)| stay.len() + rest.len() <= MAX_ENDPOINTS);
        if let Some((_, stay)) = fits.max_by_key(|(_, stay)| stay.len()) {
            stay.append(&mut rest);
        }
    }
    let total = kept.iter().map(|(_, stay)| stay.len()).sum::<usize>() + rest.len();
    let mut placeholder = total == 0;
    for (slice, stay) in kept {
        if stay.is_empty() && !std::mem::take(&mut placeholder) {
            changes.delete.push(slice);
            continue;
        }
        let mut changed = (*slice).clone();
        let same = stay == current(&slice);
        changed.endpoints = Some(stay);
        set_metadata(service, &mut changed.metadata, if same { None } else { trigger });
        if !same || changed.metadata.labels != slice.metadata.labels {
            changes.update.push(changed);
        }
    }
    if placeholder {
        changes.create.push(new(&ports, Vec::new()));
    }
    while !rest.is_empty() {
        let part = rest.drain(..rest.len().min(MAX_ENDPOINTS)).collect();
        changes.create.push(new(&ports, part));
    }
}

fn current(slice: &EndpointSlice) -> &[Endpoint] {
    slice.endpoints.as_deref().unwrap_or_default()
}

fn uid(endpoint: &Endpoint) -> Option<&str> {
    endpoint.target_ref.as_ref()?.uid.as_deref()
}

fn new_slice(
    service: &Service,
    family: &str,
    ports: &[EndpointPort],
    endpoints: Vec<Endpoint>,
    trigger: Option<Timestamp>,
) -> EndpointSlice {
    let mut metadata = ObjectMeta {
        generate_name: Some(format!("{}-", service.name_any())),
        namespace: service.namespace(),
        owner_references: Some(vec![controller_ref(service)]),
        ..ObjectMeta::default()
    };
    set_metadata(service, &mut metadata, trigger);
    EndpointSlice { metadata, address_type: family.to_owned(), endpoints: Some(endpoints), ports: Some(ports.to_vec()) }
}

fn set_metadata(service: &Service, metadata: &mut ObjectMeta, trigger: Option<Timestamp>) {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.remove(HEADLESS);
    if is_headless(service) {
        labels.insert(HEADLESS.into(), String::new());
    }
    labels.insert(SERVICE_NAME.into(), service.name_any());
    labels.insert(MANAGED_BY.into(), MANAGER.into());
    metadata.labels = Some(labels);
    if let Some(trigger) = trigger {
        let annotations = metadata.annotations.get_or_insert_default();
        annotations.insert(TRIGGER_TIME.into(), component_base::clock::rfc3339_seconds(trigger));
    }
}

/// The newest change that the endpoints show: a pod's readiness, a deletion, the service itself.
fn trigger_time(service: &Service, pods: &[Arc<Pod>]) -> Option<Timestamp> {
    let created = service.metadata.creation_timestamp.as_ref().map(|time| time.0);
    let of_pod = |pod: &Arc<Pod>| {
        let ready = condition(pod, "Ready").and_then(|ready| ready.last_transition_time.as_ref()).map(|time| time.0);
        let deleted = pod.metadata.deletion_timestamp.as_ref().map(|time| time.0);
        ready.max(deleted)
    };
    pods.iter().map(of_pod).max().flatten().max(created)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn service(port: &str) -> Service {
        serde_json::from_value(json!({
            "metadata": {"name": "web", "namespace": "default", "uid": "svc", "labels": {"team": "a"}},
            "spec": {"selector": {"app": "web"}, "clusterIP": "10.96.0.7", "ipFamilies": ["IPv4"],
                     "ports": [{"name": "http", "port": 80, "targetPort": port}]},
        }))
        .expect("a service")
    }

    fn pod(number: usize, ready: bool) -> Arc<Pod> {
        let value = json!({
            "metadata": {"name": format!("web-{number}"), "namespace": "default", "uid": format!("uid-{number:04}"), "labels": {"app": "web"}},
            "spec": {"nodeName": "kaji", "containers": [{"name": "c", "ports": [{"name": "http", "containerPort": 8080}, {"name": "alt", "containerPort": 8081}]}]},
            "status": {"phase": "Running", "podIP": format!("10.244.{}.{}", number / 250, number % 250 + 1),
                       "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]},
        });
        Arc::new(serde_json::from_value(value).expect("a pod"))
    }

    fn planned(port: &str, pods: &[Arc<Pod>], existing: &[EndpointSlice]) -> Changes {
        let existing = existing.iter().cloned().map(Arc::new).collect();
        plan(&service(port), pods, &|_| None, existing)
    }

    #[test]
    fn the_first_slice_and_then_nothing_to_do() {
        let pods = [pod(1, true), pod(2, false)];
        let changes = planned("http", &pods, &[]);
        let [slice] = &changes.create[..] else { panic!("one slice: {changes:?}") };
        let ready: Vec<_> =
            slice.endpoints.iter().flatten().map(|one| one.conditions.as_ref().and_then(|it| it.ready)).collect();
        assert_eq!(ready, [Some(true), Some(false)]);
        assert_eq!(slice.ports.as_ref().and_then(|ports| ports[0].port), Some(8080));
        let labels = slice.metadata.labels.as_ref().expect("labels");
        assert_eq!(
            (labels[SERVICE_NAME].as_str(), labels[MANAGED_BY].as_str(), labels["team"].as_str()),
            ("web", MANAGER, "a")
        );
        assert_eq!(planned("http", &pods, &changes.create), Changes::default());
    }

    #[test]
    fn a_readiness_change_is_one_update() {
        let before = planned("http", &[pod(1, true), pod(2, true)], &[]).create;
        let changes = planned("http", &[pod(1, true), pod(2, false)], &before);
        assert_eq!((changes.create.len(), changes.update.len(), changes.delete.len()), (0, 1, 0));
        let names = changes.update[0].endpoints.iter().flatten().filter_map(uid).collect::<Vec<_>>();
        assert_eq!(names, ["uid-0001", "uid-0002"], "in their place");
    }

    #[test]
    fn slices_hold_a_hundred_and_shrink_without_moves() {
        let pods: Vec<_> = (0..250).map(|number| pod(number, true)).collect();
        let slices = planned("http", &pods, &[]).create;
        assert_eq!(slices.iter().map(|slice| current(slice).len()).collect::<Vec<_>>(), [100, 100, 50]);
        let fewer = planned("http", &pods[..200], &slices);
        assert_eq!((fewer.create.len(), fewer.update.len(), fewer.delete.len()), (0, 0, 1));
        let more: Vec<_> = (0..260).map(|number| pod(number, true)).collect();
        let grown = planned("http", &more, &slices);
        assert_eq!((grown.create.len(), grown.update.len(), grown.delete.len()), (0, 1, 0));
    }

    #[test]
    fn no_pods_is_one_empty_slice() {
        let created = planned("http", &[], &[]).create;
        assert_eq!(created.iter().map(|slice| current(slice).len()).collect::<Vec<_>>(), [0]);
        assert_eq!(planned("http", &[], &created), Changes::default());
        let before = planned("http", &[pod(1, true)], &[]).create;
        let gone = planned("http", &[], &before);
        assert_eq!((gone.create.len(), gone.update.len(), gone.delete.len()), (0, 1, 0), "the old slice is used again");
    }
}
