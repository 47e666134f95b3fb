//! eviction: a delete that respects disruption budgets (upstream: pkg/registry/core/pod/storage/eviction.go).

use std::sync::Arc;

use apimachinery::labels::Selector;
use apimachinery::{GroupVersionKind, Object, StatusError};
use async_trait::async_trait;
use http::{Response, StatusCode};
use serde_json::{Value, json};
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
    let (namespace, name) = (&cx.info.namespace, &cx.info.name);
    let pod = cx.registry().find(&pods, namespace, name).await?.ok_or_else(|| pods.not_found(name))?;
    if !ignores_budgets(&pod)
        && let Some(budget) = budget_of(cx, &pod).await?
    {
        // An unready pod that the budget does not count may go (upstream: `unhealthyPodEvictionPolicy`).
        if !may_go_unready(&pod, &budget) {
            take_from_budget(cx, &budget, &pod, options.dry_run).await?;
        }
    }
    let pod_cx = cx.about(&pods, "delete", namespace, name);
    delete::delete_admitted(&pod_cx, namespace, name, options).await?;
    Ok(())
}

/// Upstream: `canIgnorePDB`.
fn ignores_budgets(pod: &Object) -> bool {
    pod.is_deleting() || matches!(pod.str_at(&["status", "phase"]), Some("Succeeded" | "Failed" | "Pending"))
}

fn is_ready(pod: &Object) -> bool {
    let conditions = pod.at(&["status", "conditions"]).and_then(Value::as_array);
    conditions.into_iter().flatten().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

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
    let refuse = |message: &str, cause: Value| {
        let mut error = StatusError::too_many_requests(message, 10);
        if let Some(details) = &mut error.details {
            details["causes"] = json!([cause]);
        }
        error
    };
    let cause = |message: String| json!({ "reason": "DisruptionBudget", "message": message });
    if number("observedGeneration") < old.generation() {
        let text = format!("The disruption budget {name} is still being processed by the server.");
        return Err(refuse("Cannot evict pod as it would violate the pod's disruption budget.", cause(text)));
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
        return Err(refuse("Cannot evict pod as it would violate the pod's disruption budget.", cause(text)));
    }
    let mut budget = old.clone();
    if let Some(status) = budget.0.get_mut("status").and_then(Value::as_object_mut) {
        status.insert("disruptionsAllowed".into(), (allowed - 1).into());
        let pods = status.entry("disruptedPods").or_insert_with(|| json!({}));
        pods[pod] = now.into();
    }
    Ok(budget)
}
