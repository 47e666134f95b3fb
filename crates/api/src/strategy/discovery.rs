//! Endpoints and EndpointSlices (upstream: pkg/apis/discovery/v1/defaults.go, pkg/apis/discovery/validation).

use apimachinery::Object;
use apimachinery::field::{self, Error, Path};
use serde_json::Value;

use crate::check::{self, Errors, names};
use crate::json::{Read, Write};
use crate::resource::{Generation, Strategy};

/// The strategy of EndpointSlices.
pub(crate) struct EndpointSlice;

const MAX_ENDPOINTS: usize = 1000;
const MAX_ADDRESSES: usize = 100;

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
        check::required_one_of(&mut errors, &object.0, "addressType", &["FQDN", "IPv4", "IPv6"], &Path::default());
        let (endpoints, path) = (object.list("endpoints"), Path::new("endpoints"));
        if endpoints.len() > MAX_ENDPOINTS {
            errors.push(Error::too_many(&path, endpoints.len(), MAX_ENDPOINTS));
        }
        for (index, endpoint) in endpoints.iter().enumerate() {
            let path = path.index(index);
            match endpoint.list("addresses").len() {
                0 => errors.push(Error::required(&path.child("addresses"), "must contain at least 1 address")),
                count if count > MAX_ADDRESSES => {
                    errors.push(Error::too_many(&path.child("addresses"), count, MAX_ADDRESSES));
                }
                _ => {}
            }
            for (index, address) in endpoint.texts("addresses").enumerate() {
                address_of(&mut errors, object.text("addressType"), address, &path.child("addresses").index(index));
            }
            if !endpoint.text("hostname").is_empty() {
                check::named(&mut errors, names::dns1123_label, endpoint.text("hostname"), &path.child("hostname"));
            }
            if !endpoint.text("nodeName").is_empty() {
                check::named(&mut errors, names::dns1123_subdomain, endpoint.text("nodeName"), &path.child("nodeName"));
            }
            hints(&mut errors, endpoint.object("hints"), &path.child("hints"));
        }
        let mut seen = std::collections::HashSet::new();
        for (index, port) in object.list("ports").iter().enumerate() {
            let path = Path::new("ports").index(index);
            let name = port.text("name");
            if !name.is_empty() {
                check::named(&mut errors, names::dns1123_label, name, &path.child("name"));
            }
            if !seen.insert(name) {
                errors.push(Error::duplicate(&path.child("name"), name));
            }
            check::required_one_of(&mut errors, port.fields(), "protocol", &["SCTP", "TCP", "UDP"], &path);
        }
        errors
    }

    fn validate_update(&self, object: &Object, old: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        check::immutable(&mut errors, object.value("addressType"), old.value("addressType"), &Path::new("addressType"));
        errors
    }

    fn generation(&self) -> Generation {
        Generation::Content
    }
}

/// For which zones and nodes an endpoint is meant.
fn hints(errors: &mut Errors, hints: &serde_json::Map<String, Value>, path: &Path) {
    const MOST: usize = 8;
    for list in ["forZones", "forNodes"] {
        let (items, path) = (hints.list(list), path.child(list));
        if items.len() > MOST {
            errors.push(Error::too_many(&path, items.len(), MOST));
            continue;
        }
        let mut seen = std::collections::HashSet::new();
        for (index, item) in items.iter().enumerate() {
            let (name, path) = (item.text("name"), path.index(index).child("name"));
            if !seen.insert(name) {
                errors.push(Error::duplicate(&path, name));
            }
            let rule = if list == "forZones" { names::label_value } else { names::dns1123_subdomain };
            check::named(errors, rule, name, &path);
        }
    }
}

fn address_of(errors: &mut Errors, family: &str, address: &str, path: &Path) {
    match family {
        "IPv4" if address.parse::<std::net::Ipv4Addr>().is_err() => {
            errors.push(Error::invalid(path, address, "must be a valid IPv4 address"));
        }
        "IPv6" if address.parse::<std::net::Ipv6Addr>().is_err() => {
            errors.push(Error::invalid(path, address, "must be a valid IPv6 address"));
        }
        "IPv4" | "IPv6" => check::not_special_ip(errors, address, path),
        "FQDN" => check::named(errors, names::dns1123_subdomain, address, path),
        _ => {}
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
            let path = Path::new("subsets").index(index);
            let lists = ["addresses", "notReadyAddresses"];
            if lists.iter().all(|list| subset.list(list).is_empty()) {
                errors.push(Error::required(&path, "must specify `addresses` or `notReadyAddresses`"));
            }
            for list in lists {
                for (index, address) in subset.list(list).iter().enumerate() {
                    let path = path.child(list).index(index);
                    check::ip_address(&mut errors, address.text("ip"), &path.child("ip"));
                    check::not_special_ip(&mut errors, address.text("ip"), &path.child("ip"));
                    if !address.text("hostname").is_empty() {
                        let path = path.child("hostname");
                        check::named(&mut errors, names::dns1123_label, address.text("hostname"), &path);
                    }
                }
            }
            let ports = subset.list("ports");
            for (index, port) in ports.iter().enumerate() {
                let path = path.child("ports").index(index);
                if ports.len() > 1 {
                    check::required(&mut errors, port.fields(), "name", &path);
                }
                check::port_number(&mut errors, port.int("port").unwrap_or_default(), &path.child("port"));
                check::required_one_of(&mut errors, port.fields(), "protocol", &["SCTP", "TCP", "UDP"], &path);
            }
        }
        errors
    }

    fn generation(&self) -> Generation {
        Generation::Never
    }
}
