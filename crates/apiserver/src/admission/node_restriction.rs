//! NodeRestriction: a kubelet writes its own node and the pods bound to it, and no others
//! (upstream: plugin/pkg/admission/noderestriction/admission.go).

use apimachinery::StatusError;
use async_trait::async_trait;

use super::{Operation, Plugin, Request};

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub struct NodeRestriction;

#[async_trait]
impl Plugin for NodeRestriction {
    fn name(&self) -> &'static str {
        "NodeRestriction"
    }

    async fn validate(&self, request: &Request<'_>) -> Result<(), StatusError> {
        let user = &request.cx.user;
        if !user.is_in("system:nodes") {
            return Ok(());
        }
        let Some(node) = user.username.strip_prefix("system:node:") else { return Ok(()) };
        match (request.row.gvk.group.as_str(), request.row.gvk.kind.as_str()) {
            ("", "Node") => judge_node(request, node),
            ("", "Pod") => judge_pod(request, node),
            ("coordination.k8s.io", "Lease") => judge_lease(request, node),
            _ => Ok(()),
        }
    }
}

fn judge_node(request: &Request<'_>, node: &str) -> Result<(), StatusError> {
    if request.name == node {
        return Ok(());
    }
    Err(request.forbidden(format!("node {node:?} is not allowed to modify node {:?}", request.name)))
}

fn judge_pod(request: &Request<'_>, node: &str) -> Result<(), StatusError> {
    let object = request.old.as_ref().or(request.object.as_ref());
    let bound_to = object.and_then(|pod| pod.str_at(&["spec", "nodeName"])).unwrap_or_default();
    match (request.operation, request.subresource) {
        (Operation::Create, "") => {
            let mirror =
                object.is_some_and(|pod| pod.annotations().any(|(key, _)| key == "kubernetes.io/config.mirror"));
            if !mirror {
                return Err(request.forbidden(format!("pod does not have \"kubernetes.io/config.mirror\" annotation, node {node:?} can only create mirror pods")));
            }
        }
        (Operation::Update, "status") | (Operation::Delete, "") => {}
        (Operation::Create, "eviction") => {}
        _ => {
            return Err(request.forbidden(format!(
                "unexpected operation {:?}, node {node:?} can only create and delete mirror pods",
                request.operation
            )));
        }
    }
    if bound_to == node {
        return Ok(());
    }
    Err(request.forbidden(format!("node {node:?} can only change pods with spec.nodeName set to itself")))
}

fn judge_lease(request: &Request<'_>, node: &str) -> Result<(), StatusError> {
    if request.namespace != "kube-node-lease" {
        return Err(request.forbidden("can only access leases in the \"kube-node-lease\" system namespace"));
    }
    if request.name != node {
        return Err(request.forbidden("can only access node lease with the same name as the requesting node"));
    }
    Ok(())
}
