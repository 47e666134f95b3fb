//! What the zone knows: Services, their endpoints, and who has which address.
//!
//! Pure. Each object is kept in the few words that answers are made of.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use client::ObjectKey;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;

const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// A named port with its protocol in small letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Port {
    pub(crate) name: String,
    pub(crate) protocol: String,
    pub(crate) number: u16,
}

/// What a Service's name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// Its own addresses.
    Addresses(Vec<IpAddr>),
    /// Its endpoints' addresses.
    Endpoints,
    /// Another name.
    Alias(String),
}

/// A Service as the zone keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceRecord {
    pub(crate) target: Target,
    pub(crate) ports: Vec<Port>,
    pub(crate) publish_not_ready: bool,
}

/// An endpoint as the zone keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EndpointRecord {
    pub(crate) address: IpAddr,
    /// Its label below the Service's name.
    pub(crate) hostname: String,
    pub(crate) ready: bool,
}

/// An EndpointSlice as the zone keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SliceRecord {
    pub(crate) service: ObjectKey,
    pub(crate) ports: Vec<Port>,
    pub(crate) endpoints: Vec<EndpointRecord>,
}

impl ServiceRecord {
    /// What the zone keeps of a Service; `None` when it has no name to answer to yet.
    pub fn of(service: &Service) -> Option<Self> {
        let spec = service.spec.as_ref()?;
        let target = match (spec.type_.as_deref(), spec.cluster_ip.as_deref()) {
            (Some("ExternalName"), _) => {
                let name = spec.external_name.as_deref().filter(|name| !name.is_empty())?;
                Target::Alias(name.trim_end_matches('.').to_owned())
            }
            (_, Some("None")) => Target::Endpoints,
            (_, None | Some("")) => return None,
            (_, Some(only)) => {
                let mut all: Vec<IpAddr> = spec.cluster_ips.iter().flatten().filter_map(|ip| ip.parse().ok()).collect();
                if all.is_empty() {
                    all.push(only.parse().ok()?);
                }
                Target::Addresses(all)
            }
        };
        let ports = spec
            .ports
            .iter()
            .flatten()
            .filter_map(|port| Port::of(port.name.as_deref(), port.protocol.as_deref(), port.port));
        Some(Self {
            target,
            ports: ports.collect(),
            publish_not_ready: spec.publish_not_ready_addresses.unwrap_or(false),
        })
    }
}

impl SliceRecord {
    /// What the zone keeps of an EndpointSlice; `None` when it belongs to no Service.
    pub fn of(slice: &EndpointSlice) -> Option<Self> {
        let service = slice.metadata.labels.as_ref()?.get(SERVICE_NAME).filter(|name| !name.is_empty())?;
        let ports = slice
            .ports
            .iter()
            .flatten()
            .filter_map(|port| Port::of(port.name.as_deref(), port.protocol.as_deref(), port.port?));
        let mut endpoints = Vec::new();
        for endpoint in slice.endpoints.iter().flatten() {
            let ready = endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true);
            for address in endpoint.addresses.iter().filter_map(|address| address.parse::<IpAddr>().ok()) {
                let hostname = endpoint.hostname.as_deref().filter(|name| !name.is_empty());
                let hostname = hostname.map_or_else(|| dashed(address), str::to_ascii_lowercase);
                endpoints.push(EndpointRecord { address, hostname, ready });
            }
        }
        let namespace = slice.metadata.namespace.clone().unwrap_or_default();
        Some(Self { service: ObjectKey::new(namespace, service.clone()), ports: ports.collect(), endpoints })
    }
}

impl Port {
    fn of(name: Option<&str>, protocol: Option<&str>, number: i32) -> Option<Self> {
        Some(Self {
            name: name.unwrap_or_default().to_ascii_lowercase(),
            protocol: protocol.unwrap_or("TCP").to_ascii_lowercase(),
            number: u16::try_from(number).ok()?,
        })
    }
}

/// An address as a label: 10.1.2.3 is `10-1-2-3`.
fn dashed(address: IpAddr) -> String {
    address.to_string().replace(['.', ':'], "-")
}

/// Who has an address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Owner {
    pub(crate) service: ObjectKey,
    /// The endpoint's label; `None` is the Service itself.
    pub(crate) hostname: Option<String>,
}

/// Everything the zone knows.
#[derive(Debug)]
pub struct Zone {
    /// The labels of the cluster's domain, as `cluster`, `local`.
    pub(crate) domain: Vec<String>,
    /// Where this server answers, for the zone's own name server record.
    pub(crate) servers: Vec<IpAddr>,
    /// How long answers may be kept.
    pub(crate) ttl: u32,
    /// How many Services each namespace has.
    namespaces: HashMap<String, usize>,
    services: HashMap<ObjectKey, ServiceRecord>,
    slices: HashMap<ObjectKey, BTreeMap<String, SliceRecord>>,
    /// The Service of each slice, to find what a changed slice was part of.
    slice_owners: HashMap<ObjectKey, ObjectKey>,
    owners: HashMap<IpAddr, Vec<Owner>>,
}

impl Zone {
    /// An empty zone of a domain as `cluster.local`.
    pub fn new(domain: &str, servers: Vec<IpAddr>, ttl: u32) -> Self {
        let labels = domain.trim_end_matches('.').split('.');
        Self {
            domain: labels.map(str::to_ascii_lowercase).collect(),
            servers,
            ttl,
            namespaces: HashMap::new(),
            services: HashMap::new(),
            slices: HashMap::new(),
            slice_owners: HashMap::new(),
            owners: HashMap::new(),
        }
    }

    /// A Service is so, or gone.
    pub fn set_service(&mut self, key: ObjectKey, record: Option<ServiceRecord>) {
        let old = match &record {
            Some(record) => self.services.insert(key.clone(), record.clone()),
            None => self.services.remove(&key),
        };
        self.count(&key.namespace, old.is_some(), record.is_some());
        let addresses = |record: &Option<ServiceRecord>| match record {
            Some(ServiceRecord { target: Target::Addresses(addresses), .. }) => addresses.clone(),
            _ => Vec::new(),
        };
        let owner = Owner { service: key, hostname: None };
        for address in addresses(&old) {
            self.disown(address, &owner);
        }
        for address in addresses(&record) {
            self.own(address, owner.clone());
        }
    }

    /// An EndpointSlice is so, or gone.
    pub fn set_slice(&mut self, key: ObjectKey, record: Option<SliceRecord>) {
        if let Some(service) = self.slice_owners.remove(&key)
            && let Some(slices) = self.slices.get_mut(&service)
        {
            let old = slices.remove(&key.name);
            if slices.is_empty() {
                self.slices.remove(&service);
            }
            for (address, owner) in old.iter().flat_map(ready_owners) {
                self.disown(address, &owner);
            }
        }
        let Some(record) = record else { return };
        for (address, owner) in ready_owners(&record) {
            self.own(address, owner);
        }
        self.slice_owners.insert(key.clone(), record.service.clone());
        self.slices.entry(record.service.clone()).or_default().insert(key.name, record);
    }

    /// Whether names exist below a namespace's.
    pub(crate) fn has_namespace(&self, name: &str) -> bool {
        self.namespaces.contains_key(name)
    }

    pub(crate) fn service(&self, key: &ObjectKey) -> Option<&ServiceRecord> {
        self.services.get(key)
    }

    /// The slices of a Service.
    pub(crate) fn slices(&self, key: &ObjectKey) -> impl Iterator<Item = &SliceRecord> {
        self.slices.get(key).into_iter().flat_map(BTreeMap::values)
    }

    pub(crate) fn owners(&self, address: IpAddr) -> &[Owner] {
        self.owners.get(&address).map_or(&[], Vec::as_slice)
    }

    fn count(&mut self, namespace: &str, before: bool, after: bool) {
        match (before, after) {
            (false, true) => *self.namespaces.entry(namespace.to_owned()).or_default() += 1,
            (true, false) => {
                if let Some(services) = self.namespaces.get_mut(namespace) {
                    *services -= 1;
                    if *services == 0 {
                        self.namespaces.remove(namespace);
                    }
                }
            }
            _ => {}
        }
    }

    fn own(&mut self, address: IpAddr, owner: Owner) {
        let owners = self.owners.entry(address).or_default();
        owners.push(owner);
        owners.sort();
    }

    /// Takes away one of the owner's claims: two slices may name the same endpoint for a moment.
    fn disown(&mut self, address: IpAddr, owner: &Owner) {
        let Some(owners) = self.owners.get_mut(&address) else { return };
        if let Some(at) = owners.iter().position(|known| known == owner) {
            owners.remove(at);
        }
        if owners.is_empty() {
            self.owners.remove(&address);
        }
    }
}

fn ready_owners(slice: &SliceRecord) -> Vec<(IpAddr, Owner)> {
    let owner = |endpoint: &EndpointRecord| {
        (endpoint.address, Owner { service: slice.service.clone(), hostname: Some(endpoint.hostname.clone()) })
    };
    slice.endpoints.iter().filter(|endpoint| endpoint.ready).map(owner).collect()
}
