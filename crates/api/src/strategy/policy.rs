//! PodDisruptionBudgets (upstream: pkg/apis/policy/validation/validation.go).

use apimachinery::Object;
use apimachinery::field::{self, Error, Path};
use serde_json::Value;

use super::workload;
use crate::check::{self, Errors};
use crate::json::Read;
use crate::resource::Strategy;

/// The strategy of disruption budgets.
pub(crate) struct PodDisruptionBudget;

impl Strategy for PodDisruptionBudget {
    fn validate(&self, object: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        let (spec, path) = (object.object("spec"), Path::new("spec"));
        if spec.has("minAvailable") && spec.has("maxUnavailable") {
            let detail = "minAvailable and maxUnavailable cannot be both set";
            errors.push(Error::invalid(&path, Value::Object(spec.clone()), detail));
        }
        for field in ["minAvailable", "maxUnavailable"] {
            workload::count_or_percent(&mut errors, spec, field, &path);
            workload::at_most_all(&mut errors, spec, field, &path);
        }
        check::label_selector(&mut errors, spec, "selector", &path);
        let policies = ["AlwaysAllow", "IfHealthyBudget"];
        check::one_of(&mut errors, spec, "unhealthyPodEvictionPolicy", &policies, &path);
        errors
    }

    fn validate_status_update(&self, object: &Object, _old: &Object) -> Vec<field::Error> {
        let (mut errors, status, path) = (Errors::new(), object.object("status"), Path::new("status"));
        check::conditions(&mut errors, status.list("conditions"), &path.child("conditions"));
        for field in ["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"] {
            check::not_negative(&mut errors, status, field, &path);
        }
        errors
    }

    fn allow_unconditional_update(&self) -> bool {
        false
    }
}
