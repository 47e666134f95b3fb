//! [`Evaluator`]: how objects of a resource are measured (upstream: pkg/quota/v1/evaluator/core/registry.go,
//! apiserver/pkg/quota/v1/generic/evaluator.go).

use apimachinery::Object;
use apimachinery::json::Read;
use apimachinery::quantity::{Format, Quantity};
use jiff::Timestamp;

use crate::pods;
use crate::resources::ResourceList;
use crate::scopes::{Selector, selectors_of};

/// Kinds whose number has an old name beside `count/<resource>` (upstream: `legacyObjectCountAliases`).
const OLD_COUNTS: [&str; 4] = ["configmaps", "resourcequotas", "replicationcontrollers", "secrets"];

const STORAGE_CLASS: &str = ".storageclass.storage.k8s.io/";
const BETA_CLASS: &str = "volume.beta.kubernetes.io/storage-class";

/// How objects of a resource are measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Evaluator {
    /// By what their containers ask for.
    Pods,
    /// By the storage they ask for.
    PersistentVolumeClaims,
    /// By their node ports and load balancers.
    Services,
    /// By their number.
    Count {
        /// As `count/deployments.apps`.
        name: String,
        /// As `configmaps`.
        old_name: Option<&'static str>,
    },
}

impl Evaluator {
    /// The evaluator of a resource of a group.
    pub fn of(group: &str, resource: &str) -> Self {
        match (group, resource) {
            ("", "pods") => Self::Pods,
            ("", "persistentvolumeclaims") => Self::PersistentVolumeClaims,
            ("", "services") => Self::Services,
            ("", resource) => {
                let old_name = OLD_COUNTS.into_iter().find(|name| *name == resource);
                Self::Count { name: format!("count/{resource}"), old_name }
            }
            (group, resource) => Self::Count { name: format!("count/{resource}.{group}"), old_name: None },
        }
    }

    /// The resource, as `(group, resource)`, that an amount in a quota is about.
    pub fn resource_of(name: &str) -> Option<(String, String)> {
        if let Some(counted) = name.strip_prefix("count/") {
            let (resource, group) = counted.split_once('.').unwrap_or((counted, ""));
            return Some((group.to_owned(), resource.to_owned()));
        }
        let core = |resource: &str| Some((String::new(), resource.to_owned()));
        match name {
            "services.nodeports" | "services.loadbalancers" | "services" => core("services"),
            name if OLD_COUNTS.contains(&name) => core(name),
            name if Self::PersistentVolumeClaims.counts_for(name) => core("persistentvolumeclaims"),
            name if Self::Pods.counts_for(name) => core("pods"),
            _ => None,
        }
    }

    /// Whether a write may change what is used.
    pub fn handles(&self, item: &crate::Item<'_>) -> bool {
        let (creates, main) = (item.old.is_none(), item.subresource.is_empty());
        match self {
            Self::Pods => creates && main || !creates && item.subresource == "resize",
            Self::PersistentVolumeClaims if item.subresource == "status" => item.old.is_some_and(|old| {
                let part = |claim: &Object| claim.at(&["status", "allocatedResources"]).cloned();
                let class = |claim: &Object, path: &[&str]| claim.at(path).cloned();
                let paths: [&[&str]; 2] =
                    [&["status", "currentVolumeAttributesClassName"], &["status", "modifyVolumeStatus"]];
                part(item.object) != part(old) || paths.iter().any(|path| class(item.object, path) != class(old, path))
            }),
            Self::PersistentVolumeClaims | Self::Services => main,
            Self::Count { .. } => creates && main,
        }
    }

    /// Whether objects of this resource count for an amount in a quota.
    pub fn counts_for(&self, name: &str) -> bool {
        match self {
            Self::Pods => pods::counts_for(name),
            Self::PersistentVolumeClaims => {
                let plain = ["count/persistentvolumeclaims", "persistentvolumeclaims", "requests.storage"];
                let of_class = |(_, rest): (&str, &str)| matches!(rest, "persistentvolumeclaims" | "requests.storage");
                plain.contains(&name) || name.split_once(STORAGE_CLASS).is_some_and(of_class)
            }
            Self::Services => {
                matches!(name, "count/services" | "services" | "services.nodeports" | "services.loadbalancers")
            }
            Self::Count { name: own, old_name } => name == own || Some(name) == *old_name,
        }
    }

    /// What the object must state and does not, when a quota is about these amounts.
    pub fn missing(&self, names: &[&str], object: &Object) -> Option<String> {
        if *self == Self::Pods { pods::missing(names, object) } else { None }
    }

    /// Whether the object is within a scope.
    pub fn in_scope(&self, selector: &Selector, object: &Object) -> bool {
        match self {
            Self::Pods => selector.matches_pod(&object.0),
            Self::PersistentVolumeClaims => selector.matches_claim(&object.0),
            Self::Services | Self::Count { .. } => false,
        }
    }

    /// Whether a quota, whose enforced amounts are `hard`, is about the object.
    pub fn matches(&self, quota: &Object, hard: &ResourceList, object: &Object) -> bool {
        hard.0.keys().any(|name| self.counts_for(name))
            && selectors_of(quota).iter().all(|selector| self.in_scope(selector, object))
    }

    /// What the object uses.
    pub fn usage(&self, object: &Object, now: Timestamp) -> ResourceList {
        match self {
            Self::Pods => pods::usage(object, now),
            Self::PersistentVolumeClaims => claim_usage(object),
            Self::Services => service_usage(object),
            Self::Count { name, old_name } => {
                let mut usage = ResourceList::default();
                usage.count(name.clone(), 1);
                old_name.iter().for_each(|name| usage.count(*name, 1));
                usage
            }
        }
    }
}

/// Upstream: pkg/quota/v1/evaluator/core/persistent_volume_claims.go `Usage`.
fn claim_usage(claim: &Object) -> ResourceList {
    let mut usage = ResourceList::default();
    let annotated = claim.annotations().find(|(key, _)| *key == BETA_CLASS).map(|(_, class)| class);
    let class = annotated.unwrap_or_else(|| claim.object("spec").text("storageClassName"));
    let mut count = |name: &str, amount: Quantity| {
        usage.0.insert(name.to_owned(), amount);
        if !class.is_empty() && name != "count/persistentvolumeclaims" {
            usage.0.insert(format!("{class}{STORAGE_CLASS}{name}"), amount);
        }
    };
    let one = Quantity::new(1, Format::DecimalSi);
    count("persistentvolumeclaims", one);
    count("count/persistentvolumeclaims", one);
    let asked = ResourceList::read(claim.object("spec").object("resources").object("requests")).get("storage");
    let allocated = ResourceList::read(claim.object("status").object("allocatedResources")).get("storage");
    if let Some(asked) = asked {
        let amount = allocated.filter(|allocated| *allocated > asked).unwrap_or(asked);
        // Whole bytes, so that the status passes the validation of quotas.
        let whole = if amount.as_i64().is_some() { amount } else { Quantity::new(amount.value(), amount.format()) };
        count("requests.storage", whole);
    }
    usage
}

/// Upstream: pkg/quota/v1/evaluator/core/services.go `Usage`.
fn service_usage(service: &Object) -> ResourceList {
    let spec = service.object("spec");
    let ports = spec.list("ports");
    let all = i64::try_from(ports.len()).unwrap_or(i64::MAX);
    let given = ports.iter().filter(|port| port.int("nodePort").unwrap_or_default() != 0).count();
    let (balancers, node_ports) = match spec.text("type") {
        "NodePort" => (0, all),
        "LoadBalancer" if spec.value("allocateLoadBalancerNodePorts") == Some(&false.into()) => {
            (1, i64::try_from(given).unwrap_or(i64::MAX))
        }
        "LoadBalancer" => (1, all),
        _ => (0, 0),
    };
    let mut usage = ResourceList::default();
    usage.count("services", 1);
    usage.count("count/services", 1);
    usage.count("services.loadbalancers", balancers);
    usage.count("services.nodeports", node_ports);
    usage
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use serde_json::{Value, json};

    fn check(group: &str, resource: &str, object: Value, expected: Expect) {
        let now = "2026-01-01T00:00:00Z".parse().expect("a time");
        let object = Object::from_value(object).expect("an object");
        expected.assert_eq(&Evaluator::of(group, resource).usage(&object, now).to_string());
    }

    #[test]
    fn every_kind_is_measured() {
        let pod = |status: Value| {
            json!({"spec": {"containers": [{"resources": {
                "requests": {"cpu": "1", "nvidia.com/gpu": "2", "hugepages-2Mi": "2Mi"}, "limits": {"memory": "1Gi"},
            }}]}, "status": status})
        };
        check(
            "",
            "pods",
            pod(json!({})),
            expect![
                "count/pods=1,cpu=1,hugepages-2Mi=2Mi,limits.memory=1Gi,pods=1,requests.cpu=1,requests.hugepages-2Mi=2Mi,requests.nvidia.com/gpu=2"
            ],
        );
        check("", "pods", pod(json!({"phase": "Succeeded"})), expect!["count/pods=1"]);
        let claim = json!({"spec": {"storageClassName": "gold", "resources": {"requests": {"storage": "1.5"}}}});
        check(
            "",
            "persistentvolumeclaims",
            claim,
            expect![
                "count/persistentvolumeclaims=1,gold.storageclass.storage.k8s.io/persistentvolumeclaims=1,gold.storageclass.storage.k8s.io/requests.storage=2,persistentvolumeclaims=1,requests.storage=2"
            ],
        );
        let service = |kind: &str| json!({"spec": {"type": kind, "ports": [{}, {"nodePort": 30000}]}});
        check(
            "",
            "services",
            service("ClusterIP"),
            expect!["count/services=1,services=1,services.loadbalancers=0,services.nodeports=0"],
        );
        check(
            "",
            "services",
            service("NodePort"),
            expect!["count/services=1,services=1,services.loadbalancers=0,services.nodeports=2"],
        );
        let mut bare = service("LoadBalancer");
        check(
            "",
            "services",
            bare.clone(),
            expect!["count/services=1,services=1,services.loadbalancers=1,services.nodeports=2"],
        );
        bare["spec"]["allocateLoadBalancerNodePorts"] = false.into();
        check(
            "",
            "services",
            bare,
            expect!["count/services=1,services=1,services.loadbalancers=1,services.nodeports=1"],
        );
        check("", "secrets", json!({}), expect!["count/secrets=1,secrets=1"]);
        check("apps", "deployments", json!({}), expect!["count/deployments.apps=1"]);
    }

    #[test]
    fn amounts_name_their_resource() {
        for (name, expected) in [
            ("pods", Some(("", "pods"))),
            ("requests.nvidia.com/gpu", Some(("", "pods"))),
            ("requests.storage", Some(("", "persistentvolumeclaims"))),
            ("gold.storageclass.storage.k8s.io/requests.storage", Some(("", "persistentvolumeclaims"))),
            ("services.nodeports", Some(("", "services"))),
            ("configmaps", Some(("", "configmaps"))),
            ("count/widgets.example.com", Some(("example.com", "widgets"))),
            ("count/secrets", Some(("", "secrets"))),
            ("weather", None),
        ] {
            let found = Evaluator::resource_of(name);
            let found = found.as_ref().map(|(group, resource)| (group.as_str(), resource.as_str()));
            assert_eq!(found, expected, "{name}");
        }
    }
}
