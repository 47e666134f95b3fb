//! The core group, `v1`.

use apimachinery::GroupVersionKind;

use crate::columns;
use crate::resource::{GroupVersion, Resource, Verbs};
use crate::strategy;

const V1: GroupVersion = GroupVersion::new("", "v1");

/// The verbs of the subresources that open a stream.
const STREAM: &[&str] = &["create", "get"];
/// The verbs of the proxy subresources: one an HTTP method.
const PROXY: &[&str] = &["create", "delete", "get", "patch", "update"];
const CREATE: &[&str] = &["create"];
const GET: &[&str] = &["get"];
const UPDATE: &[&str] = &["update"];

pub(super) fn rows() -> Vec<Resource> {
    vec![
        V1.namespaced("Binding", "bindings").verbs(Verbs::CreateOnly),
        V1.cluster("ComponentStatus", "componentstatuses")
            .columns(columns::component_statuses())
            .short(&["cs"])
            .verbs(Verbs::ReadOnly),
        V1.namespaced("ConfigMap", "configmaps")
            .columns(columns::config_maps())
            .strategy(strategy::ConfigMap)
            .short(&["cm"]),
        V1.namespaced("Endpoints", "endpoints")
            .columns(columns::endpoints())
            .strategy(strategy::Endpoints)
            .short(&["ep"]),
        event(),
        V1.namespaced("LimitRange", "limitranges").strategy(strategy::LimitRange).short(&["limits"]),
        V1.cluster("Namespace", "namespaces")
            .columns(columns::namespaces())
            .strategy(strategy::Namespace)
            .short(&["ns"])
            .verbs(Verbs::AllButDeleteCollection)
            .status()
            .special("finalize", UPDATE, V1.kind("Namespace"))
            .selectable(&["status.phase"]),
        V1.cluster("Node", "nodes")
            .columns(columns::nodes())
            .strategy(strategy::Node)
            .short(&["no"])
            .status()
            .special("proxy", PROXY, V1.kind("NodeProxyOptions"))
            .selectable(&["spec.unschedulable"]),
        V1.namespaced("PersistentVolumeClaim", "persistentvolumeclaims")
            .columns(columns::persistent_volume_claims())
            .strategy(strategy::PersistentVolumeClaim)
            .short(&["pvc"])
            .status(),
        V1.cluster("PersistentVolume", "persistentvolumes")
            .columns(columns::persistent_volumes())
            .strategy(strategy::PersistentVolume)
            .short(&["pv"])
            .status(),
        pod(),
        V1.namespaced("PodTemplate", "podtemplates").columns(columns::pod_templates()).strategy(strategy::PodTemplate),
        V1.namespaced("ReplicationController", "replicationcontrollers")
            .columns(columns::replication_controllers())
            .strategy(strategy::ReplicationController)
            .short(&["rc"])
            .category("all")
            .status()
            .scale()
            .selectable(&["status.replicas"]),
        V1.namespaced("ResourceQuota", "resourcequotas")
            .columns(columns::resource_quotas())
            .strategy(strategy::ResourceQuota)
            .short(&["quota"])
            .status(),
        V1.namespaced("Secret", "secrets").columns(columns::secrets()).strategy(strategy::Secret).selectable(&["type"]),
        V1.namespaced("ServiceAccount", "serviceaccounts")
            .columns(columns::service_accounts())
            .strategy(strategy::ServiceAccount)
            .short(&["sa"])
            .special("token", CREATE, GroupVersionKind::new("authentication.k8s.io", "v1", "TokenRequest")),
        V1.namespaced("Service", "services")
            .columns(columns::services())
            .strategy(strategy::Service)
            .short(&["svc"])
            .category("all")
            .status()
            .special("proxy", PROXY, V1.kind("ServiceProxyOptions"))
            .selectable(&["spec.clusterIP", "spec.type"]),
    ]
}

fn event() -> Resource {
    V1.namespaced("Event", "events")
        .columns(columns::core_events())
        .strategy(strategy::Event("involvedObject"))
        .short(&["ev"])
        .selectable(&[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ])
}

fn pod() -> Resource {
    V1.namespaced("Pod", "pods")
        .columns(columns::pods())
        .strategy(strategy::Pod)
        .short(&["po"])
        .category("all")
        .status()
        .special("attach", STREAM, V1.kind("PodAttachOptions"))
        .special("binding", CREATE, V1.kind("Binding"))
        .part("ephemeralcontainers")
        .special("eviction", CREATE, GroupVersionKind::new("policy", "v1", "Eviction"))
        .special("exec", STREAM, V1.kind("PodExecOptions"))
        .special("log", GET, V1.kind("Pod"))
        .special("portforward", STREAM, V1.kind("PodPortForwardOptions"))
        .special("proxy", PROXY, V1.kind("PodProxyOptions"))
        .part("resize")
        .selectable(&[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.podIPs",
            "status.nominatedNodeName",
        ])
}
