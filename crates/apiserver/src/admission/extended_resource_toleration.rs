//! ExtendedResourceToleration: pods that ask for extended resources tolerate nodes that are kept for them
//! (upstream: plugin/pkg/admission/extendedresourcetoleration/admission.go). Off by default.

use std::collections::BTreeSet;

use apimachinery::StatusError;
use apimachinery::json::{Read, Write};
use apimachinery::resources::is_extended;
use async_trait::async_trait;
use serde_json::{Value, json};

use super::{Handles, Plugin, Request};

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub struct ExtendedResourceToleration;

#[async_trait]
impl Plugin for ExtendedResourceToleration {
    fn name(&self) -> &'static str {
        "ExtendedResourceToleration"
    }

    fn handles(&self) -> Handles {
        Handles::NOTHING.admits(Handles::WRITES)
    }

    async fn admit(&self, request: &mut Request<'_>) -> Result<(), StatusError> {
        if !request.is_main("", "Pod") || !request.writes() {
            return Ok(());
        }
        let Some(spec) = request.object.as_mut().and_then(|pod| pod.object_at("spec")) else { return Ok(()) };
        let containers = ["containers", "initContainers"].iter().flat_map(|list| spec.list(list));
        let asked = containers.flat_map(|container| container.object("resources").object("requests").keys());
        let resources: BTreeSet<String> = asked.filter(|name| is_extended(name)).cloned().collect();
        if resources.is_empty() {
            return Ok(());
        }
        spec.default_to("tolerations", json!([]));
        let Some(tolerations) = spec.get_mut("tolerations").and_then(Value::as_array_mut) else { return Ok(()) };
        for resource in resources {
            let wanted = json!({"key": resource, "operator": "Exists"});
            let same = |one: &Value| {
                one.text("key") == resource && one.text("operator") == "Exists" && one.text("effect").is_empty()
            };
            if !tolerations.iter().any(same) {
                tolerations.push(wanted);
            }
        }
        Ok(())
    }
}
