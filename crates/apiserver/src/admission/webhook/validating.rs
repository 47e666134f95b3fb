//! ValidatingAdmissionWebhook: all matching webhooks at once; one refusal is enough
//! (upstream: webhook/validating/dispatcher.go).

use std::sync::Arc;

use apimachinery::StatusError;
use async_trait::async_trait;
use futures::future::join_all;
use store::Store;
use tokio::time::Instant;

use super::call::call;
use super::hooks::{Hook, Hooks};
use super::matched::matched;
use super::view::View;
use super::{Asked, is_exempt};
use crate::admission::{Handles, Plugin, Request};
use crate::authorization::follow::Follower;

/// See the module.
#[derive(Debug)]
pub struct ValidatingAdmissionWebhook {
    hooks: Follower<Hooks>,
}

impl ValidatingAdmissionWebhook {
    /// Follows the configurations of `store`.
    pub fn new(store: &Arc<dyn Store>) -> Self {
        let prefix = "/registry/admissionregistration.k8s.io/validatingwebhookconfigurations/";
        Self { hooks: Follower::new(store.clone(), prefix) }
    }
}

#[async_trait]
impl Plugin for ValidatingAdmissionWebhook {
    fn name(&self) -> &'static str {
        "ValidatingAdmissionWebhook"
    }

    fn handles(&self) -> Handles {
        Handles::NOTHING.validates(Handles::ALL)
    }

    async fn validate(&self, request: &Request<'_>) -> Result<(), StatusError> {
        let hooks = self.hooks.read(Hooks::all);
        if hooks.is_empty() || is_exempt(request) {
            return Ok(());
        }
        let mut relevant = Vec::new();
        for hook in hooks.iter() {
            if let Some(view) = matched(hook, request).await? {
                relevant.push((hook, view));
            }
        }
        let calls = relevant.iter().enumerate().map(|(index, (hook, view))| judge(index, hook, request, view));
        join_all(calls).await.into_iter().collect()
    }
}

/// Asks one webhook; one that cannot be asked counts by its policy.
async fn judge(index: usize, hook: &Hook, request: &Request<'_>, view: &View) -> Result<(), StatusError> {
    let began = Instant::now();
    let outcome = call(hook, request, view, false).await;
    let failed_open = format!("failed-open.validating.webhook.admission.k8s.io/round_0_index_{index}");
    Asked { hook, kind: "validating", failed_open }.settle(request, began.elapsed(), outcome)
}
