//! The runtime's configuration of sandbox and containers, with the labels that let a restarted kubelet adopt them
//! (upstream: kuberuntime/labels.go).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cri::{ContainerConfig, Mount, NamespaceMode, SandboxConfig};
use k8s_openapi::api::core::v1::{Container, Pod};
use kube::ResourceExt;

use super::expansion::expand;
use super::{resources, security};
use crate::pod::PodRef;
use crate::pod::spec::spec;

/// Label with the pod's name.
pub const POD_NAME: &str = "io.kubernetes.pod.name";
/// Label with the pod's namespace.
pub const POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";
/// Label with the pod's UID.
pub const POD_UID: &str = "io.kubernetes.pod.uid";
/// Label with the container's name.
pub const CONTAINER_NAME: &str = "io.kubernetes.container.name";
/// Annotation with the termination message's path.
pub const TERMINATION_PATH: &str = "io.kubernetes.container.terminationMessagePath";
/// Annotation with the image as the spec names it.
pub const IMAGE: &str = "kaji.io/container.image";

fn pod_labels(id: &PodRef) -> BTreeMap<String, String> {
    BTreeMap::from([
        (POD_NAME.to_owned(), id.name.clone()),
        (POD_NAMESPACE.to_owned(), id.namespace.clone()),
        (POD_UID.to_owned(), id.uid.clone()),
    ])
}

/// The sandbox of a pod.
pub fn sandbox(
    pod: &Pod,
    attempt: u32,
    netns: Option<PathBuf>,
    hostname: String,
    log_directory: &Path,
    cgroup_parent: String,
) -> SandboxConfig {
    let id = PodRef::of(pod);
    let spec = spec(pod);
    let mut labels = pod.labels().clone();
    labels.extend(pod_labels(&id));
    let sysctls = spec.security_context.as_ref().and_then(|context| context.sysctls.as_ref());
    SandboxConfig {
        attempt,
        // A pod in the node's network keeps the node's name.
        hostname: if netns.is_some() { hostname } else { String::new() },
        log_directory: log_directory.join(id.log_directory()),
        netns,
        pid: security::pid_mode(pod),
        ipc: if spec.host_ipc == Some(true) { NamespaceMode::Node } else { NamespaceMode::Pod },
        cgroup_parent,
        sysctls: sysctls.into_iter().flatten().map(|s| (s.name.replace('/', "."), s.value.clone())).collect(),
        labels,
        annotations: pod.annotations().clone(),
        runtime_handler: String::new(),
        name: id.name,
        namespace: id.namespace,
        uid: id.uid,
    }
}

/// One container of a pod.
pub fn container(
    pod: &Pod,
    container: &Container,
    attempt: u32,
    image_id: String,
    env: Vec<(String, String)>,
    mounts: Vec<Mount>,
    memory_capacity: i64,
) -> ContainerConfig {
    let id = PodRef::of(pod);
    let lookup = |name: &str| env.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
    let expanded = |list: &Option<Vec<String>>| -> Vec<String> {
        list.iter().flatten().map(|word| expand(word, lookup)).collect()
    };
    let mut labels = pod_labels(&id);
    labels.insert(CONTAINER_NAME.to_owned(), container.name.clone());
    let annotations = BTreeMap::from([
        (TERMINATION_PATH.to_owned(), super::mounts::termination_path(container).to_owned()),
        (IMAGE.to_owned(), container.image.clone().unwrap_or_default()),
    ]);
    ContainerConfig {
        name: container.name.clone(),
        attempt,
        image: image_id,
        command: expanded(&container.command),
        args: expanded(&container.args),
        working_dir: container.working_dir.clone().unwrap_or_default(),
        log_path: PathBuf::from(&container.name).join(format!("{attempt}.log")),
        stdin: container.stdin == Some(true),
        stdin_once: container.stdin_once == Some(true),
        tty: container.tty == Some(true),
        resources: resources::of_container(pod, container, memory_capacity),
        security: security::context(pod, container),
        stop_signal: container.lifecycle.as_ref().and_then(|l| l.stop_signal.clone()).unwrap_or_default(),
        env,
        mounts,
        labels,
        annotations,
    }
}
