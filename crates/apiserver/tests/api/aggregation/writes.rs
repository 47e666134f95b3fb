//! What writes of APIServices and of their status may change
//! (upstream: kube-aggregator/pkg/registry/apiservice/strategy.go).

use serde_json::{Value, json};

use super::API_SERVICES;
use crate::harness::{Answer, Cluster};

fn local(version: &str) -> Value {
    json!({
        "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
        "metadata": { "name": format!("{version}.local.example.org"), "labels": { "team": "a" } },
        "spec": { "group": "local.example.org", "version": version, "groupPriorityMinimum": 10, "versionPriority": 10 },
        "status": { "conditions": [{ "type": "Mine", "status": "True" }] },
    })
}

fn conditions(answer: &Answer) -> Vec<String> {
    let all = answer.at("/status/conditions").as_array().cloned().unwrap_or_default();
    let line = |condition: &Value| format!("{} {} {}", condition["type"], condition["status"], condition["reason"]);
    all.iter().map(|condition| line(condition).replace('"', "")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_local_api_service_is_available_at_once() {
    let cluster = Cluster::new().await;
    let made = cluster.post(API_SERVICES, local("v1")).await;
    assert_eq!((made.code, conditions(&made)), (201, vec!["Available True Local".to_owned()]));
    assert!(made.at("/status/conditions/0/lastTransitionTime").is_string());
    assert_eq!(made.at("/status/conditions/0/message"), "Local APIServices are always available");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_put_changes_the_spec_and_not_the_status() {
    let cluster = Cluster::new().await;
    let path = format!("{API_SERVICES}/v1.local.example.org");
    let mut object = cluster.post(API_SERVICES, local("v1")).await.body;
    object["spec"]["versionPriority"] = json!(20);
    object["metadata"]["labels"]["team"] = json!("b");
    object["status"] = json!({ "conditions": [{ "type": "Mine", "status": "Maybe" }] });
    let put = cluster.put(&path, object.clone()).await;
    assert_eq!(put.code, 200, "{}", put.line());
    assert_eq!((put.at("/spec/versionPriority"), put.at("/metadata/labels/team")), (&json!(20), &json!("b")));
    assert_eq!(conditions(&put), ["Available True Local"]);
    assert_eq!(cluster.put(&path, object).await.code, 409, "it is older than what is stored");

    let mut object = put.body;
    object["spec"]["versionPriority"] = json!(0);
    assert_eq!(
        cluster.put(&path, object.clone()).await.line(),
        "422 Invalid: APIService.apiregistration.k8s.io \"v1.local.example.org\" is invalid: spec.versionPriority: Invalid value: 0: must be positive and less than 1000"
    );
    object["spec"]["versionPriority"] = json!(20);
    object["metadata"].as_object_mut().expect("metadata").remove("resourceVersion");
    let unconditional = cluster.put(&path, object).await;
    assert!(unconditional.line().ends_with("must be specified for an update"), "{}", unconditional.line());
    let absent = cluster.put(&format!("{API_SERVICES}/v2.local.example.org"), local("v2")).await;
    assert_eq!(absent.code, 404, "a PUT makes none: {}", absent.line());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_put_of_the_status_changes_nothing_else() {
    let cluster = Cluster::new().await;
    let path = format!("{API_SERVICES}/v1.local.example.org");
    let mut object = cluster.post(API_SERVICES, local("v1")).await.body;
    object["spec"]["versionPriority"] = json!(20);
    object["metadata"]["labels"]["team"] = json!("b");
    object["metadata"]["annotations"] = json!({ "a": "b" });
    object["metadata"]["finalizers"] = json!(["example.org/stay"]);
    let mine = json!({ "type": "Mine", "status": "Unknown", "lastTransitionTime": "2026-01-01T00:00:00Z" });
    object["status"]["conditions"].as_array_mut().expect("conditions").push(mine);
    let put = cluster.put(&format!("{path}/status"), object.clone()).await;
    assert_eq!(put.code, 200, "{}", put.line());
    assert_eq!(conditions(&put), ["Available True Local", "Mine Unknown null"]);
    assert_eq!((put.at("/spec/versionPriority"), put.at("/metadata/labels")), (&json!(10), &json!({ "team": "a" })));
    assert_eq!((put.at("/metadata/annotations"), put.at("/metadata/finalizers")), (&Value::Null, &Value::Null));

    let mut object = put.body;
    object["status"]["conditions"][1]["status"] = json!("Maybe");
    let refused = cluster.put(&format!("{path}/status"), object).await;
    assert_eq!(
        refused.line(),
        "422 Invalid: APIService.apiregistration.k8s.io \"v1.local.example.org\" is invalid: status.conditions[1].status: Unsupported value: \"Maybe\": supported values: \"True\", \"False\", \"Unknown\""
    );
}
