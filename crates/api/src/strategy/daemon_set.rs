//! DaemonSets (upstream: pkg/apis/apps/v1/defaults.go, `ValidateDaemonSet`).

use apimachinery::Object;
use apimachinery::field::{self, Error, Path};
use serde_json::{Map, Value};

use super::pod::default_template;
use super::workload;
use crate::check::{self, Errors};
use crate::json::{Read, Write};
use crate::resource::Strategy;

/// The strategy of DaemonSets.
pub(crate) struct DaemonSet;

impl Strategy for DaemonSet {
    fn default(&self, object: &mut Object) {
        let Some(spec) = object.object_made("spec") else { return };
        if let Some(strategy) = spec.object_made("updateStrategy") {
            strategy.default_text("type", "RollingUpdate");
            if strategy.text("type") == "RollingUpdate"
                && let Some(rolling) = strategy.object_made("rollingUpdate")
            {
                rolling.default_to("maxUnavailable", 1);
                rolling.default_to("maxSurge", 0);
            }
        }
        spec.default_to("revisionHistoryLimit", 10);
        default_template(spec);
    }

    fn warnings(&self, object: &Object) -> Vec<String> {
        workload::warnings(object, &["spec"])
    }

    fn update_warnings(&self, object: &Object, old: &Object) -> Vec<String> {
        workload::update_warnings(object, old, &["spec"])
    }

    fn validate(&self, object: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        let (spec, path) = (object.object("spec"), Path::new("spec"));
        workload::selector(&mut errors, spec, "daemonset", &path);
        workload::template(&mut errors, spec, "DaemonSet", &path);
        check::not_negative(&mut errors, spec, "minReadySeconds", &path);
        check::not_negative(&mut errors, spec, "revisionHistoryLimit", &path);
        update_strategy(&mut errors, spec.object("updateStrategy"), &path.child("updateStrategy"));
        errors
    }

    fn validate_status_update(&self, object: &Object, old: &Object) -> Vec<field::Error> {
        let counts = [
            "currentNumberScheduled",
            "numberMisscheduled",
            "desiredNumberScheduled",
            "numberReady",
            "updatedNumberScheduled",
            "numberAvailable",
            "numberUnavailable",
        ];
        let mut errors = workload::status_counts(object, &[], &counts);
        workload::collisions(&mut errors, object, old);
        errors
    }

    fn validate_update(&self, object: &Object, old: &Object) -> Vec<field::Error> {
        workload::same_selector(object, old)
    }
}

fn update_strategy(errors: &mut Errors, strategy: &Map<String, Value>, path: &Path) {
    match strategy.text("type") {
        "OnDelete" => {}
        "RollingUpdate" => {
            let (rolling, path) = (strategy.object("rollingUpdate"), path.child("rollingUpdate"));
            for name in ["maxUnavailable", "maxSurge"] {
                workload::count_or_percent(errors, rolling, name, &path);
                workload::at_most_all(errors, rolling, name, &path);
            }
            match (workload::is_zero(rolling, "maxUnavailable"), workload::is_zero(rolling, "maxSurge")) {
                (true, true) => {
                    errors.push(Error::required(&path.child("maxUnavailable"), "cannot be 0 when maxSurge is 0"))
                }
                (false, false) => {
                    let surge = rolling.value("maxSurge").cloned().unwrap_or_default();
                    errors.push(Error::invalid(
                        &path.child("maxSurge"),
                        surge,
                        "may not be set when maxUnavailable is non-zero",
                    ));
                }
                _ => {}
            }
        }
        other => errors.push(Error::not_supported(&path.child("type"), other, &["RollingUpdate", "OnDelete"])),
    }
}
