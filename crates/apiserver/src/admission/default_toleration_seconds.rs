//! DefaultTolerationSeconds: pods stay 300 s on a node that is not ready or not reachable, unless they say otherwise
//! (upstream: plugin/pkg/admission/defaulttolerationseconds/admission.go).

use apimachinery::StatusError;
use async_trait::async_trait;
use serde_json::{Value, json};

use super::{Handles, Operation, Plugin, Request};

const TAINTS: [&str; 2] = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];
const SECONDS: i64 = 300;

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub struct DefaultTolerationSeconds;

#[async_trait]
impl Plugin for DefaultTolerationSeconds {
    fn name(&self) -> &'static str {
        "DefaultTolerationSeconds"
    }

    fn handles(&self) -> Handles {
        Handles::NOTHING.admits(Handles::WRITES)
    }

    async fn admit(&self, request: &mut Request<'_>) -> Result<(), StatusError> {
        if !request.is_main("", "Pod") || !matches!(request.operation, Operation::Create | Operation::Update) {
            return Ok(());
        }
        let Some(spec) = request.object.as_mut().and_then(|pod| pod.0.get_mut("spec")).and_then(Value::as_object_mut)
        else {
            return Ok(());
        };
        let tolerations = spec.entry("tolerations").or_insert_with(|| json!([]));
        let Some(tolerations) = tolerations.as_array_mut() else { return Ok(()) };
        for taint in TAINTS {
            if !tolerations.iter().any(|toleration| tolerates(toleration, taint)) {
                tolerations.push(json!({
                    "key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": SECONDS,
                }));
            }
        }
        Ok(())
    }
}

fn tolerates(toleration: &Value, taint: &str) -> bool {
    let text = |field: &str| toleration.get(field).and_then(Value::as_str).unwrap_or_default();
    matches!(text("key"), "") && text("operator") == "Exists" && matches!(text("effect"), "" | "NoExecute")
        || text("key") == taint && matches!(text("effect"), "" | "NoExecute")
}
