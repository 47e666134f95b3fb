//! Deployments (upstream: pkg/apis/apps/v1/defaults.go, pkg/apis/apps/validation/validation.go).

use apimachinery::Object;
use apimachinery::field::{self, Error, Path};
use serde_json::{Map, Value, json};

use super::pod::default_template;
use super::workload;
use crate::check::{self, Errors};
use crate::json::{Read, Write};
use crate::resource::{Generation, Strategy, WriteContext};

/// The strategy of deployments.
pub(crate) struct Deployment;

impl Strategy for Deployment {
    fn default(&self, object: &mut Object) {
        let Some(spec) = object.object_made("spec") else { return };
        spec.default_to("replicas", 1);
        spec.default_to("revisionHistoryLimit", 10);
        spec.default_to("progressDeadlineSeconds", 600);
        if let Some(strategy) = spec.object_made("strategy") {
            strategy.default_text("type", "RollingUpdate");
            if strategy.text("type") == "RollingUpdate"
                && let Some(rolling) = strategy.object_made("rollingUpdate")
            {
                rolling.default_to("maxUnavailable", "25%");
                rolling.default_to("maxSurge", "25%");
            }
        }
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
        workload::selector(&mut errors, spec, "deployment", &path);
        workload::template(&mut errors, spec, "ReplicaSet", &path);
        rollout(&mut errors, spec.object("strategy"), &path.child("strategy"));
        check::not_negative(&mut errors, spec, "minReadySeconds", &path);
        check::not_negative(&mut errors, spec, "revisionHistoryLimit", &path);
        check::not_negative(&mut errors, spec, "progressDeadlineSeconds", &path);
        if let Some(deadline) = spec.int("progressDeadlineSeconds")
            && deadline <= spec.int("minReadySeconds").unwrap_or_default()
        {
            let detail = "must be greater than minReadySeconds";
            errors.push(Error::invalid(&path.child("progressDeadlineSeconds"), deadline, detail));
        }
        errors
    }

    /// Upstream: pkg/registry/apps/deployment/strategy.go, `deploymentStatusStrategy`.
    fn prepare_for_status_update(&self, _cx: &WriteContext<'_>, object: &mut Object, old: &Object) {
        object.keep_meta(old, "labels");
    }

    fn validate_status_update(&self, object: &Object, old: &Object) -> Vec<field::Error> {
        let mut errors = workload::status_counts(
            object,
            &["updatedReplicas", "readyReplicas", "availableReplicas"],
            &["unavailableReplicas"],
        );
        workload::collisions(&mut errors, object, old);
        errors
    }

    fn validate_update(&self, object: &Object, old: &Object) -> Vec<field::Error> {
        workload::same_selector(object, old)
    }

    fn generation(&self) -> Generation {
        Generation::SpecAndAnnotations
    }
}

fn rollout(errors: &mut Errors, strategy: &Map<String, Value>, path: &Path) {
    match strategy.text("type") {
        "Recreate" => {
            if strategy.has("rollingUpdate") {
                let detail = "may not be specified when strategy `type` is 'Recreate'";
                errors.push(Error::forbidden(&path.child("rollingUpdate"), detail));
            }
        }
        "RollingUpdate" => {
            let (rolling, path) = (strategy.object("rollingUpdate"), path.child("rollingUpdate"));
            for name in ["maxUnavailable", "maxSurge"] {
                workload::count_or_percent(errors, rolling, name, &path);
            }
            if workload::is_zero(rolling, "maxUnavailable") && workload::is_zero(rolling, "maxSurge") {
                let value = rolling.value("maxUnavailable").cloned().unwrap_or(json!(0));
                errors.push(Error::invalid(&path.child("maxUnavailable"), value, "may not be 0 when `maxSurge` is 0"));
            }
            workload::at_most_all(errors, rolling, "maxUnavailable", &path);
        }
        other => errors.push(Error::not_supported(&path.child("type"), other, &["Recreate", "RollingUpdate"])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn deployment(spec: Value) -> Object {
        let mut object = Object::from_value(json!({"metadata": {"name": "web"}, "spec": spec})).expect("an object");
        Deployment.default(&mut object);
        object
    }

    fn check(spec: Value, expected: &Expect) {
        let errors = Deployment.validate(&deployment(spec));
        expected.assert_eq(&errors.iter().map(|error| format!("{error}\n")).collect::<String>());
    }

    fn template() -> Value {
        json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "web", "image": "web:1"}]}})
    }

    #[test]
    fn a_bare_deployment_gets_everything() {
        let object = deployment(json!({"selector": {"matchLabels": {"app": "web"}}, "template": template()}));
        assert!(Deployment.validate(&object).is_empty());
        expect![[r#"
            {
              "metadata": {
                "name": "web"
              },
              "spec": {
                "progressDeadlineSeconds": 600,
                "replicas": 1,
                "revisionHistoryLimit": 10,
                "selector": {
                  "matchLabels": {
                    "app": "web"
                  }
                },
                "strategy": {
                  "rollingUpdate": {
                    "maxSurge": "25%",
                    "maxUnavailable": "25%"
                  },
                  "type": "RollingUpdate"
                },
                "template": {
                  "metadata": {
                    "labels": {
                      "app": "web"
                    }
                  },
                  "spec": {
                    "containers": [
                      {
                        "image": "web:1",
                        "imagePullPolicy": "IfNotPresent",
                        "name": "web",
                        "resources": {},
                        "terminationMessagePath": "/dev/termination-log",
                        "terminationMessagePolicy": "File"
                      }
                    ],
                    "dnsPolicy": "ClusterFirst",
                    "restartPolicy": "Always",
                    "schedulerName": "default-scheduler",
                    "securityContext": {},
                    "terminationGracePeriodSeconds": 30
                  }
                }
              }
            }"#]]
        .assert_eq(&format!("{:#}", object.into_value()));
    }

    #[test]
    fn a_wrong_deployment_is_refused_field_by_field() {
        check(
            json!({}),
            &expect![[r#"
                spec.selector: Required value
                spec.template.metadata.labels: Invalid value: null: `selector` does not match template `labels`
                spec.template.spec.containers: Required value
            "#]],
        );
        check(
            json!({
                "replicas": -1,
                "selector": {"matchLabels": {"app": "other"}},
                "strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "0%"}},
                "progressDeadlineSeconds": 5,
                "minReadySeconds": 10,
                "template": template(),
            }),
            &expect![[r#"
                spec.replicas: Invalid value: -1: must be greater than or equal to 0
                spec.template.metadata.labels: Invalid value: {"app":"web"}: `selector` does not match template `labels`
                spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "0%": may not be 0 when `maxSurge` is 0
                spec.progressDeadlineSeconds: Invalid value: 5: must be greater than minReadySeconds
            "#]],
        );
        check(
            json!({"selector": {}, "strategy": {"type": "Recreate", "rollingUpdate": {}}, "template": template()}),
            &expect![[r#"
                spec.selector: Invalid value: {}: empty selector is invalid for deployment
                spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'
            "#]],
        );
    }

    #[test]
    fn the_selector_stays() {
        let old = deployment(json!({"selector": {"matchLabels": {"app": "web"}}}));
        let new = deployment(json!({"selector": {"matchLabels": {"app": "x"}}}));
        let errors: Vec<String> = Deployment.validate_update(&new, &old).iter().map(ToString::to_string).collect();
        assert_eq!(errors, [r#"spec.selector: Invalid value: {"matchLabels":{"app":"x"}}: field is immutable"#]);
    }
}
