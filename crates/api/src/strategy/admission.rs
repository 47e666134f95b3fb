//! Admission policies (upstream: pkg/apis/admissionregistration/v1/defaults.go).

use apimachinery::Object;
use apimachinery::field;
use serde_json::{Map, Value};

use super::required;
use crate::json::{Read, Write};
use crate::resource::Strategy;

/// The strategy of admission policies.
pub(crate) struct Policy;

impl Strategy for Policy {
    fn default(&self, object: &mut Object) {
        let Some(spec) = object.object_made("spec") else { return };
        spec.default_to("failurePolicy", "Fail");
        if let Some(constraints) = spec.object_at("matchConstraints") {
            match_resources(constraints);
        }
    }

    fn validate(&self, object: &Object) -> Vec<field::Error> {
        required::missing(object, &["spec"])
    }

    fn allow_unconditional_update(&self) -> bool {
        false
    }
}

/// The strategy of their bindings.
pub(crate) struct PolicyBinding;

impl Strategy for PolicyBinding {
    fn default(&self, object: &mut Object) {
        if let Some(constraints) = object.object_at("spec").and_then(|spec| spec.object_at("matchResources")) {
            match_resources(constraints);
        }
    }

    fn validate(&self, object: &Object) -> Vec<field::Error> {
        let mut errors = required::missing(object, &["spec"]);
        crate::check::required(&mut errors, object.object("spec"), "policyName", &field::Path::new("spec"));
        errors
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
