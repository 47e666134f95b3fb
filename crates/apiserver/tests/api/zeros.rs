//! What Go's types write though nobody gave it: `status: {}` and its like, as JSON and as protobuf.

use http::Request;
use serde_json::{Value, json};

use crate::harness::Cluster;

const NAMESPACE: &str = "/api/v1/namespaces/default";

fn template() -> Value {
    json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}})
}

fn workload(more: Value) -> Value {
    let mut spec = json!({"selector": {"matchLabels": {"a": "b"}}, "template": template()});
    spec.as_object_mut().expect("a map").extend(more.as_object().cloned().unwrap_or_default());
    json!({"metadata": {"name": "a"}, "spec": spec})
}

/// A new object has a status wherever its Go type is no pointer, with the numbers that are always written.
#[tokio::test]
async fn a_new_object_has_the_status_of_its_type() {
    let cluster = Cluster::new().await;
    let apps = "/apis/apps/v1/namespaces/default";
    let sets = json!({"replicas": 0});
    let daemons =
        json!({"currentNumberScheduled": 0, "desiredNumberScheduled": 0, "numberMisscheduled": 0, "numberReady": 0});
    let budget = json!({"disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0});
    let job = json!({"metadata": {"name": "a"}, "spec": {"template": {"spec": {
        "restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}],
    }}}});
    let scaled = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "a"});
    for (path, object, status) in [
        (format!("{apps}/deployments"), workload(json!({})), json!({})),
        (format!("{apps}/replicasets"), workload(json!({})), sets.clone()),
        (format!("{apps}/daemonsets"), workload(json!({})), daemons),
        (format!("{apps}/statefulsets"), workload(json!({})), json!({"replicas": 0, "availableReplicas": 0})),
        (format!("{NAMESPACE}/replicationcontrollers"), workload(json!({"selector": {"a": "b"}})), sets),
        ("/apis/batch/v1/namespaces/default/jobs".into(), job, json!({})),
        (
            format!("{NAMESPACE}/services"),
            json!({"metadata": {"name": "a"}, "spec": {"ports": [{"port": 80}]}}),
            json!({"loadBalancer": {}}),
        ),
        (format!("{NAMESPACE}/resourcequotas"), json!({"metadata": {"name": "a"}, "spec": {}}), json!({})),
        (
            "/apis/policy/v1/namespaces/default/poddisruptionbudgets".into(),
            json!({"metadata": {"name": "a"}, "spec": {"minAvailable": 1}}),
            budget,
        ),
        (
            "/apis/networking.k8s.io/v1/namespaces/default/ingresses".into(),
            json!({"metadata": {"name": "a"}, "spec": {"defaultBackend": {"service": {"name": "a", "port": {"number": 1}}}}}),
            json!({"loadBalancer": {}}),
        ),
        (
            "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers".into(),
            json!({"metadata": {"name": "a"}, "spec": {"scaleTargetRef": scaled, "maxReplicas": 1}}),
            json!({"currentReplicas": 0, "desiredReplicas": 0}),
        ),
    ] {
        let mut object = object;
        object["status"] = json!({"observedGeneration": 7});
        let made = cluster.post(&path, object).await;
        assert_eq!((made.code, made.at("/status")), (201, &status), "{path}: {}", made.line());
        assert_eq!(cluster.get(&format!("{path}/a")).await.at("/status"), &status, "{path}");
    }
    // Node is a kind that may come with one; it is completed.
    let made = cluster.post("/api/v1/nodes", json!({"metadata": {"name": "n"}})).await;
    assert_eq!(made.at("/status/daemonEndpoints"), &json!({"kubeletEndpoint": {"Port": 0}}), "{}", made.line());
    assert_eq!(made.at("/status/nodeInfo/kubeletVersion"), "", "{}", made.body);
    // No status is made up for a kind that has none.
    let made = cluster.post(&format!("{NAMESPACE}/configmaps"), json!({"metadata": {"name": "a"}})).await;
    assert_eq!(made.at("/status"), &Value::Null);
}

/// Within an object: `resources: {}` of containers, `metadata: {}` of templates, `strategy` and their like.
#[tokio::test]
async fn structs_are_written_within_objects_by_every_verb() {
    let cluster = Cluster::new().await;
    let deployments = "/apis/apps/v1/namespaces/default/deployments";
    let made = cluster.post(deployments, workload(json!({}))).await;
    assert_eq!(made.at("/spec/template/spec/containers/0/resources"), &json!({}), "{}", made.line());
    let fields = "/metadata/managedFields/0/fieldsV1/f:spec/f:template/f:spec/f:containers/k:{\"name\":\"c\"}";
    assert_eq!(made.at(&format!("{fields}/f:resources")), &json!({}), "its owner is known: {}", made.body);
    assert_eq!(made.at("/metadata/managedFields/0/fieldsV1/f:status"), &Value::Null);
    let patch = json!({"spec": {"template": {"spec": {"initContainers": [{"name": "i", "image": "i"}]}}}});
    let patched = cluster.patch("strategic-merge", &format!("{deployments}/a"), patch).await;
    assert_eq!(patched.at("/spec/template/spec/initContainers/0/resources"), &json!({}), "{}", patched.line());

    let job = json!({"metadata": {"name": "a"}, "spec": {"template": {"spec": {
        "restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}],
    }}}});
    let cron =
        json!({"metadata": {"name": "a"}, "spec": {"schedule": "* * * * *", "jobTemplate": {"spec": job["spec"]}}});
    let made = cluster.post("/apis/batch/v1/namespaces/default/cronjobs", cron).await;
    assert_eq!(made.at("/spec/jobTemplate/metadata"), &json!({}), "{}", made.line());
    assert_eq!(made.at("/spec/jobTemplate/spec/template/metadata"), &json!({}), "{}", made.line());

    let policy = json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": "a", "labels": {"a": "b"}}});
    let path = "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies/a?fieldManager=m";
    let applied = cluster.patch("apply", path, policy.clone()).await;
    assert_eq!(applied.at("/spec/podSelector"), &json!({}), "{}", applied.line());
    let owned = json!({"f:metadata": {"f:labels": {"f:a": {}}}});
    assert_eq!(applied.at("/metadata/managedFields/0/fieldsV1"), &owned, "what was not applied is not owned");
    let again = cluster.patch("apply", path, policy).await;
    assert_eq!(again.at("/metadata/resourceVersion"), applied.at("/metadata/resourceVersion"), "nothing changed");
}

/// An empty message is there in protobuf as it is upstream: a client in Go cannot tell the difference.
#[tokio::test]
async fn an_empty_status_survives_protobuf() {
    let cluster = Cluster::new().await;
    let path = "/apis/apps/v1/namespaces/default/deployments";
    cluster.post(path, workload(json!({}))).await;
    let request = Request::builder().uri(format!("{path}/a")).header("accept", "application/vnd.kubernetes.protobuf");
    let (code, _, bytes) = cluster.bytes(request, "").await;
    let object = ::protobuf::decode(&bytes).expect("decodes");
    assert_eq!((code, &object["status"]), (200, &json!({})));
    assert_eq!(object["spec"]["template"]["spec"]["containers"][0]["resources"], json!({}));
}
