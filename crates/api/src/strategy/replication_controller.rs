//! ReplicationControllers (upstream: `SetDefaults_ReplicationController`, `ValidateReplicationController`).

use apimachinery::Object;
use apimachinery::field::{self, Error, Path};
use serde_json::Value;

use super::pod::{default_template, labels_of, validate_template};
use super::workload;
use crate::check::{self, Errors};
use crate::json::{Read, Write};
use crate::resource::Strategy;

/// The strategy of ReplicationControllers.
pub(crate) struct ReplicationController;

impl Strategy for ReplicationController {
    fn default(&self, object: &mut Object) {
        let labels = object.at(&["spec", "template"]).map(labels_of).filter(|labels| !labels.is_empty()).cloned();
        if let Some(labels) = labels {
            if object.labels().next().is_none() {
                object.metadata_mut().insert("labels".into(), Value::Object(labels.clone()));
            }
            if let Some(spec) = object.object_at("spec")
                && spec.object("selector").is_empty()
            {
                spec.insert("selector".into(), Value::Object(labels));
            }
        }
        let Some(spec) = object.object_made("spec") else { return };
        spec.default_to("replicas", 1);
        if spec.has("template") {
            default_template(spec);
        }
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
        check::not_negative(&mut errors, spec, "minReadySeconds", &path);
        check::not_negative(&mut errors, spec, "replicas", &path);
        let selector = spec.object("selector");
        if selector.is_empty() {
            errors.push(Error::required(&path.child("selector"), ""));
        }
        let Some(template) = spec.value("template") else {
            errors.push(Error::required(&path.child("template"), ""));
            return errors;
        };
        let (labels, path) = (labels_of(template), path.child("template"));
        if !selector.iter().all(|(key, value)| labels.get(key) == Some(value)) {
            let detail = "`selector` does not match template `labels`";
            errors.push(Error::invalid(&path.child("metadata").child("labels"), Value::Object(labels.clone()), detail));
        }
        validate_template(&mut errors, template.fields(), &path);
        let policy = template.object("spec").text("restartPolicy");
        if policy != "Always" {
            errors.push(Error::not_supported(&path.child("spec").child("restartPolicy"), policy, &["Always"]));
        }
        errors
    }
    fn validate_status_update(&self, object: &Object, _old: &Object) -> Vec<field::Error> {
        workload::status_counts(object, &["fullyLabeledReplicas", "readyReplicas", "availableReplicas"], &[])
    }
}
