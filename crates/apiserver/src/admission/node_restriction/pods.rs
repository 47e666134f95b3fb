//! Pods of a kubelet: mirrors of its static pods, and the status of those bound to it
//! (upstream: `admitPod`, `admitPodStatus`, `admitPodEviction`).

use apimachinery::json::Read;
use apimachinery::{Object, StatusError};
use serde_json::{Map, Value};

use super::super::{Operation, Request};

pub(super) const MIRROR: &str = "kubernetes.io/config.mirror";

/// A pod of the request's namespace.
pub(super) async fn find(request: &Request<'_>, name: &str) -> Result<Object, StatusError> {
    let registry = request.cx.registry();
    let row = registry.row("", "v1", "pods")?;
    registry.find(&row, request.namespace, name).await?.ok_or_else(|| row.not_found(name))
}

fn node_of(pod: &Object) -> &str {
    pod.object("spec").text("nodeName")
}

pub(super) async fn judge(request: &Request<'_>, node: &str) -> Result<(), StatusError> {
    let operation = request.operation.name();
    match (request.subresource, request.operation) {
        ("", Operation::Create) => judge_mirror(request, node).await,
        ("", Operation::Delete) => {
            let theirs = request.old.as_ref().is_some_and(|pod| node_of(pod) != node);
            let cause = || format!("node {node:?} can only delete pods with spec.nodeName set to itself");
            if theirs { Err(request.forbidden(cause())) } else { Ok(()) }
        }
        ("", _) => Err(request.forbidden(format!(
            "unexpected operation {operation:?}, node {node:?} can only create and delete mirror pods"
        ))),
        ("status", Operation::Update) => judge_status(request, node).map_err(|cause| request.forbidden(cause)),
        ("eviction", Operation::Create) => {
            let name = if request.name.is_empty() { &request.cx.info.name } else { &request.name };
            if node_of(&find(request, name).await?) == node {
                return Ok(());
            }
            Err(request.forbidden(format!("node {node} can only evict pods with spec.nodeName set to itself")))
        }
        ("status" | "eviction", _) => Err(request.forbidden(format!("unexpected operation {operation:?}"))),
        (subresource, _) => Err(request.forbidden(format!(
            "unexpected pod subresource {subresource:?}, only 'status' and 'eviction' are allowed"
        ))),
    }
}

fn judge_status(request: &Request<'_>, node: &str) -> Result<(), String> {
    let (Some(pod), Some(old)) = (&request.object, &request.old) else { return Ok(()) };
    if node_of(old) != node {
        return Err(format!("node {node:?} can only update pod status for pods with spec.nodeName set to itself"));
    }
    if !pod.labels().eq(old.labels()) {
        return Err(format!("node {node:?} cannot update labels through pod status"));
    }
    let claims = |pod: &Object| pod.object("status").list("resourceClaimStatuses").to_vec();
    if claims(pod) != claims(old) {
        return Err(format!("node {node:?} cannot update resource claim statues"));
    }
    Ok(())
}

async fn judge_mirror(request: &Request<'_>, node: &str) -> Result<(), StatusError> {
    let Some(pod) = &request.object else { return Ok(()) };
    judge_new(pod, node).map_err(|cause| request.forbidden(cause))?;
    let registry = request.cx.registry();
    let nodes = registry.row("", "v1", "nodes")?;
    let own = registry.find(&nodes, "", node).await?.ok_or_else(|| nodes.not_found(node))?;
    let owner = pod.owner_references().next().unwrap_or_default();
    if owner.uid == own.uid() {
        return Ok(());
    }
    Err(request.forbidden(format!("node {node} UID mismatch: expected {} got {}", owner.uid, own.uid())))
}

/// What a mirror pod must be, but for its owner's uid.
fn judge_new(pod: &Object, node: &str) -> Result<(), String> {
    if !pod.annotations().any(|(key, _)| key == MIRROR) {
        return Err(format!("pod does not have {MIRROR:?} annotation, node {node:?} can only create mirror pods"));
    }
    if node_of(pod) != node {
        return Err(format!("node {node:?} can only create pods with spec.nodeName set to itself"));
    }
    let owners: Vec<_> = pod.owner_references().collect();
    let [owner] = owners.as_slice() else {
        let what = if owners.is_empty() { "an owner reference" } else { "a single owner reference" };
        return Err(format!("node {node:?} can only create pods with {what} set to itself"));
    };
    if owner.api_version != "v1" || owner.kind != "Node" || owner.name != node {
        return Err(format!("node {node:?} can only create pods with an owner reference set to itself"));
    }
    if !owner.is_controller() {
        return Err(format!("node {node:?} can only create pods with a controller owner reference set to itself"));
    }
    if owner.block_owner_deletion == Some(true) {
        return Err(format!("node {node:?} must not set blockOwnerDeletion on an owner reference"));
    }
    match referenced(pod.object("spec")) {
        Some(what) => Err(format!("node {node:?} can not create pods that reference {what}")),
        None => Ok(()),
    }
}

/// Another object of the API that a spec names: a node would get to read it.
fn referenced(spec: &Map<String, Value>) -> Option<&'static str> {
    let volumes = spec.list("volumes");
    let sources = || volumes.iter().flat_map(|volume| volume.object("projected").list("sources"));
    let containers = || ["initContainers", "containers", "ephemeralContainers"].iter().flat_map(|list| spec.list(list));
    let in_env = |whole: &str, key: &str| {
        containers().any(|container| {
            container.list("envFrom").iter().any(|source| source.has(whole))
                || container.list("env").iter().any(|variable| variable.object("valueFrom").has(key))
        })
    };
    let in_volume = |names: &[&str]| volumes.iter().any(|volume| names.iter().any(|name| volume.has(name)));
    let secret_of_driver = || {
        volumes.iter().flat_map(|volume| volume.fields().values()).any(|source| {
            ["secretRef", "nodePublishSecretRef"].iter().any(|name| source.has(name)) || source.has("secretName")
        })
    };
    let projects = |name: &str| sources().any(|source| source.has(name));
    if !spec.text("serviceAccountName").is_empty() {
        return Some("a service account");
    }
    let pulls = !spec.list("imagePullSecrets").is_empty();
    if pulls
        || in_env("secretRef", "secretKeyRef")
        || in_volume(&["secret"])
        || projects("secret")
        || secret_of_driver()
    {
        return Some("secrets");
    }
    if in_env("configMapRef", "configMapKeyRef") || in_volume(&["configMap"]) || projects("configMap") {
        return Some("configmaps");
    }
    if projects("clusterTrustBundle") {
        return Some("clustertrustbundles");
    }
    if in_volume(&["persistentVolumeClaim"]) {
        return Some("persistentvolumeclaims");
    }
    (!spec.list("resourceClaims").is_empty()).then_some("resourceclaims")
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use serde_json::json;

    fn check(change: impl FnOnce(&mut Value), expected: Expect) {
        let mut pod = json!({
            "metadata": {
                "annotations": {MIRROR: "x"},
                "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "u", "controller": true}],
            },
            "spec": {"nodeName": "n", "containers": [{"name": "c"}]},
        });
        change(&mut pod);
        let pod = Object::from_value(pod).expect("an object");
        expected.assert_eq(&judge_new(&pod, "n").err().unwrap_or_default());
    }

    #[test]
    fn a_mirror_pod_belongs_to_its_node_and_reads_nothing() {
        check(|_| {}, expect![""]);
        check(
            |pod| pod["metadata"]["annotations"] = json!({}),
            expect![[
                r#"pod does not have "kubernetes.io/config.mirror" annotation, node "n" can only create mirror pods"#
            ]],
        );
        check(
            |pod| pod["spec"]["nodeName"] = "m".into(),
            expect![[r#"node "n" can only create pods with spec.nodeName set to itself"#]],
        );
        check(
            |pod| pod["metadata"]["ownerReferences"] = json!([]),
            expect![[r#"node "n" can only create pods with an owner reference set to itself"#]],
        );
        check(
            |pod| pod["metadata"]["ownerReferences"][0]["controller"] = false.into(),
            expect![[r#"node "n" can only create pods with a controller owner reference set to itself"#]],
        );
        check(
            |pod| pod["spec"]["serviceAccountName"] = "a".into(),
            expect![[r#"node "n" can not create pods that reference a service account"#]],
        );
        check(
            |pod| pod["spec"]["containers"][0]["envFrom"] = json!([{"secretRef": {"name": "s"}}]),
            expect![[r#"node "n" can not create pods that reference secrets"#]],
        );
        check(
            |pod| pod["spec"]["volumes"] = json!([{"configMap": {"name": "s"}}]),
            expect![[r#"node "n" can not create pods that reference configmaps"#]],
        );
        check(
            |pod| pod["spec"]["volumes"] = json!([{"persistentVolumeClaim": {}}]),
            expect![[r#"node "n" can not create pods that reference persistentvolumeclaims"#]],
        );
    }
}
