//! What is allowed and yet hardly meant (upstream: pkg/api/pod/warnings.go, pkg/api/node/util.go).

use std::collections::{HashMap, HashSet};

use apimachinery::field::Path;
use serde_json::{Map, Value};

use crate::check::{self, spelling};
use crate::json::Read;

/// Labels of nodes that have other names now.
const OLD_LABELS: &[(&str, &str)] = &[
    ("beta.kubernetes.io/arch", "deprecated since v1.14; use \"kubernetes.io/arch\" instead"),
    ("beta.kubernetes.io/os", "deprecated since v1.14; use \"kubernetes.io/os\" instead"),
    (
        "failure-domain.beta.kubernetes.io/region",
        "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead",
    ),
    ("failure-domain.beta.kubernetes.io/zone", "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead"),
    ("beta.kubernetes.io/instance-type", "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead"),
];

/// Volume sources that do nothing any more.
const OLD_VOLUMES: &[(&str, &str)] = &[
    ("gitRepo", "deprecated in v1.11, and disabled by default in v1.33+"),
    ("scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    ("flocker", "deprecated in v1.22, non-functional in v1.25+"),
    ("storageos", "deprecated in v1.22, non-functional in v1.25+"),
    ("quobyte", "deprecated in v1.22, non-functional in v1.25+"),
    ("glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    ("cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    ("rbd", "deprecated in v1.28, non-functional in v1.31+"),
];

/// Warnings about a pod's spec, maybe within a template.
pub(crate) fn pod_spec(spec: &Map<String, Value>, path: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for key in spec.object("nodeSelector").keys() {
        if let Some(words) = old_label(key) {
            found.push(format!("{}: {words}", path.child("nodeSelector").key(key)));
        }
    }
    for (index, constraint) in spec.list("topologySpreadConstraints").iter().enumerate() {
        let path = path.child("topologySpreadConstraints").index(index);
        let key = constraint.text("topologyKey");
        if let Some(words) = old_label(key) {
            found.push(format!("{}: {key} is {words}", path.child("topologyKey")));
        }
        if !constraint.has("labelSelector") {
            let path = path.child("labelSelector");
            found.push(format!("{path}: a null labelSelector results in matching no pod"));
        }
    }
    for (index, volume) in spec.list("volumes").iter().enumerate() {
        let path = path.child("volumes").index(index);
        for (source, words) in OLD_VOLUMES.iter().filter(|(source, _)| volume.has(source)) {
            found.push(format!("{}: {words}", path.child(source)));
        }
    }
    for list in ["initContainers", "containers"] {
        for (index, one) in spec.list(list).iter().enumerate() {
            container(&mut found, one, &path.child(list).index(index));
        }
    }
    if spec.int("terminationGracePeriodSeconds").is_some_and(|seconds| seconds < 0) {
        let path = path.child("terminationGracePeriodSeconds");
        found.push(format!("{path}: must be >= 0; negative values are invalid and will be treated as 1"));
    }
    for (index, server) in spec.object("dnsConfig").texts("nameservers").enumerate() {
        spelling::of_ip(&mut found, server, &path.child("dnsConfig").child("nameservers").index(index));
    }
    for (index, alias) in spec.list("hostAliases").iter().enumerate() {
        spelling::of_ip(&mut found, alias.text("ip"), &path.child("hostAliases").index(index).child("ip"));
    }
    found
}

fn old_label(key: &str) -> Option<&'static str> {
    OLD_LABELS.iter().find(|(old, _)| *old == key).map(|(_, words)| *words)
}

fn container(found: &mut Vec<String>, container: &Value, path: &Path) {
    for part in ["limits", "requests"] {
        for (name, value) in container.object("resources").object(part) {
            let in_bytes = matches!(name.as_str(), "memory" | "ephemeral-storage");
            if in_bytes && check::quantity(value).milli_value() % 1000 != 0 {
                let path = path.child("resources").child(part).key(name);
                let text = value.as_str().unwrap_or_default();
                found.push(format!("{path}: fractional byte value {text:?} is invalid, must be an integer"));
            }
        }
    }
    let mut seen = HashSet::new();
    for (index, variable) in container.list("env").iter().enumerate() {
        let name = variable.text("name");
        if !seen.insert(name) {
            let path = path.child("env").index(index);
            found.push(format!("{path}: hides previous definition of {name:?}, which may be unexpected"));
        }
    }
    let mut ports = HashMap::new();
    for (index, port) in container.list("ports").iter().enumerate() {
        let path = path.child("ports").index(index);
        let number = (port.text("protocol").to_owned(), port.int("containerPort"), port.int("hostPort"));
        if let Some(other) = ports.insert((number, port.text("hostIP").to_owned()), path.clone()) {
            found.push(format!("{path}: duplicate port definition with {other}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_hardly_meant_is_said() {
        let spec = json!({
            "nodeSelector": {"beta.kubernetes.io/os": "linux"},
            "topologySpreadConstraints": [{"topologyKey": "zone"}],
            "terminationGracePeriodSeconds": -1,
            "volumes": [{"name": "a", "gitRepo": {}}, {"name": "b", "emptyDir": {}}],
            "containers": [{
                "name": "a", "resources": {"limits": {"memory": "100m", "cpu": "100m"}},
                "env": [{"name": "A"}, {"name": "A"}],
                "ports": [{"containerPort": 80, "protocol": "TCP"}, {"containerPort": 80, "protocol": "TCP"}],
            }],
        });
        let found = pod_spec(spec.as_object().expect("a spec"), &Path::new("spec"));
        assert_eq!(
            found,
            [
                "spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use \"kubernetes.io/os\" instead",
                "spec.topologySpreadConstraints[0].labelSelector: a null labelSelector results in matching no pod",
                "spec.volumes[0].gitRepo: deprecated in v1.11, and disabled by default in v1.33+",
                "spec.containers[0].resources.limits[memory]: fractional byte value \"100m\" is invalid, must be an integer",
                "spec.containers[0].env[1]: hides previous definition of \"A\", which may be unexpected",
                "spec.containers[0].ports[1]: duplicate port definition with spec.containers[0].ports[0]",
                "spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1",
            ]
        );
    }
}
