//! Writes what type checking finds into the status of policies, once for each generation
//! (upstream: pkg/controller/validatingadmissionpolicystatus/controller.go).
//!
//! Upstream it is a controller of kube-controller-manager that downloads the schemas; here it is where they lie.

use std::sync::Arc;

use api::Resource;
use apimachinery::{Object, StatusError};
use serde_json::{Value, json};
use store::{Entry, Event, RangeRequest, Store};

use super::check;
use crate::registry::update::{Change, Part, change};
use crate::registry::{Cx, decode_entry, fields};
use crate::server::ApiServer;

/// Who writes (upstream: the controller's name).
const MANAGER: &str = "validatingadmissionpolicy-status-controller";

/// Begins to check policies, where the server knows the kind.
pub(crate) fn start(server: &Arc<ApiServer>) {
    let row = server.registry.row("admissionregistration.k8s.io", "v1", "validatingadmissionpolicies");
    let Ok(row) = row else { return };
    let controller = Controller { server: server.clone(), row };
    server.scope.spawn("apiserver/policy-type-checking", controller.run());
}

struct Controller {
    server: Arc<ApiServer>,
    row: Arc<Resource>,
}

impl Controller {
    /// Follows the policies until the store closes.
    async fn run(self) {
        loop {
            match self.follow().await {
                Ok(()) => return,
                // Cut off or overtaken by compaction: what is there now is read again.
                Err(store::Error::TooSlow | store::Error::Compacted { .. }) => {}
                Err(error) => return tracing::warn!(%error, "policies are no longer type checked"),
            }
        }
    }

    async fn follow(&self) -> Result<(), store::Error> {
        let store: Arc<dyn Store> = self.server.registry.store().clone();
        let prefix = self.row.key_prefix();
        let range = store.range(&RangeRequest { prefix: prefix.clone(), ..RangeRequest::default() }).await?;
        let mut watch = store.watch(&prefix, range.revision).await?;
        for entry in &range.entries {
            self.reconcile(entry).await;
        }
        loop {
            match watch.next().await {
                Some(Ok(Event::Put { entry, .. })) => self.reconcile(&entry).await,
                Some(Ok(Event::Delete { .. } | Event::Progress(_))) => {}
                Some(Err(error)) => return Err(error),
                None => return Ok(()),
            }
        }
    }

    /// Checks a policy whose generation nobody has checked.
    async fn reconcile(&self, entry: &Entry) {
        let policy = match decode_entry(entry) {
            Ok(policy) => policy,
            Err(error) => return tracing::error!(key = %entry.key, %error, "a stored policy cannot be read"),
        };
        let observed = policy.at(&["status", "observedGeneration"]).and_then(Value::as_i64).unwrap_or(0);
        let generation = policy.generation();
        if generation <= observed {
            return;
        }
        let name = policy.name().to_owned();
        let rows = self.server.registry.rows();
        let warnings = check(&Value::Object(policy.0), rows.all());
        match self.write(&name, generation, &warnings).await {
            Ok(()) => {}
            // A newer one, whose event comes, or none any more.
            Err(error) if matches!(error.reason, "Conflict" | "NotFound") => {}
            Err(error) => tracing::warn!(policy = name, %error, "the status of a policy was not written"),
        }
    }

    async fn write(&self, name: &str, generation: i64, warnings: &[Value]) -> Result<(), StatusError> {
        let cx = Cx::internal(&self.server, &self.row, "update", "", name).at_subresource("status");
        let transform = |current: &Object| {
            let mut next = current.clone();
            if current.generation() == generation {
                let mut status = current.0.get("status").cloned().unwrap_or_else(|| json!({}));
                status["observedGeneration"] = generation.into();
                status["typeChecking"] =
                    if warnings.is_empty() { json!({}) } else { json!({"expressionWarnings": warnings}) };
                next.0.insert("status".into(), status);
            }
            Ok(next)
        };
        let manager = fields::Manager::Update(MANAGER.into());
        let status = Change { part: Part::Status, manager, retry: true, transform: &transform };
        change(&cx, &status).await.map(|_| ())
    }
}
