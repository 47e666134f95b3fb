//! Ingresses, network policies and their kin (upstream: pkg/apis/networking/v1/defaults.go, pkg/apis/networking/validation).

use apimachinery::Object;
use apimachinery::field::{self, Error, Path};
use serde_json::{Map, Value};

use crate::check::{self, Errors, names};
use crate::json::{Read, Write};
use crate::resource::{Generation, Strategy};

/// The strategy of ingresses.
pub(crate) struct Ingress;

impl Strategy for Ingress {
    fn validate(&self, object: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        let (spec, path) = (object.object("spec"), Path::new("spec"));
        if spec.list("rules").is_empty() && !spec.has("defaultBackend") {
            let detail = "either `defaultBackend` or `rules` must be specified";
            errors.push(Error::invalid(&path, spec.list("rules").to_vec(), detail));
        }
        if spec.has("defaultBackend") {
            backend(&mut errors, spec.object("defaultBackend"), &path.child("defaultBackend"));
        }
        for (index, rule) in spec.list("rules").iter().enumerate() {
            ingress_rule(&mut errors, rule, &path.child("rules").index(index));
        }
        for (index, tls) in spec.list("tls").iter().enumerate() {
            for (at, name) in tls.texts("hosts").enumerate() {
                host(&mut errors, name, &path.child("tls").index(index).child("hosts").index(at));
            }
        }
        if !spec.text("ingressClassName").is_empty() {
            check::named(
                &mut errors,
                names::dns1123_subdomain,
                spec.text("ingressClassName"),
                &path.child("ingressClassName"),
            );
        }
        errors
    }
}

fn ingress_rule(errors: &mut Errors, rule: &Value, path: &Path) {
    let name = rule.text("host");
    if name.parse::<std::net::IpAddr>().is_ok() {
        errors.push(Error::invalid(&path.child("host"), name, "must be a DNS name, not an IP address"));
    } else if !name.is_empty() {
        host(errors, name, &path.child("host"));
    }
    if !rule.has("http") {
        return;
    }
    let (paths, path) = (rule.object("http").list("paths"), path.child("http").child("paths"));
    if paths.is_empty() {
        errors.push(Error::required(&path, ""));
    }
    for (index, one) in paths.iter().enumerate() {
        let path = path.index(index);
        match one.text("pathType") {
            "" => errors.push(Error::required(&path.child("pathType"), "pathType must be specified")),
            "Exact" | "Prefix" => {
                if !one.text("path").starts_with('/') {
                    errors.push(Error::invalid(&path.child("path"), one.text("path"), "must be an absolute path"));
                }
                for sequence in
                    ["//", "/./", "/../", "%2f", "%2F"].iter().filter(|part| one.text("path").contains(**part))
                {
                    let detail = format!("must not contain '{sequence}'");
                    errors.push(Error::invalid(&path.child("path"), one.text("path"), detail));
                }
            }
            "ImplementationSpecific" => {}
            other => {
                let kinds = ["Exact", "ImplementationSpecific", "Prefix"];
                errors.push(Error::not_supported(&path.child("pathType"), other, &kinds));
            }
        }
        backend(errors, one.object("backend"), &path.child("backend"));
    }
}

fn host(errors: &mut Errors, name: &str, path: &Path) {
    let rule = if name.contains('*') { names::wildcard_dns1123_subdomain } else { names::dns1123_subdomain };
    check::named(errors, rule, name, path);
}

fn backend(errors: &mut Errors, backend: &Map<String, Value>, path: &Path) {
    match (backend.has("resource"), backend.has("service")) {
        (true, true) => errors.push(Error::invalid(path, "", "cannot set both resource and service backends")),
        (true, false) => {}
        (false, true) => {
            let (service, path) = (backend.object("service"), path.child("service"));
            check::required_name(errors, names::dns1123_label, service, "name", &path);
            let (port, path) = (service.object("port"), path.child("port"));
            match (port.text("name"), port.int("number").unwrap_or_default()) {
                ("", 0) => errors.push(Error::required(&path, "port name or number is required")),
                ("", number) => check::port_number(errors, number, &path.child("number")),
                (name, 0) => check::named(errors, names::port_name, name, &path.child("name")),
                _ => errors.push(Error::invalid(&path, "", "cannot set both port name & port number")),
            }
        }
        (false, false) => errors.push(Error::required(path, "resource or service backend is required")),
    }
}

/// The strategy of ingress classes.
pub(crate) struct IngressClass;

impl Strategy for IngressClass {
    fn default(&self, object: &mut Object) {
        if let Some(parameters) = object.object_at("spec").and_then(|spec| spec.object_at("parameters")) {
            parameters.default_to("scope", "Cluster");
        }
    }

    fn validate(&self, object: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        check::required(&mut errors, object.object("spec"), "controller", &Path::new("spec"));
        errors
    }

    fn validate_update(&self, object: &Object, old: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        let controller = |object: &Object| object.at(&["spec", "controller"]).cloned();
        let path = Path::new("spec").child("controller");
        check::immutable(&mut errors, controller(object).as_ref(), controller(old).as_ref(), &path);
        errors
    }
}

/// The strategy of network policies.
pub(crate) struct NetworkPolicy;

impl Strategy for NetworkPolicy {
    fn default(&self, object: &mut Object) {
        let Some(spec) = object.object_made("spec") else { return };
        if spec.list("policyTypes").is_empty() {
            let mut types = vec!["Ingress"];
            if !spec.list("egress").is_empty() {
                types.push("Egress");
            }
            spec.insert("policyTypes".into(), types.into());
        }
        spec.default_to("podSelector", Map::new());
        for direction in ["ingress", "egress"] {
            for rule in spec.items_mut(direction) {
                rule.items_mut("ports").for_each(|port| port.default_to("protocol", "TCP"));
            }
        }
    }

    fn validate(&self, object: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        let (spec, path) = (object.object("spec"), Path::new("spec"));
        check::label_selector(&mut errors, spec, "podSelector", &path);
        for (direction, peers) in [("ingress", "from"), ("egress", "to")] {
            for (index, rule) in spec.list(direction).iter().enumerate() {
                let path = path.child(direction).index(index);
                policy_ports(&mut errors, rule.list("ports"), &path.child("ports"));
                for (index, one) in rule.list(peers).iter().enumerate() {
                    peer(&mut errors, one, &path.child(peers).index(index));
                }
            }
        }
        for (index, direction) in spec.texts("policyTypes").enumerate() {
            if !matches!(direction, "Ingress" | "Egress") {
                let path = path.child("policyTypes").index(index);
                errors.push(Error::not_supported(&path, direction, &["Ingress", "Egress"]));
            }
        }
        errors
    }
}

fn policy_ports(errors: &mut Errors, ports: &[Value], path: &Path) {
    for (index, port) in ports.iter().enumerate() {
        let path = path.index(index);
        check::one_of(errors, port.fields(), "protocol", &["TCP", "UDP", "SCTP"], &path);
        if port.has("port") {
            check::port_number_or_name(errors, port.value("port"), &path.child("port"));
        }
        if let Some(end) = port.int("endPort") {
            match port.int("port") {
                None => {
                    errors.push(Error::required(&path.child("port"), "must be specified when `endPort` is specified"))
                }
                Some(first) if end < first => {
                    errors.push(Error::invalid(&path.child("endPort"), end, "must be greater than or equal to `port`"));
                }
                Some(_) => check::port_number(errors, end, &path.child("endPort")),
            }
        }
    }
}

fn peer(errors: &mut Errors, peer: &Value, path: &Path) {
    if peer.fields().is_empty() {
        errors.push(Error::required(path, "must specify a peer"));
    }
    for selector in ["podSelector", "namespaceSelector"] {
        check::label_selector(errors, peer.fields(), selector, path);
    }
    if !peer.has("ipBlock") {
        return;
    }
    if peer.has("podSelector") || peer.has("namespaceSelector") {
        errors.push(Error::forbidden(path, "may not specify both ipBlock and another peer"));
    }
    let (block, path) = (peer.object("ipBlock"), path.child("ipBlock"));
    if check::required(errors, block, "cidr", &path) {
        check::cidr(errors, block.text("cidr"), &path.child("cidr"));
    }
    for (index, hole) in block.texts("except").enumerate() {
        let path = path.child("except").index(index);
        check::cidr(errors, hole, &path);
        if let (Ok(all), Ok(part)) = (block.text("cidr").parse::<ipnet::IpNet>(), hole.parse::<ipnet::IpNet>())
            && (!all.contains(&part) || all == part)
        {
            let detail = format!("must be a strict subset of `cidr` (\"{all}\")");
            errors.push(Error::invalid(&path, hole, detail));
        }
    }
}

/// The strategy of IP addresses.
pub(crate) struct IpAddress;

impl Strategy for IpAddress {
    fn validate(&self, object: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        check::ip_address(&mut errors, object.name(), &Path::new("metadata").child("name"));
        if !object.object("spec").has("parentRef") {
            errors.push(Error::required(&Path::new("spec").child("parentRef"), ""));
        }
        errors
    }

    fn name_errors(&self, name: &str, _prefix: bool) -> Vec<String> {
        names::ip(name)
    }

    fn generation(&self) -> Generation {
        Generation::Never
    }
}

/// The strategy of service CIDRs.
pub(crate) struct ServiceCidr;

impl Strategy for ServiceCidr {
    fn validate(&self, object: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        let path = Path::new("spec").child("cidrs");
        if object.object("spec").list("cidrs").is_empty() {
            errors.push(Error::required(&path, "at least one CIDR required"));
        }
        for (index, range) in object.object("spec").texts("cidrs").enumerate() {
            check::cidr(&mut errors, range, &path.index(index));
        }
        errors
    }

    fn generation(&self) -> Generation {
        Generation::Never
    }
}
