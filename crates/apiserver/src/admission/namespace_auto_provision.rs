//! NamespaceAutoProvision: a namespace that is not there is made with the first object in it
//! (upstream: plugin/pkg/admission/namespace/autoprovision/admission.go). Off by default.

use apimachinery::{Object, StatusError};
use async_trait::async_trait;
use serde_json::json;

use super::{Handles, Operation, Plugin, Request};
use crate::registry::{Cx, create};

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub struct NamespaceAutoProvision;

#[async_trait]
impl Plugin for NamespaceAutoProvision {
    fn name(&self) -> &'static str {
        "NamespaceAutoProvision"
    }

    fn handles(&self) -> Handles {
        Handles::NOTHING.admits(Handles::CREATES)
    }

    async fn admit(&self, request: &mut Request<'_>) -> Result<(), StatusError> {
        let row_is_namespaced = request.row.is_namespaced() && !request.namespace.is_empty();
        if request.operation != Operation::Create || !row_is_namespaced || request.dry_run {
            return Ok(());
        }
        let registry = request.cx.registry();
        let namespaces = registry.row("", "v1", "namespaces")?;
        if registry.find_entry(&namespaces, "", request.namespace).await?.is_some() {
            return Ok(());
        }
        let namespace = json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": request.namespace}, "spec": {},
        });
        let cx = Cx::internal(&request.cx.server, &namespaces, "create", "", request.namespace);
        // The namespace's own admission is this function's; its future must be boxed.
        let made = Box::pin(create::create_object(&cx, Object::from_value(namespace).unwrap_or_default()));
        match made.await {
            Err(error) if error.reason != "AlreadyExists" => Err(request.forbidden(error.message)),
            _ => Ok(()),
        }
    }
}
