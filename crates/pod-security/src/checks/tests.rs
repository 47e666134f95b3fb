//! One row a way to break each check.

use expect_test::{Expect, expect};
use serde_json::json;

use super::*;

fn violations(policy: &str, pod: &Value) -> String {
    let (level, version) = policy.split_once(':').expect("a level and a version");
    let policy = LevelVersion {
        level: Level::parse(level).expect("a level"),
        version: Version::parse(version).expect("a version"),
    };
    evaluate(policy, Pod { metadata: pod.object("metadata"), spec: pod.object("spec") }).details()
}

fn check(policy: &str, pod: Value, expected: Expect) {
    expected.assert_eq(&violations(policy, &pod));
}

/// A pod of one container with this security context.
fn container(context: Value) -> Value {
    json!({"spec": {"containers": [{"name": "c", "securityContext": context}]}})
}

/// A pod that restricted lets through.
fn restricted() -> Value {
    json!({"spec": {
        "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [{"name": "c", "securityContext": {
            "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]},
        }}],
    }})
}

#[test]
fn levels_build_on_each_other() {
    let plain = container(json!({}));
    check("privileged:latest", container(json!({"privileged": true})), expect![""]);
    check("baseline:latest", plain.clone(), expect![""]);
    check(
        "restricted:latest",
        plain.clone(),
        expect![[
            r#"allowPrivilegeEscalation != false (container "c" must set securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (container "c" must set securityContext.capabilities.drop=["ALL"]), runAsNonRoot != true (pod or container "c" must set securityContext.runAsNonRoot=true), seccompProfile (pod or container "c" must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")"#
        ]],
    );
    check(
        "restricted:v1.7",
        plain,
        expect![[r#"runAsNonRoot != true (pod or container "c" must set securityContext.runAsNonRoot=true)"#]],
    );
    check("restricted:latest", restricted(), expect![""]);
}

#[test]
fn baseline_forbids_the_ways_out() {
    let latest = "baseline:latest";
    check(
        latest,
        container(json!({"privileged": true})),
        expect![[r#"privileged (container "c" must not set securityContext.privileged=true)"#]],
    );
    check(
        latest,
        container(json!({"capabilities": {"add": ["NET_RAW", "CHOWN"]}})),
        expect![[
            r#"non-default capabilities (container "c" must not include "NET_RAW" in securityContext.capabilities.add)"#
        ]],
    );
    check(
        latest,
        container(json!({"procMount": "Unmasked"})),
        expect![[r#"procMount (container "c" must not set securityContext.procMount to "Unmasked")"#]],
    );
    check(
        latest,
        container(json!({"seccompProfile": {"type": "Unconfined"}})),
        expect![[r#"seccompProfile (container "c" must not set securityContext.seccompProfile.type to "Unconfined")"#]],
    );
    check(
        latest,
        container(json!({"appArmorProfile": {"type": "Unconfined"}})),
        expect![[r#"forbidden AppArmor profile (container "c" must not set AppArmor profile type to "Unconfined")"#]],
    );
    check(
        latest,
        container(json!({"seLinuxOptions": {"type": "x", "user": "u"}})),
        expect![[
            r#"seLinuxOptions (container "c" set forbidden securityContext.seLinuxOptions: type "x"; user may not be set)"#
        ]],
    );
    check(
        latest,
        container(json!({"windowsOptions": {"hostProcess": true}})),
        expect![[r#"hostProcess (container "c" must not set securityContext.windowsOptions.hostProcess=true)"#]],
    );
    check(
        latest,
        json!({"spec": {"hostNetwork": true, "hostPID": true}}),
        expect!["host namespaces (hostNetwork=true, hostPID=true)"],
    );
    check(
        latest,
        json!({"spec": {"volumes": [{"name": "v", "hostPath": {}}]}}),
        expect![[r#"hostPath volumes (volume "v")"#]],
    );
    let ports = json!({"spec": {"containers": [{"name": "c", "ports": [{"hostPort": 80}, {"hostPort": 443}]}]}});
    check(latest, ports, expect![[r#"hostPort (container "c" uses hostPorts 443, 80)"#]]);
    let sysctls = json!({"spec": {"securityContext": {"sysctls": [{"name": "kernel.msgmax"}]}}});
    check(latest, sysctls, expect!["forbidden sysctls (kernel.msgmax)"]);
    let probe = json!({"spec": {"containers": [{"name": "c", "livenessProbe": {"httpGet": {"host": "1.2.3.4"}}}]}});
    check(
        latest,
        probe,
        expect![[r#"probe or lifecycle host (container "c" uses probe or lifecycle host "1.2.3.4")"#]],
    );
    let annotated = json!({"metadata": {"annotations": {"container.apparmor.security.beta.kubernetes.io/c": "unconfined"}}, "spec": {}});
    check(
        latest,
        annotated,
        expect![[
            r#"forbidden AppArmor profile (annotation must not set AppArmor profile type to "container.apparmor.security.beta.kubernetes.io/c="unconfined"")"#
        ]],
    );
    let both = json!({"spec": {
        "securityContext": {"windowsOptions": {"hostProcess": true}},
        "initContainers": [{"name": "i", "securityContext": {"windowsOptions": {"hostProcess": true}}}],
    }});
    check(
        latest,
        both,
        expect![[
            r#"hostProcess (pod and container "i" must not set securityContext.windowsOptions.hostProcess=true)"#
        ]],
    );
}

#[test]
fn restricted_forbids_more() {
    let with = |change: fn(&mut Value)| {
        let mut pod = restricted();
        change(&mut pod);
        pod
    };
    let latest = "restricted:latest";
    check(
        latest,
        with(|pod| pod["spec"]["securityContext"]["runAsUser"] = 0.into()),
        expect!["runAsUser=0 (pod must not set runAsUser=0)"],
    );
    check(
        latest,
        with(|pod| pod["spec"]["securityContext"]["runAsNonRoot"] = false.into()),
        expect!["runAsNonRoot != true (pod must not set securityContext.runAsNonRoot=false)"],
    );
    check(
        latest,
        with(|pod| {
            pod["spec"]["volumes"] =
                json!([{"name": "a", "hostPath": {}}, {"name": "b", "nfs": {}}, {"name": "c", "secret": {}}])
        }),
        expect![[r#"restricted volume types (volumes "a", "b" use restricted volume types "hostPath", "nfs")"#]],
    );
    check(
        latest,
        with(|pod| pod["spec"]["containers"][0]["securityContext"]["capabilities"]["add"] = json!(["CHOWN"])),
        expect![[
            r#"unrestricted capabilities (container "c" must not include "CHOWN" in securityContext.capabilities.add)"#
        ]],
    );
}

#[test]
fn versions_change_what_is_forbidden() {
    let sysctl = |name: &str| json!({"spec": {"securityContext": {"sysctls": [{"name": name}]}}});
    for (name, since) in [
        ("net.ipv4.ip_local_reserved_ports", 27),
        ("net.ipv4.tcp_fin_timeout", 29),
        ("net.ipv4.tcp_rmem", 32),
        ("net.ipv4.tcp_notsent_lowat", 37),
    ] {
        let policy = |minor: u32| format!("baseline:v1.{minor}");
        assert_eq!(violations(&policy(since), &sysctl(name)), "", "{name}");
        assert_ne!(violations(&policy(since - 1), &sysctl(name)), "", "{name}");
    }
    check(
        "restricted:v1.24",
        json!({"spec": {"os": {"name": "windows"}, "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}}, "containers": [{"name": "c"}]}}),
        expect![[
            r#"allowPrivilegeEscalation != false (container "c" must set securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (container "c" must set securityContext.capabilities.drop=["ALL"])"#
        ]],
    );
    check(
        "restricted:v1.25",
        json!({"spec": {"os": {"name": "windows"}, "securityContext": {"runAsNonRoot": true}, "containers": [{"name": "c"}]}}),
        expect![""],
    );
    let user_namespace = json!({"spec": {"hostUsers": false, "containers": [{"name": "c", "securityContext": {"procMount": "Unmasked"}}]}});
    check("baseline:v1.35", user_namespace.clone(), expect![""]);
    check(
        "baseline:v1.34",
        user_namespace,
        expect![[r#"procMount (container "c" must not set securityContext.procMount to "Unmasked")"#]],
    );
    let annotated =
        json!({"metadata": {"annotations": {"seccomp.security.alpha.kubernetes.io/pod": "unconfined"}}, "spec": {}});
    check(
        "baseline:v1.18",
        annotated.clone(),
        expect![[r#"seccompProfile (forbidden annotation seccomp.security.alpha.kubernetes.io/pod="unconfined")"#]],
    );
    check("baseline:v1.19", annotated, expect![""]);
}
