//! NamespaceLifecycle: nothing is made in a namespace that is not there or is going, and some namespaces stay
//! (upstream: apiserver/pkg/admission/plugin/namespace/lifecycle/admission.go).

use apimachinery::StatusError;
use async_trait::async_trait;
use serde_json::json;

use super::{Handles, Operation, Plugin, Request};
use crate::registry::scan;

/// Namespaces that cannot be deleted.
const IMMORTAL: [&str; 3] = ["default", "kube-system", "kube-public"];

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub struct NamespaceLifecycle;

#[async_trait]
impl Plugin for NamespaceLifecycle {
    fn name(&self) -> &'static str {
        "NamespaceLifecycle"
    }

    fn handles(&self) -> Handles {
        Handles::NOTHING.admits(Handles::CHANGES).validates(Handles::DELETES)
    }

    async fn admit(&self, request: &mut Request<'_>) -> Result<(), StatusError> {
        check(request).await
    }

    async fn validate(&self, request: &Request<'_>) -> Result<(), StatusError> {
        if request.operation == Operation::Delete
            && request.is_main("", "Namespace")
            && IMMORTAL.contains(&request.name.as_str())
        {
            return Err(request.forbidden("this namespace may not be deleted"));
        }
        Ok(())
    }
}

async fn check(request: &Request<'_>) -> Result<(), StatusError> {
    let creates = request.operation == Operation::Create;
    let reviews = request.row.gvk.group == "authorization.k8s.io";
    if !creates || request.namespace.is_empty() || !request.row.is_namespaced() || reviews {
        return Ok(());
    }
    let registry = request.cx.registry();
    let namespaces = registry.row("", "v1", "namespaces")?;
    let namespace = registry.entry(&namespaces, "", request.namespace).await?;
    let phase = scan::at(&namespace.finished.value, &["status", "phase"]).and_then(scan::text);
    if phase.as_deref() != Some("Terminating") {
        return Ok(());
    }
    let name = request.namespace;
    let mut error =
        request.forbidden(format!("unable to create new content in namespace {name} because it is being terminated"));
    let cause = json!({
        "reason": "NamespaceTerminating", "message": format!("namespace {name} is being terminated"), "field": "metadata.namespace",
    });
    error = error.with_causes(vec![cause]);
    Err(error)
}
