//! Services, endpoints, ingresses and network policies.

use std::collections::BTreeSet;

use apimachinery::Object;
use serde_json::Value;

use super::text::{first_three, join, labels, or_none, scalar, selector};
use super::{age, name, string, wide};
use crate::json::Read;
use crate::resource::Column;

/// Columns of services.
pub(crate) fn services() -> Vec<Column> {
    vec![
        name(),
        string("Type", |service| service.object("spec").text("type").to_owned()),
        string("Cluster-IP", |service| {
            let spec = service.object("spec");
            or_none(spec.texts("clusterIPs").next().unwrap_or_else(|| spec.text("clusterIP")))
        }),
        string("External-IP", external_ip),
        string("Port(s)", |service| join(service.object("spec").list("ports").iter().map(port))),
        age(),
        wide(string("Selector", |service| labels(service.object("spec").object("selector")))),
    ]
}

fn external_ip(service: &Object) -> String {
    let spec = service.object("spec");
    let external = spec.texts("externalIPs");
    match spec.text("type") {
        "ClusterIP" | "NodePort" => join(external),
        "ExternalName" => spec.text("externalName").to_owned(),
        "LoadBalancer" => {
            let ingress = service.object("status").object("loadBalancer").list("ingress");
            let all: Vec<&str> = addresses(ingress).into_iter().chain(external).collect();
            if all.is_empty() { "<pending>".into() } else { all.join(",") }
        }
        _ => "<unknown>".into(),
    }
}

/// The addresses of load balancers, each once and in order.
fn addresses(ingress: &[Value]) -> BTreeSet<&str> {
    let address = |point: &'_ Value| if point.text("ip").is_empty() { "hostname" } else { "ip" };
    ingress.iter().map(|point| point.text(address(point))).filter(|text| !text.is_empty()).collect()
}

fn port(port: &Value) -> String {
    let (number, protocol) = (port.int("port").unwrap_or_default(), port.text("protocol"));
    match port.int("nodePort").unwrap_or_default() {
        0 => format!("{number}/{protocol}"),
        node_port => format!("{number}:{node_port}/{protocol}"),
    }
}

/// Columns of Endpoints.
pub(crate) fn endpoints() -> Vec<Column> {
    let endpoints = |object: &Object| match endpoint_list(object) {
        none if none.is_empty() && !object.list("subsets").is_empty() => String::new(),
        all => first_three(&all),
    };
    vec![name(), string("Endpoints", endpoints), age()]
}

fn endpoint_list(object: &Object) -> Vec<String> {
    let mut all = Vec::new();
    for subset in object.list("subsets") {
        let addresses = subset.list("addresses").iter().map(|address| address.text("ip"));
        if subset.list("ports").is_empty() {
            all.extend(addresses.map(str::to_owned));
            continue;
        }
        for port in subset.list("ports") {
            let number = port.int("port").unwrap_or_default();
            let joined =
                |ip: &str| if ip.contains(':') { format!("[{ip}]:{number}") } else { format!("{ip}:{number}") };
            all.extend(addresses.clone().map(joined));
        }
    }
    all
}

/// Columns of EndpointSlices.
pub(crate) fn endpoint_slices() -> Vec<Column> {
    vec![
        name(),
        string("AddressType", |slice| slice.text("addressType").to_owned()),
        string("Ports", |slice| {
            let port = |port: &Value| scalar(port.value("port").or_else(|| port.value("name")), "*");
            let ports: Vec<String> = slice.list("ports").iter().map(port).collect();
            if ports.is_empty() { "<unset>".into() } else { first_three(&ports) }
        }),
        string("Endpoints", |slice| {
            let endpoints = slice.list("endpoints").iter();
            let addresses: Vec<String> =
                endpoints.flat_map(|endpoint| endpoint.texts("addresses").map(str::to_owned)).collect();
            if addresses.is_empty() { "<unset>".into() } else { first_three(&addresses) }
        }),
        age(),
    ]
}

/// Columns of ingresses.
pub(crate) fn ingresses() -> Vec<Column> {
    vec![
        name(),
        string("Class", |ingress| or_none(ingress.object("spec").text("ingressClassName"))),
        string("Hosts", |ingress| hosts(ingress.object("spec").list("rules"))),
        string("Address", |ingress| {
            let balancers = ingress.object("status").object("loadBalancer").list("ingress");
            addresses(balancers).into_iter().collect::<Vec<_>>().join(",")
        }),
        string("Ports", |ingress| if ingress.object("spec").list("tls").is_empty() { "80" } else { "80, 443" }),
        age(),
    ]
}

/// The first three hosts, and how many rules come after them (upstream: `formatHosts`).
fn hosts(rules: &[Value]) -> String {
    let mut shown = Vec::new();
    for rule in rules {
        if shown.len() == 3 {
            return format!("{} + {} more...", shown.join(","), rules.len() - 3);
        }
        if !rule.text("host").is_empty() {
            shown.push(rule.text("host"));
        }
    }
    if shown.is_empty() { "*".into() } else { shown.join(",") }
}

/// Columns of ingress classes.
pub(crate) fn ingress_classes() -> Vec<Column> {
    vec![
        name(),
        string("Controller", |class| class.object("spec").text("controller").to_owned()),
        string("Parameters", |class| {
            let parameters = class.object("spec").object("parameters");
            let kind = match parameters.text("apiGroup") {
                "" => parameters.text("kind").to_owned(),
                group => format!("{}.{group}", parameters.text("kind")),
            };
            if parameters.is_empty() { "<none>".into() } else { format!("{kind}/{}", parameters.text("name")) }
        }),
        age(),
    ]
}

/// Columns of network policies.
pub(crate) fn network_policies() -> Vec<Column> {
    vec![name(), string("Pod-Selector", |policy| selector(policy.object("spec").value("podSelector"))), age()]
}

/// Columns of IP addresses.
pub(crate) fn ip_addresses() -> Vec<Column> {
    vec![
        name(),
        string("ParentRef", |object| {
            let parent = object.object("spec").object("parentRef");
            if parent.is_empty() {
                return "<none>".into();
            }
            let kind = match parent.text("group") {
                "" => parent.text("resource").to_owned(),
                group => format!("{}.{group}", parent.text("resource")),
            };
            let name = parent.text("name");
            match parent.text("namespace") {
                "" => format!("{kind}/{name}"),
                namespace => format!("{kind}/{namespace}/{name}"),
            }
        }),
    ]
}

/// Columns of service CIDRs.
pub(crate) fn service_cidrs() -> Vec<Column> {
    vec![name(), string("CIDRs", |object| object.object("spec").texts("cidrs").collect::<Vec<_>>().join(",")), age()]
}

#[cfg(test)]
mod tests {
    use super::super::tests::row;
    use super::*;
    use serde_json::json;

    #[test]
    fn rows_tell_how_to_reach_a_service() {
        let node_port = json!({"type": "NodePort", "clusterIP": "10.96.0.7", "selector": {"app": "web"},
            "ports": [{"port": 80, "nodePort": 30599, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]});
        for (spec, expected) in [
            (node_port, "web  NodePort  10.96.0.7  <none>  80:30599/TCP,53/UDP  <unknown> | app=web"),
            (json!({"clusterIPs": ["None"]}), "web    None  <unknown>  <none>  <unknown> | <none>"),
            (
                json!({"type": "ClusterIP", "externalIPs": ["1.1.1.1", "2.2.2.2"]}),
                "web  ClusterIP  <none>  1.1.1.1,2.2.2.2  <none>  <unknown> | <none>",
            ),
            (json!({"type": "LoadBalancer"}), "web  LoadBalancer  <none>  <pending>  <none>  <unknown> | <none>"),
            (
                json!({"type": "ExternalName", "externalName": "a.b"}),
                "web  ExternalName  <none>  a.b  <none>  <unknown> | <none>",
            ),
        ] {
            assert_eq!(row(&services(), json!({"metadata": {"name": "web"}, "spec": spec})), expected);
        }
    }

    #[test]
    fn rows_tell_how_to_come_in() {
        let balancers = json!({"loadBalancer": {"ingress": [{"ip": "9.9.9.9"}, {"hostname": "lb"}, {"ip": "1.1.1.1"}, {"ip": "9.9.9.9"}]}});
        let service = json!({"spec": {"type": "LoadBalancer", "externalIPs": ["2.2.2.2"]}, "status": balancers});
        assert_eq!(
            row(&services(), service),
            "  LoadBalancer  <none>  1.1.1.1,9.9.9.9,lb,2.2.2.2  <none>  <unknown> | <none>"
        );
        let rules = |hosts: &[&str]| hosts.iter().map(|host| json!({"host": host})).collect::<Vec<_>>();
        for (hosts, expected) in [
            (vec![], "*"),
            (vec![""], "*"),
            (vec!["a", "b", "c"], "a,b,c"),
            (vec!["a", "", "c", "d"], "a,c,d"),
            (vec!["a", "b", "c", "d", ""], "a,b,c + 2 more..."),
        ] {
            let ingress = json!({
                "metadata": {"name": "in", "annotations": {"kubernetes.io/ingress.class": "old"}},
                "spec": {"rules": rules(&hosts), "tls": [{}]}, "status": balancers,
            });
            let expected = format!("in  <none>  {expected}  1.1.1.1,9.9.9.9,lb  80, 443  <unknown> | ");
            assert_eq!(row(&ingresses(), ingress), expected);
        }
    }

    #[test]
    fn rows_list_the_first_endpoints() {
        let endpoint = |last: u8| json!({"addresses": [format!("10.0.0.{last}")]});
        let slice = json!({
            "metadata": {"name": "web"}, "addressType": "IPv4", "ports": [{"port": 80}],
            "endpoints": [endpoint(1), endpoint(2), endpoint(3), endpoint(4)],
        });
        assert_eq!(
            row(&endpoint_slices(), slice),
            "web  IPv4  80  10.0.0.1,10.0.0.2,10.0.0.3 + 1 more...  <unknown> | "
        );
        let old = json!({"subsets": [{"addresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 80}]}]});
        assert_eq!(row(&endpoints(), old), "  10.0.0.1:80  <unknown> | ");
    }
}
