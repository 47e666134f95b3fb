//! Flow schemas and priority levels (upstream: pkg/apis/flowcontrol/v1/defaults.go).

use apimachinery::Object;
use apimachinery::field;

use super::required;
use crate::json::{Read, Write};
use crate::resource::Strategy;

/// The strategy of flow schemas.
pub(crate) struct FlowSchema;

impl Strategy for FlowSchema {
    fn default(&self, object: &mut Object) {
        if let Some(spec) = object.object_made("spec") {
            spec.default_int("matchingPrecedence", 1000);
        }
    }

    fn validate(&self, object: &Object) -> Vec<field::Error> {
        required::missing(object, &["spec"])
    }
}

/// The strategy of priority levels.
pub(crate) struct PriorityLevel;

impl Strategy for PriorityLevel {
    fn default(&self, object: &mut Object) {
        let Some(spec) = object.object_made("spec") else { return };
        if let Some(exempt) = spec.object_at("exempt") {
            exempt.default_to("nominalConcurrencyShares", 0);
            exempt.default_to("lendablePercent", 0);
        }
        let Some(limited) = spec.object_at("limited") else { return };
        limited.default_to("nominalConcurrencyShares", 30);
        limited.default_to("lendablePercent", 0);
        if let Some(response) = limited.object_at("limitResponse")
            && response.text("type") == "Queue"
            && let Some(queuing) = response.object_at("queuing")
        {
            queuing.default_int("handSize", 8);
            queuing.default_int("queues", 64);
            queuing.default_int("queueLengthLimit", 50);
        }
    }

    fn validate(&self, object: &Object) -> Vec<field::Error> {
        required::missing(object, &["spec"])
    }
}
