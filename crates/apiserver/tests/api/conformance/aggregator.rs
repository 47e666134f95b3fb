//! A server of others behind this one, from its registration to its end.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::Full;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::{create, names};
use crate::aggregation::{API_SERVICES, Extension, GROUP, groups, until};

const FLUNDERS: &str = "/apis/ext.example.org/v1/namespaces/default/flunders";

/// A sample server: it keeps flunders.
#[derive(Default)]
struct Flunders(Mutex<BTreeMap<String, Value>>);

impl Flunders {
    fn answer(&self, request: &Request<Bytes>) -> (u16, Value) {
        let mut kept = self.0.lock();
        let path = request.uri().path();
        if path == "/apis/ext.example.org/v1" {
            let verbs = json!(["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]);
            let flunders =
                json!({"name": "flunders", "singularName": "", "namespaced": true, "kind": "Flunder", "verbs": verbs});
            return (
                200,
                json!({
                    "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "ext.example.org/v1", "resources": [flunders],
                }),
            );
        }
        let name = path.strip_prefix(FLUNDERS).map(|rest| rest.trim_start_matches('/'));
        match (request.method(), name) {
            (&Method::POST, Some("")) => {
                let object: Value = serde_json::from_slice(request.body()).expect("an object");
                let name = object["metadata"]["name"].as_str().expect("a name").to_owned();
                kept.insert(name, object.clone());
                (201, object)
            }
            (&Method::GET, Some("")) => {
                let items: Vec<&Value> = kept.values().collect();
                let list = json!({"kind": "FlunderList", "apiVersion": "ext.example.org/v1", "metadata": {"resourceVersion": "7"}, "items": items});
                (200, list)
            }
            (&Method::DELETE, Some(name)) if kept.remove(name).is_some() => {
                (200, json!({"kind": "Status", "status": "Success"}))
            }
            (&Method::GET, Some(name)) if kept.contains_key(name) => (200, kept[name].clone()),
            _ => (404, json!({"kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404})),
        }
    }
}

/// Conformance: aggregator-supports-the-sample-apiserver.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sample_server_is_reached_through_this_one() {
    let sample = Arc::new(Flunders::default());
    let extension = Extension::answering(move |request, shown| {
        assert!(shown, "it is shown the front proxy's certificate");
        let (code, answer) = sample.answer(request);
        let response = Response::builder().status(code).header("content-type", "application/json");
        response.body(Full::from(answer.to_string())).expect("a response")
    })
    .await;
    let cluster = extension.cluster().await;
    create(&cluster, API_SERVICES, extension.api_service("v1", "ext", &extension.ca)).await;
    let available = until(&cluster, "v1.ext.example.org", "Passed").await;
    assert_eq!((&available["type"], &available["status"]), (&json!("Available"), &json!("True")));

    let flunder = json!({"apiVersion": "ext.example.org/v1", "kind": "Flunder", "metadata": {"name": "rest-flunder"}});
    create(&cluster, FLUNDERS, flunder).await;
    assert_eq!(names(&cluster.get(FLUNDERS).await), ["rest-flunder"]);
    assert_eq!(cluster.get(&format!("{FLUNDERS}/rest-flunder")).await.line(), "200 Flunder rest-flunder");
    assert!(groups(&cluster).await.iter().any(|name| name == GROUP));
    let list = cluster.get("/apis/ext.example.org/v1").await;
    assert_eq!(list.at("/resources/0/name"), "flunders");
    assert_eq!(cluster.delete(&format!("{FLUNDERS}/rest-flunder")).await.code, 200);
    assert_eq!(names(&cluster.get(FLUNDERS).await), [""; 0]);
    assert_eq!(cluster.get(&format!("{FLUNDERS}/rest-flunder")).await.code, 404);

    let service = format!("{API_SERVICES}/v1.ext.example.org");
    let status = cluster.get(&format!("{service}/status")).await;
    assert_eq!(status.at("/status/conditions/0/status"), "True");
    let mut conditions = status.at("/status/conditions").clone();
    let updated = json!({"type": "StatusUpdated", "status": "True", "reason": "E2E", "message": "Set from a test"});
    conditions.as_array_mut().expect("conditions").push(updated);
    let patch = json!({"status": {"conditions": conditions}});
    let patched = cluster.patch("merge", &format!("{service}/status"), patch).await;
    assert_eq!(patched.at("/status/conditions/1/type"), "StatusUpdated", "{}", patched.line());
    let patched = cluster.patch("merge", &service, json!({"spec": {"versionPriority": 400}})).await;
    assert_eq!(patched.at("/spec/versionPriority"), 400, "{}", patched.line());
    let labels = json!({"metadata": {"labels": {"apiservice": "updated"}}});
    assert_eq!(cluster.patch("merge", &service, labels).await.code, 200);

    let selected = format!("{API_SERVICES}?labelSelector=apiservice%3Dupdated");
    assert_eq!(names(&cluster.get(&selected).await), ["v1.ext.example.org"]);
    let gone = cluster.delete(&selected).await;
    assert_eq!(names(&gone), ["v1.ext.example.org"]);
    assert_eq!(names(&cluster.get(&selected).await), [""; 0]);
    extension.end(cluster).await;
}
