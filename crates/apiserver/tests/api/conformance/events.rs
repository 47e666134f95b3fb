//! Events, which are objects like others.

use serde_json::{Value, json};

use super::{create, names};
use crate::harness::Cluster;

const EVENTS: &str = "/api/v1/namespaces/default/events";

fn event(name: &str) -> Value {
    json!({
        "metadata": {"name": name, "labels": {"testevent-constant": "true"}}, "message": "this is a test event",
        "reason": "Test", "type": "Normal", "count": 1, "involvedObject": {"namespace": "default", "name": "x"},
    })
}

/// Conformance: Event resource lifecycle.
#[tokio::test]
async fn an_event_is_made_found_changed_and_removed() {
    let cluster = Cluster::new().await;
    let everywhere = "/api/v1/events?labelSelector=testevent-constant%3Dtrue";
    create(&cluster, EVENTS, event("event-test")).await;
    assert_eq!(names(&cluster.get(everywhere).await), ["event-test"]);
    let path = format!("{EVENTS}/event-test");
    let patched = cluster.patch("strategic-merge", &path, json!({"message": "This is a test event - patched"})).await;
    assert_eq!(patched.code, 200, "{}", patched.line());
    assert_eq!(cluster.get(&path).await.at("/message"), "This is a test event - patched");
    assert_eq!(cluster.delete(&path).await.code, 200);
    assert_eq!(names(&cluster.get(everywhere).await), [""; 0]);
}

/// Conformance: Event, delete a collection.
#[tokio::test]
async fn events_are_removed_together() {
    let cluster = Cluster::new().await;
    let made = ["test-event-1", "test-event-2", "test-event-3"];
    for name in made {
        create(&cluster, EVENTS, event(name)).await;
    }
    let mut other = event("other");
    other["metadata"]["labels"] = json!({});
    create(&cluster, EVENTS, other).await;
    let selected = format!("{EVENTS}?labelSelector=testevent-constant%3Dtrue");
    assert_eq!(names(&cluster.get(&selected).await), made);
    assert_eq!(cluster.delete(&selected).await.code, 200);
    assert_eq!(names(&cluster.get(&selected).await), [""; 0]);
    assert_eq!(names(&cluster.get(EVENTS).await), ["other"]);
}
