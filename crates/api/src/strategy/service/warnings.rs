//! What a Service may say and hardly means (upstream: pkg/api/service/warnings.go).

use apimachinery::Object;
use apimachinery::field::Path;
use serde_json::{Map, Value};

use crate::check::spelling;
use crate::json::Read;

const HINTS: &str = "service.kubernetes.io/topology-aware-hints";

/// Words about a Service's spec.
pub(super) fn of_spec(object: &Object) -> Vec<String> {
    let (mut found, spec, path) = (Vec::new(), object.object("spec"), Path::new("spec"));
    if object.object("metadata").object("annotations").has(HINTS) {
        let instead = "service.kubernetes.io/topology-mode";
        found.push(format!("annotation {HINTS} is deprecated, please use {instead} instead"));
    }
    let (is_external, is_headless) = (spec.text("type") == "ExternalName", spec.text("clusterIP") == "None");
    if is_headless {
        headless(&mut found, spec);
    } else {
        spelled(&mut found, spec, "clusterIPs", spelling::of_ip, &path);
    }
    spelled(&mut found, spec, "externalIPs", spelling::of_ip, &path);
    let has_ips = !spec.list("externalIPs").is_empty();
    if has_ips && !is_headless && !is_external {
        found.push("spec.externalIPs is deprecated and may no longer be implemented in some clusters".to_owned());
    }
    spelling::of_ip(&mut found, spec.text("loadBalancerIP"), &path.child("loadBalancerIP"));
    spelled(&mut found, spec, "loadBalancerSourceRanges", spelling::of_cidr, &path);
    if is_external && has_ips {
        found.push("spec.externalIPs is ignored when spec.type is \"ExternalName\"".to_owned());
    }
    if !is_external && !spec.text("externalName").is_empty() {
        found.push("spec.externalName is ignored when spec.type is not \"ExternalName\"".to_owned());
    }
    if spec.text("trafficDistribution") == "PreferClose" {
        found.push("spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"".to_owned());
    }
    found
}

/// Words about the addresses that a balancer gave, of Services and of Ingresses.
pub(in super::super) fn of_balancer(object: &Object) -> Vec<String> {
    let mut found = Vec::new();
    let path = Path::new("status").child("loadBalancer").child("ingress");
    let balancers = object.object("status").object("loadBalancer").list("ingress");
    for (index, one) in balancers.iter().enumerate() {
        spelling::of_ip(&mut found, one.text("ip"), &path.index(index));
    }
    found
}

fn headless(found: &mut Vec<String>, spec: &Map<String, Value>) {
    for (field, is_set) in [
        ("loadBalancerIP", !spec.text("loadBalancerIP").is_empty()),
        ("externalIPs", !spec.list("externalIPs").is_empty()),
        ("SessionAffinity", !matches!(spec.text("sessionAffinity"), "" | "None")),
    ] {
        if is_set {
            found.push(format!("spec.{field} is ignored for headless services"));
        }
    }
}

fn spelled(
    found: &mut Vec<String>,
    spec: &Map<String, Value>,
    list: &str,
    words: fn(&mut Vec<String>, &str, &Path),
    path: &Path,
) {
    for (index, value) in spec.texts(list).enumerate() {
        words(found, value, &path.child(list).index(index));
    }
}
