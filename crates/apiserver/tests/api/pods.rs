//! Pods: admission, binding, graceful deletion, eviction.

use expect_test::expect;
use serde_json::{Value, json};

use crate::harness::Cluster;

const PODS: &str = "/api/v1/namespaces/default/pods";

async fn cluster() -> Cluster {
    let cluster = Cluster::new().await;
    let account = json!({"metadata": {"name": "default"}});
    assert_eq!(cluster.post("/api/v1/namespaces/default/serviceaccounts", account).await.code, 201);
    cluster
}

fn pod(name: &str) -> Value {
    json!({"metadata": {"name": name, "labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}})
}

fn binding(name: &str, node: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": {"kind": "Node", "name": node}})
}

#[tokio::test]
async fn admission_completes_a_pod() {
    let cluster = cluster().await;
    let created = cluster.post(PODS, pod("a")).await;
    assert_eq!(created.line(), "201 Pod a");
    assert_eq!(created.at("/spec/serviceAccountName"), "default");
    assert_eq!(created.at("/spec/volumes/0/projected/sources/0/serviceAccountToken/expirationSeconds"), 3607);
    assert_eq!(
        created.at("/spec/containers/0/volumeMounts/0/mountPath"),
        "/var/run/secrets/kubernetes.io/serviceaccount"
    );
    assert_eq!(created.at("/spec/tolerations").as_array().map(Vec::len), Some(2));
    assert_eq!(
        (created.at("/spec/priority"), created.at("/spec/preemptionPolicy")),
        (&json!(0), &json!("PreemptLowerPriority"))
    );
    assert_eq!(
        (created.at("/status/phase"), created.at("/status/qosClass")),
        (&json!("Pending"), &json!("BestEffort"))
    );
    let mut critical = pod("b");
    critical["spec"]["priorityClassName"] = "system-cluster-critical".into();
    assert_eq!(cluster.post(PODS, critical).await.at("/spec/priority"), 2_000_000_000);
    let mut unknown = pod("c");
    unknown["spec"]["priorityClassName"] = "nope".into();
    expect![[r#"403 Forbidden: pods "c" is forbidden: no PriorityClass with name nope was found"#]]
        .assert_eq(&cluster.post(PODS, unknown).await.line());
    let mut lost = pod("d");
    lost["spec"]["serviceAccountName"] = "nope".into();
    expect![[r#"403 Forbidden: pods "d" is forbidden: error looking up service account default/nope: serviceaccount "nope" not found"#]]
        .assert_eq(&cluster.post(PODS, lost).await.line());
}

#[tokio::test]
async fn a_pod_is_bound_once() {
    let cluster = cluster().await;
    cluster.post(PODS, pod("a")).await;
    let path = format!("{PODS}/a/binding");
    let bound = cluster.post(&path, binding("a", "n1")).await;
    assert_eq!((bound.code, bound.at("/status")), (201, &json!("Success")), "{}", bound.line());
    let stands = cluster.get(&format!("{PODS}/a")).await;
    assert_eq!(stands.at("/spec/nodeName"), "n1");
    assert_eq!(stands.at("/status/conditions/0/type"), "PodScheduled");
    expect![[
        r#"409 Conflict: Operation cannot be fulfilled on pods/binding "a": pod a is already assigned to node "n1""#
    ]]
    .assert_eq(&cluster.post(&path, binding("a", "n2")).await.line());
    let on_node = cluster.get("/api/v1/pods?fieldSelector=spec.nodeName%3Dn1").await;
    assert_eq!(on_node.at("/items/0/metadata/name"), "a");
    assert_eq!(cluster.get("/api/v1/pods?fieldSelector=spec.nodeName%3Dn2").await.at("/items"), &json!([]));
}

#[tokio::test]
async fn a_running_pod_is_given_time() {
    let cluster = cluster().await;
    for name in ["a", "b"] {
        cluster.post(PODS, pod(name)).await;
    }
    assert_eq!(cluster.delete(&format!("{PODS}/b")).await.line(), "200 Pod b", "nobody runs it");
    assert_eq!(cluster.get(&format!("{PODS}/b")).await.code, 404);
    cluster.post(&format!("{PODS}/a/binding"), binding("a", "n1")).await;
    let deleted = cluster.delete(&format!("{PODS}/a")).await;
    assert_eq!(deleted.at("/metadata/deletionGracePeriodSeconds"), 30);
    let status = cluster.patch("merge", &format!("{PODS}/a/status"), json!({"status": {"phase": "Running"}})).await;
    assert_eq!(status.at("/metadata/deletionTimestamp"), deleted.at("/metadata/deletionTimestamp"));
    let uid = deleted.at("/metadata/uid").clone();
    let wrong = json!({"gracePeriodSeconds": 0, "preconditions": {"uid": "other"}});
    assert_eq!(cluster.call("DELETE", &format!("{PODS}/a"), wrong).await.code, 409);
    let removal = json!({"gracePeriodSeconds": 0, "preconditions": {"uid": uid}});
    assert_eq!(cluster.call("DELETE", &format!("{PODS}/a"), removal).await.code, 200);
    assert_eq!(cluster.get(&format!("{PODS}/a")).await.code, 404);
}

#[tokio::test]
async fn eviction_honours_the_budget() {
    let cluster = cluster().await;
    for name in ["a", "b"] {
        cluster.post(PODS, pod(name)).await;
        cluster.post(&format!("{PODS}/{name}/binding"), binding(name, "n1")).await;
        let ready = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
        assert_eq!(cluster.patch("merge", &format!("{PODS}/{name}/status"), ready).await.code, 200);
    }
    let budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
    let budget =
        json!({"metadata": {"name": "pdb"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}}});
    let created = cluster.post(budgets, budget).await;
    assert_eq!(created.code, 201, "{}", created.line());
    let status = json!({"status": {
        "observedGeneration": 1, "disruptionsAllowed": 1, "currentHealthy": 2, "desiredHealthy": 1, "expectedPods": 2,
    }});
    let status = cluster.patch("merge", &format!("{budgets}/pdb/status"), status).await;
    assert_eq!(status.code, 200, "{}", status.line());
    let eviction = |name: &str| json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}});
    let first = cluster.post(&format!("{PODS}/a/eviction"), eviction("a")).await;
    assert_eq!(first.code, 201, "{}", first.line());
    let after = cluster.get(&format!("{budgets}/pdb")).await;
    assert_eq!(after.at("/status/disruptionsAllowed"), 0);
    assert!(after.at("/status/disruptedPods/a").is_string());
    let condition =
        ["type", "status", "reason"].map(|field| after.at(&format!("/status/conditions/0/{field}")).clone());
    assert_eq!(condition, ["DisruptionAllowed", "False", "InsufficientPods"].map(Value::from));
    let second = cluster.post(&format!("{PODS}/b/eviction"), eviction("b")).await;
    expect!["429 TooManyRequests: Cannot evict pod as it would violate the pod's disruption budget."]
        .assert_eq(&second.line());
    expect![[r#""The disruption budget pdb needs 1 healthy pods and has 2 currently""#]]
        .assert_eq(&second.at("/details/causes/0/message").to_string());
    // Nobody knows when: a number would make clients wait in silence, as kubectl's drain does, beyond its timeout.
    assert!(second.at("/details/retryAfterSeconds").is_null(), "{}", second.line());
}

#[tokio::test]
async fn what_a_budget_does_not_count_is_evicted_as_it_was_seen() {
    let cluster = cluster().await;
    let budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
    let budget =
        json!({"metadata": {"name": "pdb"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}}});
    assert_eq!(cluster.post(budgets, budget).await.code, 201);
    let status = |healthy: i64| {
        json!({"status": {"observedGeneration": 1, "disruptionsAllowed": 0, "currentHealthy": healthy,
            "desiredHealthy": 1, "expectedPods": 2}})
    };
    for (name, phase, healthy, expected) in [
        ("pending", "Pending", 0, 201),
        ("unready", "Running", 1, 201),
        ("counted", "Running", 0, 429),
        ("over", "Failed", 0, 201),
    ] {
        cluster.patch("merge", &format!("{budgets}/pdb/status"), status(healthy)).await;
        cluster.post(PODS, pod(name)).await;
        cluster.post(&format!("{PODS}/{name}/binding"), binding(name, "n1")).await;
        let phase = json!({"status": {"phase": phase}});
        assert_eq!(cluster.patch("merge", &format!("{PODS}/{name}/status"), phase).await.code, 200);
        let eviction = |options: Value| json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}, "deleteOptions": options});
        // Whoever names a state means it.
        let stale = eviction(json!({"preconditions": {"resourceVersion": "1"}}));
        let stale = cluster.post(&format!("{PODS}/{name}/eviction"), stale).await;
        assert_eq!(stale.code, if expected == 429 { 429 } else { 409 }, "{name} {}", stale.line());
        let answer = cluster.post(&format!("{PODS}/{name}/eviction"), eviction(json!({}))).await;
        assert_eq!(answer.code, expected, "{name} {}", answer.line());
    }
}
