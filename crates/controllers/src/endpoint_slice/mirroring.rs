//! Mirrors Endpoints that people write themselves (of services without a selector) into EndpointSlices.
//!
//! upstream: pkg/controller/endpointslicemirroring

use std::net::IpAddr;
use std::sync::Arc;

use client::controller::{Requeue, run_workers};
use client::{ApiError, Event, Lister, ObjectKey, WorkQueue};
use k8s_openapi::api::core::v1::{EndpointAddress, EndpointSubset, Endpoints, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use kube::api::{DeleteParams, ObjectMeta, PostParams};
use kube::{Api, ResourceExt};

use super::plan::{Changes, MANAGED_BY, SERVICE_NAME};
use crate::context::Context;
use crate::owners::controller_ref;
use crate::service_endpoints;

const MANAGER: &str = "endpointslicemirroring-controller.k8s.io";
const SKIP: &str = "endpointslice.kubernetes.io/skip-mirror";
const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";
/// More addresses of a subset are left out.
const MAX_PER_SUBSET: usize = 1000;

/// Why a pass did not complete.
#[derive(Debug, thiserror::Error)]
#[error("mirror endpoints {key}: {err}")]
struct SyncError {
    key: ObjectKey,
    err: kube::Error,
}

struct Controller {
    cx: Context,
    services: Lister<Service>,
    endpoints: Lister<Endpoints>,
    slices: Lister<EndpointSlice>,
}

/// Starts the controller.
pub async fn run(cx: Context) {
    let (services, endpoints) = (cx.informer::<Service>(), cx.informer::<Endpoints>());
    let slices = cx.informer::<EndpointSlice>();
    let queue: WorkQueue<ObjectKey> = WorkQueue::new();
    let waiting = queue.clone();
    services.on_event(move |event| waiting.add(ObjectKey::of(&**event.object())));
    let waiting = queue.clone();
    endpoints.on_event(move |event| waiting.add(ObjectKey::of(&**event.object())));
    let waiting = queue.clone();
    slices.on_event(move |event| {
        if matches!(event, Event::Deleted(_) | Event::Updated { .. }) {
            service_of(event.object()).into_iter().for_each(|key| waiting.add(key));
        }
    });
    tokio::join!(services.synced(), endpoints.synced(), slices.synced());
    let scope = cx.scope.clone();
    let controller = Arc::new(Controller {
        services: services.lister(),
        endpoints: endpoints.lister(),
        slices: slices.lister(),
        cx,
    });
    // One worker: a name is given to each slice by us, so a second look never makes a second one.
    run_workers("endpointslice-mirroring", &scope, &queue, 1, move |key: ObjectKey| {
        let this = controller.clone();
        async move { this.sync(&key).await.map_err(|err| SyncError { key, err }) }
    });
}

fn service_of(slice: &EndpointSlice) -> Option<ObjectKey> {
    let labels = slice.metadata.labels.as_ref()?;
    (labels.get(MANAGED_BY).map(String::as_str) == Some(MANAGER)).then_some(())?;
    Some(ObjectKey::new(slice.metadata.namespace.clone()?, labels.get(SERVICE_NAME)?.clone()))
}

fn is_mirrored(endpoints: &Endpoints, service: Option<&Service>) -> bool {
    let skipped = endpoints.labels().get(SKIP).map(String::as_str) == Some("true");
    let of_nobody = service.is_some_and(|service| service_endpoints::selector(service).is_none());
    of_nobody && !skipped && !endpoints.annotations().contains_key(LEADER)
}

impl Controller {
    async fn sync(&self, key: &ObjectKey) -> Result<Requeue, kube::Error> {
        let existing = self.slices.list_in(&key.namespace).into_iter();
        let existing = existing.filter(|slice| service_of(slice).as_ref() == Some(key)).collect();
        let service = self.services.get(key);
        let endpoints = self.endpoints.get(key).filter(|endpoints| is_mirrored(endpoints, service.as_deref()));
        let changes = plan(endpoints.as_deref(), existing);
        let api: Api<EndpointSlice> = Api::namespaced(self.cx.client.clone(), &key.namespace);
        for slice in changes.create {
            match api.create(&PostParams::default(), &slice).await {
                Err(err) if !err.is_already_exists() && !err.is_namespace_terminating() => return Err(err),
                _ => {}
            }
        }
        for slice in changes.update {
            api.replace(&slice.name_any(), &PostParams::default(), &slice).await?;
        }
        for slice in changes.delete {
            match api.delete(&slice.name_any(), &DeleteParams::default()).await {
                Err(err) if !err.is_not_found() => return Err(err),
                _ => {}
            }
        }
        Ok(Requeue::No)
    }
}

/// One slice for each subset and family, named after the Endpoints.
fn plan(endpoints: Option<&Endpoints>, existing: Vec<Arc<EndpointSlice>>) -> Changes {
    let mut wanted: Vec<EndpointSlice> = Vec::new();
    for (at, subset) in endpoints.iter().flat_map(|one| one.subsets.iter().flatten()).enumerate() {
        for family in ["IPv4", "IPv6"] {
            let mirrored = mirrored(subset, family);
            if let (Some(owner), false) = (endpoints, mirrored.is_empty()) {
                wanted.push(slice(owner, subset, family, at, mirrored));
            }
        }
    }
    let mut changes = Changes::default();
    for old in existing {
        match wanted.iter().position(|one| one.metadata.name == old.metadata.name) {
            None => changes.delete.push(old),
            Some(at) => {
                let new = wanted.swap_remove(at);
                let same = (&new.endpoints, &new.ports, &new.metadata.labels)
                    == (&old.endpoints, &old.ports, &old.metadata.labels);
                if !same {
                    let metadata = ObjectMeta { labels: new.metadata.labels, ..old.metadata.clone() };
                    changes.update.push(EndpointSlice { metadata, ..new });
                }
            }
        }
    }
    changes.create = wanted;
    changes
}

fn mirrored(subset: &EndpointSubset, family: &str) -> Vec<Endpoint> {
    let is_of = |address: &&EndpointAddress| match address.ip.parse() {
        Ok(IpAddr::V4(_)) => family == "IPv4",
        Ok(IpAddr::V6(_)) => family == "IPv6",
        Err(_) => false,
    };
    let endpoint = |address: &EndpointAddress, ready: bool| Endpoint {
        addresses: vec![address.ip.clone()],
        conditions: Some(EndpointConditions { ready: Some(ready), serving: None, terminating: None }),
        hostname: address.hostname.clone(),
        node_name: address.node_name.clone(),
        target_ref: address.target_ref.clone(),
        ..Endpoint::default()
    };
    let ready = subset.addresses.iter().flatten().filter(is_of).map(|one| endpoint(one, true));
    let not_ready = subset.not_ready_addresses.iter().flatten().filter(is_of).map(|one| endpoint(one, false));
    ready.chain(not_ready).take(MAX_PER_SUBSET).collect()
}

fn slice(
    owner: &Endpoints,
    subset: &EndpointSubset,
    family: &str,
    at: usize,
    endpoints: Vec<Endpoint>,
) -> EndpointSlice {
    let ports = subset.ports.iter().flatten().map(|port| EndpointPort {
        name: Some(port.name.clone().unwrap_or_default()),
        port: Some(port.port),
        protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".into())),
        app_protocol: port.app_protocol.clone(),
    });
    let mut labels = owner.labels().clone();
    labels.insert(SERVICE_NAME.into(), owner.name_any());
    labels.insert(MANAGED_BY.into(), MANAGER.into());
    EndpointSlice {
        metadata: ObjectMeta {
            name: Some(format!("{}-mirror-{}-{at}", owner.name_any(), family.to_lowercase())),
            namespace: owner.namespace(),
            labels: Some(labels),
            owner_references: Some(vec![controller_ref(owner)]),
            ..ObjectMeta::default()
        },
        address_type: family.to_owned(),
        endpoints: Some(endpoints),
        ports: Some(ports.collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_family_has_its_slice_and_a_second_look_changes_nothing() {
        let endpoints: Endpoints = serde_json::from_value(json!({
            "metadata": {"name": "db", "namespace": "default", "uid": "u"},
            "subsets": [{"addresses": [{"ip": "192.0.2.1"}, {"ip": "2001:db8::1"}], "notReadyAddresses": [{"ip": "192.0.2.2"}], "ports": [{"port": 5432}]}],
        }))
        .expect("endpoints");
        let made = plan(Some(&endpoints), vec![]).create;
        let counts: Vec<_> =
            made.iter().map(|one| (one.address_type.as_str(), one.endpoints.iter().flatten().count())).collect();
        assert_eq!(counts, [("IPv4", 2), ("IPv6", 1)]);
        let existing: Vec<_> = made.into_iter().map(Arc::new).collect();
        assert_eq!(plan(Some(&endpoints), existing.clone()), Changes::default());
        assert_eq!(plan(None, existing).delete.len(), 2);
    }
}
