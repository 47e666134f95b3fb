//! Endpoints and EndpointSlices (upstream: pkg/apis/discovery/v1/defaults.go, pkg/apis/discovery/validation).

use std::collections::HashSet;

use apimachinery::Object;
use apimachinery::field::{self, Error, Path};
use serde_json::{Map, Value};

use crate::check::{self, Errors, names, spelling};
use crate::json::{Read, Write};
use crate::resource::{Generation, Strategy};

/// The strategy of EndpointSlices.
pub(crate) struct EndpointSlice;

const MAX_ENDPOINTS: usize = 1000;
const MAX_ADDRESSES: usize = 100;
const MAX_PORTS: usize = 20_000;
const MAX_TOPOLOGY: usize = 16;
const MAX_HINTS: usize = 8;
const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];

impl Strategy for EndpointSlice {
    fn default(&self, object: &mut Object) {
        // Upstream declares the list without omitempty, so it is always there.
        object.default_to("endpoints", Vec::<Value>::new());
        for port in object.items_mut("ports") {
            port.default_to("name", "");
            port.default_to("protocol", "TCP");
        }
    }

    fn validate(&self, object: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        frame(&mut errors, object);
        endpoints(&mut errors, object);
        errors
    }

    /// Endpoints that stay as they were may be what older rules allowed.
    fn validate_update(&self, object: &Object, old: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        frame(&mut errors, object);
        if object.value("endpoints") != old.value("endpoints") {
            endpoints(&mut errors, object);
        }
        check::immutable(&mut errors, object.value("addressType"), old.value("addressType"), &Path::new("addressType"));
        errors
    }

    fn judges_updates_alone(&self) -> bool {
        true
    }

    /// Controllers spell as they should; of others' addresses there are words.
    fn warnings(&self, object: &Object) -> Vec<String> {
        let mut found = Vec::new();
        if object.text("addressType") == "FQDN" {
            // Upstream names a spec that there is not.
            found.push("spec.addressType: FQDN endpoints are deprecated".to_owned());
        }
        let manager = object.object("metadata").object("labels").text("endpointslice.kubernetes.io/managed-by");
        if matches!(manager, "endpointslice-controller.k8s.io" | "endpointslicemirroring-controller.k8s.io") {
            return found;
        }
        for (index, endpoint) in object.list("endpoints").iter().enumerate() {
            let path = Path::new("endpoints").index(index).child("addresses");
            for (index, address) in endpoint.texts("addresses").enumerate() {
                spelling::of_ip(&mut found, address, &path.index(index));
            }
        }
        found
    }

    fn generation(&self) -> Generation {
        Generation::Content
    }
}

/// The kind of addresses, and the ports.
fn frame(errors: &mut Errors, object: &Object) {
    check::required_one_of(errors, &object.0, "addressType", &["FQDN", "IPv4", "IPv6"], &Path::default());
    let (ports, path) = (object.list("ports"), Path::new("ports"));
    if ports.len() > MAX_PORTS {
        errors.push(Error::too_many(&path, ports.len(), MAX_PORTS));
        return;
    }
    let mut seen = HashSet::new();
    for (index, port) in ports.iter().enumerate() {
        let path = path.index(index);
        let name = port.text("name");
        check::optional_name(errors, names::dns1123_label, port.fields(), "name", &path);
        if !seen.insert(name) {
            errors.push(Error::duplicate(&path.child("name"), name));
        }
        check::required_one_of(errors, port.fields(), "protocol", PROTOCOLS, &path);
        if port.has("appProtocol") {
            check::named(errors, names::qualified_name, port.text("appProtocol"), &path.child("appProtocol"));
        }
    }
}

fn endpoints(errors: &mut Errors, object: &Object) {
    let (endpoints, path) = (object.list("endpoints"), Path::new("endpoints"));
    if endpoints.len() > MAX_ENDPOINTS {
        errors.push(Error::too_many(&path, endpoints.len(), MAX_ENDPOINTS));
        return;
    }
    for (index, endpoint) in endpoints.iter().enumerate() {
        let path = path.index(index);
        let at = path.child("addresses");
        match endpoint.list("addresses").len() {
            0 => errors.push(Error::required(&at, "must contain at least 1 address")),
            count if count > MAX_ADDRESSES => errors.push(Error::too_many(&at, count, MAX_ADDRESSES)),
            _ => {}
        }
        for (index, address) in endpoint.texts("addresses").enumerate() {
            address_of(errors, object.text("addressType"), address, index, &at);
        }
        if endpoint.has("nodeName") {
            check::named(errors, names::dns1123_subdomain, endpoint.text("nodeName"), &path.child("nodeName"));
        }
        let (topology, at) = (endpoint.object("deprecatedTopology"), path.child("deprecatedTopology"));
        if topology.len() > MAX_TOPOLOGY {
            errors.push(Error::too_many(&at, topology.len(), MAX_TOPOLOGY));
        }
        check::labels(errors, topology, &at);
        if endpoint.has("hostname") {
            check::named(errors, names::dns1123_label, endpoint.text("hostname"), &path.child("hostname"));
        }
        hints(errors, endpoint.object("hints"), &path.child("hints"));
    }
}

/// For which zones and nodes an endpoint is meant.
fn hints(errors: &mut Errors, hints: &Map<String, Value>, path: &Path) {
    for (list, rule) in [("forZones", names::label_value as check::Rule), ("forNodes", names::dns1123_subdomain)] {
        let (items, path) = (hints.list(list), path.child(list));
        if items.len() > MAX_HINTS {
            errors.push(Error::too_many(&path, items.len(), MAX_HINTS));
            return;
        }
        let mut seen = HashSet::new();
        for (index, item) in items.iter().enumerate() {
            let (name, path) = (item.text("name"), path.index(index).child("name"));
            if !seen.insert(name) {
                errors.push(Error::duplicate(&path, name));
            }
            check::named(errors, rule, name, &path);
        }
    }
}

fn address_of(errors: &mut Errors, family: &str, address: &str, index: usize, list: &Path) {
    let path = list.index(index);
    match family {
        "IPv4" | "IPv6" => {
            let wrong = if family == "IPv4" { names::ip(address) } else { check::canonical_ip(address) };
            if !wrong.is_empty() {
                errors.extend(wrong.into_iter().map(|sentence| Error::invalid(&path, address, sentence)));
                return;
            }
            // Upstream names the list here.
            if address.contains(':') != (family == "IPv6") {
                errors.push(Error::invalid(list, address, format!("must be an {family} address")));
            }
            check::not_special_ip(errors, address, &path);
        }
        "FQDN" => full_name(errors, address, &path),
        _ => {}
    }
}

/// A name of at least two parts (upstream: `IsFullyQualifiedDomainName`).
fn full_name(errors: &mut Errors, name: &str, path: &Path) {
    if name.is_empty() {
        errors.push(Error::required(path, ""));
        return;
    }
    let stem = name.strip_suffix('.').unwrap_or(name);
    let wrong = names::dns1123_subdomain(stem);
    if !wrong.is_empty() {
        errors.push(Error::invalid(path, stem, wrong.join(",")));
    } else if !stem.contains('.') {
        let detail = "should be a domain with at least two segments separated by dots";
        errors.push(Error::invalid(path, stem, detail));
    }
}

/// The strategy of Endpoints.
pub(crate) struct Endpoints;

impl Strategy for Endpoints {
    fn default(&self, object: &mut Object) {
        for subset in object.items_mut("subsets") {
            subset.items_mut("ports").for_each(|port| port.default_text("protocol", "TCP"));
        }
    }

    fn validate(&self, object: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        for (index, subset) in object.list("subsets").iter().enumerate() {
            one_subset(&mut errors, subset, &Path::new("subsets").index(index));
        }
        errors
    }

    /// Subsets that stay as they were may be what older rules allowed.
    fn validate_update(&self, object: &Object, old: &Object) -> Vec<field::Error> {
        let mut errors = self.validate(object);
        if !errors.is_empty() && object.value("subsets") == old.value("subsets") {
            errors.clear();
        }
        errors
    }

    fn judges_updates_alone(&self) -> bool {
        true
    }

    /// The controller spells as it should; of others' addresses there are words.
    fn warnings(&self, object: &Object) -> Vec<String> {
        let mut found = Vec::new();
        let manager = object.object("metadata").object("labels").text("endpoints.kubernetes.io/managed-by");
        if manager == "endpoint-controller" {
            return found;
        }
        for (index, subset) in object.list("subsets").iter().enumerate() {
            for list in ["addresses", "notReadyAddresses"] {
                let path = Path::new("subsets").index(index).child(list);
                for (index, address) in subset.list(list).iter().enumerate() {
                    spelling::of_ip(&mut found, address.text("ip"), &path.index(index).child("ip"));
                }
            }
        }
        found
    }

    fn generation(&self) -> Generation {
        Generation::Never
    }

    fn allow_create_on_update(&self) -> bool {
        true
    }
}

fn one_subset(errors: &mut Errors, subset: &Value, path: &Path) {
    let lists = ["addresses", "notReadyAddresses"];
    if lists.iter().all(|list| subset.list(list).is_empty()) {
        errors.push(Error::required(path, "must specify `addresses` or `notReadyAddresses`"));
    }
    for list in lists {
        for (index, address) in subset.list(list).iter().enumerate() {
            let path = path.child(list).index(index);
            check::ip_address(errors, address.text("ip"), &path.child("ip"));
            check::optional_name(errors, names::dns1123_label, address.fields(), "hostname", &path);
            if address.has("nodeName") {
                let name = address.text("nodeName");
                check::named(errors, names::dns1123_subdomain, name, &path.child("nodeName"));
            }
            check::not_special_ip(errors, address.text("ip"), &path.child("ip"));
        }
    }
    let ports = subset.list("ports");
    for (index, port) in ports.iter().enumerate() {
        let path = path.child("ports").index(index);
        if ports.len() > 1 {
            check::required(errors, port.fields(), "name", &path);
        }
        check::port_number(errors, port.int("port").unwrap_or_default(), &path.child("port"));
        check::required_one_of(errors, port.fields(), "protocol", PROTOCOLS, &path);
        check::optional_name(errors, names::dns1123_label, port.fields(), "name", &path);
        if port.has("appProtocol") {
            let protocol = port.text("appProtocol");
            check::named(errors, names::qualified_name, protocol, &path.child("appProtocol"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use serde_json::json;

    fn slice(value: Value) -> Object {
        let mut object = Object::from_value(value).expect("an object");
        EndpointSlice.default(&mut object);
        object
    }

    fn check(errors: Vec<Error>, expected: &Expect) {
        expected.assert_eq(&errors.iter().map(|error| format!("{error}\n")).collect::<String>());
    }

    #[test]
    fn slices_are_checked() {
        let endpoint = |addresses: Value| json!({"addresses": addresses});
        check(
            EndpointSlice.validate(&slice(json!({
                "addressType": "IPv4",
                "ports": [{"name": "a"}, {"name": "a", "protocol": "ICMP"}, {"appProtocol": "a b"}],
                "endpoints": [
                    endpoint(json!([])), endpoint(json!(["2001:db8::1"])), endpoint(json!(["127.0.0.1"])),
                    {"addresses": ["10.0.0.1"], "nodeName": "", "hints": {"forZones": [{"name": "a"}, {"name": "a"}]}},
                ],
            }))),
            &expect![[r#"
                ports[1].name: Duplicate value: "a"
                ports[1].protocol: Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP"
                ports[2].appProtocol: Invalid value: "a b": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
                endpoints[0].addresses: Required value: must contain at least 1 address
                endpoints[1].addresses: Invalid value: "2001:db8::1": must be an IPv4 address
                endpoints[2].addresses[0]: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, ::1/128)
                endpoints[3].nodeName: Invalid value: "": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
                endpoints[3].hints.forZones[1].name: Duplicate value: "a"
            "#]],
        );
        check(
            EndpointSlice
                .validate(&slice(json!({"addressType": "FQDN", "endpoints": [endpoint(json!(["web", "a.b.", ""]))]}))),
            &expect![[r#"
                endpoints[0].addresses[0]: Invalid value: "web": should be a domain with at least two segments separated by dots
                endpoints[0].addresses[2]: Required value
            "#]],
        );
    }

    #[test]
    fn what_is_there_may_stay() {
        let old = slice(json!({"addressType": "IPv4", "endpoints": [{"addresses": ["127.0.0.1"]}]}));
        check(EndpointSlice.validate_update(&old, &old), &expect![[""]]);
        let new = slice(json!({"addressType": "IPv6", "endpoints": [{"addresses": ["127.0.0.1"]}]}));
        check(
            EndpointSlice.validate_update(&new, &old),
            &expect![[r#"
                addressType: Invalid value: "IPv6": field is immutable
            "#]],
        );
    }

    #[test]
    fn old_endpoints_are_checked() {
        let endpoints = Object::from_value(json!({"subsets": [
            {"ports": [{"port": 80}]},
            {"addresses": [{"ip": "10.0.0.1", "hostname": "A", "nodeName": "B"}], "ports": [{"port": 80, "name": "C"}, {"port": 81, "protocol": "X"}]},
        ]}));
        let mut endpoints = endpoints.expect("an object");
        Endpoints.default(&mut endpoints);
        let found: Vec<String> = Endpoints.validate(&endpoints).iter().map(|error| error.field.clone()).collect();
        assert_eq!(
            found,
            [
                "subsets[0]",
                "subsets[1].addresses[0].hostname",
                "subsets[1].addresses[0].nodeName",
                "subsets[1].ports[0].name",
                "subsets[1].ports[1].name",
                "subsets[1].ports[1].protocol",
            ]
        );
    }

    /// Upstream: `ValidateEndpoints`.
    #[test]
    fn subsets_that_stay_are_not_judged_again() {
        let endpoints = |ip: &str, name: &str| {
            let subsets = json!([{"addresses": [{"ip": ip}]}]);
            Object::from_value(json!({"metadata": {"name": "e", "labels": {"name": name}}, "subsets": subsets}))
                .expect("an object")
        };
        let old = endpoints("010.0.0.1", "a");
        assert_eq!(
            Endpoints.warnings(&old),
            ["subsets[0].addresses[0].ip: non-standard IP address \"010.0.0.1\" is invalid: use \"10.0.0.1\""]
        );
        check(Endpoints.validate_update(&endpoints("010.0.0.1", "b"), &old), &expect![[""]]);
        check(
            Endpoints.validate_update(&endpoints("010.0.0.2", "a"), &old),
            &expect![[r#"
                subsets[0].addresses[0].ip: Invalid value: "010.0.0.2": must not have leading 0s
            "#]],
        );
    }

    /// Upstream: `validateEndpoints`, `IsValidIP`.
    #[test]
    fn addresses_of_the_newer_family_have_one_spelling() {
        let of = |address: &str| {
            EndpointSlice.validate(&slice(json!({"addressType": "IPv6", "endpoints": [{"addresses": [address]}]})))
        };
        check(of("2001:db8::1"), &expect![[""]]);
        check(
            of("2001:DB8::1"),
            &expect![[r#"
                endpoints[0].addresses[0]: Invalid value: "2001:DB8::1": must be in canonical form ("2001:db8::1")
            "#]],
        );
    }
}
