//! CustomResourceDefinitions: made, listed, watched, removed, and the defaults they give.

use serde_json::{Value, json};

use super::{DEFINITIONS, create, definition, names, texts, version};
use crate::harness::Cluster;

fn foos(group: &str, fields: &[&str]) -> Value {
    definition(group, "Foo", &[version("v1", &texts(fields))])
}

/// Deletes a definition and waits until it is gone.
async fn remove(cluster: &Cluster, name: &str) {
    let path = format!("{DEFINITIONS}/{name}");
    let mut watch = cluster.watch(&format!("{DEFINITIONS}?watch=true&fieldSelector=metadata.name%3D{name}")).await;
    assert_eq!(cluster.delete(&path).await.code, 200);
    while watch.line().await != format!("DELETED {name}") {}
    assert_eq!(cluster.get(&path).await.code, 404);
}

/// Conformance: Custom Resource Definition, create.
#[tokio::test]
async fn a_definition_is_made_and_removed() {
    let cluster = Cluster::new().await;
    create(&cluster, DEFINITIONS, foos("mygroup.example.com", &[])).await;
    assert_eq!(cluster.get(&format!("{DEFINITIONS}/foos.mygroup.example.com")).await.code, 200);
    remove(&cluster, "foos.mygroup.example.com").await;
}

/// Conformance: Custom Resource Definition, list.
#[tokio::test]
async fn definitions_are_listed_and_removed_by_label() {
    let cluster = Cluster::new().await;
    for index in 0..10 {
        let mut labelled = foos(&format!("group{index}.example.com"), &[]);
        labelled["metadata"]["labels"] = json!({"e2e-list-test-uuid": "x"});
        create(&cluster, DEFINITIONS, labelled).await;
    }
    create(&cluster, DEFINITIONS, foos("other.example.com", &[])).await;
    let selected = format!("{DEFINITIONS}?labelSelector=e2e-list-test-uuid%3Dx");
    let expected: Vec<String> = (0..10).map(|index| format!("foos.group{index}.example.com")).collect();
    assert_eq!(names(&cluster.get(&selected).await), expected);
    let mut watch = cluster.watch(&format!("{selected}&watch=true")).await;
    assert_eq!(cluster.delete(&selected).await.code, 200);
    let mut gone = 0;
    while gone < expected.len() {
        gone += usize::from(watch.line().await.starts_with("DELETED "));
    }
    assert_eq!(names(&cluster.get(DEFINITIONS).await), ["foos.other.example.com"]);
}

/// Conformance: Custom Resource Definition, status sub-resource.
#[tokio::test]
async fn the_status_of_a_definition_is_read_and_written() {
    let cluster = Cluster::new().await;
    create(&cluster, DEFINITIONS, foos("mygroup.example.com", &[])).await;
    let status = format!("{DEFINITIONS}/foos.mygroup.example.com/status");
    let mut present = cluster.get(&status).await.body;
    assert_eq!(present["status"]["acceptedNames"]["kind"], "Foo");
    let condition = |kind: &str| json!({"type": kind, "status": "True", "reason": "E2E", "message": "Set from a test"});
    present["status"]["conditions"].as_array_mut().expect("conditions").push(condition("StatusUpdate"));
    let types = |body: &Value| -> Vec<String> {
        let conditions = body["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.iter().map(|one| one["type"].as_str().unwrap_or_default().to_owned()).collect()
    };
    let updated = cluster.put(&status, present).await;
    assert!(types(&updated.body).contains(&"StatusUpdate".to_owned()), "{}", updated.line());
    let mut conditions = updated.at("/status/conditions").clone();
    conditions.as_array_mut().expect("conditions").push(condition("StatusPatch"));
    let patched = cluster.patch("merge", &status, json!({"status": {"conditions": conditions}})).await;
    assert_eq!(patched.code, 200, "{}", patched.line());
    let seen = types(&cluster.get(&status).await.body);
    for expected in ["Established", "StatusUpdate", "StatusPatch"] {
        assert!(seen.contains(&expected.to_owned()), "{seen:?}");
    }
}

/// Conformance: Custom Resource Definition, watch.
#[tokio::test]
async fn custom_objects_are_watched() {
    let cluster = Cluster::new().await;
    create(&cluster, DEFINITIONS, foos("mygroup.example.com", &["info"])).await;
    let path = "/apis/mygroup.example.com/v1/namespaces/default/foos";
    let of = |name: &str| format!("{path}?watch=true&fieldSelector=metadata.name%3D{name}");
    let mut watches = [cluster.watch(&of("name1")).await, cluster.watch(&of("name2")).await];
    let foo = |name: &str| json!({"apiVersion": "mygroup.example.com/v1", "kind": "Foo", "metadata": {"name": name}, "info": "a"});
    for (name, watch) in ["name1", "name2"].into_iter().zip(&mut watches) {
        create(&cluster, path, foo(name)).await;
        assert_eq!(watch.line().await, format!("ADDED {name}"));
        let patched = cluster.patch("merge", &format!("{path}/{name}"), json!({"info": "b"})).await;
        assert_eq!(patched.code, 200, "{}", patched.line());
        assert_eq!(watch.line().await, format!("MODIFIED {name}"));
        assert_eq!(cluster.delete(&format!("{path}/{name}")).await.code, 200);
        assert_eq!(watch.line().await, format!("DELETED {name}"));
    }
}

/// Conformance: Custom Resource Definition, defaulting.
#[tokio::test]
async fn defaults_are_given_to_what_comes_and_to_what_is_stored() {
    let cluster = Cluster::new().await;
    create(&cluster, DEFINITIONS, foos("mygroup.example.com", &["a", "b"])).await;
    let path = "/apis/mygroup.example.com/v1/namespaces/default/foos";
    let foo = |name: &str| json!({"apiVersion": "mygroup.example.com/v1", "kind": "Foo", "metadata": {"name": name}});
    let fields = |object: &crate::harness::Answer| (object.at("/a").clone(), object.at("/b").clone());
    let default = async |operations: Value| {
        let patched = cluster.patch("json", &format!("{DEFINITIONS}/foos.mygroup.example.com"), operations).await;
        assert_eq!(patched.code, 200, "{}", patched.line());
    };
    let pointer = |field: &str| format!("/spec/versions/0/schema/openAPIV3Schema/properties/{field}/default");

    create(&cluster, path, foo("name1")).await;
    assert_eq!(fields(&cluster.get(&format!("{path}/name1")).await), (Value::Null, Value::Null));
    default(json!([{"op": "add", "path": pointer("a"), "value": "A"}])).await;
    assert_eq!(fields(&cluster.get(&format!("{path}/name1")).await), (json!("A"), Value::Null));
    let second = create(&cluster, path, foo("name2")).await;
    assert_eq!(fields(&second), (json!("A"), Value::Null));
    default(json!([
        {"op": "remove", "path": pointer("a")}, {"op": "add", "path": pointer("b"), "value": "B"},
    ]))
    .await;
    let second = cluster.get(&format!("{path}/name2")).await;
    assert_eq!(fields(&second), (json!("A"), json!("B")), "what was stored with its default keeps it");
    let first = cluster.get(&format!("{path}/name1")).await;
    assert_eq!(fields(&first), (Value::Null, json!("B")), "what was read with a default was not stored with it");
}
