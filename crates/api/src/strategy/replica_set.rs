//! ReplicaSets (upstream: `ValidateReplicaSet`).

use apimachinery::Object;
use apimachinery::field::{self, Path};

use super::pod::default_template;
use super::workload;
use crate::check::{self, Errors};
use crate::json::{Read, Write};
use crate::resource::Strategy;

/// The strategy of ReplicaSets.
pub(crate) struct ReplicaSet;

impl Strategy for ReplicaSet {
    fn default(&self, object: &mut Object) {
        let Some(spec) = object.object_made("spec") else { return };
        spec.default_to("replicas", 1);
        default_template(spec);
    }

    fn warnings(&self, object: &Object) -> Vec<String> {
        workload::name_warning(object).into_iter().chain(workload::warnings(object, &["spec"])).collect()
    }

    fn update_warnings(&self, object: &Object, old: &Object) -> Vec<String> {
        workload::update_warnings(object, old, &["spec"])
    }

    fn validate(&self, object: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        let (spec, path) = (object.object("spec"), Path::new("spec"));
        check::not_negative(&mut errors, spec, "replicas", &path);
        check::not_negative(&mut errors, spec, "minReadySeconds", &path);
        workload::selector(&mut errors, spec, "deployment", &path);
        workload::template(&mut errors, spec, "ReplicaSet", &path);
        errors
    }

    fn validate_status_update(&self, object: &Object, _old: &Object) -> Vec<field::Error> {
        workload::status_counts(object, &["fullyLabeledReplicas", "readyReplicas", "availableReplicas"], &[])
    }

    fn validate_update(&self, object: &Object, old: &Object) -> Vec<field::Error> {
        workload::same_selector(object, old)
    }
}
