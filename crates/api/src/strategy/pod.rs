//! Pods (upstream: pkg/registry/core/pod/strategy.go).

use apimachinery::Object;
use apimachinery::field::{self, Path};
use serde_json::{Value, json};

use crate::check::{Errors, names};
use crate::json::{Read, Write};
use crate::resource::{Strategy, WriteContext};

mod defaults;
mod label_keys;
mod qos;
mod status;
mod update;
mod validation;
mod warnings;

pub(crate) use defaults::{
    pod_spec as default_pod_spec, template as default_template, volume_source as default_volume_source,
};
pub(crate) use validation::{
    container_resource, node_selector, not_below_zero, overcommits, quantity_of, requirements as resource_requirements,
    resource_name, template as validate_template, template_metadata as validate_template_metadata, tolerations,
    volume_source as validate_volume_source,
};
pub(crate) use warnings::{in_whole_bytes, pod as pod_warnings};

/// The strategy of pods.
pub(crate) struct Pod;

/// Classes that exist in every cluster, with their priorities (upstream: pkg/apis/scheduling/v1/helpers.go).
const SYSTEM_PRIORITIES: &[(&str, i64)] =
    &[("", 0), ("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000)];

impl Strategy for Pod {
    fn default(&self, object: &mut Object) {
        if let Some(spec) = object.object_made("spec") {
            defaults::pod(spec);
        }
    }

    fn prepare_for_create(&self, _cx: &WriteContext<'_>, object: &mut Object) {
        let class = qos::class(object.object("spec"));
        let mut status = json!({"phase": "Pending", "qosClass": class});
        if !object.object("spec").list("schedulingGates").is_empty() {
            status["conditions"] = json!([{
                "type": "PodScheduled",
                "status": "False",
                "reason": "SchedulingGated",
                "message": "Scheduling is blocked due to non-empty scheduling gates",
            }]);
        }
        object.0.insert("status".into(), status);
        label_keys::merge(object);
        if let Some(spec) = object.object_at("spec") {
            spec.remove("ephemeralContainers");
            let known = SYSTEM_PRIORITIES.iter().find(|(name, _)| *name == spec.text("priorityClassName"));
            if let Some((_, priority)) = known {
                spec.default_to("priority", *priority);
                spec.default_text("preemptionPolicy", "PreemptLowerPriority");
            }
        }
    }

    fn prepare_for_update(&self, cx: &WriteContext<'_>, object: &mut Object, old: &Object) {
        match cx.subresource {
            "ephemeralcontainers" => update::keep_all_but_ephemeral_containers(object, old),
            "resize" => update::keep_all_but_resources(object, old),
            _ => {}
        }
    }

    /// A pod has its class of service and its owners from elsewhere: who writes a status does not unset them.
    fn prepare_for_status_update(&self, _cx: &WriteContext<'_>, object: &mut Object, old: &Object) {
        let class = old.object("status").text("qosClass");
        if !class.is_empty()
            && let Some(status) = object.object_at("status")
        {
            status.default_text("qosClass", class);
        }
        object.keep_meta(old, "ownerReferences");
    }

    fn validate(&self, object: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        validation::pod_spec(&mut errors, object.object("spec"), &Path::new("spec"));
        errors
    }

    fn validate_update(&self, object: &Object, old: &Object) -> Vec<field::Error> {
        update::validate(object, old)
    }

    fn validate_status_update(&self, object: &Object, old: &Object) -> Vec<field::Error> {
        status::validate(object, old)
    }

    fn judge_status_update(
        &self,
        _cx: &WriteContext<'_>,
        object: &Object,
        old: &Object,
    ) -> (Vec<field::Error>, Vec<String>) {
        (self.validate_status_update(object, old), status::warnings(object))
    }

    fn validate_subresource_update(&self, subresource: &str, object: &Object, old: &Object) -> Vec<field::Error> {
        match subresource {
            "ephemeralcontainers" => update::validate_ephemeral_containers(object, old),
            "resize" => update::validate_resize(object, old),
            _ => self.validate_update(object, old),
        }
    }

    fn name_errors(&self, name: &str, prefix: bool) -> Vec<String> {
        names::name_is_dns_subdomain(name, prefix)
    }

    /// A pod that no node has, or that has ended, goes at once.
    fn grace_period_seconds(&self, object: &Object, requested: Option<i64>) -> Option<i64> {
        let (spec, status) = (object.object("spec"), object.object("status"));
        let ended = matches!(status.text("phase"), "Failed" | "Succeeded");
        if spec.text("nodeName").is_empty() || ended {
            return Some(0);
        }
        let own = spec.int("terminationGracePeriodSeconds").unwrap_or_default();
        let seconds = requested.unwrap_or(own);
        Some(if seconds < 0 { 1 } else { seconds })
    }

    fn row_conditions(&self, object: &Object) -> Value {
        let message = match object.object("status").text("phase") {
            "Succeeded" => "The pod has completed successfully.",
            "Failed" => "The pod failed.",
            _ => return Value::Null,
        };
        let reason = object.object("status").text("phase");
        json!([{"type": "Completed", "status": "True", "reason": reason, "message": message}])
    }

    fn warnings(&self, object: &Object) -> Vec<String> {
        let mut found = Vec::new();
        let wrong = names::dns1123_label(object.name());
        if !wrong.is_empty() {
            found.push(format!(
                "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS \
                 label is recommended: [{}]",
                wrong.join(" ")
            ));
        }
        found.extend(pod_warnings(&object.0, &Path::default()));
        found
    }

    /// People seldom change pods themselves, and kubelets do so all the time.
    fn update_warnings(&self, _object: &Object, _old: &Object) -> Vec<String> {
        Vec::new()
    }
}

/// The labels of an object, or of a template.
pub(crate) fn labels_of(value: &Value) -> &serde_json::Map<String, Value> {
    value.object("metadata").object("labels")
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn pod(spec: Value) -> Object {
        let mut object = Object::from_value(json!({"metadata": {"name": "web"}, "spec": spec})).expect("an object");
        Pod.default(&mut object);
        object
    }

    fn lines(errors: &[field::Error]) -> String {
        errors.iter().map(|error| format!("{error}\n")).collect()
    }

    fn check(spec: Value, expected: &Expect) {
        expected.assert_eq(&lines(&Pod.validate(&pod(spec))));
    }

    #[test]
    fn a_right_pod_is_taken() {
        let spec = json!({
            "nodeSelector": {"disk": "ssd"},
            "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{
                "weight": 1,
                "podAffinityTerm": {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "web"}}},
            }]}},
            "tolerations": [{"operator": "Exists"}, {"key": "a", "value": "b", "effect": "NoSchedule"}],
            "containers": [{
                "name": "web", "image": "web:1",
                "ports": [{"name": "http", "containerPort": 8080}],
                "env": [
                    {"name": "PORT", "valueFrom": {"configMapKeyRef": {"name": "web", "key": "PORT"}}},
                    {"name": "LABEL", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
                ],
                "envFrom": [{"secretRef": {"name": "web"}}],
                "resources": {"requests": {"cpu": "10m"}, "limits": {"cpu": "1", "memory": "256Mi"}},
                "readinessProbe": {"httpGet": {"path": "/healthz", "port": "http"}},
                "volumeMounts": [{"name": "scratch", "mountPath": "/tmp"}],
            }],
            "volumes": [{"name": "scratch"}, {"name": "token", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}],
        });
        check(spec, &expect![[""]]);
    }

    #[test]
    fn a_wrong_pod_is_refused_field_by_field() {
        let spec = json!({
            "restartPolicy": "Sometimes",
            "hostname": "-x",
            "activeDeadlineSeconds": 0,
            "tolerations": [{"value": "x"}, {"key": "a", "tolerationSeconds": 1, "effect": "NoSchedule"}],
            "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}},
            "initContainers": [{"name": "a", "image": "x", "readinessProbe": {"exec": {"command": ["x"]}}}],
            "containers": [
                {
                    "name": "a", "image": "",
                    "ports": [{"containerPort": 80, "name": "HTTP"}, {"containerPort": 70000}],
                    "env": [{"name": "A=B"}, {"name": "X", "value": "1", "valueFrom": {"fieldRef": {"fieldPath": "spec.x"}}}],
                    "resources": {"requests": {"cpu": "2", "gpu": 1}, "limits": {"cpu": "1", "memory": "-1"}},
                    "livenessProbe": {"successThreshold": 2, "periodSeconds": -1},
                    "volumeMounts": [{"name": "none", "mountPath": "/a"}],
                },
                {"name": "B", "image": " x ", "lifecycle": {"preStop": {"exec": {}, "sleep": {"seconds": 1}}}},
            ],
            "volumes": [{"name": "two", "emptyDir": {}, "hostPath": {"path": "/a/../b"}}],
        });
        check(
            spec,
            &expect![[r#"
            spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type
            spec.containers[0].image: Required value
            spec.containers[0].ports[0].name: Invalid value: "HTTP": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)
            spec.containers[0].ports[0].name: Invalid value: "HTTP": must contain at least one letter (a-z)
            spec.containers[0].ports[1].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive
            spec.containers[0].env[0].name: Invalid value: "A=B": a valid environment variable name must consist only of printable ASCII characters other than '='
            spec.containers[0].env[1].valueFrom: Invalid value: "": may not be specified when `value` is not empty
            spec.containers[0].env[1].valueFrom.fieldRef.fieldPath: Invalid value: "spec.x": error converting fieldPath: field label not supported: spec.x
            spec.containers[0].volumeMounts[0].name: Not found: "none"
            spec.containers[0].resources.limits[memory]: Invalid value: "-1": must be greater than or equal to 0
            spec.containers[0].resources.requests[gpu]: Invalid value: "gpu": must be a standard resource type or fully qualified
            spec.containers[0].resources.requests[gpu]: Invalid value: "gpu": must be a standard resource for containers
            spec.containers[0].resources.requests[memory]: Invalid value: "-1": must be greater than or equal to 0
            spec.containers[0].resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1
            spec.containers[0].livenessProbe: Required value: must specify a handler type
            spec.containers[0].livenessProbe.periodSeconds: Invalid value: -1: must be greater than or equal to 0
            spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1
            spec.containers[1].name: Invalid value: "B": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
            spec.containers[1].image: Invalid value: " x ": must not have leading or trailing whitespace
            spec.containers[1].lifecycle.preStop.sleep: Forbidden: may not specify more than 1 handler type
            spec.containers[1].lifecycle.preStop.exec.command: Required value
            spec.initContainers[0].name: Duplicate value: "a"
            spec.initContainers[0].readinessProbe: Forbidden: may not be set for init containers without restartPolicy=Always
            spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "OnFailure", "Never"
            spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: Required value: must have at least one node selector term
            spec.tolerations[0].operator: Invalid value: "": operator must be Exists when `key` is empty, which means "match all values and all keys"
            spec.tolerations[1].effect: Invalid value: "NoSchedule": effect must be 'NoExecute' when `tolerationSeconds` is set
            spec.hostname: Invalid value: "-x": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
            spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive
        "#]],
        );
    }

    #[test]
    fn an_update_may_change_the_image_alone() {
        let old = pod(json!({"containers": [{"name": "a", "image": "a:1"}], "activeDeadlineSeconds": 5}));
        let with = |change: fn(&mut Value)| {
            let mut value = old.clone().into_value();
            change(&mut value["spec"]);
            let new = Object::from_value(value).expect("an object");
            lines(&Pod.validate_update(&new, &old))
        };
        assert_eq!(with(|spec| spec["containers"][0]["image"] = json!("a:2")), "");
        assert_eq!(with(|spec| spec["tolerations"] = json!([{"operator": "Exists"}])), "");
        assert_eq!(
            with(|spec| spec["activeDeadlineSeconds"] = json!(6)),
            "spec.activeDeadlineSeconds: Invalid value: 6: must be less than or equal to previous value\n"
        );
        assert_eq!(
            with(|spec| spec["containers"] = json!([])),
            "spec.containers: Forbidden: pod updates may not add or remove containers\n"
        );
        expect![[r#"
            spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)
              spec.nodeName:
            - 	null
            + 	"n1"
        "#]].assert_eq(&with(|spec| spec["nodeName"] = json!("n1")));
    }

    #[test]
    fn debugging_adds_containers_and_nothing_else() {
        let user = apimachinery::UserInfo::default();
        let cx = WriteContext { user: &user, now: jiff::Timestamp::UNIX_EPOCH, subresource: "ephemeralcontainers" };
        let old = pod(json!({"containers": [{"name": "a", "image": "a:1"}]}));
        let mut new = pod(json!({
            "nodeName": "elsewhere", "containers": [],
            "ephemeralContainers": [{"name": "debug", "image": "busybox:1", "targetContainerName": "a"}],
        }));
        Pod.prepare_for_update(&cx, &mut new, &old);
        assert_eq!(lines(&Pod.validate_subresource_update("ephemeralcontainers", &new, &old)), "");
        assert!(new.at(&["spec", "nodeName"]).is_none());
        let removed = lines(&Pod.validate_subresource_update("ephemeralcontainers", &old, &new));
        assert!(removed.contains("existing ephemeral containers \"debug\" may not be removed"), "{removed}");
    }

    #[test]
    fn grace_is_for_pods_that_run() {
        let running = pod(json!({"nodeName": "n1", "containers": []}));
        assert_eq!(Pod.grace_period_seconds(&running, None), Some(30));
        assert_eq!(Pod.grace_period_seconds(&running, Some(5)), Some(5));
        assert_eq!(Pod.grace_period_seconds(&pod(json!({})), None), Some(0));
    }
}
