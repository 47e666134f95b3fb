//! The Node as this kubelet writes it (upstream: pkg/kubelet/nodestatus/setters.go). Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    ContainerImage, DaemonEndpoint, Node, NodeAddress, NodeCondition, NodeDaemonEndpoints, NodeSpec, NodeStatus,
    NodeSystemInfo,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

use super::machine::MachineInfo;
use crate::config::Config;

/// The Kubernetes version this kubelet speaks.
pub const KUBELET_VERSION: &str = "v1.37.0";
/// Most images listed (upstream: nodeStatusMaxImages).
const MAX_IMAGES: usize = 50;
/// Most names an image is listed with.
const MAX_NAMES: usize = 5;

/// What decides whether the node is ready.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Why it is not, for each part that is not.
    pub problems: Vec<String>,
}

/// What the status is made of beside the configuration.
pub struct Facts<'a> {
    /// The machine.
    pub machine: &'a MachineInfo,
    /// Name and version of the runtime.
    pub runtime_version: String,
    /// Images in the store.
    pub images: &'a [cri::Image],
    /// Whether all is well.
    pub health: &'a Health,
}

/// The labels every node has, and those of the configuration.
pub fn labels(config: &Config, machine: &MachineInfo) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    for (key, value) in [
        ("kubernetes.io/hostname", config.node_name.as_str()),
        ("kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", machine.architecture),
        ("beta.kubernetes.io/os", "linux"),
        ("beta.kubernetes.io/arch", machine.architecture),
    ] {
        labels.insert(key.to_owned(), value.to_owned());
    }
    labels.extend(config.node_labels.iter().cloned());
    labels
}

/// The Node object to create.
pub fn node(config: &Config, facts: &Facts<'_>, now: Timestamp) -> Node {
    Node {
        metadata: ObjectMeta {
            name: Some(config.node_name.clone()),
            labels: Some(labels(config, facts.machine)),
            annotations: Some(BTreeMap::from([(
                "volumes.kubernetes.io/controller-managed-attach-detach".to_owned(),
                "true".to_owned(),
            )])),
            ..ObjectMeta::default()
        },
        spec: Some(NodeSpec {
            pod_cidr: config.pod_cidr.clone(),
            pod_cidrs: config.pod_cidr.clone().map(|cidr| vec![cidr]),
            ..NodeSpec::default()
        }),
        status: Some(status(config, facts, &NodeStatus::default(), now)),
    }
}

/// The status; times of conditions that did not change are taken from `old`.
pub fn status(config: &Config, facts: &Facts<'_>, old: &NodeStatus, now: Timestamp) -> NodeStatus {
    let address = |kind: &str, value: String| NodeAddress { type_: kind.to_owned(), address: value };
    NodeStatus {
        addresses: Some(vec![
            address("InternalIP", config.node_ip.to_string()),
            address("Hostname", config.node_name.clone()),
        ]),
        allocatable: Some(facts.machine.allocatable(config.max_pods)),
        capacity: Some(facts.machine.capacity(config.max_pods)),
        conditions: Some(conditions(facts.health, old, now)),
        daemon_endpoints: Some(NodeDaemonEndpoints {
            kubelet_endpoint: Some(DaemonEndpoint { port: i32::from(config.port) }),
        }),
        images: Some(images(facts.images)),
        node_info: Some(NodeSystemInfo {
            architecture: facts.machine.architecture.to_owned(),
            boot_id: facts.machine.boot_id.clone(),
            container_runtime_version: facts.runtime_version.clone(),
            kernel_version: facts.machine.kernel.clone(),
            kubelet_version: KUBELET_VERSION.to_owned(),
            machine_id: facts.machine.machine_id.clone(),
            operating_system: "linux".to_owned(),
            os_image: facts.machine.os_image.clone(),
            system_uuid: facts.machine.system_uuid.clone(),
            ..NodeSystemInfo::default()
        }),
        ..NodeStatus::default()
    }
}

fn conditions(health: &Health, old: &NodeStatus, now: Timestamp) -> Vec<NodeCondition> {
    let ready = health.problems.is_empty();
    let ready_text = if ready { "kubelet is posting ready status".to_owned() } else { health.problems.join(", ") };
    let ready_reason = if ready { "KubeletReady" } else { "KubeletNotReady" };
    let pressure = |kind, reason, text: &str| (kind, false, reason, text.to_owned());
    let verdicts = [
        pressure("MemoryPressure", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        pressure("DiskPressure", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        pressure("PIDPressure", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        ("Ready", ready, ready_reason, ready_text),
    ];
    let condition = |(kind, holds, reason, message): (&str, bool, &str, String)| {
        let status = if holds { "True" } else { "False" };
        let before = old.conditions.iter().flatten().find(|before| before.type_ == kind && before.status == status);
        NodeCondition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message),
            last_heartbeat_time: Some(Time(now)),
            last_transition_time: before.and_then(|b| b.last_transition_time.clone()).or(Some(Time(now))),
        }
    };
    verdicts.map(condition).into()
}

/// The largest images first (upstream: nodestatus.Images).
fn images(images: &[cri::Image]) -> Vec<ContainerImage> {
    let mut images: Vec<&cri::Image> = images.iter().collect();
    images.sort_by(|a, b| b.size_bytes.cmp(&a.size_bytes).then_with(|| a.id.cmp(&b.id)));
    let shown = |image: &cri::Image| {
        let names: Vec<String> = image.repo_digests.iter().chain(&image.repo_tags).take(MAX_NAMES).cloned().collect();
        ContainerImage {
            names: (!names.is_empty()).then_some(names),
            size_bytes: Some(i64::try_from(image.size_bytes).unwrap_or(i64::MAX)),
        }
    };
    images.into_iter().take(MAX_IMAGES).map(shown).collect()
}

/// Whether two statuses differ in more than their heartbeats.
pub fn differs(a: &NodeStatus, b: &NodeStatus) -> bool {
    let quiet = |status: &NodeStatus| {
        let mut status = status.clone();
        for condition in status.conditions.iter_mut().flatten() {
            condition.last_heartbeat_time = None;
        }
        status
    };
    quiet(a) != quiet(b)
}
