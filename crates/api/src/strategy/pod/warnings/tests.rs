//! What is said of pods and templates, as upstream says it.

use super::*;
use expect_test::{Expect, expect};
use serde_json::json;

fn check(of: &Value, path: &Path, expected: &Expect) {
    expected.assert_eq(&pod(of.fields(), path).into_iter().map(|words| words + "\n").collect::<String>());
}

#[test]
fn what_is_hardly_meant_is_said() {
    let of = json!({
        "metadata": {"annotations": {
            "scheduler.alpha.kubernetes.io/critical-pod": "", "seccomp.security.alpha.kubernetes.io/pod": "x",
            "container.apparmor.security.beta.kubernetes.io/a": "unconfined",
        }},
        "spec": {
            "nodeSelector": {"beta.kubernetes.io/os": "linux"},
            "topologySpreadConstraints": [{"topologyKey": "zone"}],
            "affinity": {
                "nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"preference": {
                    "matchExpressions": [{"key": "node-role.kubernetes.io/master", "operator": "In", "values": ["-"]}],
                }}]},
                "podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "x"}]},
            },
            "terminationGracePeriodSeconds": -1,
            "hostAliases": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.1"}],
            "imagePullSecrets": [{"name": "a"}, {"name": "a"}, {"name": ""}],
            "overhead": {"memory": "100m"},
            "volumes": [{"name": "a", "gitRepo": {}}, {"name": "b", "emptyDir": {}}],
        },
    });
    let path = Path::new("spec").child("template");
    let mut with_container = of.clone();
    with_container["spec"]["containers"] = json!([{"name": "a"}]);
    check(
        &with_container,
        &path,
        &expect![[r#"
        spec.template.spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use "kubernetes.io/os" instead
        spec.template.spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].preference.matchExpressions[0].key: node-role.kubernetes.io/master is use "node-role.kubernetes.io/control-plane" instead
        spec.template.spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].preference.matchExpressions[0].values[0]: - is invalid, a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')
        spec.template.spec.topologySpreadConstraints[0].labelSelector: a null labelSelector results in matching no pod
        spec.template.metadata.annotations[scheduler.alpha.kubernetes.io/critical-pod]: non-functional in v1.16+; use the "priorityClassName" field instead
        spec.template.spec.volumes[0].gitRepo: deprecated in v1.11, and disabled by default in v1.33+
        spec.template.spec.hostAliases[1].ip: duplicate ip "10.0.0.1"
        spec.template.spec.imagePullSecrets[1].name: duplicate name "a"
        spec.template.spec.imagePullSecrets[2].name: invalid empty name ""
        spec.template.spec.overhead[memory]: fractional byte value "100m" is invalid, must be an integer
        spec.template.metadata.annotations[seccomp.security.alpha.kubernetes.io/pod]: non-functional in v1.27+; use the "seccompProfile" field instead
        spec.template.metadata.annotations[container.apparmor.security.beta.kubernetes.io/a]: deprecated since v1.30; use the "appArmorProfile" field instead
        spec.template.spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1
        spec.template.spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].labelSelector: a null labelSelector results in matching no pod
    "#]],
    );
}

#[test]
fn containers_share_what_they_have() {
    let port = |further: Value| {
        let mut port = json!({"containerPort": 80, "protocol": "TCP"});
        for (field, value) in further.as_object().cloned().unwrap_or_default() {
            port[field] = value;
        }
        port
    };
    let of = json!({"spec": {"containers": [
        {
            "name": "a", "resources": {"limits": {"memory": "100m", "cpu": "100m"}},
            "env": [{"name": "A", "value": "1"}, {"name": "A", "value": "$(A)2"}, {"name": "A", "value": "3"}],
            "ports": [port(json!({})), port(json!({})), port(json!({"hostIP": "1.2.3.4"}))],
        },
        {"name": "b", "ports": [
            port(json!({"containerPort": 90, "name": "x", "hostPort": 5, "hostIP": "1.2.3.4"})),
            port(json!({"containerPort": 90, "name": "x", "hostPort": 5})),
        ]},
    ]}});
    check(
        &of,
        &Path::default(),
        &expect![[r#"
        spec.containers[0].resources.limits[memory]: fractional byte value "100m" is invalid, must be an integer
        spec.containers[0].env[2]: hides previous definition of "A", which may be dropped when using apply
        spec.containers[0].ports[1]: duplicate port definition with spec.containers[0].ports[0]
        spec.containers[0].ports[2]: hostIP set without hostPort: {Name: HostPort:0 ContainerPort:80 Protocol:TCP HostIP:1.2.3.4}
        spec.containers[0].ports[2]: overlapping port definition with spec.containers[0].ports[0]
        spec.containers[0].ports[2]: overlapping port definition with spec.containers[0].ports[1]
        spec.containers[1].ports[1]: dangerously ambiguous port definition with spec.containers[1].ports[0]
        spec.containers[1].ports[1]: duplicate port name "x" with spec.containers[1].ports[0], services and probes that select ports by name will use spec.containers[1].ports[0]
    "#]],
    );
}

#[test]
fn paths_within_a_volume_are_apart() {
    let item = |path: &str| json!({"key": "k", "path": path});
    let of = json!({"spec": {"volumes": [
        {"name": "a", "configMap": {"name": "m", "items": [item("x/"), item("x/y"), item("xy"), item("x")]}},
        {"name": "b", "projected": {"sources": [
            {"secret": {"name": "s", "items": [item("token")]}}, {"serviceAccountToken": {"path": "token"}}, {},
        ]}},
    ]}});
    check(
        &of,
        &Path::default(),
        &expect![[r#"
        volume "a" (ConfigMap "m"): overlapping paths: "x/y" with "x"
        volume "a" (ConfigMap "m"): overlapping paths: "x" with "x"
        volume "a" (ConfigMap "m"): overlapping paths: "x" with "x/y"
        volume "b" (Projected) has no sources provided
        volume "b" (Projected): overlapping paths: "token" (ServiceAccountToken) with "token" (Secret "s")
    "#]],
    );
}
