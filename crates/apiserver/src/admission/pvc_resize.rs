//! PersistentVolumeClaimResize: a claim grows only when its class allows it
//! (upstream: plugin/pkg/admission/storage/persistentvolume/resize/admission.go).

use apimachinery::json::Read;
use apimachinery::quantity::Quantity;
use apimachinery::{Object, StatusError};
use async_trait::async_trait;

use super::{Handles, Operation, Plugin, Request};

const BETA_CLASS: &str = "volume.beta.kubernetes.io/storage-class";

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub struct PersistentVolumeClaimResize;

#[async_trait]
impl Plugin for PersistentVolumeClaimResize {
    fn name(&self) -> &'static str {
        "PersistentVolumeClaimResize"
    }

    fn handles(&self) -> Handles {
        Handles::NOTHING.validates(Handles::UPDATES)
    }

    async fn validate(&self, request: &Request<'_>) -> Result<(), StatusError> {
        if request.operation != Operation::Update || !request.is_main("", "PersistentVolumeClaim") {
            return Ok(());
        }
        let (Some(claim), Some(old)) = (&request.object, &request.old) else { return Ok(()) };
        if size(claim) <= size(old) {
            return Ok(());
        }
        if old.object("status").text("phase") != "Bound" {
            return Err(request.forbidden("Only bound persistent volume claims can be expanded"));
        }
        if !allows_resize(request, claim, old).await? {
            return Err(request.forbidden(
                "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must \
                 support resize",
            ));
        }
        Ok(())
    }
}

fn size(claim: &Object) -> Quantity {
    let asked = claim.str_at(&["spec", "resources", "requests", "storage"]).unwrap_or("0");
    Quantity::parse(asked).unwrap_or_default()
}

/// The claim's class: by its old annotation before its field (upstream: `GetPersistentVolumeClaimClass`).
fn class_of(claim: &Object) -> &str {
    let annotated = claim.annotations().find(|(key, _)| *key == BETA_CLASS).map(|(_, class)| class);
    annotated.unwrap_or_else(|| claim.object("spec").text("storageClassName"))
}

async fn allows_resize(request: &Request<'_>, claim: &Object, old: &Object) -> Result<bool, StatusError> {
    let class = class_of(claim);
    if class.is_empty() || class != class_of(old) {
        return Ok(false);
    }
    let registry = request.cx.registry();
    let row = registry.row("storage.k8s.io", "v1", "storageclasses")?;
    let class = registry.find(&row, "", class).await?;
    Ok(class.is_some_and(|class| class.flag("allowVolumeExpansion")))
}
