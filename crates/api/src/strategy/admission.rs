//! Webhook configurations and admission policies (upstream: pkg/apis/admissionregistration/v1/defaults.go).

use apimachinery::Object;
use apimachinery::field;
use serde_json::{Map, Value};

use super::required;
use crate::json::{Read, Write};
use crate::resource::{Generation, Strategy};

/// The strategy of webhook configurations.
pub(crate) struct WebhookConfiguration {
    /// Whether the webhooks may change objects.
    pub(crate) mutating: bool,
}

impl Strategy for WebhookConfiguration {
    fn default(&self, object: &mut Object) {
        for webhook in object.items_mut("webhooks") {
            webhook.default_to("failurePolicy", "Fail");
            webhook.default_to("matchPolicy", "Equivalent");
            webhook.default_to("namespaceSelector", Map::new());
            webhook.default_to("objectSelector", Map::new());
            webhook.default_to("timeoutSeconds", 10);
            if self.mutating {
                webhook.default_to("reinvocationPolicy", "Never");
            }
            webhook.items_mut("rules").for_each(|rule| rule.default_to("scope", "*"));
            if let Some(service) = webhook.object_at("clientConfig").and_then(|config| config.object_at("service")) {
                service.default_to("port", 443);
            }
        }
    }

    fn validate(&self, object: &Object) -> Vec<field::Error> {
        required::missing(object, &["webhooks"])
    }

    fn generation(&self) -> Generation {
        Generation::Content
    }
}

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
}

fn match_resources(constraints: &mut Map<String, Value>) {
    constraints.default_to("matchPolicy", "Equivalent");
    constraints.default_to("namespaceSelector", Map::new());
    constraints.default_to("objectSelector", Map::new());
    for list in ["resourceRules", "excludeResourceRules"] {
        constraints.items_mut(list).for_each(|rule| rule.default_to("scope", "*"));
    }
}
