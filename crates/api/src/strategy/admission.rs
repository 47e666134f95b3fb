//! Admission policies and their bindings (upstream: pkg/apis/admissionregistration/v1/defaults.go,
//! pkg/apis/admissionregistration/validation). What expressions must be is judged where they are compiled, by the
//! admission plugins.

mod binding;
mod matching;
mod policy;
mod status;

#[cfg(test)]
mod tests;

use apimachinery::Object;
use apimachinery::field;
use serde_json::{Map, Value};

use crate::json::Write;
use crate::resource::Strategy;

/// The strategy of admission policies.
pub(crate) struct Policy {
    /// Whether they change objects.
    pub(crate) mutating: bool,
}

impl Strategy for Policy {
    fn default(&self, object: &mut Object) {
        let Some(spec) = object.object_made("spec") else { return };
        spec.default_to("failurePolicy", "Fail");
        if let Some(constraints) = spec.object_at("matchConstraints") {
            match_resources(constraints);
        }
    }

    fn validate(&self, object: &Object) -> Vec<field::Error> {
        policy::check(object, None, self.mutating)
    }

    fn validate_update(&self, object: &Object, old: &Object) -> Vec<field::Error> {
        policy::check(object, Some(old), self.mutating)
    }

    fn judges_updates_alone(&self) -> bool {
        true
    }

    fn status_keeps_metadata(&self) -> bool {
        true
    }

    fn validate_status_update(&self, object: &Object, _old: &Object) -> Vec<field::Error> {
        status::check(object)
    }

    fn allow_unconditional_update(&self) -> bool {
        false
    }
}

/// The strategy of their bindings.
pub(crate) struct PolicyBinding {
    /// Whether the policies change objects.
    pub(crate) mutating: bool,
}

impl Strategy for PolicyBinding {
    fn default(&self, object: &mut Object) {
        if let Some(constraints) = object.object_at("spec").and_then(|spec| spec.object_at("matchResources")) {
            match_resources(constraints);
        }
    }

    fn validate(&self, object: &Object) -> Vec<field::Error> {
        binding::check(object, self.mutating)
    }

    fn allow_unconditional_update(&self) -> bool {
        false
    }
}

fn match_resources(constraints: &mut Map<String, Value>) {
    constraints.default_to("matchPolicy", "Equivalent");
    constraints.default_to("namespaceSelector", Map::new());
    constraints.default_to("objectSelector", Map::new());
    for list in ["resourceRules", "excludeResourceRules"] {
        constraints.items_mut(list).for_each(|rule| rule.default_to("scope", "*"));
    }
}
