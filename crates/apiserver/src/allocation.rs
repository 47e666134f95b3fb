//! Finite things that Services take: cluster IPs and node ports
//! (upstream: pkg/registry/core/service/storage/alloc.go, pkg/registry/core/service/{ipallocator,portallocator}).
//!
//! The maps live in memory and are read off the stored Services at start: the Services themselves are the record.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::sync::Arc;

use api::Resource;
use apimachinery::field::{self, Path};
use apimachinery::{Object, StatusError};
use ipnet::Ipv4Net;
use parking_lot::Mutex;
use serde_json::{Map, Value, json};

mod range;

use range::{NumberRange, Refused};

/// The ranges of one cluster. Clones share them.
#[derive(Clone, Debug)]
pub struct Allocators {
    state: Arc<Mutex<State>>,
    cidr: Ipv4Net,
}

#[derive(Debug)]
struct State {
    addresses: NumberRange,
    ports: NumberRange,
}

/// Numbers of both ranges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Held {
    addresses: BTreeSet<u32>,
    ports: BTreeSet<u32>,
}

/// What a write has taken: given back when the write does not come about.
#[derive(Debug)]
pub struct Reservation {
    allocators: Option<Allocators>,
    taken: Held,
    released_on_success: Held,
}

impl Reservation {
    fn nothing() -> Self {
        Self { allocators: None, taken: Held::default(), released_on_success: Held::default() }
    }

    /// The write came about: what was taken stays taken, what is no longer used is free.
    pub fn keep(mut self) {
        if let Some(allocators) = self.allocators.take() {
            allocators.give_back(&self.released_on_success);
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Some(allocators) = self.allocators.take() {
            allocators.give_back(&self.taken);
        }
    }
}

impl Allocators {
    /// Empty ranges.
    pub fn new(cidr: Ipv4Net, ports: RangeInclusive<u16>) -> Self {
        let first = u32::from(cidr.network());
        let size = 1_u32.checked_shl(u32::from(32 - cidr.prefix_len())).unwrap_or(u32::MAX);
        // The network's own and its broadcast address serve nobody.
        let addresses = NumberRange::new(first + 1, first + size.saturating_sub(2), size / 16, 256);
        let (low, high) = (u32::from(*ports.start()), u32::from(*ports.end()));
        let ports = NumberRange::new(low, high, (high - low + 1) / 32, 128);
        Self { state: Arc::new(Mutex::new(State { addresses, ports })), cidr }
    }

    /// Marks what a stored Service holds.
    pub fn restore(&self, service: &Object) {
        let held = held_by(service);
        let mut state = self.state.lock();
        for address in held.addresses {
            let _ = state.addresses.take(address);
        }
        for port in held.ports {
            let _ = state.ports.take(port);
        }
    }

    /// Frees what a deleted Service held.
    pub fn release(&self, row: &Resource, object: &Object) {
        if is_service(row) {
            self.give_back(&held_by(object));
        }
    }

    /// Fills in what a client left out of an update and what the old object holds, and clears what the new type does
    /// not have (upstream: `patchAllocatedValues`, `dropTypeDependentFields`).
    pub fn carry_over(row: &Resource, object: &mut Object, old: &Object) {
        if !is_service(row) {
            return;
        }
        let Some(before) = old.0.get("spec").and_then(Value::as_object) else { return };
        let Some(spec) = object.0.get_mut("spec").and_then(Value::as_object_mut) else { return };
        if needs_address(before) && needs_address(spec) {
            for field in ["clusterIP", "clusterIPs"] {
                if spec.get(field).is_none_or(|value| value == "" || value == &json!([])) {
                    copy(before, spec, field);
                }
            }
        }
        drop_type_dependent_fields(spec, before);
        let old_ports = ports_of(before);
        let (needed, needs) = (needs_node_ports(before), needs_node_ports(spec));
        for port in spec.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
            let twin = old_ports.iter().find(|old| old["port"] == port["port"] && old["protocol"] == port["protocol"]);
            let held = twin.map(|twin| twin["nodePort"].clone()).unwrap_or_default();
            let Some(port) = port.as_object_mut() else { continue };
            let given = port.get("nodePort").and_then(Value::as_u64).unwrap_or(0);
            if needed && needs && given == 0 && !held.is_null() {
                port.insert("nodePort".into(), held);
            } else if needed && !needs && held.as_u64() == Some(given) {
                port.remove("nodePort");
            }
        }
    }

    /// Takes what the Service needs and writes it into the object.
    pub fn reserve(
        &self,
        row: &Resource,
        object: &mut Object,
        old: Option<&Object>,
        dry_run: bool,
    ) -> Result<Reservation, StatusError> {
        if !is_service(row) {
            return Ok(Reservation::nothing());
        }
        let held = old.map(held_by).unwrap_or_default();
        let mut reservation = Reservation {
            allocators: Some(self.clone()),
            taken: Held::default(),
            released_on_success: Held::default(),
        };
        let name = object.name().to_owned();
        let errors = {
            let mut state = self.state.lock();
            let Some(spec) = object.0.get_mut("spec").and_then(Value::as_object_mut) else { return Ok(reservation) };
            let mut errors = self.reserve_address(&mut state, spec, &held, &mut reservation.taken);
            errors.extend(reserve_ports(&mut state, spec, &held, &mut reservation.taken));
            errors
        };
        if !errors.is_empty() {
            return Err(StatusError::invalid(&crate::registry::write::group_kind(row), &name, &errors));
        }
        let now = held_by(object);
        reservation.released_on_success = Held {
            addresses: held.addresses.difference(&now.addresses).copied().collect(),
            ports: held.ports.difference(&now.ports).copied().collect(),
        };
        if dry_run {
            reservation.released_on_success = Held::default();
        }
        Ok(reservation)
    }

    fn reserve_address(
        &self,
        state: &mut State,
        spec: &mut Map<String, Value>,
        held: &Held,
        taken: &mut Held,
    ) -> Vec<field::Error> {
        if service_type(spec) == "ExternalName" {
            return Vec::new();
        }
        let asked = spec.get("clusterIP").and_then(Value::as_str).unwrap_or_default().to_owned();
        if asked != "None" {
            let path = Path::new("spec").child("clusterIPs");
            let refuse = |detail: String| vec![field::Error::invalid(&path, json!([asked]), detail)];
            let number = if asked.is_empty() {
                state.addresses.take_any()
            } else {
                let Some(address) = address_of(&asked) else {
                    return refuse(format!("failed to allocate IP {asked}: the provided IP is not an IPv4 address"));
                };
                let number = u32::from(address);
                if held.addresses.contains(&number) { Ok(number) } else { state.addresses.take(number) }
            };
            match number {
                Ok(number) => {
                    if !held.addresses.contains(&number) {
                        taken.addresses.insert(number);
                    }
                    // As it is spelled, which validation judges: what is stored may have zeros before its numbers.
                    let address = if asked.is_empty() { Ipv4Addr::from(number).to_string() } else { asked };
                    spec.insert("clusterIP".into(), address.clone().into());
                    spec.insert("clusterIPs".into(), json!([address]));
                }
                Err(Refused::Taken) => {
                    return refuse(format!("failed to allocate IP {asked}: provided IP is already allocated"));
                }
                Err(Refused::OutOfRange) => {
                    let cidr = self.cidr;
                    return refuse(format!(
                        "failed to allocate IP {asked}: the provided IP ({asked}) is not in the valid range. The range of valid IPs is {cidr}"
                    ));
                }
                Err(Refused::Full) => return refuse("failed to allocate a serviceIP: range is full".into()),
            }
        } else {
            spec.insert("clusterIPs".into(), json!(["None"]));
        }
        spec.entry("ipFamilies").or_insert_with(|| json!(["IPv4"]));
        spec.entry("ipFamilyPolicy").or_insert_with(|| "SingleStack".into());
        Vec::new()
    }

    fn give_back(&self, held: &Held) {
        let mut state = self.state.lock();
        for address in &held.addresses {
            state.addresses.release(*address);
        }
        for port in &held.ports {
            state.ports.release(*port);
        }
    }
}

/// What the old type had and the new one has not, where the client left it as it was.
fn drop_type_dependent_fields(spec: &mut Map<String, Value>, before: &Map<String, Value>) {
    type Needs = fn(&Map<String, Value>) -> bool;
    let fields: [(Needs, &[&str]); 3] = [
        (needs_address, &["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"]),
        (is_external, &["externalTrafficPolicy", "healthCheckNodePort"]),
        (|spec| service_type(spec) == "LoadBalancer", &["allocateLoadBalancerNodePorts", "loadBalancerClass"]),
    ];
    for (needs, names) in fields {
        for name in names.iter().filter(|_| needs(before) && !needs(spec)).collect::<Vec<_>>() {
            if spec.get(*name) == before.get(*name) {
                spec.remove(*name);
            }
        }
    }
}

fn reserve_ports(state: &mut State, spec: &mut Map<String, Value>, held: &Held, taken: &mut Held) -> Vec<field::Error> {
    let mut errors = Vec::new();
    let needs = needs_node_ports(spec);
    // One number may serve a TCP and a UDP port of the same Service.
    let mut own: Vec<(u32, Value)> = Vec::new();
    let ports = spec.get_mut("ports").and_then(Value::as_array_mut);
    for (index, port) in ports.into_iter().flatten().enumerate() {
        let Some(port) = port.as_object_mut() else { continue };
        let asked =
            port.get("nodePort").and_then(Value::as_u64).and_then(|number| u32::try_from(number).ok()).unwrap_or(0);
        if asked == 0 && !needs {
            continue;
        }
        let protocol = port.get("protocol").cloned().unwrap_or_else(|| "TCP".into());
        let shared = own.iter().any(|(number, other)| *number == asked && *other != protocol);
        let number = match asked {
            0 => state.ports.take_any(),
            asked if shared || held.ports.contains(&asked) => Ok(asked),
            asked => state.ports.take(asked),
        };
        let path = Path::new("spec").child("ports").index(index).child("nodePort");
        match number {
            Ok(number) => {
                if !held.ports.contains(&number) {
                    taken.ports.insert(number);
                }
                own.push((number, protocol));
                port.insert("nodePort".into(), number.into());
            }
            Err(Refused::Taken) => {
                errors.push(field::Error::invalid(&path, asked, "provided port is already allocated"))
            }
            Err(Refused::OutOfRange) => {
                let (low, high) = state.ports.bounds();
                let detail =
                    format!("provided port is not in the valid range. The range of valid ports is {low}-{high}");
                errors.push(field::Error::invalid(&path, asked, detail));
            }
            Err(Refused::Full) => errors.push(field::Error::invalid(&path, asked, "range is full")),
        }
    }
    errors
}

fn is_service(row: &Resource) -> bool {
    row.gvk.group.is_empty() && row.gvk.kind == "Service"
}

fn service_type(spec: &Map<String, Value>) -> &str {
    spec.get("type").and_then(Value::as_str).filter(|kind| !kind.is_empty()).unwrap_or("ClusterIP")
}

fn needs_address(spec: &Map<String, Value>) -> bool {
    service_type(spec) != "ExternalName"
}

fn is_external(spec: &Map<String, Value>) -> bool {
    matches!(service_type(spec), "NodePort" | "LoadBalancer")
}

fn needs_node_ports(spec: &Map<String, Value>) -> bool {
    match service_type(spec) {
        "NodePort" => true,
        "LoadBalancer" => spec.get("allocateLoadBalancerNodePorts").and_then(Value::as_bool).unwrap_or(true),
        _ => false,
    }
}

fn ports_of(spec: &Map<String, Value>) -> &[Value] {
    spec.get("ports").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn copy(from: &Map<String, Value>, to: &mut Map<String, Value>, field: &str) {
    if let Some(value) = from.get(field) {
        to.insert(field.to_owned(), value.clone());
    }
}

/// An address as it was once read: zeros before numbers are nothing.
fn address_of(text: &str) -> Option<Ipv4Addr> {
    let plain = || {
        let mut octets = text.split('.').map(|number| {
            let digits = number.bytes().all(|byte| byte.is_ascii_digit());
            number.parse::<u8>().ok().filter(|_| digits)
        });
        let address = [(); 4].map(|()| octets.next().flatten());
        let [Some(a), Some(b), Some(c), Some(d)] = address else { return None };
        octets.next().is_none().then(|| Ipv4Addr::new(a, b, c, d))
    };
    text.parse().ok().or_else(plain)
}

fn held_by(service: &Object) -> Held {
    let Some(spec) = service.0.get("spec").and_then(Value::as_object) else { return Held::default() };
    let single = spec.get("clusterIP").into_iter();
    let all = spec.get("clusterIPs").and_then(Value::as_array).into_iter().flatten();
    let addresses = single.chain(all).filter_map(|value| address_of(value.as_str()?)).map(u32::from).collect();
    let ports = ports_of(spec).iter().filter_map(|port| u32::try_from(port["nodePort"].as_u64()?).ok());
    Held { addresses, ports: ports.filter(|port| *port > 0).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn services() -> Arc<Resource> {
        let gvr = apimachinery::GroupVersionResource::new("", "v1", "services");
        api::catalogue::by_resource(&gvr).expect("in the catalogue").clone()
    }

    fn service(spec: Value) -> Object {
        Object::from_value(json!({"metadata": {"name": "s"}, "spec": spec})).expect("an object")
    }

    fn small() -> Allocators {
        Allocators::new("10.96.0.0/28".parse().expect("a network"), 30000..=30003)
    }

    #[test]
    fn what_is_taken_is_given_back_unless_kept() {
        let (allocators, row) = (small(), services());
        let spec = json!({"type": "NodePort", "clusterIP": "10.96.0.3", "ports": [{"port": 80, "nodePort": 30001}]});
        let reservation = allocators.reserve(&row, &mut service(spec.clone()), None, false).expect("free");
        let refused = allocators.reserve(&row, &mut service(spec.clone()), None, false).expect_err("taken");
        assert_eq!(
            refused.message,
            "Service \"s\" is invalid: [spec.clusterIPs: Invalid value: [\"10.96.0.3\"]: failed to allocate IP 10.96.0.3: provided IP is already allocated, spec.ports[0].nodePort: Invalid value: 30001: provided port is already allocated]"
        );
        drop(reservation);
        allocators.reserve(&row, &mut service(spec.clone()), None, false).expect("free again").keep();
        allocators.reserve(&row, &mut service(spec.clone()), None, false).expect_err("kept");
        allocators.release(&row, &service(spec.clone()));
        allocators.reserve(&row, &mut service(spec), None, false).expect("released");
    }

    #[test]
    fn types_come_and_go() {
        let (allocators, row) = (small(), services());
        let mut object = service(json!({"type": "NodePort", "ports": [{"port": 80, "protocol": "TCP"}]}));
        allocators.reserve(&row, &mut object, None, false).expect("free").keep();
        assert!(object.str_at(&["spec", "clusterIP"]).is_some_and(|ip| ip.starts_with("10.96.0.")));
        let mut again = service(json!({"type": "ClusterIP", "ports": [{"port": 80, "protocol": "TCP"}]}));
        Allocators::carry_over(&row, &mut again, &object);
        assert_eq!(again.at(&["spec", "clusterIP"]), object.at(&["spec", "clusterIP"]));
        let mut external = service(json!({"type": "ExternalName", "externalName": "x.example"}));
        Allocators::carry_over(&row, &mut external, &object);
        allocators.reserve(&row, &mut external, Some(&object), false).expect("nothing needed").keep();
        assert_eq!(external.at(&["spec", "clusterIP"]), None);
        allocators.reserve(&row, &mut object, None, false).expect("all was released");
    }

    #[test]
    fn a_full_range_says_so() {
        let (allocators, row) = (small(), services());
        for _ in 0..14 {
            allocators.reserve(&row, &mut service(json!({})), None, false).expect("free").keep();
        }
        allocators.reserve(&row, &mut service(json!({})), None, false).expect_err("full");
        allocators.reserve(&row, &mut service(json!({"clusterIP": "None"})), None, false).expect("needs none");
    }
}
