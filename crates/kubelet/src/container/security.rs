//! Who a container runs as and what it may do (upstream: pkg/securitycontext, kuberuntime/security_context.go).

use cri::{NamespaceMode, SecurityContext};
use k8s_openapi::api::core::v1::{Container, Pod, SeccompProfile};

use crate::pod::PodRef;
use crate::pod::spec::spec;

/// The rights of `container`.
pub fn context(pod: &Pod, container: &Container) -> SecurityContext {
    let spec = spec(pod);
    let of_pod = spec.security_context.clone().unwrap_or_default();
    let own = container.security_context.clone().unwrap_or_default();
    let privileged = own.privileged == Some(true);
    let mut groups: Vec<i64> = of_pod.supplemental_groups.clone().unwrap_or_default();
    groups.extend(of_pod.fs_group);
    groups.dedup();
    let seccomp = own.seccomp_profile.as_ref().or(of_pod.seccomp_profile.as_ref());
    let capabilities = own.capabilities.unwrap_or_default();
    let unmasked = own.proc_mount.as_deref() == Some("Unmasked");
    SecurityContext {
        run_as_user: own.run_as_user.or(of_pod.run_as_user),
        run_as_group: own.run_as_group.or(of_pod.run_as_group),
        supplemental_groups: groups,
        privileged,
        readonly_rootfs: own.read_only_root_filesystem == Some(true),
        no_new_privs: own.allow_privilege_escalation == Some(false),
        add_capabilities: capabilities.add.unwrap_or_default(),
        drop_capabilities: capabilities.drop.unwrap_or_default(),
        seccomp_profile: if privileged { "Unconfined".to_owned() } else { seccomp_profile(seccomp) },
        masked_paths: unmasked.then(Vec::new),
        readonly_paths: unmasked.then(Vec::new),
        pid: pid_mode(pod),
        pid_target: None,
    }
}

fn seccomp_profile(profile: Option<&SeccompProfile>) -> String {
    match profile.map(|profile| (profile.type_.as_str(), profile.localhost_profile.as_deref())) {
        Some(("RuntimeDefault", _)) => "RuntimeDefault".to_owned(),
        Some(("Localhost", Some(path))) => format!("localhost/{path}"),
        _ => "Unconfined".to_owned(),
    }
}

/// Whose processes the pod's containers see.
pub fn pid_mode(pod: &Pod) -> NamespaceMode {
    let spec = spec(pod);
    match (spec.host_pid, spec.share_process_namespace) {
        (Some(true), _) => NamespaceMode::Node,
        (_, Some(true)) => NamespaceMode::Pod,
        _ => NamespaceMode::Container,
    }
}

/// Refuses root where the spec forbids it (upstream: kuberuntime/security_context_others.go verifyRunAsNonRoot).
pub fn verify_non_root(pod: &Pod, container: &Container, image_user: &str) -> Result<(), String> {
    let of_pod = spec(pod).security_context.as_ref();
    let own = container.security_context.as_ref();
    let required = own.and_then(|c| c.run_as_non_root).or(of_pod.and_then(|p| p.run_as_non_root));
    if required != Some(true) {
        return Ok(());
    }
    let place = format!("(pod: \"{}\", container: {})", PodRef::of(pod), container.name);
    match own.and_then(|c| c.run_as_user).or(of_pod.and_then(|p| p.run_as_user)) {
        Some(0) => return Err(format!("container's runAsUser breaks non-root policy {place}")),
        Some(_) => return Ok(()),
        None => {}
    }
    let user = image_user.split(':').next().unwrap_or_default();
    match user.parse::<i64>() {
        Ok(0) => Err(format!("container has runAsNonRoot and image will run as root {place}")),
        Ok(_) => Ok(()),
        Err(_) if user.is_empty() => Err(format!("container has runAsNonRoot and image will run as root {place}")),
        Err(_) => Err(format!(
            "container has runAsNonRoot and image has non-numeric user ({user}), cannot verify user is non-root {place}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(of_pod: Value, own: Value) -> Pod {
        let spec = json!({"securityContext": of_pod, "containers": [{"name": "c", "securityContext": own}]});
        serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "n", "uid": "u"}, "spec": spec}))
            .expect("a pod")
    }

    #[test]
    fn the_container_overrides_the_pod() {
        let pod = pod(
            json!({"runAsUser": 1, "runAsGroup": 2, "fsGroup": 3, "supplementalGroups": [4],
                "seccompProfile": {"type": "RuntimeDefault"}}),
            json!({"runAsUser": 9, "allowPrivilegeEscalation": false, "capabilities": {"add": ["NET_ADMIN"]}}),
        );
        let context = context(&pod, &spec(&pod).containers[0]);
        assert_eq!((context.run_as_user, context.run_as_group), (Some(9), Some(2)));
        assert_eq!(context.supplemental_groups, [4, 3]);
        assert_eq!(context.seccomp_profile, "RuntimeDefault");
        assert!(context.no_new_privs);
        assert_eq!(context.add_capabilities, ["NET_ADMIN"]);
    }

    #[test]
    fn non_root_is_verified() {
        for (own, user, expected) in [
            (json!({}), "", Ok(())),
            (json!({"runAsNonRoot": true, "runAsUser": 5}), "", Ok(())),
            (json!({"runAsNonRoot": true}), "1000:1000", Ok(())),
            (json!({"runAsNonRoot": true}), "", Err("container has runAsNonRoot and image will run as root")),
            (
                json!({"runAsNonRoot": true}),
                "nobody",
                Err(
                    "container has runAsNonRoot and image has non-numeric user (nobody), cannot verify user is non-root",
                ),
            ),
            (json!({"runAsNonRoot": true, "runAsUser": 0}), "5", Err("container's runAsUser breaks non-root policy")),
        ] {
            let pod = pod(json!({}), own);
            let result = verify_non_root(&pod, &spec(&pod).containers[0], user);
            let expected = expected.map_err(|text| format!("{text} (pod: \"p_n(u)\", container: c)"));
            assert_eq!(result, expected);
        }
    }
}
