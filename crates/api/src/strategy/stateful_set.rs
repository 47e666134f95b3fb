//! StatefulSets (upstream: pkg/apis/apps/v1/defaults.go, `ValidateStatefulSet`).

use apimachinery::Object;
use apimachinery::field::{self, Error, Path};
use serde_json::{Map, Value};

use super::pod::default_template;
use super::{volume, workload};
use crate::check::{self, Errors, names};
use crate::json::{Read, Write};
use crate::resource::Strategy;

/// The strategy of StatefulSets.
pub(crate) struct StatefulSet;

/// The fields of the spec that an update may change.
const CHANGEABLE: &[&str] = &[
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
];

impl Strategy for StatefulSet {
    fn default(&self, object: &mut Object) {
        let Some(spec) = object.object_made("spec") else { return };
        spec.default_text("podManagementPolicy", "OrderedReady");
        if let Some(strategy) = spec.object_made("updateStrategy") {
            // How to roll is only said of those who left the strategy open, or said something of it.
            if strategy.text("type").is_empty() {
                strategy.insert("type".into(), "RollingUpdate".into());
                strategy.default_to("rollingUpdate", Map::new());
            }
            if strategy.text("type") == "RollingUpdate"
                && let Some(rolling) = strategy.object_at("rollingUpdate")
            {
                rolling.default_to("partition", 0);
                rolling.default_to("maxUnavailable", 1);
            }
        }
        if let Some(retention) = spec.object_made("persistentVolumeClaimRetentionPolicy") {
            retention.default_text("whenDeleted", "Retain");
            retention.default_text("whenScaled", "Retain");
        }
        spec.default_to("replicas", 1);
        spec.default_to("revisionHistoryLimit", 10);
        for claim in spec.items_mut("volumeClaimTemplates") {
            claim.default_text("apiVersion", "v1");
            claim.default_text("kind", "PersistentVolumeClaim");
            volume::default_claim(claim);
        }
        default_template(spec);
    }

    /// Its pods have host names of its name and their index.
    fn name_errors(&self, name: &str, prefix: bool) -> Vec<String> {
        names::name_is_dns_label(name, prefix)
    }

    fn warnings(&self, object: &Object) -> Vec<String> {
        workload::warnings(object, &["spec"])
    }

    fn validate(&self, object: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        let (spec, path) = (object.object("spec"), Path::new("spec"));
        // What is stored may have the name of no service: an update cannot change it.
        if object.resource_version().is_empty() {
            check::optional_name(&mut errors, names::dns1123_label, spec, "serviceName", &path);
        }
        if !matches!(spec.text("podManagementPolicy"), "OrderedReady" | "Parallel") {
            let detail = "must be 'OrderedReady' or 'Parallel'";
            errors.push(Error::invalid(&path.child("podManagementPolicy"), spec.text("podManagementPolicy"), detail));
        }
        update_strategy(&mut errors, spec.object("updateStrategy"), &path.child("updateStrategy"));
        let (retention, retention_path) =
            (spec.object("persistentVolumeClaimRetentionPolicy"), path.child("persistentVolumeClaimRetentionPolicy"));
        for field in ["whenDeleted", "whenScaled"] {
            check::one_of(&mut errors, retention, field, &["Retain", "Delete"], &retention_path);
        }
        check::not_negative(&mut errors, spec, "replicas", &path);
        check::not_negative(&mut errors, spec, "minReadySeconds", &path);
        check::not_negative(&mut errors, spec.object("ordinals"), "start", &path.child("ordinals"));
        workload::selector(&mut errors, spec, "statefulset", &path);
        workload::template(&mut errors, spec, "StatefulSet", &path);
        errors
    }

    fn validate_status_update(&self, object: &Object, old: &Object) -> Vec<field::Error> {
        let mut errors = workload::status_counts(
            object,
            &["readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"],
            &[],
        );
        workload::collisions(&mut errors, object, old);
        errors
    }

    fn validate_update(&self, object: &Object, old: &Object) -> Vec<field::Error> {
        let fixed = |object: &Object| -> Map<String, Value> {
            let spec = object.object("spec").iter().filter(|(name, _)| !CHANGEABLE.contains(&name.as_str()));
            spec.map(|(name, value)| (name.clone(), value.clone())).collect()
        };
        if fixed(object) == fixed(old) {
            return Errors::new();
        }
        let detail = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', \
            'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";
        vec![Error::forbidden(&Path::new("spec"), detail)]
    }
}

fn update_strategy(errors: &mut Errors, strategy: &Map<String, Value>, path: &Path) {
    match strategy.text("type") {
        "" => errors.push(Error::required(path, "")),
        "OnDelete" => {
            if strategy.has("rollingUpdate") {
                let detail = "only allowed for updateStrategy 'RollingUpdate'";
                errors.push(Error::invalid(
                    &path.child("rollingUpdate"),
                    strategy.object("rollingUpdate").clone(),
                    detail,
                ));
            }
        }
        "RollingUpdate" => {
            let path = path.child("rollingUpdate");
            check::not_negative(errors, strategy.object("rollingUpdate"), "partition", &path);
            let rolling = strategy.object("rollingUpdate");
            workload::count_or_percent(errors, rolling, "maxUnavailable", &path);
            if let Some(none) = rolling.value("maxUnavailable").filter(|_| workload::is_zero(rolling, "maxUnavailable"))
            {
                errors.push(Error::invalid(&path.child("maxUnavailable"), none.clone(), "cannot be 0"));
            }
            workload::at_most_all(errors, rolling, "maxUnavailable", &path);
        }
        other => errors.push(Error::invalid(path, other, "must be 'RollingUpdate' or 'OnDelete'")),
    }
}
