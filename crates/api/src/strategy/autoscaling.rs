//! HorizontalPodAutoscalers of both versions (upstream: pkg/apis/autoscaling/v2/defaults.go, pkg/apis/autoscaling/validation).

use apimachinery::Object;
use apimachinery::field::{self, Error, Path};
use serde_json::{Map, Value, json};

use crate::check::{self, Errors};
use crate::json::{Read, Write};
use crate::resource::{Generation, Strategy};

/// The strategy of autoscalers.
pub(crate) struct HorizontalPodAutoscaler;

impl Strategy for HorizontalPodAutoscaler {
    fn default(&self, object: &mut Object) {
        let is_v2 = object.api_version() == "autoscaling/v2";
        let Some(spec) = object.object_made("spec") else { return };
        spec.default_to("minReplicas", 1);
        if !is_v2 {
            return;
        }
        if spec.list("metrics").is_empty() {
            let target = json!({"type": "Utilization", "averageUtilization": 80});
            spec.insert("metrics".into(), json!([{"type": "Resource", "resource": {"name": "cpu", "target": target}}]));
        }
        if let Some(behavior) = spec.object_at("behavior") {
            behaviour(behavior);
        }
    }

    fn validate(&self, object: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        let (spec, path) = (object.object("spec"), Path::new("spec"));
        let (min, max) = (spec.int("minReplicas").unwrap_or(1), spec.int("maxReplicas").unwrap_or_default());
        if min < 1 {
            errors.push(Error::invalid(&path.child("minReplicas"), min, "must be greater than or equal to 1"));
        }
        if max < 1 {
            errors.push(Error::invalid(&path.child("maxReplicas"), max, "must be greater than 0"));
        }
        if max < min {
            errors.push(Error::invalid(
                &path.child("maxReplicas"),
                max,
                "must be greater than or equal to `minReplicas`",
            ));
        }
        let (target, path) = (spec.object("scaleTargetRef"), path.child("scaleTargetRef"));
        check::required(&mut errors, target, "kind", &path);
        check::required(&mut errors, target, "name", &path);
        errors
    }

    fn generation(&self) -> Generation {
        Generation::Never
    }
}

fn behaviour(behavior: &mut Map<String, Value>) {
    if let Some(up) = behavior.object_made("scaleUp") {
        up.default_to("selectPolicy", "Max");
        up.default_to("stabilizationWindowSeconds", 0);
        let fast = json!([
            {"type": "Pods", "value": 4, "periodSeconds": 15},
            {"type": "Percent", "value": 100, "periodSeconds": 15},
        ]);
        up.default_to("policies", fast);
    }
    if let Some(down) = behavior.object_made("scaleDown") {
        down.default_to("selectPolicy", "Max");
        down.default_to("policies", json!([{"type": "Percent", "value": 100, "periodSeconds": 15}]));
    }
}
