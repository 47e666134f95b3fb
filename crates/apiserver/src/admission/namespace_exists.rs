//! NamespaceExists: nothing is written in a namespace that is not there
//! (upstream: plugin/pkg/admission/namespace/exists/admission.go). Off by default.

use apimachinery::StatusError;
use async_trait::async_trait;

use super::{Handles, Operation, Plugin, Request};

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub struct NamespaceExists;

#[async_trait]
impl Plugin for NamespaceExists {
    fn name(&self) -> &'static str {
        "NamespaceExists"
    }

    fn handles(&self) -> Handles {
        Handles::NOTHING.validates(Handles::CHANGES)
    }

    async fn validate(&self, request: &Request<'_>) -> Result<(), StatusError> {
        let judged = request.operation != Operation::Connect && request.row.is_namespaced();
        if !judged || request.namespace.is_empty() {
            return Ok(());
        }
        let registry = request.cx.registry();
        let namespaces = registry.row("", "v1", "namespaces")?;
        match registry.find_entry(&namespaces, "", request.namespace).await? {
            Some(_) => Ok(()),
            None => Err(namespaces.not_found(request.namespace)),
        }
    }
}
