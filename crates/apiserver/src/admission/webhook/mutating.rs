//! MutatingAdmissionWebhook: one webhook after another, each with the object as the one before left it; those that
//! ask for it once more when others changed the object after them (upstream: webhook/mutating/dispatcher.go).

use std::collections::BTreeSet;
use std::sync::Arc;

use apimachinery::patch::json::JsonPatch;
use apimachinery::schema;
use apimachinery::{Object, StatusError};
use async_trait::async_trait;
use serde_json::{Value, json};
use store::Store;
use tokio::time::Instant;

use super::call::{UNAVAILABLE, call};
use super::hooks::{Hook, Hooks};
use super::matched::matched;
use super::review::Answer;
use super::view::View;
use super::{Asked, CallError, is_exempt};
use crate::admission::{Handles, Plugin, Request};
use crate::authorization::follow::Follower;

const NAME: &str = "MutatingAdmissionWebhook";

/// See the module.
#[derive(Debug)]
pub struct MutatingAdmissionWebhook {
    hooks: Follower<Hooks>,
}

/// What is remembered between the rounds (upstream: `webhookReinvokeContext`).
#[derive(Default)]
struct Memory {
    /// The object when the last webhook had been called.
    last: Option<Object>,
    /// Webhooks that were called and want to be called again.
    called: BTreeSet<String>,
    /// Webhooks to be called again.
    again: BTreeSet<String>,
}

impl MutatingAdmissionWebhook {
    /// Follows the configurations of `store`.
    pub fn new(store: &Arc<dyn Store>) -> Self {
        let prefix = "/registry/admissionregistration.k8s.io/mutatingwebhookconfigurations/";
        Self { hooks: Follower::new(store.clone(), prefix) }
    }

    async fn dispatch(&self, hooks: &[Arc<Hook>], request: &mut Request<'_>) -> Result<(), StatusError> {
        let again = request.reinvocation.is_again();
        for (index, hook) in hooks.iter().enumerate() {
            let Some(view) = matched(hook, request).await? else { continue };
            if again && !request.reinvocation.memory::<Memory>(NAME).again.contains(&hook.uid) {
                continue;
            }
            let round = format!("round_{}_index_{index}", u8::from(again));
            let began = Instant::now();
            let changed = invoke(hook, request, &view, &round).await;
            let took = began.elapsed();
            let mutated = matches!(changed, Ok(true));
            let note = json!({"configuration": hook.configuration, "webhook": hook.name, "mutated": mutated});
            request.annotate(&format!("mutation.webhook.admission.k8s.io/{round}"), &note.to_string());
            if mutated {
                request.reinvocation.ask();
                let memory = request.reinvocation.memory::<Memory>(NAME);
                memory.again.append(&mut memory.called);
            }
            if hook.reinvoked {
                request.reinvocation.memory::<Memory>(NAME).called.insert(hook.uid.clone());
            }
            let failed_open = format!("failed-open.mutation.webhook.admission.k8s.io/{round}");
            Asked { hook, kind: "admit", failed_open }.settle(request, took, changed)?;
        }
        Ok(())
    }
}

#[async_trait]
impl Plugin for MutatingAdmissionWebhook {
    fn name(&self) -> &'static str {
        NAME
    }

    fn handles(&self) -> Handles {
        Handles::NOTHING.admits(Handles::ALL)
    }

    async fn admit(&self, request: &mut Request<'_>) -> Result<(), StatusError> {
        let hooks = self.hooks.read(Hooks::all);
        if hooks.is_empty() || is_exempt(request) {
            return Ok(());
        }
        if request.reinvocation.is_again() {
            let object = request.object.clone();
            let memory = request.reinvocation.memory::<Memory>(NAME);
            if memory.last != object {
                // Plugins in the server have changed it meanwhile.
                memory.again.append(&mut memory.called);
            }
        }
        let result = self.dispatch(&hooks, request).await;
        let object = request.object.clone();
        request.reinvocation.memory::<Memory>(NAME).last = object;
        result
    }
}

/// Calls a webhook and applies its patch; whether the object is another one now.
async fn invoke(hook: &Hook, request: &mut Request<'_>, view: &View, round: &str) -> Result<bool, CallError> {
    let answer = call(hook, request, view, true).await?;
    let Some((patch, patched)) = apply(hook, request.row, view, &answer)? else { return Ok(false) };
    // What the patch holds is for those who may read requests.
    if request.is_audited_in_full() {
        let (configuration, webhook) = (&hook.configuration, &hook.name);
        let note =
            json!({"configuration": configuration, "webhook": webhook, "patch": patch, "patchType": "JSONPatch"});
        request.annotate(&format!("patch.webhook.admission.k8s.io/{round}"), &note.to_string());
    }
    let mut object = view.take_back(request, patched).await.map_err(CallError::Internal)?;
    if request.subresource.is_empty() {
        request.row.strategy.default(&mut object);
    }
    let changed = request.object.as_ref() != Some(&object);
    request.object = Some(object);
    Ok(changed)
}

/// The patch of an answer, and the object that it makes.
fn apply(hook: &Hook, row: &api::Resource, view: &View, answer: &Answer) -> Result<Option<(Value, Object)>, CallError> {
    if answer.patch.is_empty() {
        return Ok(None);
    }
    let internal = |error: &dyn std::fmt::Display| CallError::Internal(StatusError::internal(error));
    let undecodable = |error: &dyn std::fmt::Display| {
        CallError::failed(&hook.name, UNAVAILABLE, format!("received undecodable patch in webhook response: {error}"))
    };
    let patch: Value = serde_json::from_slice(&answer.patch).map_err(|error| undecodable(&error))?;
    if patch.as_array().is_some_and(Vec::is_empty) {
        return Ok(None);
    }
    let operations = JsonPatch::parse(patch.clone()).map_err(|error| undecodable(&error))?;
    let Some(object) = &view.object else {
        let name = &hook.name;
        let text = format!(
            "admission webhook {name:?} attempted to modify the object, which is not supported for this operation"
        );
        return Err(internal(&text));
    };
    if answer.patch_type != "JSONPatch" {
        let text = format!("unsupported patch type {:?}", answer.patch_type);
        return Err(CallError::failed(&hook.name, UNAVAILABLE, text));
    }
    let mut value = Value::Object(object.0.clone());
    operations.apply(&mut value).map_err(|error| internal(&error))?;
    let mut patched = Object::from_value(value).ok_or_else(|| internal(&"the patched object is no JSON object"))?;
    // As a body: what the kind does not know goes, and what has the wrong type is an error.
    if let Some((set, root)) = row.schema_of(&view.kind) {
        schema::decode(set, root, &mut patched)
            .map_err(|error| internal(&error.message(&view.kind.version, &view.kind.kind)))?;
    }
    Ok(Some((patch, patched)))
}
