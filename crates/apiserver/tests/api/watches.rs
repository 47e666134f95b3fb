//! Watches: every change once, as the watcher's selection sees it.

use serde_json::{Value, json};

use crate::harness::Cluster;

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn config_map(name: &str, role: &str) -> Value {
    json!({"metadata": {"name": name, "labels": {"role": role}}})
}

#[tokio::test]
async fn changes_come_in_order() {
    let cluster = Cluster::new().await;
    cluster.post(CONFIG_MAPS, config_map("old", "x")).await;
    let list = cluster.get(CONFIG_MAPS).await;
    let revision = list.at("/metadata/resourceVersion").as_str().expect("a revision").to_owned();
    let mut from_now = cluster.watch(&format!("{CONFIG_MAPS}?watch=1&resourceVersion={revision}")).await;
    let mut with_state = cluster.watch(&format!("{CONFIG_MAPS}?watch=1")).await;
    let mut legacy = cluster.watch("/api/v1/watch/namespaces/default/configmaps/a").await;
    cluster.post(CONFIG_MAPS, config_map("a", "x")).await;
    let patched = cluster.patch("merge", &format!("{CONFIG_MAPS}/a"), json!({"data": {"k": "v"}})).await;
    cluster.delete(&format!("{CONFIG_MAPS}/a")).await;
    assert_eq!(with_state.line().await, "ADDED old");
    for watch in [&mut from_now, &mut with_state, &mut legacy] {
        assert_eq!(watch.line().await, "ADDED a");
        let modified = watch.next().await.expect("an event");
        assert_eq!((&modified["type"], &modified["object"]), (&json!("MODIFIED"), &patched.body));
        let deleted = watch.next().await.expect("an event");
        assert_eq!(deleted["object"]["data"]["k"], "v", "the last state is sent");
        let number = |value: &Value| value.as_str().and_then(|text| text.parse::<u64>().ok());
        assert!(
            number(&deleted["object"]["metadata"]["resourceVersion"]) > number(patched.at("/metadata/resourceVersion"))
        );
    }
}

#[tokio::test]
async fn entering_and_leaving_the_selection_are_events() {
    let cluster = Cluster::new().await;
    let mut watch = cluster.watch(&format!("{CONFIG_MAPS}?watch=true&labelSelector=role%3Dx")).await;
    cluster.post(CONFIG_MAPS, config_map("a", "y")).await;
    let label = |role: &str| json!({"metadata": {"labels": {"role": role}}});
    let path = format!("{CONFIG_MAPS}/a");
    cluster.patch("merge", &path, label("x")).await;
    let left = cluster.patch("merge", &path, label("z")).await;
    cluster.delete(&path).await;
    cluster.post(CONFIG_MAPS, config_map("b", "x")).await;
    assert_eq!(watch.line().await, "ADDED a");
    let gone = watch.next().await.expect("an event");
    assert_eq!((&gone["type"], &gone["object"]["metadata"]["labels"]["role"]), (&json!("DELETED"), &json!("x")));
    assert_eq!(&gone["object"]["metadata"]["resourceVersion"], left.at("/metadata/resourceVersion"));
    assert_eq!(watch.line().await, "ADDED b");
}

#[tokio::test]
async fn a_watch_list_marks_the_end_of_the_state() {
    let cluster = Cluster::new().await;
    cluster.post(CONFIG_MAPS, config_map("a", "x")).await;
    let query = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut watch = cluster.watch(&format!("{CONFIG_MAPS}?{query}")).await;
    assert_eq!(watch.line().await, "ADDED a");
    let bookmark = watch.next().await.expect("an event");
    assert_eq!(bookmark["type"], "BOOKMARK");
    assert_eq!(bookmark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    cluster.post(CONFIG_MAPS, config_map("b", "x")).await;
    assert_eq!(watch.line().await, "ADDED b");
}

#[tokio::test]
async fn a_watch_ends_when_its_time_is_up() {
    let cluster = Cluster::new().await;
    let mut watch = cluster.watch(&format!("{CONFIG_MAPS}?watch=1&timeoutSeconds=1")).await;
    assert_eq!(watch.line().await, "end");
}

#[tokio::test]
async fn history_that_is_gone_is_an_error_event() {
    let cluster = Cluster::new().await;
    for index in 0..5 {
        cluster.post(CONFIG_MAPS, config_map(&format!("a{index}"), "x")).await;
    }
    let store = cluster.server.registry.store();
    store.compact(store.revision()).await.expect("compacted");
    let mut watch = cluster.watch(&format!("{CONFIG_MAPS}?watch=1&resourceVersion=2")).await;
    let error = watch.next().await.expect("an event");
    assert_eq!((&error["type"], &error["object"]["code"]), (&json!("ERROR"), &json!(410)));
    assert_eq!(watch.line().await, "end");
}
