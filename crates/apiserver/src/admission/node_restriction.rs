//! NodeRestriction: a kubelet writes its own node and what belongs to it, and nothing that would bring it more
//! (upstream: plugin/pkg/admission/noderestriction/admission.go).

use apimachinery::StatusError;
use apimachinery::json::Read;
use async_trait::async_trait;

use super::{Handles, Operation, Plugin, Request};

mod audience;
mod certificates;
mod labels;
mod pod_certificates;
mod pods;

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub struct NodeRestriction;

#[async_trait]
impl Plugin for NodeRestriction {
    fn name(&self) -> &'static str {
        "NodeRestriction"
    }

    fn handles(&self) -> Handles {
        Handles::NOTHING.admits(Handles::CHANGES)
    }

    // As upstream, before others have completed the object: a mirror pod has no service account of its own.
    async fn admit(&self, request: &mut Request<'_>) -> Result<(), StatusError> {
        let user = &request.cx.user;
        let Some(node) = user.username.strip_prefix("system:node:").filter(|_| user.is_in("system:nodes")) else {
            return Ok(());
        };
        let node = node.to_owned();
        if request.operation == Operation::Connect {
            return Ok(());
        }
        if node.is_empty() {
            return Err(request.forbidden(format!("could not determine node from user {:?}", user.username)));
        }
        match (request.row.gvk.group.as_str(), request.row.plural.as_str()) {
            ("", "pods") => pods::judge(request, &node).await,
            ("", "nodes") => judge_node(request, &node),
            ("", "persistentvolumeclaims") => judge_claim(request, &node),
            ("", "serviceaccounts") => judge_token(request, &node).await,
            ("certificates.k8s.io", "certificatesigningrequests") => certificates::judge(request),
            ("certificates.k8s.io", "podcertificaterequests") => pod_certificates::judge(request, &node).await,
            ("coordination.k8s.io", "leases") => judge_lease(request, &node),
            ("storage.k8s.io", "csinodes") if request.name != node => {
                Err(request.forbidden("can only access CSINode with the same name as the requesting node"))
            }
            ("resource.k8s.io", "resourceslices") => judge_slice(request, &node),
            _ => Ok(()),
        }
    }
}

fn judge_node(request: &Request<'_>, node: &str) -> Result<(), StatusError> {
    if request.name != node {
        return Err(request.forbidden(format!("node {node:?} is not allowed to modify node {:?}", request.name)));
    }
    let Some(object) = request.object.as_ref().filter(|_| request.writes()) else { return Ok(()) };
    if let Some(old) = &request.old {
        if object.object("spec").list("taints") != old.object("spec").list("taints") {
            return Err(request.forbidden(format!("node {node:?} is not allowed to modify taints")));
        }
        let forbidden = labels::forbidden(object, Some(old));
        if !forbidden.is_empty() {
            return Err(request.forbidden(format!("is not allowed to modify labels: {}", forbidden.join(", "))));
        }
        return Ok(());
    }
    let forbidden = labels::forbidden(object, None);
    if forbidden.is_empty() {
        return Ok(());
    }
    let labels = forbidden.join(", ");
    Err(request.forbidden(format!("node {node:?} is not allowed to set the following labels: {labels}")))
}

fn judge_claim(request: &Request<'_>, node: &str) -> Result<(), StatusError> {
    if request.subresource != "status" {
        return Err(request.forbidden("may only update PVC status"));
    }
    let (Some(object), Some(old)) = (&request.object, &request.old) else {
        return Err(request.forbidden(format!("unexpected operation {:?}", request.operation.name())));
    };
    let rest = |claim: &apimachinery::Object| {
        let mut claim = claim.clone();
        for field in ["resourceVersion", "managedFields"] {
            claim.metadata_mut().remove(field);
        }
        if let Some(status) = claim.0.get_mut("status").and_then(serde_json::Value::as_object_mut) {
            for field in ["capacity", "conditions", "allocatedResourceStatuses", "allocatedResources"] {
                status.remove(field);
            }
        }
        claim.0.retain(|name, value| name != "status" || value.as_object().is_some_and(|status| !status.is_empty()));
        claim
    };
    if rest(object) == rest(old) {
        return Ok(());
    }
    let cause = "is not allowed to update fields other than status.capacity and status.conditions";
    Err(request.forbidden(format!("node {node:?} {cause}")))
}

async fn judge_token(request: &Request<'_>, node: &str) -> Result<(), StatusError> {
    if request.operation != Operation::Create || request.subresource != "token" {
        return Ok(());
    }
    let token = request.object.as_ref().map(|token| token.object("spec").clone()).unwrap_or_default();
    let reference = token.object("boundObjectRef");
    let to_pod = reference.text("apiVersion") == "v1" && reference.text("kind") == "Pod";
    if !to_pod || reference.text("name").is_empty() {
        return Err(request.forbidden("node requested token not bound to a pod"));
    }
    let uid = reference.text("uid");
    if uid.is_empty() {
        return Err(request.forbidden("node requested token with a pod binding without a uid"));
    }
    let pod = pods::find(request, reference.text("name")).await?;
    if pod.uid() != uid {
        return Err(request.forbidden(format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have \
             been deleted and then recreated"
        )));
    }
    if pod.object("spec").text("nodeName") != node {
        return Err(request.forbidden("node requested token bound to a pod scheduled on a different node"));
    }
    audience::judge(request, &token, &pod).await
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

fn judge_slice(request: &Request<'_>, node: &str) -> Result<(), StatusError> {
    let verb = match request.operation {
        Operation::Create => "create",
        Operation::Delete => "delete",
        // The node of a slice is immutable.
        Operation::Update | Operation::Connect => return Ok(()),
    };
    let slice = request.object.as_ref().or(request.old.as_ref());
    if slice.is_some_and(|slice| slice.object("spec").text("nodeName") == node) {
        return Ok(());
    }
    Err(request.forbidden(format!("can only {verb} ResourceSlice with the same NodeName as the requesting node")))
}
