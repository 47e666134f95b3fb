//! Certificates for pods: a kubelet asks for those of pods that run on it, as they are now
//! (upstream: `admitPodCertificateRequest`).

use apimachinery::json::Read;
use apimachinery::{Object, StatusError};

use super::super::{Operation, Request};
use super::pods::MIRROR;
use crate::authorizer::{Attributes, Decision};

/// Whether the request names a pod of this node, its service account, and a signer that a volume of it wants.
pub(super) async fn judge(request: &Request<'_>, node: &str) -> Result<(), StatusError> {
    if request.operation != Operation::Create {
        return Err(request.forbidden(format!("unexpected operation {}", request.operation.name())));
    }
    if !request.subresource.is_empty() {
        return Err(request.forbidden(format!("unexpected subresource {}", request.subresource)));
    }
    let Some(object) = &request.object else { return Ok(()) };
    let asked = object.object("spec");
    let asked_node = asked.text("nodeName");
    if asked_node != node {
        let cause = format!("which is not the requesting node {node:?}");
        return Err(request.forbidden(format!("PodCertificateRequest.Spec.NodeName={asked_node:?}, {cause}")));
    }
    let of_pod = format!("\"{}/{}\"", request.namespace, asked.text("podName"));
    // What was made anew meanwhile may look like itself at the next try: no refusal, but an error.
    let stale = |what: &str| StatusError::internal(format!("PodCertificateRequest for pod {of_pod} {what}"));
    let uid = find(request, "nodes", "", node).await?.uid().to_owned();
    if uid != asked.text("nodeUID") {
        let asked = asked.text("nodeUID");
        return Err(stale(&format!("names node UID {asked:?}, inconsistent with the running node ({uid:?})")));
    }
    let pod = find(request, "pods", request.namespace, asked.text("podName")).await?;
    if pod.uid() != asked.text("podUID") {
        let asked = asked.text("podUID");
        return Err(stale(&format!("contains pod UID ({asked:?}) which differs from running pod {:?}", pod.uid())));
    }
    let spec = pod.object("spec");
    if spec.text("nodeName") != node {
        let cause = format!("pod {of_pod} is not running on node {node:?} named in the PodCertificateRequest");
        return Err(request.forbidden(cause));
    }
    if pod.annotations().any(|(key, _)| key == MIRROR) {
        return Err(request.forbidden(format!("pod {of_pod} is a mirror pod")));
    }
    let (account, own) = (asked.text("serviceAccountName"), spec.text("serviceAccountName"));
    if account != own {
        return Err(request.forbidden(format!(
            "PodCertificateRequest for pod {of_pod} contains serviceAccountName ({account:?}) that differs from \
             running pod ({own:?})"
        )));
    }
    let uid = find(request, "serviceaccounts", request.namespace, account).await?.uid().to_owned();
    if uid != asked.text("serviceAccountUID") {
        let asked = asked.text("serviceAccountUID");
        return Err(stale(&format!(
            "names service account UID {asked:?}, which differs from the running service account ({uid:?})"
        )));
    }
    judge_signer(request, &pod, asked.text("signerName"), account).await
}

/// A volume of the pod wants certificates of the signer, or the node is allowed to ask for them
/// (upstream: `validateNodePodCertificateSigner`).
async fn judge_signer(request: &Request<'_>, pod: &Object, signer: &str, account: &str) -> Result<(), StatusError> {
    let mut sources =
        pod.object("spec").list("volumes").iter().flat_map(|volume| volume.object("projected").list("sources"));
    if sources.any(|source| source.object("podCertificate").text("signerName") == signer) {
        return Ok(());
    }
    let user = &request.cx.user;
    let attributes = Attributes {
        verb: "request-serviceaccounts-podcertificate-signer",
        group: "certificates.k8s.io",
        version: "*",
        resource: &signer.replace('/', ":"),
        namespace: request.namespace,
        name: account,
        ..Attributes::on_resource(user)
    };
    if request.cx.server.authorizer.judge(&attributes).await.decision == Decision::Allow {
        return Ok(());
    }
    let user = &user.username;
    Err(request.forbidden(format!(
        "signer {signer:?} not found in pod spec volume, {user} is not authorized to request pod certificates of this \
         signer"
    )))
}

async fn find(request: &Request<'_>, plural: &str, namespace: &str, name: &str) -> Result<Object, StatusError> {
    let registry = request.cx.registry();
    let row = registry.row("", "v1", plural)?;
    registry.find(&row, namespace, name).await?.ok_or_else(|| row.not_found(name))
}
