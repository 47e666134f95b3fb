//! OwnerReferencesPermissionEnforcement: only who may delete an object says who owns it, and only who may set
//! finalizers of the owner makes the owner wait (upstream: plugin/pkg/admission/gc/gc_admission.go). Off by default.

use apimachinery::meta::OwnerReference;
use apimachinery::{Object, StatusError};
use async_trait::async_trait;

use super::{Handles, Operation, Plugin, Request};
use crate::authorizer::{Attributes, Decision, Verdict};

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub struct OwnerReferencesPermissionEnforcement;

#[async_trait]
impl Plugin for OwnerReferencesPermissionEnforcement {
    fn name(&self) -> &'static str {
        "OwnerReferencesPermissionEnforcement"
    }

    fn handles(&self) -> Handles {
        Handles::NOTHING.validates(Handles::WRITES)
    }

    async fn validate(&self, request: &Request<'_>) -> Result<(), StatusError> {
        let Some(object) = request.object.as_ref().filter(|_| request.writes()) else { return Ok(()) };
        let exempt = request.is_resource("", "pods") && request.subresource == "status";
        let (new, old) = (owners(Some(object)), owners(request.old.as_ref()));
        if exempt || new == old {
            return Ok(());
        }
        // Who creates an object may delete it: nothing depends on it yet.
        if request.operation != Operation::Create {
            may_delete(request).await?;
        }
        for owner in new.iter().filter(|owner| blocks(owner) && !was_blocking(owner, &old)) {
            may_set_finalizers(request, owner).await?;
        }
        Ok(())
    }
}

fn owners(object: Option<&Object>) -> Vec<OwnerReference> {
    object.map(|object| object.owner_references().collect()).unwrap_or_default()
}

fn blocks(owner: &OwnerReference) -> bool {
    owner.block_owner_deletion == Some(true)
}

fn was_blocking(owner: &OwnerReference, old: &[OwnerReference]) -> bool {
    old.iter().any(|one| one.uid == owner.uid && blocks(one))
}

async fn judge(request: &Request<'_>, attributes: &Attributes<'_>, what: &str) -> Result<(), StatusError> {
    let Verdict { decision, reason } = request.cx.server.authorizer.judge(attributes).await;
    if decision == Decision::Allow {
        return Ok(());
    }
    Err(request.forbidden(format!("{what}: {reason}, <nil>")))
}

async fn may_delete(request: &Request<'_>) -> Result<(), StatusError> {
    let attributes = Attributes {
        verb: "delete",
        group: &request.row.gvk.group,
        version: &request.row.gvk.version,
        resource: &request.row.plural,
        subresource: request.subresource,
        namespace: request.namespace,
        name: &request.name,
        ..Attributes::on_resource(&request.cx.user)
    };
    judge(request, &attributes, "cannot set an ownerRef on a resource you can't delete").await
}

async fn may_set_finalizers(request: &Request<'_>, owner: &OwnerReference) -> Result<(), StatusError> {
    let (rows, gvk) = (request.cx.registry().rows(), owner.gvk());
    let Some(row) = rows.all().iter().find(|row| row.gvk == gvk) else {
        let (version, kind) = (gvk.api_version(), &gvk.kind);
        let cause = format!("no matches for kind {kind:?} in version {version:?}");
        return Err(request.forbidden(format!(
            "cannot set blockOwnerDeletion in this case because cannot find RESTMapping for APIVersion {version} Kind {kind}: {cause}"
        )));
    };
    let attributes = Attributes {
        verb: "update",
        group: &row.gvk.group,
        version: &row.gvk.version,
        resource: &row.plural,
        subresource: "finalizers",
        // A reference that crosses namespaces is invalid; what it may do there is judged here.
        namespace: if row.is_namespaced() { request.namespace } else { "" },
        name: &owner.name,
        ..Attributes::on_resource(&request.cx.user)
    };
    let what = "cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers on";
    judge(request, &attributes, what).await
}
