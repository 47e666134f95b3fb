//! Quotas count what there is, refuse what is too much, and give back what is gone.

use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, ReplicationController, ResourceQuota, Secret, Service};
use kube::ResourceExt;
use kube::api::DeleteParams;
use serde_json::{Map, Value, json};
use testserver::Placed;

use crate::harness::{Cluster, Made, template};

const HERE: &str = "quota-test";

/// A cluster with a namespace of the tests' own.
async fn cluster() -> Cluster {
    let cluster = Cluster::start().await;
    cluster.create::<Namespace>(None, json!({"metadata": {"name": HERE}})).await;
    cluster.ready(HERE).await;
    // What the cluster itself puts into a namespace is counted as well.
    cluster.until::<ConfigMap, _>("the published CA", |all| (!all.list_in(HERE).is_empty()).then_some(())).await;
    cluster
}

async fn quota(cluster: &Cluster, name: &str, hard: Value, scopes: Value) {
    let quota = json!({"metadata": {"name": name}, "spec": {"hard": hard, "scopes": scopes}});
    cluster.create::<ResourceQuota>(Some(HERE), quota).await;
}

/// The resources that tests limit, each far enough away.
fn hard() -> Value {
    json!({
        "pods": "5", "services": "10", "services.nodeports": "1", "services.loadbalancers": "1",
        "replicationcontrollers": "10", "resourcequotas": "1", "configmaps": "10", "secrets": "10",
        "persistentvolumeclaims": "10", "count/replicasets.apps": "5",
        "cpu": "1", "memory": "500Mi", "requests.ephemeral-storage": "50Gi", "requests.example.com/dongle": "3",
    })
}

/// Waits until this much is used of some resources, and nothing of the others in [`hard`] but what is always there.
async fn used(cluster: &Cluster, name: &str, some: Value) {
    let what = format!("{name} to use {some}");
    cluster
        .until::<ResourceQuota, _>(&what, |all| {
            let quota = all.list_in(HERE).into_iter().find(|quota| quota.name_any() == name)?;
            let status = serde_json::to_value(quota.status.as_ref()?).ok()?;
            let spec = serde_json::to_value(&quota.spec).ok()?;
            let used = status["used"].as_object()?;
            let expected = |resource: &str| match (some.get(resource), resource) {
                (Some(value), _) => value.clone(),
                (None, "resourcequotas" | "configmaps") => json!("1"),
                (None, _) => json!("0"),
            };
            let complete = status["hard"] == spec["hard"] && used.len() == spec["hard"].as_object().map_or(0, Map::len);
            (complete && used.iter().all(|(resource, value)| *value == expected(resource))).then_some(())
        })
        .await;
}

/// An object is counted while it is there.
async fn life<K: Made>(object: Value, counted: Value) {
    let cluster = cluster().await;
    quota(&cluster, "test-quota", hard(), Value::Null).await;
    used(&cluster, "test-quota", json!({})).await;
    let name = cluster.create::<K>(Some(HERE), object).await.name_any();
    used(&cluster, "test-quota", counted).await;
    cluster.delete::<K>(HERE, &name, DeleteParams::background()).await;
    used(&cluster, "test-quota", json!({})).await;
    cluster.stop().await;
}

/// Conformance: ResourceQuota, object count quota, resourcequotas.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quota_has_a_status_at_once() {
    let cluster = cluster().await;
    quota(&cluster, "test-quota", hard(), Value::Null).await;
    used(&cluster, "test-quota", json!({"resourcequotas": "1"})).await;
    cluster.stop().await;
}

/// Conformance: ResourceQuota, object count quota, configmap.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn config_maps_are_counted() {
    let object = json!({"metadata": {"name": "test-configmap"}, "data": {"a": "b"}});
    life::<ConfigMap>(object, json!({"configmaps": "2"})).await;
}

/// Conformance: ResourceQuota, object count quota, secret.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_are_counted() {
    let object = json!({"metadata": {"name": "test-secret"}, "stringData": {"a": "b"}});
    life::<Secret>(object, json!({"secrets": "1"})).await;
}

/// Conformance: ResourceQuota, object count quota, service.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_are_counted() {
    let spec = json!({"type": "LoadBalancer", "ports": [{"port": 80}], "allocateLoadBalancerNodePorts": false});
    let object = json!({"metadata": {"name": "test-service"}, "spec": spec});
    life::<Service>(object, json!({"services": "1", "services.loadbalancers": "1"})).await;
    let spec = json!({"type": "NodePort", "ports": [{"port": 80}]});
    let object = json!({"metadata": {"name": "test-service"}, "spec": spec});
    life::<Service>(object, json!({"services": "1", "services.nodeports": "1"})).await;
}

/// Conformance: ResourceQuota, object count quota, replicaSet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replica_sets_are_counted() {
    let spec = json!({"replicas": 0, "selector": {"matchLabels": {"app": "a"}}, "template": template("a", "app:1")});
    let object = json!({"metadata": {"name": "test-rs"}, "spec": spec});
    life::<ReplicaSet>(object, json!({"count/replicasets.apps": "1"})).await;
}

/// Conformance: ResourceQuota, object count quota, replicationController.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replication_controllers_are_counted() {
    let spec = json!({"replicas": 0, "selector": {"app": "a"}, "template": template("a", "app:1")});
    let object = json!({"metadata": {"name": "test-rc"}, "spec": spec});
    life::<ReplicationController>(object, json!({"replicationcontrollers": "1"})).await;
}

fn pod(name: &str, requests: Value, limits: Value, more: Value) -> Value {
    let container = json!({"name": "pause", "image": "pause", "resources": {"requests": requests, "limits": limits}});
    let mut spec = json!({"containers": [container], "terminationGracePeriodSeconds": 0});
    for (field, value) in more.as_object().into_iter().flatten() {
        spec[field] = value.clone();
    }
    json!({"metadata": {"name": name}, "spec": spec})
}

/// Conformance: ResourceQuota, object count quota, pod.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_are_counted_with_what_they_request() {
    let cluster = cluster().await;
    quota(&cluster, "test-quota", hard(), Value::Null).await;
    used(&cluster, "test-quota", json!({})).await;
    let dongles = |count: &str| json!({"example.com/dongle": count});
    let requests = json!({"cpu": "500m", "memory": "252Mi", "ephemeral-storage": "30Gi", "example.com/dongle": "2"});
    cluster.create::<Pod>(Some(HERE), pod("test-pod", requests, dongles("2"), json!({}))).await;
    let counted = json!({
        "pods": "1", "cpu": "500m", "memory": "252Mi", "requests.ephemeral-storage": "30Gi",
        "requests.example.com/dongle": "2",
    });
    used(&cluster, "test-quota", counted.clone()).await;

    let more = json!({"cpu": "600m", "memory": "100Mi"});
    let refused = cluster.refused::<Pod>(HERE, pod("fail-pod", more, json!({}), json!({}))).await;
    assert_eq!(
        refused,
        "403 pods \"fail-pod\" is forbidden: exceeded quota: test-quota, requested: cpu=600m, used: cpu=500m, limited: cpu=1"
    );
    let mut more = json!({"cpu": "500m", "memory": "100Mi", "ephemeral-storage": "1Gi"});
    more["example.com/dongle"] = "2".into();
    let refused = cluster.refused::<Pod>(HERE, pod("fail-pod", more, dongles("2"), json!({}))).await;
    assert_eq!(
        refused,
        "403 pods \"fail-pod\" is forbidden: exceeded quota: test-quota, requested: requests.example.com/dongle=2, used: requests.example.com/dongle=2, limited: requests.example.com/dongle=3"
    );

    let resources = json!({"requests": {"cpu": "100m", "memory": "100Mi", "ephemeral-storage": "10Gi"}});
    let patch = json!({"spec": {"containers": [{"name": "pause", "image": "pause", "resources": resources}]}});
    let refused = cluster.patch_refused::<Pod>(HERE, "test-pod", patch).await;
    assert!(
        refused.starts_with(
            "422 Pod \"test-pod\" is invalid: spec: Forbidden: pod updates may not change fields other than"
        ),
        "{refused}"
    );
    used(&cluster, "test-quota", counted).await;
    cluster.delete::<Pod>(HERE, "test-pod", DeleteParams::default().grace_period(0)).await;
    used(&cluster, "test-quota", json!({})).await;
    cluster.stop().await;
}

/// A pod is counted by the quota of its scope and not by the other one.
async fn counted_by(cluster: &Cluster, object: Value, quotas: [&str; 2], counted: Value) {
    let name = cluster.create::<Pod>(Some(HERE), object).await.name_any();
    used(cluster, quotas[0], counted).await;
    used(cluster, quotas[1], json!({})).await;
    cluster.delete::<Pod>(HERE, &name, DeleteParams::default().grace_period(0)).await;
    used(cluster, quotas[0], json!({})).await;
}

/// Conformance: ResourceQuota, quota scope, Terminating and NotTerminating scope.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_are_counted_by_whether_they_have_a_deadline() {
    let cluster = cluster().await;
    let hard = json!({"pods": "5", "requests.cpu": "1", "requests.memory": "500Mi", "limits.cpu": "2", "limits.memory": "1Gi"});
    quota(&cluster, "quota-terminating", hard.clone(), json!(["Terminating"])).await;
    quota(&cluster, "quota-not-terminating", hard, json!(["NotTerminating"])).await;
    used(&cluster, "quota-terminating", json!({})).await;
    used(&cluster, "quota-not-terminating", json!({})).await;
    let (requests, limits) = (json!({"cpu": "500m", "memory": "200Mi"}), json!({"cpu": "1", "memory": "400Mi"}));
    let counted = json!({
        "pods": "1", "requests.cpu": "500m", "requests.memory": "200Mi", "limits.cpu": "1", "limits.memory": "400Mi",
    });
    let object = pod("test-pod", requests.clone(), limits.clone(), json!({}));
    counted_by(&cluster, object, ["quota-not-terminating", "quota-terminating"], counted.clone()).await;
    let object = pod("terminating-pod", requests, limits, json!({"activeDeadlineSeconds": 3600}));
    counted_by(&cluster, object, ["quota-terminating", "quota-not-terminating"], counted).await;
    cluster.stop().await;
}

/// Conformance: ResourceQuota, quota scope, BestEffort and NotBestEffort scope.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_are_counted_by_whether_they_request_anything() {
    let cluster = cluster().await;
    quota(&cluster, "quota-besteffort", json!({"pods": "5"}), json!(["BestEffort"])).await;
    quota(&cluster, "quota-not-besteffort", json!({"pods": "5"}), json!(["NotBestEffort"])).await;
    used(&cluster, "quota-besteffort", json!({})).await;
    used(&cluster, "quota-not-besteffort", json!({})).await;
    let object = pod("best-effort", json!({}), json!({}), json!({}));
    counted_by(&cluster, object, ["quota-besteffort", "quota-not-besteffort"], json!({"pods": "1"})).await;
    let object = pod("burst", json!({"cpu": "500m"}), json!({"cpu": "1"}), json!({}));
    counted_by(&cluster, object, ["quota-not-besteffort", "quota-besteffort"], json!({"pods": "1"})).await;
    cluster.stop().await;
}

/// Conformance: ResourceQuota, update and delete.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quota_is_changed_and_removed() {
    let cluster = cluster().await;
    quota(&cluster, "test-quota", json!({"cpu": "1", "memory": "500Mi"}), Value::Null).await;
    // From here on nobody else writes the quota.
    used(&cluster, "test-quota", json!({})).await;
    let api = ResourceQuota::api(&cluster.client, HERE);
    let mut found = api.get("test-quota").await.expect("there");
    let hard = json!({"cpu": "2", "memory": "1Gi"});
    found.spec.as_mut().expect("a spec").hard = serde_json::from_value(hard.clone()).expect("quantities");
    let updated = api.replace("test-quota", &Default::default(), &found).await.expect("it is updated");
    assert_eq!(serde_json::to_value(&updated.spec).expect("JSON")["hard"], hard);
    used(&cluster, "test-quota", json!({})).await;
    cluster.delete::<ResourceQuota>(HERE, "test-quota", DeleteParams::default()).await;
    assert!(api.get_opt("test-quota").await.expect("an answer").is_none());
    cluster.stop().await;
}
