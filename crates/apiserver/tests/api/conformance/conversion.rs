//! Custom resources whose versions a webhook converts.

use component_base::Scope;
use serde_json::{Value, json};
use webhook::testing::TestServer;

use super::{DEFINITIONS, create, definition, texts, version};
use crate::harness::Cluster;

const V1: &str = "/apis/stable.example.com/v1/namespaces/default/converts";
const V2: &str = "/apis/stable.example.com/v2/namespaces/default/converts";

/// In v1 there is `hostPort`, in v2 there are `host` and `port`.
fn convert(review: &Value) -> Value {
    let wanted = review["request"]["desiredAPIVersion"].clone();
    let mut objects = review["request"]["objects"].as_array().cloned().unwrap_or_default();
    for object in &mut objects {
        assert_ne!(object["apiVersion"], wanted, "what is in that version already is not asked about");
        let text = |field: &str| object[field].as_str().unwrap_or_default().to_owned();
        let (joined, host, port) = (text("hostPort"), text("host"), text("port"));
        let fields = object.as_object_mut().expect("an object");
        fields.retain(|name, _| !["hostPort", "host", "port"].contains(&name.as_str()));
        if wanted == "stable.example.com/v2" {
            let (host, port) = joined.split_once(':').expect("two parts");
            fields.insert("host".into(), host.into());
            fields.insert("port".into(), port.into());
        } else {
            fields.insert("hostPort".into(), format!("{host}:{port}").into());
        }
        fields.insert("apiVersion".into(), wanted.clone());
    }
    let response =
        json!({"uid": review["request"]["uid"], "result": {"status": "Success"}, "convertedObjects": objects});
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview", "response": response})
}

/// A server that knows `converts`, stored in v1, which this webhook converts.
async fn cluster(scope: &Scope) -> Cluster {
    let hook = TestServer::start(scope, |_, seen| (200, convert(&seen.body))).await;
    let ca = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &hook.ca_pem);
    let (v1, v2) = (version("v1", &texts(&["hostPort"])), version("v2", &texts(&["host", "port"])));
    let mut converts = definition("stable.example.com", "Convert", &[v1, v2]);
    converts["spec"]["conversion"] = json!({"strategy": "Webhook", "webhook": {
        "clientConfig": {"url": format!("{}/crdconvert", hook.url), "caBundle": ca},
        "conversionReviewVersions": ["v1", "v1beta1"],
    }});
    let cluster = Cluster::new().await;
    create(&cluster, DEFINITIONS, converts).await;
    cluster
}

async fn create_v1(cluster: &Cluster, name: &str) {
    let body = json!({
        "apiVersion": "stable.example.com/v1", "kind": "Convert", "metadata": {"name": name}, "hostPort": "localhost:8080",
    });
    create(cluster, V1, body).await;
}

/// Conformance: Custom Resource Definition Conversion Webhook, conversion custom resource.
#[tokio::test]
async fn what_is_made_in_one_version_is_read_in_the_other() {
    let scope = Scope::root();
    let cluster = cluster(&scope).await;
    create_v1(&cluster, "cr-instance-1").await;
    let read = cluster.get(&format!("{V2}/cr-instance-1")).await;
    assert_eq!((read.at("/host"), read.at("/port")), (&json!("localhost"), &json!("8080")), "{}", read.line());
    assert_eq!((read.at("/apiVersion"), read.at("/hostPort")), (&json!("stable.example.com/v2"), &Value::Null));
    scope.cancel();
}

/// Conformance: Custom Resource Definition Conversion Webhook, convert mixed version list.
#[tokio::test]
async fn a_list_is_of_one_version_whatever_is_stored() {
    let scope = Scope::root();
    let cluster = cluster(&scope).await;
    create_v1(&cluster, "cr-instance-1").await;
    let stored = json!([
        {"op": "replace", "path": "/spec/versions/0/storage", "value": false},
        {"op": "replace", "path": "/spec/versions/1/storage", "value": true},
    ]);
    let patched = cluster.patch("json", &format!("{DEFINITIONS}/converts.stable.example.com"), stored).await;
    assert_eq!(patched.at("/status/storedVersions"), &json!(["v1", "v2"]), "{}", patched.line());
    create_v1(&cluster, "cr-instance-2").await;
    for (path, field, value) in [(V2, "host", "localhost"), (V1, "hostPort", "localhost:8080")] {
        let list = cluster.get(path).await;
        let items = list.at("/items").as_array().expect("items");
        assert_eq!(items.len(), 2, "{}", list.line());
        for item in items {
            assert_eq!(item[field], value, "{item}");
        }
    }
    scope.cancel();
}
