//! StorageObjectInUseProtection: volumes and claims stay until nobody uses them
//! (upstream: plugin/pkg/admission/storage/storageobjectinuseprotection/admission.go).

use apimachinery::StatusError;
use async_trait::async_trait;
use serde_json::{Value, json};

use super::{Handles, Operation, Plugin, Request};

/// See the module. Controllers take the finalizers off again.
#[derive(Clone, Copy, Debug, Default)]
pub struct StorageObjectInUseProtection;

#[async_trait]
impl Plugin for StorageObjectInUseProtection {
    fn name(&self) -> &'static str {
        "StorageObjectInUseProtection"
    }

    fn handles(&self) -> Handles {
        Handles::NOTHING.admits(Handles::CREATES)
    }

    async fn admit(&self, request: &mut Request<'_>) -> Result<(), StatusError> {
        if request.operation != Operation::Create || !request.subresource.is_empty() {
            return Ok(());
        }
        let finalizer = match (request.row.gvk.group.as_str(), request.row.plural.as_str()) {
            ("", "persistentvolumes") => "kubernetes.io/pv-protection",
            ("", "persistentvolumeclaims") => "kubernetes.io/pvc-protection",
            ("storage.k8s.io", "volumeattributesclasses") => "kubernetes.io/vac-protection",
            _ => return Ok(()),
        };
        let Some(object) = request.object.as_mut() else { return Ok(()) };
        if object.finalizers().any(|present| present == finalizer) {
            return Ok(());
        }
        let finalizers = object.metadata_mut().entry("finalizers").or_insert_with(|| json!([]));
        match finalizers {
            Value::Array(list) => list.push(finalizer.into()),
            other => *other = json!([finalizer]),
        }
        Ok(())
    }
}
