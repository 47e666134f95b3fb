//! TaintNodesByCondition: a new node is not ready until its kubelet has said so
//! (upstream: plugin/pkg/admission/nodetaint/admission.go).

use apimachinery::StatusError;
use async_trait::async_trait;
use serde_json::{Value, json};

use super::{Handles, Plugin, Request};

const NOT_READY: &str = "node.kubernetes.io/not-ready";

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub struct TaintNodesByCondition;

#[async_trait]
impl Plugin for TaintNodesByCondition {
    fn name(&self) -> &'static str {
        "TaintNodesByCondition"
    }

    fn handles(&self) -> Handles {
        Handles::NOTHING.admits(Handles::CREATES)
    }

    async fn admit(&self, request: &mut Request<'_>) -> Result<(), StatusError> {
        if !request.creates("", "Node") {
            return Ok(());
        }
        let Some(node) = request.object.as_mut() else { return Ok(()) };
        let spec = node.0.entry("spec").or_insert_with(|| json!({}));
        let Some(spec) = spec.as_object_mut() else { return Ok(()) };
        let taints = spec.entry("taints").or_insert_with(|| json!([]));
        if let Some(taints) = taints.as_array_mut() {
            let there = |taint: &Value| taint["key"] == NOT_READY && taint["effect"] == "NoSchedule";
            if !taints.iter().any(there) {
                taints.push(json!({ "key": NOT_READY, "effect": "NoSchedule" }));
            }
        }
        Ok(())
    }
}
