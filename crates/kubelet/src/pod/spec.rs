//! Reading a pod's spec: its containers of every sort, its policies.

use k8s_openapi::api::core::v1::{Container, ContainerPort, EphemeralContainer, Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// The sorts of containers, in the order they come up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sort {
    /// Runs to its end before the next one starts.
    Init,
    /// A restartable init container: runs beside the app containers.
    Sidecar,
    /// The pod's work.
    App,
    /// Added to a running pod to look into it.
    Ephemeral,
}

impl Sort {
    /// Whether it is listed in `spec.initContainers`.
    pub fn is_init(self) -> bool {
        matches!(self, Self::Init | Self::Sidecar)
    }
}

/// When a container that ended starts again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestartPolicy {
    /// Whenever it ended.
    Always,
    /// When it failed.
    OnFailure,
    /// Not at all.
    Never,
}

impl RestartPolicy {
    fn parse(text: Option<&str>) -> Self {
        match text {
            Some("OnFailure") => Self::OnFailure,
            Some("Never") => Self::Never,
            _ => Self::Always,
        }
    }
}

/// A container of any sort, in one shape.
#[derive(Clone, Debug, PartialEq)]
pub struct ContainerSpec {
    /// Its sort.
    pub sort: Sort,
    /// Its spec; an ephemeral container's fields are those of a container.
    pub container: Container,
    /// The container whose processes an ephemeral container sees.
    pub target: Option<String>,
}

/// The pod's spec; an absent one (which the API refuses) reads as an empty one.
pub fn spec(pod: &Pod) -> &PodSpec {
    static EMPTY: std::sync::OnceLock<PodSpec> = std::sync::OnceLock::new();
    pod.spec.as_ref().unwrap_or_else(|| EMPTY.get_or_init(PodSpec::default))
}

/// Every container of the pod, in the order they come up.
pub fn containers(pod: &Pod) -> Vec<ContainerSpec> {
    let spec = spec(pod);
    let init = spec.init_containers.iter().flatten().map(|container| ContainerSpec {
        sort: if container.restart_policy.as_deref() == Some("Always") { Sort::Sidecar } else { Sort::Init },
        container: container.clone(),
        target: None,
    });
    let app = spec.containers.iter().map(|c| ContainerSpec { sort: Sort::App, container: c.clone(), target: None });
    let ephemeral = spec.ephemeral_containers.iter().flatten().map(ephemeral_spec);
    init.chain(app).chain(ephemeral).collect()
}

fn ephemeral_spec(from: &EphemeralContainer) -> ContainerSpec {
    let from = from.clone();
    let container = Container {
        args: from.args,
        command: from.command,
        env: from.env,
        env_from: from.env_from,
        image: from.image,
        image_pull_policy: from.image_pull_policy,
        name: from.name,
        resources: from.resources,
        security_context: from.security_context,
        stdin: from.stdin,
        stdin_once: from.stdin_once,
        termination_message_path: from.termination_message_path,
        termination_message_policy: from.termination_message_policy,
        tty: from.tty,
        volume_mounts: from.volume_mounts,
        working_dir: from.working_dir,
        ..Container::default()
    };
    ContainerSpec { sort: Sort::Ephemeral, container, target: from.target_container_name.filter(|t| !t.is_empty()) }
}

/// The pod's restart policy.
pub fn restart_policy(pod: &Pod) -> RestartPolicy {
    RestartPolicy::parse(spec(pod).restart_policy.as_deref())
}

/// Whether a container that ended with `exit_code` is started again (upstream: kubecontainer.ShouldContainerBeRestarted
/// and KEP-5307 container restart rules).
pub fn restarts(pod: &Pod, container: &ContainerSpec, exit_code: i32) -> bool {
    for rule in container.container.restart_policy_rules.iter().flatten() {
        let Some(on) = &rule.exit_codes else { continue };
        let listed = on.values.iter().flatten().any(|code| *code == exit_code);
        if listed == (on.operator == "In") && rule.action == "Restart" {
            return true;
        }
    }
    let of_pod = restart_policy(pod);
    let policy = match container.sort {
        Sort::Ephemeral => RestartPolicy::Never,
        Sort::Sidecar => RestartPolicy::Always,
        _ => match container.container.restart_policy.as_deref() {
            Some(own) => RestartPolicy::parse(Some(own)),
            None => of_pod,
        },
    };
    match policy {
        RestartPolicy::Always if container.sort == Sort::Init => exit_code != 0,
        RestartPolicy::Always => true,
        RestartPolicy::OnFailure => exit_code != 0,
        RestartPolicy::Never => false,
    }
}

/// Whether the pod shares the node's network.
pub fn host_network(pod: &Pod) -> bool {
    spec(pod).host_network == Some(true)
}

/// How long its containers may take to stop, in seconds.
pub fn grace_period_s(pod: &Pod) -> i64 {
    spec(pod).termination_grace_period_seconds.unwrap_or(30)
}

/// The number of a port that is given by number or by name.
pub fn port_number(port: &IntOrString, ports: Option<&Vec<ContainerPort>>) -> Option<u16> {
    let number = match port {
        IntOrString::Int(number) => *number,
        IntOrString::String(name) => match ports.into_iter().flatten().find(|p| p.name.as_ref() == Some(name)) {
            Some(port) => port.container_port,
            None => name.parse().ok()?,
        },
    };
    u16::try_from(number).ok().filter(|number| *number > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(value: serde_json::Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": value})).expect("a pod")
    }

    #[test]
    fn sorts_come_in_their_order() {
        let pod = pod(json!({
            "initContainers": [{"name": "a"}, {"name": "b", "restartPolicy": "Always"}],
            "containers": [{"name": "c"}],
            "ephemeralContainers": [{"name": "d", "targetContainerName": "c"}],
        }));
        let sorts: Vec<_> = containers(&pod).into_iter().map(|c| (c.container.name, c.sort)).collect();
        let expected = [("a", Sort::Init), ("b", Sort::Sidecar), ("c", Sort::App), ("d", Sort::Ephemeral)];
        assert_eq!(sorts, expected.map(|(name, sort)| (name.to_owned(), sort)));
    }

    #[test]
    fn restart_policy_by_sort_and_code() {
        for (policy, index, code, expected) in [
            ("Always", 0, 0, false),
            ("Always", 0, 1, true),
            ("Never", 0, 1, false),
            ("Never", 1, 0, true),
            ("Always", 2, 0, true),
            ("OnFailure", 2, 0, false),
            ("OnFailure", 2, 3, true),
            ("Never", 2, 3, false),
            ("Never", 3, 42, true),
            ("Never", 3, 43, false),
            ("Always", 4, 1, false),
        ] {
            let pod = pod(json!({
                "restartPolicy": policy,
                "initContainers": [{"name": "a"}, {"name": "b", "restartPolicy": "Always"}],
                "containers": [{"name": "c"}, {"name": "ruled", "restartPolicyRules":
                    [{"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}]}],
                "ephemeralContainers": [{"name": "e"}],
            }));
            let container = &containers(&pod)[index];
            assert_eq!(restarts(&pod, container, code), expected, "{policy} {} {code}", container.container.name);
        }
    }

    #[test]
    fn ports_by_number_and_name() {
        let ports = vec![ContainerPort { name: Some("web".into()), container_port: 8080, ..Default::default() }];
        assert_eq!(port_number(&IntOrString::String("web".into()), Some(&ports)), Some(8080));
        assert_eq!(port_number(&IntOrString::String("81".into()), Some(&ports)), Some(81));
        assert_eq!(port_number(&IntOrString::String("nope".into()), Some(&ports)), None);
        assert_eq!(port_number(&IntOrString::Int(70000), None), None);
    }
}
