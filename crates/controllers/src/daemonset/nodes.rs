//! Whether a daemon's pod belongs on a node, and the pod that goes there. Pure.
//!
//! upstream: pkg/controller/daemon/daemon_controller.go `NodeShouldRunDaemonPod`, util/daemonset_util.go

use client::corev1::node_affinity::required_matches;
use client::corev1::tolerations::any_tolerates;
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{
    Affinity, Node, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Pod, PodSpec, Taint, Toleration,
};
use kube::ResourceExt;
use kube::api::ObjectMeta;

use crate::history::REVISION_HASH;
use crate::owners::controller_ref;

/// What a daemon bears that other pods do not: it belongs to the node, whatever state that is in.
const BORNE: [(&str, &str); 6] = [
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
];
const NETWORK_UNAVAILABLE: (&str, &str) = ("node.kubernetes.io/network-unavailable", "NoSchedule");

/// What a set thinks of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// A pod shall be made there.
    pub should_run: bool,
    /// A pod that is there may stay.
    pub may_continue: bool,
}

/// Judges a node.
pub fn verdict(set: &DaemonSet, node: &Node) -> Verdict {
    let spec = set.spec.template.spec.clone().unwrap_or_default();
    let elsewhere = spec.node_name.as_ref().is_some_and(|name| !name.is_empty() && *name != node.name_any());
    let pod = Pod { spec: Some(spec.clone()), ..Pod::default() };
    if elsewhere || !required_matches(&pod, node) {
        return Verdict { should_run: false, may_continue: false };
    }
    let tolerations = tolerations(&spec);
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
    let driven_off = |taint: &Taint| taint.effect == "NoExecute" && !any_tolerates(&tolerations, taint);
    let kept_off = |taint: &Taint| taint.effect == "NoSchedule" && !any_tolerates(&tolerations, taint);
    let may_continue = !taints.iter().any(driven_off);
    Verdict { should_run: may_continue && !taints.iter().any(kept_off), may_continue }
}

fn tolerations(spec: &PodSpec) -> Vec<Toleration> {
    let borne = BORNE.into_iter().chain(spec.host_network.unwrap_or(false).then_some(NETWORK_UNAVAILABLE));
    let mut all = spec.tolerations.clone().unwrap_or_default();
    for (key, effect) in borne {
        let toleration = Toleration {
            key: Some(key.into()),
            operator: Some("Exists".into()),
            effect: Some(effect.into()),
            ..Toleration::default()
        };
        if !all.contains(&toleration) {
            all.push(toleration);
        }
    }
    all
}

/// The pod of a set for a node.
pub fn new_pod(set: &DaemonSet, node: &str, hash: &str) -> Pod {
    let template = &set.spec.template;
    let meta = template.metadata.clone().unwrap_or_default();
    let mut labels = meta.labels.unwrap_or_default();
    labels.insert(REVISION_HASH.into(), hash.to_owned());
    labels.insert("pod-template-generation".into(), set.metadata.generation.unwrap_or(0).to_string());
    let mut spec = template.spec.clone().unwrap_or_default();
    spec.tolerations = Some(tolerations(&spec));
    pin(&mut spec, node);
    Pod {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", set.name_any())),
            namespace: set.namespace(),
            labels: Some(labels),
            annotations: meta.annotations,
            finalizers: meta.finalizers,
            owner_references: Some(vec![controller_ref(set)]),
            ..ObjectMeta::default()
        },
        spec: Some(spec),
        status: None,
    }
}

/// Leaves the scheduler one node to choose: every required term is replaced by the node's name.
fn pin(spec: &mut PodSpec, node: &str) {
    let by_name = NodeSelectorRequirement {
        key: "metadata.name".into(),
        operator: "In".into(),
        values: Some(vec![node.to_owned()]),
    };
    let affinity: &mut Affinity = spec.affinity.get_or_insert_default();
    let affinity = affinity.node_affinity.get_or_insert_default();
    let required = &mut affinity.required_during_scheduling_ignored_during_execution;
    let terms = required.take().map(|selector| selector.node_selector_terms).unwrap_or_default();
    let pinned = if terms.is_empty() { vec![NodeSelectorTerm::default()] } else { terms };
    let pinned = pinned.into_iter().map(|term| NodeSelectorTerm { match_fields: Some(vec![by_name.clone()]), ..term });
    *required = Some(NodeSelector { node_selector_terms: pinned.collect() });
}

/// The node a daemon's pod is on, or is meant for.
pub fn node_of(pod: &Pod) -> Option<String> {
    if let Some(bound) = client::corev1::pod::node_name(pod) {
        return Some(bound.to_owned());
    }
    let affinity = client::corev1::node_affinity::of(pod)?;
    let required = affinity.required_during_scheduling_ignored_during_execution.as_ref()?;
    let fields = required.node_selector_terms.iter().flat_map(|term| term.match_fields.iter().flatten());
    let mut names = fields.filter(|field| field.key == "metadata.name").flat_map(|field| field.values.iter().flatten());
    names.next().cloned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn judged(spec: Value, node: Value) -> (bool, bool) {
        let set = json!({"metadata": {"name": "agent"}, "spec": {"selector": {}, "template": {"spec": spec}}});
        let set: DaemonSet = serde_json::from_value(set).expect("a set");
        let verdict = verdict(&set, &serde_json::from_value(node).expect("a node"));
        (verdict.should_run, verdict.may_continue)
    }

    #[test]
    fn where_a_pod_belongs() {
        let spec = |more: Value| {
            let mut spec = json!({"containers": []});
            more.as_object().into_iter().flatten().for_each(|(key, value)| spec[key] = value.clone());
            spec
        };
        let taint = |key: &str, effect: &str| json!({"metadata": {"name": "a"}, "spec": {"taints": [{"key": key, "effect": effect}]}});
        for (spec, node, expected) in [
            (spec(json!({})), json!({"metadata": {"name": "a"}}), (true, true)),
            (spec(json!({"nodeName": "b"})), json!({"metadata": {"name": "a"}}), (false, false)),
            (spec(json!({"nodeSelector": {"disk": "ssd"}})), json!({"metadata": {"name": "a"}}), (false, false)),
            (spec(json!({})), taint("mine", "NoSchedule"), (false, true)),
            (spec(json!({})), taint("mine", "NoExecute"), (false, false)),
            (spec(json!({})), taint("node.kubernetes.io/unschedulable", "NoSchedule"), (true, true)),
            (spec(json!({})), taint("node.kubernetes.io/network-unavailable", "NoSchedule"), (false, true)),
            (
                spec(json!({"hostNetwork": true})),
                taint("node.kubernetes.io/network-unavailable", "NoSchedule"),
                (true, true),
            ),
        ] {
            assert_eq!(judged(spec.clone(), node.clone()), expected, "{spec} {node}");
        }
    }

    #[test]
    fn a_pod_is_pinned_to_its_node() {
        let set =
            json!({"metadata": {"name": "agent"}, "spec": {"selector": {}, "template": {"spec": {"containers": []}}}});
        let set: DaemonSet = serde_json::from_value(set).expect("a set");
        assert_eq!(node_of(&new_pod(&set, "a", "hash")).as_deref(), Some("a"));
    }
}
