//! Every kind by its row: examples as people write them, and objects that make no sense.

use apimachinery::{GroupVersionKind, Object, UserInfo, schema};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use expect_test::{Expect, expect};
use serde_json::{Value, json};

use crate::catalogue::by_kind;
use crate::{RESOURCES, SCHEMAS, WriteContext};

/// A request of a certificate, in base64.
fn signing_request() -> String {
    let key = rcgen::KeyPair::generate().expect("a key");
    let request = rcgen::CertificateParams::default().serialize_request(&key).expect("a request");
    STANDARD.encode(request.pem().expect("PEM"))
}

/// What a create of `object` answers: the errors, one a line.
fn create(object: Value) -> (Object, String) {
    let mut object = Object::from_value(object).expect("an object");
    let kind = GroupVersionKind::from_api_version(object.api_version(), object.kind());
    let row = by_kind(&kind).unwrap_or_else(|| panic!("{kind:?} is in the catalogue"));
    let root = SCHEMAS.of(&kind).expect("a schema");
    let problems = schema::decode(&SCHEMAS.set, root, &mut object).expect("of the right structure");
    assert!(problems.is_empty(), "{kind:?}: {problems:?}");
    let user = UserInfo::new("jane", ["dev"]);
    let cx = WriteContext { user: &user, now: jiff::Timestamp::UNIX_EPOCH, subresource: "" };
    object.set_meta_str("uid", "u-1");
    row.strategy.default(&mut object);
    row.strategy.prepare_for_create(&cx, &mut object);
    let errors = row.strategy.validate(&object).iter().map(|error| format!("{error}\n")).collect();
    (object, errors)
}

fn check(object: Value, expected: &Expect) {
    expected.assert_eq(&create(object).1);
}

fn template(restart_policy: &str) -> Value {
    json!({
        "metadata": {"labels": {"app": "web"}},
        "spec": {"restartPolicy": restart_policy, "containers": [{"name": "web", "image": "web:1"}]},
    })
}

fn object(api_version: &str, kind: &str, rest: Value) -> Value {
    let mut object =
        json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "web", "namespace": "default"}});
    for (name, value) in rest.as_object().expect("an object") {
        object[name.as_str()] = value.clone();
    }
    object
}

fn workloads() -> Vec<Value> {
    let selector = json!({"matchLabels": {"app": "web"}});
    let workload = json!({"selector": selector, "template": template("Always")});
    let job = json!({"template": template("Never")});
    vec![
        object("v1", "ConfigMap", json!({"data": {"key": "value"}})),
        object("v1", "Secret", json!({"stringData": {"password": "x"}})),
        object("v1", "Secret", json!({"type": "kubernetes.io/tls", "data": {"tls.crt": "", "tls.key": ""}})),
        object("v1", "Namespace", json!({})),
        object("v1", "ServiceAccount", json!({})),
        object("v1", "Node", json!({"spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]}})),
        object("v1", "Service", json!({"spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}})),
        object("v1", "Pod", json!({"spec": {"containers": [{"name": "a", "image": "b"}]}})),
        object("v1", "ReplicationController", json!({"spec": {"template": template("Always")}})),
        object("apps/v1", "Deployment", json!({"spec": workload})),
        object("apps/v1", "ReplicaSet", json!({"spec": workload})),
        object("apps/v1", "DaemonSet", json!({"spec": workload})),
        object("apps/v1", "StatefulSet", json!({"spec": workload})),
        object("batch/v1", "Job", json!({"spec": job})),
        object("batch/v1", "CronJob", json!({"spec": {"schedule": "*/5 * * * *", "jobTemplate": {"spec": job}}})),
        object("policy/v1", "PodDisruptionBudget", json!({"spec": {"maxUnavailable": "10%", "selector": selector}})),
    ]
}

fn access_and_network() -> Vec<Value> {
    let rule = json!({"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]});
    let role_ref = |kind: &str| json!({"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": "reader"});
    let backend = json!({"service": {"name": "web", "port": {"number": 80}}});
    vec![
        object("rbac.authorization.k8s.io/v1", "Role", json!({"rules": [rule]})),
        object(
            "rbac.authorization.k8s.io/v1",
            "ClusterRole",
            json!({"rules": [{"nonResourceURLs": ["/x"], "verbs": ["get"]}]}),
        ),
        object(
            "rbac.authorization.k8s.io/v1",
            "RoleBinding",
            json!({"roleRef": role_ref("Role"), "subjects": [{"kind": "User", "name": "jane"}]}),
        ),
        object(
            "rbac.authorization.k8s.io/v1",
            "ClusterRoleBinding",
            json!({"roleRef": role_ref("ClusterRole"), "subjects": [{"kind": "ServiceAccount", "name": "a", "namespace": "b"}]}),
        ),
        object(
            "networking.k8s.io/v1",
            "Ingress",
            json!({"spec": {"rules": [{"host": "a.b", "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}]}}),
        ),
        object("networking.k8s.io/v1", "IngressClass", json!({"spec": {"controller": "a.b/c"}})),
        object(
            "networking.k8s.io/v1",
            "NetworkPolicy",
            json!({"spec": {"podSelector": {}, "ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}], "ports": [{"port": 80}]}]}}),
        ),
    ]
}

fn storage_and_the_rest() -> Vec<Value> {
    let storage = json!({"requests": {"storage": "1Gi"}});
    let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"});
    vec![
        object(
            "v1",
            "PersistentVolume",
            json!({"spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/data"}}}),
        ),
        object(
            "v1",
            "PersistentVolumeClaim",
            json!({"spec": {"accessModes": ["ReadWriteOnce"], "resources": storage}}),
        ),
        object("storage.k8s.io/v1", "StorageClass", json!({"provisioner": "a.b/c"})),
        object(
            "v1",
            "LimitRange",
            json!({"spec": {"limits": [{"type": "Container", "max": {"cpu": "1"}, "min": {"cpu": "1m"}}]}}),
        ),
        object("v1", "ResourceQuota", json!({"spec": {"hard": {"pods": "10", "requests.cpu": "4"}}})),
        object(
            "autoscaling/v2",
            "HorizontalPodAutoscaler",
            json!({"spec": {"scaleTargetRef": target, "maxReplicas": 5}}),
        ),
        object(
            "autoscaling/v1",
            "HorizontalPodAutoscaler",
            json!({"spec": {"scaleTargetRef": target, "maxReplicas": 5}}),
        ),
        object("scheduling.k8s.io/v1", "PriorityClass", json!({"value": 1000})),
        object("node.k8s.io/v1", "RuntimeClass", json!({"handler": "runc"})),
        object("coordination.k8s.io/v1", "Lease", json!({"spec": {"leaseDurationSeconds": 15}})),
        object(
            "discovery.k8s.io/v1",
            "EndpointSlice",
            json!({"addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"]}], "ports": [{"port": 80}]}),
        ),
        object("v1", "Event", json!({"involvedObject": {"kind": "Pod", "namespace": "default"}})),
        object(
            "certificates.k8s.io/v1",
            "CertificateSigningRequest",
            json!({"spec": {"request": signing_request(), "signerName": "a.b/c", "usages": ["client auth"]}}),
        ),
    ]
}

#[test]
fn examples_as_people_write_them_are_taken() {
    for example in [workloads(), access_and_network(), storage_and_the_rest()].concat() {
        let kind = example["kind"].clone();
        assert_eq!(create(example).1, "", "{kind}");
    }
}

#[test]
fn a_job_selects_its_own_pods() {
    let (job, errors) = create(object("batch/v1", "Job", json!({"spec": {"template": template("Never")}})));
    assert_eq!(errors, "");
    assert_eq!(job.str_at(&["spec", "selector", "matchLabels", "batch.kubernetes.io/controller-uid"]), Some("u-1"));
    assert_eq!(job.str_at(&["spec", "template", "metadata", "labels", "job-name"]), Some("web"));
    assert_eq!(job.at(&["spec", "completions"]), Some(&json!(1)));
}

#[test]
fn a_namespace_is_born_active_and_finalized() {
    let (namespace, _) = create(object("v1", "Namespace", json!({"status": {"phase": "Terminating"}})));
    expect![[r#"
        {
          "apiVersion": "v1",
          "kind": "Namespace",
          "metadata": {
            "labels": {
              "kubernetes.io/metadata.name": "web"
            },
            "name": "web",
            "namespace": "default",
            "uid": "u-1"
          },
          "spec": {
            "finalizers": [
              "kubernetes"
            ]
          },
          "status": {
            "phase": "Active"
          }
        }"#]]
    .assert_eq(&format!("{:#}", namespace.into_value()));
}

#[test]
fn a_signing_request_carries_who_made_it() {
    let spec =
        json!({"request": signing_request(), "signerName": "a.b/c", "usages": ["client auth"], "username": "root"});
    let (request, _) = create(object("certificates.k8s.io/v1", "CertificateSigningRequest", json!({"spec": spec})));
    assert_eq!(request.str_at(&["spec", "username"]), Some("jane"));
}

#[test]
fn wrong_data_workloads_and_roles_are_refused_field_by_field() {
    check(
        object("v1", "ConfigMap", json!({"data": {"a/b": "", "c": ""}, "binaryData": {"c": ""}})),
        &expect![[r#"
        data[a/b]: Invalid value: "a/b": a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')
        data[c]: Invalid value: "c": duplicate of key present in binaryData
    "#]],
    );
    check(
        object("v1", "Secret", json!({"type": "kubernetes.io/tls", "data": {"tls.crt": ""}})),
        &expect![[r#"
        data[tls.key]: Required value
    "#]],
    );
    check(
        object("batch/v1", "Job", json!({"spec": {"template": template("Always"), "parallelism": -1}})),
        &expect![[r#"
            spec.parallelism: Invalid value: -1: must be greater than or equal to 0
            spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"
        "#]],
    );
    check(
        object(
            "batch/v1",
            "CronJob",
            json!({"spec": {"schedule": "x", "jobTemplate": {"spec": {"template": template("Never")}}}}),
        ),
        &expect![[r#"
            spec.schedule: Invalid value: "x": expected exactly 5 fields, found 1: [x]
        "#]],
    );
    check(
        object("policy/v1", "PodDisruptionBudget", json!({"spec": {"maxUnavailable": "x", "minAvailable": 1}})),
        &expect![[r#"
            spec: Invalid value: {"maxUnavailable":"x","minAvailable":1}: minAvailable and maxUnavailable cannot be both set
            spec.maxUnavailable: Invalid value: "x": a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')
        "#]],
    );
    check(
        object(
            "rbac.authorization.k8s.io/v1",
            "Role",
            json!({"rules": [{"nonResourceURLs": ["/x"]}, {"verbs": ["get"]}]}),
        ),
        &expect![[r#"
            rules[0].verbs: Required value: verbs must contain at least one value
            rules[0].nonResourceURLs: Invalid value: ["/x"]: namespaced rules cannot apply to non-resource URLs
            rules[1].apiGroups: Required value: resource rules must supply at least one api group
            rules[1].resources: Required value: resource rules must supply at least one resource
        "#]],
    );
    check(
        object(
            "rbac.authorization.k8s.io/v1",
            "RoleBinding",
            json!({"roleRef": {"kind": "X"}, "subjects": [{"kind": "ServiceAccount"}]}),
        ),
        &expect![[r#"
            roleRef.kind: Unsupported value: "X": supported values: "Role", "ClusterRole"
            roleRef.name: Required value
            subjects[0].name: Required value
        "#]],
    );
}

#[test]
fn wrong_networks_volumes_and_scales_are_refused_field_by_field() {
    check(
        object("networking.k8s.io/v1", "Ingress", json!({"spec": {}})),
        &expect![[r#"
        spec: Invalid value: []: either `defaultBackend` or `rules` must be specified
    "#]],
    );
    check(
        object("v1", "PersistentVolume", json!({"spec": {}})),
        &expect![[r#"
            spec.accessModes: Required value
            spec.capacity: Required value
            spec.capacity: Unsupported value: {}: supported values: "storage"
            spec: Required value: must specify a volume type
        "#]],
    );
    check(
        object("v1", "PersistentVolumeClaim", json!({"spec": {}})),
        &expect![[r#"
        spec.accessModes: Required value: at least 1 access mode is required
        spec.resources[storage]: Required value
    "#]],
    );
    check(
        object(
            "autoscaling/v2",
            "HorizontalPodAutoscaler",
            json!({"spec": {"minReplicas": 3, "maxReplicas": 0, "scaleTargetRef": {}}}),
        ),
        &expect![[r#"
            spec.maxReplicas: Required value: must be set and greater than 0
            spec.maxReplicas: Invalid value: 0: must be greater than or equal to `minReplicas`
            spec.scaleTargetRef.kind: Required value
            spec.scaleTargetRef.name: Required value
            spec.scaleTargetRef.apiVersion: Invalid value: "": apiVersion must specify API group
        "#]],
    );
    check(
        object(
            "discovery.k8s.io/v1",
            "EndpointSlice",
            json!({"addressType": "IPv4", "endpoints": [{"addresses": ["x"]}]}),
        ),
        &expect![[r#"
            endpoints[0].addresses[0]: Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)
        "#]],
    );
    check(
        object("scheduling.k8s.io/v1", "PriorityClass", json!({"value": 1_000_000_001})),
        &expect![[r#"
        value: Forbidden: maximum allowed value of a user defined priority is 1000000000
    "#]],
    );
}

#[test]
fn no_object_is_too_odd() {
    let user = UserInfo::default();
    let cx = WriteContext { user: &user, now: jiff::Timestamp::UNIX_EPOCH, subresource: "" };
    let odd = [
        json!({}),
        json!({"metadata": 1, "spec": [], "status": "x", "data": 7}),
        json!({"spec": {"template": 1, "selector": [], "containers": {}, "ports": "x", "strategy": 1, "jobTemplate": []}}),
        json!({"spec": {"template": {"spec": {"containers": [1, null, {}], "volumes": [null], "affinity": []}}}}),
        json!({"webhooks": [1, {}], "rules": [null], "subjects": [{}], "roleRef": 1, "endpoints": [{}, 1], "subsets": [{}]}),
    ];
    for row in RESOURCES.iter() {
        for value in &odd {
            let mut object = Object::from_value(value.clone()).expect("an object");
            row.strategy.default(&mut object);
            let once = object.clone();
            row.strategy.default(&mut object);
            assert_eq!(once, object, "{:?}: defaults are idempotent", row.gvk);
            row.strategy.prepare_for_create(&cx, &mut object);
            row.strategy.prepare_for_update(&cx, &mut object, &once);
            row.strategy.validate(&object);
            row.strategy.validate_update(&object, &once);
            row.strategy.warnings(&object);
            for special in &row.subresources.special {
                let cx = WriteContext { subresource: special.name, ..cx.clone() };
                row.strategy.prepare_for_update(&cx, &mut object, &once);
                row.strategy.validate_subresource_update(special.name, &object, &once);
            }
        }
    }
}

#[test]
fn updates_without_a_version_and_creates_by_put_are_where_upstream_has_them() {
    let named = |holds: &dyn Fn(&crate::Resource) -> bool| {
        let mut kinds: Vec<&str> = RESOURCES.iter().filter(|row| holds(row)).map(|row| row.gvk.kind.as_str()).collect();
        kinds.sort_unstable();
        kinds.dedup();
        kinds.join(" ")
    };
    let versioned = "APIService CSIDriver CSINode CSIStorageCapacity ClusterTrustBundle Lease MutatingAdmissionPolicy \
        MutatingAdmissionPolicyBinding MutatingWebhookConfiguration PodCertificateRequest PodDisruptionBudget \
        RuntimeClass StorageVersionMigration ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding \
        ValidatingWebhookConfiguration VolumeAttachment";
    assert_eq!(named(&|row| !row.strategy.allow_unconditional_update()), versioned);
    let created = "ClusterRole ClusterRoleBinding Endpoints Event Lease LimitRange Role RoleBinding Service";
    assert_eq!(named(&|row| row.strategy.allow_create_on_update()), created);
}
