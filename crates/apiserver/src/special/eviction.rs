//! eviction: a delete that respects disruption budgets (upstream: pkg/registry/core/pod/storage/eviction.go).

use std::sync::Arc;

use api::Resource;
use apimachinery::labels::Selector;
use apimachinery::{GroupVersionKind, Object, StatusError};
use async_trait::async_trait;
use http::{Response, StatusCode};
use serde_json::{Map, Value, json};
use store::RangeRequest;

use crate::body::{self, Body};
use crate::handler::{Call, Handler};
use crate::registry::options::DeleteOptions;
use crate::registry::update::{Change, Part, change};
use crate::registry::write::Draft;
use crate::registry::{Cx, answer, decode, decode_entry, delete, fields};
use crate::status;

/// A budget with more names of disrupted pods than this takes no more (upstream: `MaxDisruptedPodSize`).
const MAX_DISRUPTED_PODS: usize = 2000;

/// How often a pod that no budget guards is looked at again when it changed before it was deleted (upstream:
/// `EvictionsRetry`).
const ATTEMPTS: usize = 20;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct Eviction;

#[async_trait]
impl Handler for Eviction {
    async fn handle(&self, call: Call) -> Result<Response<Body>, StatusError> {
        let cx = &call.cx;
        if cx.info.verb != "create" {
            return Err(StatusError::new(
                405,
                "MethodNotAllowed",
                "the server does not allow this method on the requested resource",
            ));
        }
        let bytes = body::read(call.body).await?;
        let eviction = decode::body(cx, &bytes, &GroupVersionKind::new("policy", "v1", "Eviction"))?;
        if !eviction.name().is_empty() && eviction.name() != cx.info.name {
            return Err(StatusError::bad_request("name in URL does not match name in Eviction object"));
        }
        let eviction = Draft::admitted(cx, eviction).await?;
        let mut options = DeleteOptions::parse(eviction.0.get("deleteOptions").cloned(), &cx.query)?;
        options.dry_run |= cx.dry_run()?;
        evict(cx, &options).await?;
        let status = json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201 });
        answer::other(cx, StatusCode::CREATED, &status)
    }
}

async fn evict(cx: &Cx, options: &DeleteOptions) -> Result<(), StatusError> {
    let pods = cx.registry().row("", "v1", "pods")?;
    let name = &cx.info.name;
    let has_changed = |deleted: &Result<(), StatusError>| {
        options.resource_version.is_none() && deleted.as_ref().is_err_and(|error| error.reason == "Conflict")
    };
    let mut attempts = 0;
    loop {
        attempts += 1;
        let pod = cx.registry().find(&pods, &cx.info.namespace, name).await?.ok_or_else(|| pods.not_found(name))?;
        if is_ending(&pod) {
            return delete_pod(cx, &pods, options).await;
        }
        if pod.str_at(&["status", "phase"]) == Some("Pending") {
            // It may be running, and guarded, by the time it is deleted.
            let deleted = delete_pod(cx, &pods, &as_seen(&pod, options)).await;
            if has_changed(&deleted) && attempts < ATTEMPTS {
                continue;
            }
            return deleted;
        }
        let Some(budget) = budget_of(cx, &pod).await? else { return delete_pod(cx, &pods, options).await };
        if may_go_unready(&pod, &budget) {
            let deleted = delete_pod(cx, &pods, &as_seen(&pod, options)).await;
            return if has_changed(&deleted) { Err(still_processed(budget.name())) } else { deleted };
        }
        take_from_budget(cx, &budget, &pod, options.dry_run).await?;
        return delete_pod(cx, &pods, options).await;
    }
}

async fn delete_pod(cx: &Cx, pods: &Arc<Resource>, options: &DeleteOptions) -> Result<(), StatusError> {
    let (namespace, name) = (&cx.info.namespace, &cx.info.name);
    let pod_cx = cx.about(pods, "delete", namespace, name);
    delete::delete_admitted(&pod_cx, namespace, name, options).await?;
    Ok(())
}

/// The options, for the pod as it was looked at: unless they name a state themselves (upstream:
/// `setPreconditionsResourceVersion`).
fn as_seen(pod: &Object, options: &DeleteOptions) -> DeleteOptions {
    let mut options = options.clone();
    options.resource_version.get_or_insert_with(|| pod.resource_version().to_owned());
    options
}

/// Whether the pod has ended or is about to: no budget counts it (upstream: `canIgnorePDB`, `shouldEnforceResourceVersion`).
fn is_ending(pod: &Object) -> bool {
    pod.is_deleting() || matches!(pod.str_at(&["status", "phase"]), Some("Succeeded" | "Failed"))
}

fn is_ready(pod: &Object) -> bool {
    let conditions = pod.at(&["status", "conditions"]).and_then(Value::as_array);
    conditions.into_iter().flatten().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

/// Whether the pod is one that its budget does not count (upstream: `unhealthyPodEvictionPolicy`).
fn may_go_unready(pod: &Object, budget: &Object) -> bool {
    if is_ready(pod) {
        return false;
    }
    let number = |field: &str| budget.at(&["status", field]).and_then(Value::as_i64).unwrap_or(0);
    match budget.str_at(&["spec", "unhealthyPodEvictionPolicy"]) {
        Some("AlwaysAllow") => true,
        _ => number("currentHealthy") >= number("desiredHealthy") && number("desiredHealthy") > 0,
    }
}

/// The one budget that selects the pod; more than one is an error of the cluster's users.
async fn budget_of(cx: &Cx, pod: &Object) -> Result<Option<Object>, StatusError> {
    let row = cx.registry().row("policy", "v1", "poddisruptionbudgets")?;
    let range = RangeRequest { prefix: format!("{}{}/", row.key_prefix(), pod.namespace()), ..RangeRequest::default() };
    let range = cx.registry().store().range(&range).await.map_err(|error| status::of_store(&error))?;
    let mut found = None;
    for entry in &range.entries {
        let budget = decode_entry(entry)?;
        let selects = Selector::from_label_selector(budget.at(&["spec", "selector"]))
            .is_ok_and(|selector| selector.matches_object(pod));
        if selects && found.replace(budget).is_some() {
            return Err(StatusError::internal(
                "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
            ));
        }
    }
    Ok(found)
}

async fn take_from_budget(cx: &Cx, budget: &Object, pod: &Object, dry_run: bool) -> Result<(), StatusError> {
    let row = cx.registry().row("policy", "v1", "poddisruptionbudgets")?;
    let mut budget_cx = cx.about(&row, "update", budget.namespace(), budget.name()).at_subresource("status");
    // The budget changes in the name of the server: who may evict need not be allowed to write budgets.
    budget_cx.user = Arc::new(crate::server::own_identity());
    let now = cx.timestamp();
    let transform = |old: &Object| disrupt(old, pod.name(), &now);
    if dry_run {
        return transform(budget).map(|_| ());
    }
    let manager = fields::Manager::Update("kube-apiserver".into());
    change(&budget_cx, &Change { part: Part::Status, manager, retry: true, transform: &transform }).await?;
    Ok(())
}

/// Upstream: `checkAndDecrement`.
fn disrupt(old: &Object, pod: &str, now: &str) -> Result<Object, StatusError> {
    let name = old.name();
    let number = |field: &str| old.at(&["status", field]).and_then(Value::as_i64).unwrap_or(0);
    if number("observedGeneration") < old.generation() {
        return Err(still_processed(name));
    }
    let allowed = number("disruptionsAllowed");
    if allowed < 0 {
        let cause = "pdb disruptions allowed is negative";
        return Err(StatusError::forbidden(
            &apimachinery::GroupResource::new("policy", "poddisruptionbudgets"),
            name,
            cause,
        ));
    }
    let disrupted = old.at(&["status", "disruptedPods"]).and_then(Value::as_object).map_or(0, serde_json::Map::len);
    if disrupted > MAX_DISRUPTED_PODS {
        let cause = "DisruptedPods map too big - too many evictions not confirmed by PDB controller";
        return Err(StatusError::forbidden(
            &apimachinery::GroupResource::new("policy", "poddisruptionbudgets"),
            name,
            cause,
        ));
    }
    if allowed == 0 {
        let (needs, has) = (number("desiredHealthy"), number("currentHealthy"));
        let text = format!("The disruption budget {name} needs {needs} healthy pods and has {has} currently");
        // When there is room again nobody can say; clients have their own idea of how long they wait.
        return Err(refusal(None, &text));
    }
    let mut budget = old.clone();
    if let Some(status) = budget.0.get_mut("status").and_then(Value::as_object_mut) {
        status.insert("disruptionsAllowed".into(), (allowed - 1).into());
        let pods = status.entry("disruptedPods").or_insert_with(|| json!({}));
        pods[pod] = now.into();
        if allowed == 1 {
            no_more_allowed(status, now);
        }
    }
    Ok(budget)
}

/// The condition of a budget that has been used up (upstream: pkg/controller/disruption `UpdateDisruptionAllowedCondition`).
fn no_more_allowed(status: &mut Map<String, Value>, now: &str) {
    let observed = status.get("observedGeneration").cloned();
    let Some(conditions) = status.entry("conditions").or_insert_with(|| json!([])).as_array_mut() else { return };
    let index = conditions.iter().position(|condition| condition["type"] == "DisruptionAllowed");
    let index = index.unwrap_or_else(|| {
        conditions.push(json!({ "type": "DisruptionAllowed", "message": "" }));
        conditions.len() - 1
    });
    let condition = &mut conditions[index];
    if condition["status"] != "False" {
        condition["lastTransitionTime"] = now.into();
    }
    condition["status"] = "False".into();
    condition["reason"] = "InsufficientPods".into();
    condition["message"] = "".into();
    if let Some(observed) = observed {
        condition["observedGeneration"] = observed;
    }
}

/// Upstream: `createTooManyRequestsError`.
fn still_processed(budget: &str) -> StatusError {
    refusal(Some(10), &format!("The disruption budget {budget} is still being processed by the server."))
}

fn refusal(retry_after_s: Option<u32>, cause: &str) -> StatusError {
    let message = "Cannot evict pod as it would violate the pod's disruption budget.";
    let refused = match retry_after_s {
        Some(seconds) => StatusError::too_many_requests(message, seconds),
        None => StatusError::new(429, "TooManyRequests", message),
    };
    refused.with_causes(vec![json!({ "reason": "DisruptionBudget", "message": cause })])
}
