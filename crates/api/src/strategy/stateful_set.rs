//! StatefulSets (upstream: pkg/apis/apps/v1/defaults.go, `ValidateStatefulSet`).

use std::borrow::Cow;

use apimachinery::Object;
use apimachinery::field::{self, Error, Path};
use serde_json::{Map, Value, json};

use super::pod::{default_template, validate_template, validate_template_metadata};
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
        let mut found = workload::warnings(object, &["spec"]);
        further_warnings(&mut found, object);
        found
    }

    fn update_warnings(&self, object: &Object, old: &Object) -> Vec<String> {
        let mut found = workload::update_warnings(object, old, &["spec"]);
        further_warnings(&mut found, object);
        found
    }

    fn validate(&self, object: &Object) -> Vec<field::Error> {
        validate_spec(object.object("spec"), Judged::New)
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
        let was_right = validate_spec(old.object("spec"), Judged::Stored).is_empty();
        let judged = if was_right { Judged::Stored } else { Judged::StoredWrong };
        let mut errors = validate_spec(object.object("spec"), judged);
        if fixed(object.object("spec")) != fixed(old.object("spec")) {
            let detail = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', \
                'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and \
                'minReadySeconds' are forbidden";
            errors.push(Error::forbidden(&Path::new("spec"), detail));
        }
        errors
    }

    fn judges_updates_alone(&self) -> bool {
        true
    }
}

fn further_warnings(found: &mut Vec<String>, object: &Object) {
    let (spec, path) = (object.object("spec"), Path::new("spec").child("volumeClaimTemplates"));
    for (index, claim) in spec.list("volumeClaimTemplates").iter().enumerate() {
        // Upstream leaves the spec out of the path.
        volume::claim_warnings(found, claim.object("spec"), &path.index(index));
    }
    if spec.int("revisionHistoryLimit").is_some_and(|limit| limit < 0) {
        let words = "a negative value retains all historical revisions; a value >= 0 is recommended";
        found.push(format!("spec.revisionHistoryLimit: {words}"));
    }
}

/// Which rules are for a spec (upstream: `StatefulSetValidationOptions`).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Judged {
    /// All.
    New,
    /// All but those for what no update can change: older ones were milder.
    Stored,
    /// Not those for the pods either: a template that was wrong before may be wrong still.
    StoredWrong,
}

/// What no update may change, with amounts in one spelling.
fn fixed(spec: &Map<String, Value>) -> Map<String, Value> {
    let spec = spec.iter().filter(|(name, _)| !CHANGEABLE.contains(&name.as_str()));
    let mut spec: Map<String, Value> = spec.map(|(name, value)| (name.clone(), value.clone())).collect();
    for claim in spec.items_mut("volumeClaimTemplates") {
        let comparable = volume::comparable(claim.object("spec"));
        claim.insert("spec".into(), comparable.into());
    }
    spec
}

fn validate_spec(spec: &Map<String, Value>, judged: Judged) -> Errors {
    let (mut errors, path) = (Errors::new(), Path::new("spec"));
    if !matches!(spec.text("podManagementPolicy"), "OrderedReady" | "Parallel") {
        let detail = "must be 'OrderedReady' or 'Parallel'";
        errors.push(Error::invalid(&path.child("podManagementPolicy"), spec.text("podManagementPolicy"), detail));
    }
    update_strategy(&mut errors, spec.object("updateStrategy"), &path.child("updateStrategy"));
    let retention = "persistentVolumeClaimRetentionPolicy";
    for field in ["whenDeleted", "whenScaled"] {
        check::one_of(&mut errors, spec.object(retention), field, &["Retain", "Delete"], &path.child(retention));
    }
    if judged == Judged::New {
        for (index, claim) in spec.list("volumeClaimTemplates").iter().enumerate() {
            let path = path.child("volumeClaimTemplates").index(index).child("spec");
            volume::claim_spec(&mut errors, claim.object("spec"), &path);
        }
    }
    check::not_negative(&mut errors, spec, "replicas", &path);
    check::not_negative(&mut errors, spec, "minReadySeconds", &path);
    check::not_negative(&mut errors, spec.object("ordinals"), "start", &path.child("ordinals"));
    if judged == Judged::New {
        check::optional_name(&mut errors, names::dns1123_label, spec, "serviceName", &path);
    }
    workload::selector(&mut errors, spec, "statefulset", &path);
    template(&mut errors, spec, judged, &path.child("template"));
    errors
}

fn template(errors: &mut Errors, spec: &Map<String, Value>, judged: Judged, path: &Path) {
    workload::selected(errors, spec, path);
    let template = spec.object("template");
    if judged == Judged::StoredWrong {
        validate_template_metadata(errors, template, path);
    } else {
        validate_template(errors, &as_pods_get_it(template, spec.list("volumeClaimTemplates")), path);
    }
    workload::restarts_always(errors, template.object("spec"), "StatefulSet", path);
}

/// A template with what the controller puts into its pods: the claims as volumes, its own names for hosts.
fn as_pods_get_it<'a>(template: &'a Map<String, Value>, claims: &[Value]) -> Cow<'a, Map<String, Value>> {
    let pod = template.object("spec");
    if claims.is_empty() && pod.text("hostname").is_empty() && pod.text("subdomain").is_empty() {
        return Cow::Borrowed(template);
    }
    let mut template = template.clone();
    let Some(pod) = template.object_at("spec") else { return Cow::Owned(template) };
    pod.remove("hostname");
    pod.remove("subdomain");
    let mut volumes: Vec<Value> = Vec::new();
    for claim in claims {
        let name = claim.object("metadata").text("name");
        if !volumes.iter().any(|volume| volume.text("name") == name) {
            volumes.push(json!({ "name": name, "persistentVolumeClaim": { "claimName": name } }));
        }
    }
    let made = volumes.len();
    for volume in pod.list("volumes") {
        if !volumes[..made].iter().any(|known| known.text("name") == volume.text("name")) {
            volumes.push(volume.clone());
        }
    }
    pod.insert("volumes".into(), volumes.into());
    Cow::Owned(template)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn set(claim: &Value, pod: Value, further: Value) -> Object {
        let mut spec = json!({
            "selector": {"matchLabels": {"app": "db"}}, "serviceName": "db",
            "template": {"metadata": {"labels": {"app": "db"}}, "spec": {
                "containers": [{"name": "db", "image": "db:1", "volumeMounts": [{"name": "data", "mountPath": "/data"}]}],
            }},
            "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": claim}],
        });
        for (field, value) in pod.as_object().cloned().unwrap_or_default() {
            spec["template"]["spec"][field] = value;
        }
        for (field, value) in further.as_object().cloned().unwrap_or_default() {
            spec[field] = value;
        }
        let mut object = Object::from_value(json!({"metadata": {"name": "db"}, "spec": spec})).expect("an object");
        StatefulSet.default(&mut object);
        object
    }

    fn claim() -> Value {
        json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}})
    }

    fn lines(errors: &[Error]) -> Vec<String> {
        errors.iter().map(ToString::to_string).collect()
    }

    /// Upstream: `volumesToAddForTemplates`.
    #[test]
    fn claims_are_volumes_of_the_pods() {
        assert_eq!(lines(&StatefulSet.validate(&set(&claim(), json!({}), json!({})))), [""; 0]);
        let named = json!({"hostname": "-x", "subdomain": "-y", "volumes": [{"name": "data", "hostPath": {}}]});
        assert_eq!(
            lines(&StatefulSet.validate(&set(&claim(), named, json!({})))),
            [""; 0],
            "the controller's are used"
        );
        let none = StatefulSet.validate(&set(&claim(), json!({}), json!({"volumeClaimTemplates": []})));
        assert_eq!(lines(&none), ["spec.template.spec.containers[0].volumeMounts[0].name: Not found: \"data\""]);
    }

    /// Upstream: `validateVolumeClaimTemplates`.
    #[test]
    fn claims_are_judged_when_they_are_new() {
        let wrong = set(&json!({"storageClassName": "A B"}), json!({}), json!({"serviceName": "a.b"}));
        let fields: Vec<String> = StatefulSet.validate(&wrong).into_iter().map(|error| error.field).collect();
        let of = "spec.volumeClaimTemplates[0].spec";
        assert_eq!(
            fields,
            [
                &format!("{of}.accessModes"),
                &format!("{of}.resources[storage]"),
                &format!("{of}.storageClassName"),
                "spec.serviceName"
            ]
        );
        assert_eq!(lines(&StatefulSet.validate_update(&wrong, &wrong)), [""; 0], "they cannot be mended");
    }

    /// Upstream: `ValidateStatefulSetUpdate`.
    #[test]
    fn what_was_wrong_before_may_be_wrong_still() {
        let (right, wrong) = (set(&claim(), json!({}), json!({})), json!({"dnsPolicy": "Mine"}));
        let wrong = set(&claim(), wrong, json!({}));
        let policies = r#""ClusterFirstWithHostNet", "ClusterFirst", "Default", "None""#;
        let refused =
            format!(r#"spec.template.spec.dnsPolicy: Unsupported value: "Mine": supported values: {policies}"#);
        assert_eq!(lines(&StatefulSet.validate_update(&wrong, &right)), [refused]);
        assert_eq!(lines(&StatefulSet.validate_update(&wrong, &wrong)), [""; 0]);
        let respelled = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1024Mi"}}});
        let same = set(&respelled, json!({}), json!({"replicas": 3}));
        assert_eq!(lines(&StatefulSet.validate_update(&same, &right)), [""; 0]);
        let grown = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "2Gi"}}});
        let grown = StatefulSet.validate_update(&set(&grown, json!({}), json!({})), &right);
        assert!(lines(&grown)[0].starts_with("spec: Forbidden: updates to statefulset spec for fields other than"));
    }
}
