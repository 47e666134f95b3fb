//! [`Binding`]: where a policy holds, with which parameters, and what comes of breaking it.

use apimachinery::labels::SelectorError;
use serde_json::Value;

use super::definition::{items, text};
use crate::admission::matching::Criteria;

/// A binding of either kind.
#[derive(Debug)]
pub(super) struct Binding {
    pub(super) name: String,
    pub(super) policy: String,
    pub(super) criteria: Result<Criteria, SelectorError>,
    pub(super) param_ref: Option<Value>,
    /// `Deny`, `Warn`, `Audit`.
    pub(super) actions: Vec<String>,
}

impl Binding {
    pub(super) fn read(name: &str, object: &Value) -> Self {
        let spec = object.get("spec").unwrap_or(&Value::Null);
        Self {
            name: name.to_owned(),
            policy: text(spec, "policyName").to_owned(),
            criteria: Criteria::of_policy(spec.get("matchResources")),
            param_ref: spec.get("paramRef").filter(|reference| reference.is_object()).cloned(),
            actions: items(spec, "validationActions").filter_map(Value::as_str).map(str::to_owned).collect(),
        }
    }
}
