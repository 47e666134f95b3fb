//! Labels that a kubelet may not set on its node: they could steer other people's pods to it
//! (upstream: `getForbiddenLabels`, kubelet/pkg/apis/well_known_labels.go).

use apimachinery::Object;

const RESTRICTED: &str = "node-restriction.kubernetes.io";

/// What kubelets do set.
const KUBELET_LABELS: [&str; 13] = [
    "kubernetes.io/hostname",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
    "beta.kubernetes.io/instance-type",
    "node.kubernetes.io/instance-type",
    "kubernetes.io/os",
    "kubernetes.io/arch",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/arch",
    "node.kubernetes.io/windows-build",
    "node.kubernetes.io/exclude-from-external-load-balancers",
];
const KUBELET_DOMAINS: [&str; 2] = ["kubelet.kubernetes.io", "node.kubernetes.io"];

/// The labels that differ and may not, in order.
pub(super) fn forbidden(object: &Object, old: Option<&Object>) -> Vec<String> {
    let value_of = |object: Option<&Object>, key: &str| {
        object.and_then(|object| object.labels().find(|(name, _)| *name == key).map(|(_, value)| value.to_owned()))
    };
    let of_old = old.into_iter().flat_map(Object::labels);
    let differs = |key: &&str| value_of(Some(object), key) != value_of(old, key);
    let keys = object.labels().chain(of_old).map(|(key, _)| key).filter(differs);
    let mut forbidden: Vec<String> = keys.filter(|key| is_forbidden(key)).map(str::to_owned).collect();
    forbidden.sort();
    forbidden.dedup();
    forbidden
}

fn within(domain: &str, of: &str) -> bool {
    domain == of || domain.strip_suffix(of).is_some_and(|rest| rest.ends_with('.'))
}

fn is_forbidden(key: &str) -> bool {
    let domain = key.split_once('/').map_or("", |(domain, _)| domain);
    let is_kubernetes = within(domain, "kubernetes.io") || within(domain, "k8s.io");
    let is_kubelets = KUBELET_LABELS.contains(&key) || KUBELET_DOMAINS.iter().any(|of| within(domain, of));
    within(domain, RESTRICTED) || is_kubernetes && !is_kubelets
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn node(labels: Value) -> Object {
        Object::from_value(json!({"metadata": {"labels": labels}})).expect("an object")
    }

    #[test]
    fn what_may_steer_pods_is_forbidden() {
        let all = node(json!({
            "kubernetes.io/hostname": "a", "node.kubernetes.io/x": "", "app": "web", "k8s.io/x": "",
            "node-role.kubernetes.io/control-plane": "", "x.node-restriction.kubernetes.io/y": "",
        }));
        let expected = ["k8s.io/x", "node-role.kubernetes.io/control-plane", "x.node-restriction.kubernetes.io/y"];
        assert_eq!(forbidden(&all, None), expected);
        assert!(forbidden(&all, Some(&all)).is_empty(), "what stays is not changed");
        assert_eq!(forbidden(&node(json!({})), Some(&all)), expected, "nor may it go");
    }
}
