//! Services (upstream: `SetDefaults_Service`, `ValidateService`). Addresses and node ports are allocated by the
//! registry.

use std::collections::HashSet;

use apimachinery::Object;
use apimachinery::field::{self, Error, Path};
use serde_json::{Map, Value, json};

use crate::check::{self, Errors, names};
use crate::json::{Read, Write};
use crate::resource::{Generation, Strategy, WriteContext};

mod stack;
mod warnings;

pub(super) use warnings::of_balancer as balancer_warnings;

/// The strategy of services.
pub(crate) struct Service;

/// How long a client keeps its endpoint, by default three hours.
const AFFINITY_SECONDS: i64 = 10_800;

impl Strategy for Service {
    fn default(&self, object: &mut Object) {
        let Some(spec) = object.object_made("spec") else { return };
        spec.default_text("sessionAffinity", "None");
        if spec.text("sessionAffinity") == "None" {
            spec.remove("sessionAffinityConfig");
        }
        if spec.text("sessionAffinity") == "ClientIP"
            && let Some(client) =
                spec.object_made("sessionAffinityConfig").and_then(|config| config.object_made("clientIP"))
        {
            client.default_to("timeoutSeconds", AFFINITY_SECONDS);
        }
        spec.default_text("type", "ClusterIP");
        spec.items_mut("ports").for_each(port);
        let kind = spec.text("type").to_owned();
        let outside = matches!(kind.as_str(), "NodePort" | "LoadBalancer");
        if outside || (kind == "ClusterIP" && !spec.list("externalIPs").is_empty()) {
            spec.default_text("externalTrafficPolicy", "Cluster");
        }
        if outside || kind == "ClusterIP" {
            spec.default_to("internalTrafficPolicy", "Cluster");
        }
        if kind == "LoadBalancer" {
            spec.default_to("allocateLoadBalancerNodePorts", true);
            let balancer = object.object_at("status").and_then(|status| status.object_at("loadBalancer"));
            for ingress in balancer.into_iter().flat_map(|balancer| balancer.items_mut("ingress")) {
                if !ingress.text("ip").is_empty() {
                    ingress.default_to("ipMode", "VIP");
                }
            }
        }
        if let Some(status) = object.object_made("status") {
            status.default_to("loadBalancer", json!({}));
        }
    }

    fn prepare_for_create(&self, _cx: &WriteContext<'_>, object: &mut Object) {
        object.0.insert("status".into(), json!({"loadBalancer": {}}));
    }

    fn validate(&self, object: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        annotations(&mut errors, object, None);
        validate_spec(&mut errors, object.object("spec"), None, &Path::new("spec"));
        errors
    }

    fn validate_update(&self, object: &Object, old: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        annotations(&mut errors, object, Some(old));
        validate_spec(&mut errors, object.object("spec"), Some(old.object("spec")), &Path::new("spec"));
        let (new, old, path) = (object.object("spec"), old.object("spec"), Path::new("spec"));
        let addressed = |spec: &Map<String, Value>| spec.text("type") != "ExternalName";
        if addressed(new) && addressed(old) {
            stack::cluster_ips(&mut errors, new, old, &path);
            stack::families(&mut errors, new, old, &path);
        }
        balancer_class(&mut errors, new, old, &path);
        let keeps_port =
            |spec: &Map<String, Value>| needs_health_port(spec) && spec.int("healthCheckNodePort") > Some(0);
        if keeps_port(old)
            && needs_health_port(new)
            && new.value("healthCheckNodePort") != old.value("healthCheckNodePort")
        {
            let detail = "field is immutable";
            errors.push(Error::forbidden(&path.child("healthCheckNodePort"), detail));
        }
        errors
    }

    fn judges_updates_alone(&self) -> bool {
        true
    }

    fn validate_status_update(&self, object: &Object, old: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        let path = Path::new("status").child("loadBalancer").child("ingress");
        let is_balancer = object.object("spec").text("type") == "LoadBalancer";
        let ingress = object.object("status").object("loadBalancer").list("ingress");
        if !is_balancer && !ingress.is_empty() {
            let detail = "may only be used when `spec.type` is 'LoadBalancer'";
            errors.push(Error::forbidden(&path, detail));
            return errors;
        }
        for (index, one) in ingress.iter().enumerate() {
            balancer_ingress(&mut errors, one, &balancer_ips(old), &path.index(index));
        }
        errors
    }

    fn judge_status_update(
        &self,
        _cx: &WriteContext<'_>,
        object: &Object,
        old: &Object,
    ) -> (Vec<field::Error>, Vec<String>) {
        (self.validate_status_update(object, old), warnings::of_balancer(object))
    }

    fn warnings(&self, object: &Object) -> Vec<String> {
        warnings::of_spec(object)
    }

    fn name_errors(&self, name: &str, prefix: bool) -> Vec<String> {
        names::name_is_dns_label(name, prefix)
    }

    fn generation(&self) -> Generation {
        Generation::Never
    }

    fn allow_create_on_update(&self) -> bool {
        true
    }
}

/// Whether health checks of a balancer ask the nodes.
fn needs_health_port(spec: &Map<String, Value>) -> bool {
    spec.text("type") == "LoadBalancer" && spec.text("externalTrafficPolicy") == "Local"
}

/// The class of a balancer is set when a service becomes one, and stays.
fn balancer_class(errors: &mut Errors, new: &Map<String, Value>, old: &Map<String, Value>, path: &Path) {
    let is_balancer = |spec: &Map<String, Value>| spec.text("type") == "LoadBalancer";
    if is_balancer(new) && is_balancer(old) && new.value("loadBalancerClass") != old.value("loadBalancerClass") {
        let class = new.value("loadBalancerClass").cloned().unwrap_or_default();
        errors.push(Error::invalid(&path.child("loadBalancerClass"), class, "may not change once set"));
    }
}

/// An address or a name that a balancer gave (upstream: `ValidateLoadBalancerStatus`).
fn balancer_ingress(errors: &mut Errors, ingress: &Value, known: &[&str], path: &Path) {
    balancer_ip(errors, ingress, known, path);
    match (ingress.has("ipMode"), ingress.text("ip").is_empty()) {
        (false, false) => errors.push(Error::required(&path.child("ipMode"), "must be specified when `ip` is set")),
        (false, true) => {}
        (true, true) => {
            errors.push(Error::forbidden(&path.child("ipMode"), "may not be specified when `ip` is not set"));
        }
        (true, false) if !matches!(ingress.text("ipMode"), "Proxy" | "VIP") => {
            errors.push(Error::not_supported(&path.child("ipMode"), ingress.text("ipMode"), &["Proxy", "VIP"]));
        }
        (true, false) => {}
    }
    balancer_hostname(errors, ingress, path);
}

/// The addresses that balancers gave so far.
pub(super) fn balancer_ips(object: &Object) -> Vec<&str> {
    let ingress = object.object("status").object("loadBalancer").list("ingress");
    ingress.iter().map(|one| one.text("ip")).collect()
}

/// The address of a balancer, if it has one.
pub(super) fn balancer_ip(errors: &mut Errors, ingress: &Value, known: &[&str], path: &Path) {
    let ip = ingress.text("ip");
    if !ip.is_empty() {
        check::ip_address_or_known(errors, ip, known, &path.child("ip"));
    }
}

/// The name of a balancer, if it has one, which is no address.
pub(super) fn balancer_hostname(errors: &mut Errors, ingress: &Value, path: &Path) {
    let name = ingress.text("hostname");
    check::optional_name(errors, names::dns1123_subdomain, ingress.fields(), "hostname", path);
    if name.parse::<std::net::IpAddr>().is_ok() {
        let detail = "must be a DNS name, not an IP address";
        errors.push(Error::invalid(&path.child("hostname"), name, detail));
    }
}

fn port(port: &mut Map<String, Value>) {
    port.default_text("protocol", "TCP");
    let target = match port.value("targetPort") {
        None => true,
        Some(Value::String(name)) => name.is_empty(),
        Some(number) => number.as_i64() == Some(0),
    };
    if target && let Some(number) = port.get("port").cloned() {
        port.insert("targetPort".into(), number);
    }
}

fn validate_spec(errors: &mut Errors, spec: &Map<String, Value>, old: Option<&Map<String, Value>>, path: &Path) {
    let kind = spec.text("type");
    let headless = spec.text("clusterIP") == "None";
    let ports = spec.list("ports");
    if ports.is_empty() && !headless && kind != "ExternalName" {
        errors.push(Error::required(&path.child("ports"), ""));
    }
    match kind {
        "LoadBalancer" | "NodePort" if headless => {
            let detail = format!("may not be set to 'None' for {kind} services");
            errors.push(Error::invalid(&path.child("clusterIPs").index(0), "None", detail));
        }
        "ExternalName" => external_name(errors, spec, path),
        _ => {}
    }
    let mut seen = Seen::default();
    for (index, port) in ports.iter().enumerate() {
        let path = path.child("ports").index(index);
        one_port(errors, port, ports.len() > 1, &mut seen, &path);
        let node_port = port.int("nodePort").unwrap_or_default();
        if node_port != 0 && kind == "ClusterIP" {
            errors.push(Error::forbidden(&path.child("nodePort"), "may not be used when `type` is 'ClusterIP'"));
        }
    }
    check::labels(errors, spec.object("selector"), &path.child("selector"));
    affinity(errors, spec, path);
    addresses(errors, spec, old, path);
    let kinds = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
    check::required_one_of(errors, spec, "type", &kinds, path);
    balancer(errors, spec, path);
    policies(errors, spec, path);
}

/// What belongs to balancers alone.
fn balancer(errors: &mut Errors, spec: &Map<String, Value>, path: &Path) {
    let is_balancer = spec.text("type") == "LoadBalancer";
    let mut only_for_balancers = |field: &str| {
        if spec.has(field) && !is_balancer {
            let detail = "may only be used when `type` is 'LoadBalancer'";
            errors.push(Error::forbidden(&path.child(field), detail));
        }
    };
    only_for_balancers("allocateLoadBalancerNodePorts");
    only_for_balancers("loadBalancerClass");
    if is_balancer && !spec.has("allocateLoadBalancerNodePorts") {
        errors.push(Error::required(&path.child("allocateLoadBalancerNodePorts"), ""));
    }
    if is_balancer && spec.has("loadBalancerClass") {
        let path = path.child("loadBalancerClass");
        check::named(errors, names::qualified_name, spec.text("loadBalancerClass"), &path);
    }
    let (port, path) = (spec.int("healthCheckNodePort").unwrap_or_default(), path.child("healthCheckNodePort"));
    if needs_health_port(spec) && port != 0 {
        check::port_number(errors, port, &path);
    } else if port != 0 {
        let detail = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
        errors.push(Error::invalid(&path, port, detail));
    }
}

/// Annotations from before there were fields.
fn annotations(errors: &mut Errors, object: &Object, old: Option<&Object>) {
    const HINTS: &str = "service.kubernetes.io/topology-aware-hints";
    const MODE: &str = "service.kubernetes.io/topology-mode";
    const RANGES: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";
    let (annotations, path) = (object.object("metadata").object("annotations"), Path::new("metadata"));
    let path = path.child("annotations");
    if let (Some(mode), Some(hints)) = (annotations.get(MODE), annotations.get(HINTS))
        && mode != hints
    {
        let detail = format!("must match annotations[{HINTS}] when both are specified");
        errors.push(Error::invalid(&path.key(MODE), mode.clone(), detail));
    }
    let spec = object.object("spec");
    if !annotations.has(RANGES) || !spec.list("loadBalancerSourceRanges").is_empty() {
        return;
    }
    let path = path.key(RANGES);
    if spec.text("type") != "LoadBalancer" {
        errors.push(Error::forbidden(&path, "may only be used when `type` is 'LoadBalancer'"));
    }
    if old.is_some_and(|old| old.object("metadata").object("annotations").get(RANGES) == annotations.get(RANGES)) {
        return;
    }
    let ranges = annotations.text(RANGES).trim();
    for range in ranges.split(',').filter(|_| !ranges.is_empty()) {
        check::cidr(errors, range.trim(), &path);
    }
}

fn external_name(errors: &mut Errors, spec: &Map<String, Value>, path: &Path) {
    if !spec.list("clusterIPs").is_empty() || !spec.text("clusterIP").is_empty() {
        errors.push(Error::forbidden(&path.child("clusterIPs"), "may not be set for ExternalName services"));
    }
    for field in ["ipFamilies", "ipFamilyPolicy"] {
        if !matches!(spec.value(field), None | Some(Value::Array(_))) || !spec.list(field).is_empty() {
            errors.push(Error::forbidden(&path.child(field), "may not be set for ExternalName services"));
        }
    }
    let name = spec.text("externalName");
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.is_empty() {
        errors.push(Error::required(&path.child("externalName"), ""));
    } else {
        check::named(errors, names::dns1123_subdomain, name, &path.child("externalName"));
    }
}

/// What the ports before this one have taken.
#[derive(Default)]
struct Seen<'a> {
    names: HashSet<&'a str>,
    numbers: HashSet<(&'a str, i64)>,
    on_nodes: HashSet<(&'a str, i64)>,
}

fn one_port<'a>(errors: &mut Errors, port: &'a Value, named: bool, seen: &mut Seen<'a>, path: &Path) {
    let name = port.text("name");
    if name.is_empty() {
        if named {
            errors.push(Error::required(&path.child("name"), ""));
        }
    } else {
        check::named(errors, names::dns1123_label, name, &path.child("name"));
        if !seen.names.insert(name) {
            errors.push(Error::duplicate(&path.child("name"), name));
        }
    }
    let number = port.int("port").unwrap_or_default();
    check::port_number(errors, number, &path.child("port"));
    check::required_one_of(errors, port.fields(), "protocol", &["SCTP", "TCP", "UDP"], path);
    check::port_number_or_name(errors, port.value("targetPort"), &path.child("targetPort"));
    if port.has("appProtocol") {
        check::named(errors, names::qualified_name, port.text("appProtocol"), &path.child("appProtocol"));
    }
    let protocol = port.text("protocol");
    if !seen.numbers.insert((protocol, number)) {
        errors.push(Error::duplicate(path, json!({"port": number, "protocol": protocol})));
    }
    let node_port = port.int("nodePort").unwrap_or_default();
    if node_port != 0 && !seen.on_nodes.insert((protocol, node_port)) {
        errors.push(Error::duplicate(&path.child("nodePort"), node_port));
    }
}

fn affinity(errors: &mut Errors, spec: &Map<String, Value>, path: &Path) {
    check::required_one_of(errors, spec, "sessionAffinity", &["ClientIP", "None"], path);
    if spec.text("sessionAffinity") == "ClientIP" {
        let client = spec.object("sessionAffinityConfig").object("clientIP");
        let seconds = client.int("timeoutSeconds").unwrap_or_default();
        if !(1..=86_400).contains(&seconds) {
            let path = path.child("sessionAffinityConfig").child("clientIP").child("timeoutSeconds");
            errors.push(Error::invalid(&path, seconds, "must be greater than 0 and less than 86400"));
        }
    } else if spec.text("sessionAffinity") == "None" && spec.has("sessionAffinityConfig") {
        let detail = "must not be set when session affinity is None";
        errors.push(Error::forbidden(&path.child("sessionAffinityConfig"), detail));
    }
}

/// Addresses and blocks; those that were in the same list before may be what older rules allowed.
fn addresses(errors: &mut Errors, spec: &Map<String, Value>, old: Option<&Map<String, Value>>, path: &Path) {
    let known = |list: &str| -> Vec<&str> { old.into_iter().flat_map(|old| old.texts(list)).map(str::trim).collect() };
    if spec.text("type") != "ExternalName" {
        stack::check(errors, spec, &known("clusterIPs"), path);
    }
    let known_externals = known("externalIPs");
    for (index, address) in spec.texts("externalIPs").enumerate() {
        let (path, before) = (path.child("externalIPs").index(index), errors.len());
        check::ip_address_or_known(errors, address, &known_externals, &path);
        if errors.len() == before {
            check::not_special_ip(errors, address, &path);
        }
    }
    // Upstream spells the path so.
    let path = path.child("LoadBalancerSourceRanges");
    if !spec.list("loadBalancerSourceRanges").is_empty() && spec.text("type") != "LoadBalancer" {
        errors.push(Error::forbidden(&path, "may only be used when `type` is 'LoadBalancer'"));
    }
    let known_ranges = known("loadBalancerSourceRanges");
    for (index, range) in spec.texts("loadBalancerSourceRanges").enumerate() {
        check::cidr_or_known(errors, range.trim(), &known_ranges, &path.index(index));
    }
}

fn policies(errors: &mut Errors, spec: &Map<String, Value>, path: &Path) {
    let outside = matches!(spec.text("type"), "NodePort" | "LoadBalancer") || !spec.list("externalIPs").is_empty();
    if spec.text("externalTrafficPolicy").is_empty() {
        if outside {
            errors.push(Error::required(&path.child("externalTrafficPolicy"), ""));
        }
    } else if outside {
        check::one_of(errors, spec, "externalTrafficPolicy", &["Cluster", "Local"], path);
    } else {
        let detail = "may only be set for externally-accessible services";
        errors.push(Error::invalid(&path.child("externalTrafficPolicy"), spec.text("externalTrafficPolicy"), detail));
    }
    let has_address = matches!(spec.text("type"), "ClusterIP" | "NodePort" | "LoadBalancer");
    if has_address && !spec.has("internalTrafficPolicy") {
        errors.push(Error::required(&path.child("internalTrafficPolicy"), ""));
    } else if spec.has("internalTrafficPolicy") && spec.text("internalTrafficPolicy").is_empty() {
        errors.push(Error::not_supported(&path.child("internalTrafficPolicy"), "", &["Cluster", "Local"]));
    }
    check::one_of(errors, spec, "internalTrafficPolicy", &["Cluster", "Local"], path);
    let distributions = ["PreferClose", "PreferSameZone", "PreferSameNode"];
    check::one_of(errors, spec, "trafficDistribution", &distributions, path);
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn service(spec: Value) -> Object {
        let mut object = Object::from_value(json!({"metadata": {"name": "web"}, "spec": spec})).expect("an object");
        Service.default(&mut object);
        object
    }

    fn check(spec: Value, expected: &Expect) {
        let errors = Service.validate(&service(spec));
        expected.assert_eq(&errors.iter().map(|error| format!("{error}\n")).collect::<String>());
    }

    #[test]
    fn a_bare_service_gets_everything() {
        let object = service(json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 30599}]}));
        assert!(Service.validate(&object).is_empty());
        expect![[r#"
            {
              "metadata": {
                "name": "web"
              },
              "spec": {
                "externalTrafficPolicy": "Cluster",
                "internalTrafficPolicy": "Cluster",
                "ports": [
                  {
                    "nodePort": 30599,
                    "port": 80,
                    "protocol": "TCP",
                    "targetPort": 80
                  }
                ],
                "sessionAffinity": "None",
                "type": "NodePort"
              },
              "status": {
                "loadBalancer": {}
              }
            }"#]]
        .assert_eq(&format!("{:#}", object.into_value()));
    }

    #[test]
    fn a_wrong_service_is_refused_field_by_field() {
        check(
            json!({}),
            &expect![[r#"
            spec.ports: Required value
        "#]],
        );
        check(
            json!({
                "selector": {"a b": "c"},
                "sessionAffinity": "Sometimes",
                "clusterIP": "10.0.0",
                "ports": [{"port": 0}, {"port": 80, "name": "a", "nodePort": 30000}, {"port": 80, "name": "a", "targetPort": "BAD"}],
            }),
            &expect![[r#"
                spec.ports[0].name: Required value
                spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive
                spec.ports[0].targetPort: Invalid value: 0: must be between 1 and 65535, inclusive
                spec.ports[1].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'
                spec.ports[2].name: Duplicate value: "a"
                spec.ports[2].targetPort: Invalid value: "BAD": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)
                spec.ports[2].targetPort: Invalid value: "BAD": must contain at least one letter (a-z)
                spec.ports[2]: Duplicate value: {"port":80,"protocol":"TCP"}
                spec.selector: Invalid value: "a b": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
                spec.sessionAffinity: Unsupported value: "Sometimes": supported values: "ClientIP", "None"
                spec.clusterIPs[0]: Invalid value: "10.0.0": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)
            "#]],
        );
        check(
            json!({"type": "ExternalName", "clusterIP": "10.0.0.1"}),
            &expect![[r#"
            spec.clusterIPs: Forbidden: may not be set for ExternalName services
            spec.externalName: Required value
        "#]],
        );
        check(json!({"type": "ExternalName", "externalName": "example.com"}), &expect![[""]]);
        check(json!({"clusterIP": "None"}), &expect![[""]]);
    }

    #[test]
    fn balancers_have_their_own_rules() {
        check(
            json!({
                "ports": [{"port": 80}], "loadBalancerClass": "a/b", "loadBalancerSourceRanges": ["10.0.0.0/8"],
                "healthCheckNodePort": 30000, "externalIPs": ["127.0.0.1"],
            }),
            &expect![[r#"
                spec.externalIPs[0]: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, ::1/128)
                spec.LoadBalancerSourceRanges: Forbidden: may only be used when `type` is 'LoadBalancer'
                spec.loadBalancerClass: Forbidden: may only be used when `type` is 'LoadBalancer'
                spec.healthCheckNodePort: Invalid value: 30000: may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'
            "#]],
        );
        let balancer =
            |class: &str| service(json!({"type": "LoadBalancer", "loadBalancerClass": class, "ports": [{"port": 80}]}));
        let errors = Service.validate_update(&balancer("a/c"), &balancer("a/b"));
        assert_eq!(errors[0].to_string(), r#"spec.loadBalancerClass: Invalid value: "a/c": may not change once set"#);
        let mut status = balancer("a/b");
        status.0["status"] = json!({"loadBalancer": {"ingress": [{"ip": "1.2.3.4", "ipMode": "VIP"}, {"hostname": "1.2.3.4", "ipMode": "X"}]}});
        let errors: Vec<String> =
            Service.validate_status_update(&status, &balancer("a/b")).iter().map(ToString::to_string).collect();
        assert_eq!(
            errors,
            [
                "status.loadBalancer.ingress[1].ipMode: Forbidden: may not be specified when `ip` is not set",
                r#"status.loadBalancer.ingress[1].hostname: Invalid value: "1.2.3.4": must be a DNS name, not an IP address"#,
            ]
        );
    }

    /// Upstream: `validateService` with what was there before.
    #[test]
    fn what_older_rules_let_pass_may_stay() {
        let balancer = |changes: Value, ranges: Value, ingress: &str| {
            let mut spec = json!({"type": "LoadBalancer", "ports": [{"port": 80}], "loadBalancerSourceRanges": ranges});
            for (field, value) in changes.as_object().cloned().unwrap_or_default() {
                spec[field] = value;
            }
            let mut object = service(spec);
            object.0["status"] = json!({"loadBalancer": {"ingress": [{"ip": ingress, "ipMode": "VIP"}]}});
            object
        };
        let ips = json!({"clusterIP": "010.0.0.1", "clusterIPs": ["010.0.0.1"], "externalIPs": ["::ffff:1.2.3.4"]});
        let old = balancer(ips.clone(), json!([" 10.0.0.1/8 "]), "01.2.3.4");
        assert_eq!(Service.validate(&old).len(), 3);
        let mut new = balancer(ips, json!(["192.168.0.0/16", "10.0.0.1/8"]), "01.2.3.4");
        new.metadata_mut().insert("labels".into(), json!({"a": "b"}));
        assert!(Service.validate_update(&new, &old).is_empty());
        assert!(Service.validate_status_update(&new, &old).is_empty());
        let worse = balancer(json!({"externalIPs": ["01.2.3.4"]}), json!(["10.0.0.2/8"]), "01.2.3.5");
        let fields = |errors: Vec<Error>| errors.into_iter().map(|error| error.field).collect::<Vec<_>>().join(" ");
        let plain = balancer(json!({}), json!([]), "1.2.3.4");
        let refused = fields(Service.validate_update(&worse, &plain));
        assert_eq!(refused, "spec.externalIPs[0] spec.LoadBalancerSourceRanges[0]");
        assert_eq!(fields(Service.validate_status_update(&worse, &old)), "status.loadBalancer.ingress[0].ip");
        const RANGES: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";
        let noted = |ranges: &str| {
            let mut object = plain.clone();
            object.metadata_mut().insert("annotations".into(), json!({ RANGES: ranges }));
            object
        };
        assert!(Service.validate_update(&noted("10.0.0.1/8"), &noted("10.0.0.1/8")).is_empty());
        assert_eq!(Service.validate_update(&noted("10.0.0.1/8"), &plain).len(), 1);
    }

    #[test]
    fn the_address_stays() {
        let old = service(json!({"clusterIP": "10.96.0.7", "ports": [{"port": 80}]}));
        let new = service(json!({"clusterIP": "10.96.0.8", "ports": [{"port": 80}]}));
        let errors: Vec<String> = Service.validate_update(&new, &old).iter().map(ToString::to_string).collect();
        assert_eq!(errors, [r#"spec.clusterIPs[0]: Invalid value: ["10.96.0.8"]: may not change once set"#]);
        let outside = service(json!({"type": "ExternalName", "externalName": "example.com"}));
        assert!(Service.validate_update(&outside, &old).is_empty());
    }
}
