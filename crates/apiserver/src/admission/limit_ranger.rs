//! LimitRanger: containers, pods and claims within the bounds of their namespace, with its defaults
//! (upstream: plugin/pkg/admission/limitranger/admission.go).

use std::sync::Arc;

use apimachinery::json::Read;
use apimachinery::{Object, StatusError};
use async_trait::async_trait;
use serde_json::Value;
use store::Store;

use super::cache::{Followed, follow};
use super::{Handles, Operation, Plugin, Request};

mod bounds;
mod defaults;

/// See the module.
#[derive(Debug)]
pub struct LimitRanger {
    ranges: Followed,
}

impl LimitRanger {
    /// Follows the limit ranges of `store`.
    pub fn new(store: &Arc<dyn Store>) -> Self {
        Self { ranges: follow(store, "/registry/core/limitranges/") }
    }

    fn ranges(&self, request: &Request<'_>) -> Vec<Arc<Object>> {
        if judges(request) { self.ranges.read(|ranges| ranges.of_namespace(request.namespace)) } else { Vec::new() }
    }
}

/// New pods and their resizes, and all writes of claims; not what is being deleted
/// (upstream: `SupportsAttributes`).
fn judges(request: &Request<'_>) -> bool {
    let updates = request.operation == Operation::Update;
    let supported = match (request.row.gvk.kind.as_str(), request.subresource) {
        ("Pod", "resize") => updates,
        ("Pod", "") => request.operation == Operation::Create,
        ("PersistentVolumeClaim", "") => request.writes(),
        _ => false,
    };
    supported && request.row.gvk.group.is_empty() && !request.old.as_ref().is_some_and(Object::is_deleting)
}

#[async_trait]
impl Plugin for LimitRanger {
    fn name(&self) -> &'static str {
        "LimitRanger"
    }

    fn handles(&self) -> Handles {
        Handles::NOTHING.admits(Handles::WRITES).validates(Handles::WRITES)
    }

    async fn admit(&self, request: &mut Request<'_>) -> Result<(), StatusError> {
        if request.row.gvk.kind != "Pod" {
            return Ok(());
        }
        let ranges = self.ranges(request);
        let Some(pod) = request.object.as_mut() else { return Ok(()) };
        ranges.iter().for_each(|range| defaults::set(pod, limits(range)));
        Ok(())
    }

    async fn validate(&self, request: &Request<'_>) -> Result<(), StatusError> {
        let ranges = self.ranges(request);
        let Some(object) = &request.object else { return Ok(()) };
        for range in &ranges {
            let broken = match request.row.gvk.kind.as_str() {
                "Pod" => bounds::of_pod(object, limits(range)),
                _ => bounds::of_claim(object, limits(range)),
            };
            if let Some(text) = aggregate(broken) {
                return Err(request.forbidden(text));
            }
        }
        Ok(())
    }
}

fn limits(range: &Object) -> &[Value] {
    range.object("spec").list("limits")
}

/// Several causes in one text (upstream: `utilerrors.NewAggregate`).
fn aggregate(mut texts: Vec<String>) -> Option<String> {
    let mut seen = std::collections::BTreeSet::new();
    texts.retain(|text| seen.insert(text.clone()));
    match texts.len() {
        0 => None,
        1 => texts.pop(),
        _ => Some(format!("[{}]", texts.join(", "))),
    }
}
