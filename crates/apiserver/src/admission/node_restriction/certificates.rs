//! Certificates: a kubelet asks for those of its own name (upstream: `admitCSR`).

use apimachinery::StatusError;
use apimachinery::json::Read;

use super::super::{Operation, Request, certificates};

/// The signers of kubelets' certificates.
const SIGNERS: [&str; 2] = ["kubernetes.io/kubelet-serving", "kubernetes.io/kube-apiserver-client-kubelet"];

/// Whether the request names nobody else.
pub(super) fn judge(request: &Request<'_>) -> Result<(), StatusError> {
    if request.operation != Operation::Create || !request.subresource.is_empty() {
        return Ok(());
    }
    let Some(object) = &request.object else { return Ok(()) };
    let spec = object.object("spec");
    if !SIGNERS.contains(&spec.text("signerName")) {
        return Ok(());
    }
    let name = certificates::common_name(spec.text("request"))
        .ok_or_else(|| request.forbidden("unable to parse csr: PEM block type must be CERTIFICATE REQUEST"))?;
    let user = &request.cx.user.username;
    if name == *user { Ok(()) } else { Err(request.forbidden(format!("can only create a node CSR with CN={user}"))) }
}
