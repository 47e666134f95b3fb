//! API services (upstream: kube-aggregator/pkg/apis/apiregistration/v1/defaults.go and validation/validation.go).

use apimachinery::field::{self, Error, Path};
use apimachinery::{Object, validation};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::check::{self, Errors, names};
use crate::json::{Read, Write};
use crate::resource::{Generation, Strategy, WriteContext};

/// The strategy of API services.
pub(crate) struct ApiService;

impl Strategy for ApiService {
    fn default(&self, object: &mut Object) {
        if let Some(service) = object.object_at("spec").and_then(|spec| spec.object_at("service")) {
            service.default_to("port", 443);
        }
    }

    /// What this server answers itself is available at once.
    fn prepare_for_create(&self, cx: &WriteContext<'_>, object: &mut Object) {
        let local = !object.object("spec").has("service");
        let now = Timestamp::from_second(cx.now.as_second()).unwrap_or(cx.now).to_string();
        let condition = json!({
            "type": "Available", "status": "True", "reason": "Local", "lastTransitionTime": now,
            "message": "Local APIServices are always available",
        });
        let conditions = if local { json!({ "conditions": [condition] }) } else { json!({}) };
        object.0.insert("status".into(), conditions);
    }

    fn validate(&self, object: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        let (spec, path) = (object.object("spec"), Path::new("spec"));
        let required = format!("{}.{}", spec.text("version"), spec.text("group"));
        if object.name() != required {
            let detail = format!("must be `spec.version+\".\"+spec.group`: {required:?}");
            errors.push(Error::invalid(&Path::new("metadata").child("name"), object.name(), detail));
        }
        if spec.text("group").is_empty() {
            if spec.text("version") != "v1" {
                let detail = "only v1 may have an empty group and it better be legacy kube";
                errors.push(Error::required(&path.child("group"), detail));
            }
        } else {
            check::named(&mut errors, names::dns1123_subdomain, spec.text("group"), &path.child("group"));
        }
        check::named(&mut errors, names::dns1035_label, spec.text("version"), &path.child("version"));
        priorities(&mut errors, spec, &path);
        backend(&mut errors, spec, &path);
        errors
    }

    fn validate_status_update(&self, object: &Object, _old: &Object) -> Vec<field::Error> {
        let (mut errors, path) = (Errors::new(), Path::new("status").child("conditions"));
        for (index, condition) in object.object("status").list("conditions").iter().enumerate() {
            if !matches!(condition.text("status"), "True" | "False" | "Unknown") {
                let path = path.index(index).child("status");
                errors.push(Error::not_supported(&path, condition.text("status"), &["True", "False", "Unknown"]));
            }
        }
        errors
    }

    /// The name of the core group's APIService is `v1.`.
    fn name_errors(&self, name: &str, prefix: bool) -> Vec<String> {
        validation::name_is_path_segment(name, prefix)
    }

    fn status_keeps_metadata(&self) -> bool {
        true
    }

    fn generation(&self) -> Generation {
        Generation::Never
    }

    fn allow_unconditional_update(&self) -> bool {
        false
    }
}

fn priorities(errors: &mut Errors, spec: &Map<String, Value>, path: &Path) {
    for (field, most) in [("groupPriorityMinimum", 20_000), ("versionPriority", 1000)] {
        let priority = spec.int(field).unwrap_or_default();
        if priority <= 0 || priority > most {
            let detail = format!("must be positive and less than {most}");
            errors.push(Error::invalid(&path.child(field), priority, detail));
        }
    }
}

/// A group is served by this server, or by a service that proves who it is.
fn backend(errors: &mut Errors, spec: &Map<String, Value>, path: &Path) {
    if !spec.has("service") {
        if !spec.text("caBundle").is_empty() {
            let detail = "local APIServices may not have a caBundle";
            let bundle = STANDARD.decode(spec.text("caBundle")).unwrap_or_default();
            errors.push(Error::invalid(&path.child("caBundle"), format!("{} bytes", bundle.len()), detail));
        }
        if spec.flag("insecureSkipTLSVerify") {
            let detail = "local APIServices may not have insecureSkipTLSVerify";
            errors.push(Error::invalid(&path.child("insecureSkipTLSVerify"), true, detail));
        }
        return;
    }
    let (service, at) = (spec.object("service"), path.child("service"));
    for field in ["namespace", "name"] {
        check::required(errors, service, field, &at);
    }
    let port = service.int("port").unwrap_or_default();
    let wrong = names::port_number(port);
    if !wrong.is_empty() {
        let detail = format!("port is not valid: {}", wrong.join(", "));
        errors.push(Error::invalid(&at.child("port"), port, detail));
    }
    if spec.flag("insecureSkipTLSVerify") && !spec.text("caBundle").is_empty() {
        let detail = "may not be true if caBundle is present";
        errors.push(Error::invalid(&path.child("insecureSkipTLSVerify"), true, detail));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_from_group_and_version() {
        let lines = |name: &str, spec: Value| {
            let mut object = Object::from_value(json!({"metadata": {"name": name}, "spec": spec})).expect("an object");
            ApiService.default(&mut object);
            ApiService.validate(&object).iter().map(|error| format!("{error}\n")).collect::<String>()
        };
        let right = json!({"group": "metrics.k8s.io", "version": "v1", "groupPriorityMinimum": 100, "versionPriority": 10,
            "service": {"namespace": "kube-system", "name": "metrics"}, "insecureSkipTLSVerify": true});
        assert_eq!(lines("v1.metrics.k8s.io", right), "");
        expect_test::expect![[r#"
            metadata.name: Invalid value: "a": must be `spec.version+"."+spec.group`: "v1.b"
            spec.groupPriorityMinimum: Invalid value: 0: must be positive and less than 20000
            spec.versionPriority: Invalid value: 1001: must be positive and less than 1000
            spec.insecureSkipTLSVerify: Invalid value: true: local APIServices may not have insecureSkipTLSVerify
        "#]]
        .assert_eq(&lines(
            "a",
            json!({"group": "b", "version": "v1", "versionPriority": 1001, "insecureSkipTLSVerify": true}),
        ));
        expect_test::expect![[r#"
            spec.group: Required value: only v1 may have an empty group and it better be legacy kube
            spec.caBundle: Invalid value: "3 bytes": local APIServices may not have a caBundle
        "#]]
        .assert_eq(&lines(
            "v2.",
            json!({"version": "v2", "groupPriorityMinimum": 1, "versionPriority": 1, "caBundle": "YWJj"}),
        ));
        let service = json!({"namespace": "a", "name": "b", "port": 70000});
        expect_test::expect![[r#"
            spec.service.port: Invalid value: 70000: port is not valid: must be between 1 and 65535, inclusive
        "#]]
        .assert_eq(&lines(
            "v1.b",
            json!({"group": "b", "version": "v1", "groupPriorityMinimum": 1, "versionPriority": 1, "service": service}),
        ));
    }
}
