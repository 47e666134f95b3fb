//! Tokens for whom: a kubelet gets tokens for the audiences that the pod's volumes name, and for those it is allowed to
//! ask for (KEP-4412; upstream: `validateNodeServiceAccountAudience`).

use api::Resource;
use apimachinery::json::Read;
use apimachinery::{Object, StatusError};
use serde_json::{Map, Value};
use std::sync::Arc;

use super::super::Request;
use crate::authorizer::{Attributes, Decision, Verdict};

/// Whether the token that is asked for may be for whom it is asked for.
pub(super) async fn judge(request: &Request<'_>, token: &Map<String, Value>, pod: &Object) -> Result<(), StatusError> {
    let mut audiences = token.texts("audiences");
    let wanted = audiences.next().unwrap_or_default();
    if audiences.next().is_some() {
        return Err(request.forbidden("node may only request 0 or 1 audiences"));
    }
    if names(request, pod, wanted).await? {
        return Ok(());
    }
    let attributes = Attributes {
        verb: "request-serviceaccounts-token-audience",
        version: "*",
        resource: wanted,
        namespace: request.namespace,
        name: &request.cx.info.name,
        ..Attributes::on_resource(&request.cx.user)
    };
    let Verdict { decision, .. } = request.cx.server.authorizer.judge(&attributes).await;
    if decision == Decision::Allow {
        return Ok(());
    }
    let user = &request.cx.user.username;
    Err(request.forbidden(format!(
        "audience {wanted:?} not found in pod spec volume, {user} is not authorized to request tokens for this audience"
    )))
}

/// Whether a volume of the pod wants tokens for this audience.
async fn names(request: &Request<'_>, pod: &Object, wanted: &str) -> Result<bool, StatusError> {
    for volume in pod.object("spec").list("volumes") {
        let projected = volume.object("projected").list("sources").iter();
        let mut tokens = projected.filter_map(|source| source.value("serviceAccountToken"));
        if tokens.any(|token| token.text("audience") == wanted) {
            return Ok(true);
        }
        let driver = match (volume.value("csi"), volume.value("persistentVolumeClaim"), volume.has("ephemeral")) {
            (Some(csi), ..) => csi.text("driver").to_owned(),
            (None, Some(claim), _) => driver_of_claim(request, claim.text("claimName")).await?,
            (None, None, true) => driver_of_claim(request, &format!("{}-{}", pod.name(), volume.text("name"))).await?,
            (None, None, false) => continue,
        };
        if !driver.is_empty() && driver_wants(request, &driver, wanted).await? {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn find(
    request: &Request<'_>,
    kind: (&str, &str),
    namespace: &str,
    name: &str,
) -> Result<Option<Object>, StatusError> {
    let registry = request.cx.registry();
    let row: Arc<Resource> = registry.row(kind.0, "v1", kind.1)?;
    registry.find(&row, namespace, name).await
}

/// The driver behind a claim; empty where there is none.
async fn driver_of_claim(request: &Request<'_>, name: &str) -> Result<String, StatusError> {
    let claim = find(request, ("", "persistentvolumeclaims"), request.namespace, name).await?;
    let volume = claim.map(|claim| claim.object("spec").text("volumeName").to_owned()).unwrap_or_default();
    if volume.is_empty() {
        return Ok(String::new());
    }
    let volume = find(request, ("", "persistentvolumes"), "", &volume).await?;
    Ok(volume.map(|volume| volume.object("spec").object("csi").text("driver").to_owned()).unwrap_or_default())
}

async fn driver_wants(request: &Request<'_>, driver: &str, wanted: &str) -> Result<bool, StatusError> {
    let driver = find(request, ("storage.k8s.io", "csidrivers"), "", driver).await?;
    let asks = |driver: Object| {
        driver.object("spec").list("tokenRequests").iter().any(|token| token.text("audience") == wanted)
    };
    Ok(driver.is_some_and(asks))
}
