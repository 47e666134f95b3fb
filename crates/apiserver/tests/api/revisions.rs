//! Revisions: what a list, a bookmark and a watch say about when they are.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::harness::Cluster;

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn number(value: &Value) -> u64 {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{value} is no revision"))
}

async fn create(cluster: &Cluster, name: &str) -> u64 {
    let created = cluster.post(CONFIG_MAPS, json!({"metadata": {"name": name}})).await;
    assert_eq!(created.code, 201, "{}", created.line());
    number(created.at("/metadata/resourceVersion"))
}

/// A list is as of the store's revision, not of its newest item: that is where a watch goes on without a gap.
#[tokio::test]
async fn a_list_is_of_the_stores_revision() {
    let cluster = Cluster::new().await;
    let revision = || cluster.server.registry.store().revision();
    let paths = [
        CONFIG_MAPS.to_owned(),
        "/api/v1/namespaces/nowhere/pods".into(),
        "/apis/apps/v1/deployments".into(),
        format!("{CONFIG_MAPS}?limit=1"),
        format!("{CONFIG_MAPS}?labelSelector=a%3Db"),
    ];
    for name in ["a", "b", "c"] {
        create(&cluster, name).await;
        for path in &paths {
            let before = revision();
            let list = cluster.get(path).await;
            let stated = number(list.at("/metadata/resourceVersion"));
            assert!((before..=revision()).contains(&stated), "{path}: {stated}");
        }
    }
}

/// The bookmark that ends the state of a watch-list names a revision that a later watch can go on from.
#[tokio::test]
async fn a_bookmark_names_the_present_revision() {
    let cluster = Cluster::new().await;
    let newest = create(&cluster, "a").await;
    let query = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut watch = cluster.watch(&format!("{CONFIG_MAPS}?{query}")).await;
    assert_eq!(watch.line().await, "ADDED a");
    let bookmark = watch.next().await.expect("an event");
    let object = &bookmark["object"];
    assert_eq!((&bookmark["type"], &object["kind"]), (&json!("BOOKMARK"), &json!("ConfigMap")));
    let stated = number(&object["metadata"]["resourceVersion"]);
    assert!(stated >= newest, "{stated} < {newest}");
    let mut later = cluster.watch(&format!("{CONFIG_MAPS}?watch=1&resourceVersion={stated}")).await;
    create(&cluster, "b").await;
    assert_eq!((watch.line().await, later.line().await), ("ADDED b".into(), "ADDED b".into()));
}

/// Whoever watches from now, or lists and goes on from there, sees each object once, however much is written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn between_the_state_and_the_changes_nothing_is_lost_or_repeated() {
    const OBJECTS: usize = 60;
    let cluster = Cluster::new().await;
    let write = async {
        for index in 0..OBJECTS {
            create(&cluster, &format!("cm-{index:02}")).await;
        }
    };
    let watch_from_now = async {
        let mut seen = Vec::new();
        for _ in 0..5 {
            let mut watch = cluster.watch(&format!("{CONFIG_MAPS}?watch=1")).await;
            let mut names = Vec::new();
            while names.len() < OBJECTS {
                names.push(watch.line().await);
            }
            seen.push(names);
        }
        seen
    };
    let list_and_watch = async {
        let mut seen = Vec::new();
        for _ in 0..5 {
            let list = cluster.get(CONFIG_MAPS).await;
            let items = list.at("/items").as_array().expect("items");
            let name = |item: &Value| format!("ADDED {}", item["metadata"]["name"].as_str().expect("a name"));
            let mut names: Vec<String> = items.iter().map(name).collect();
            let from = number(list.at("/metadata/resourceVersion"));
            let mut watch = cluster.watch(&format!("{CONFIG_MAPS}?watch=1&resourceVersion={from}")).await;
            while names.len() < OBJECTS {
                names.push(watch.line().await);
            }
            seen.push(names);
        }
        seen
    };
    let ((), watched, listed) = tokio::join!(write, watch_from_now, list_and_watch);
    for names in watched.into_iter().chain(listed) {
        let different: BTreeSet<&String> = names.iter().collect();
        assert_eq!(different.len(), OBJECTS, "each once: {names:?}");
        assert!(names.iter().all(|line| line.starts_with("ADDED ")), "{names:?}");
    }
}

/// A field that an object does not have equals nothing but the empty text.
#[tokio::test]
async fn a_field_that_is_not_there_matches_nothing() {
    let cluster = Cluster::new().await;
    let account = json!({"metadata": {"name": "default"}});
    cluster.post("/api/v1/namespaces/default/serviceaccounts", account).await;
    let pods = "/api/v1/namespaces/default/pods";
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    assert_eq!(cluster.post(pods, pod).await.code, 201);
    for (selector, found) in [
        ("spec.nodeName%3Dn1", 0),
        ("spec.nodeName!%3Dn1", 1),
        ("spec.nodeName%3D", 1),
        ("status.podIP%3D10.0.0.1", 0),
        ("status.phase%3DPending,spec.nodeName%3Dn1", 0),
    ] {
        let list = cluster.get(&format!("{pods}?fieldSelector={selector}")).await;
        assert_eq!(list.at("/items").as_array().map(Vec::len), Some(found), "{selector}: {}", list.line());
        let watch = cluster.get(&format!("{pods}?watch=1&timeoutSeconds=0&fieldSelector={selector}x%3D")).await;
        assert_eq!(watch.code, 400, "{selector}x: {}", watch.line());
    }
}

/// Who goes away is forgotten: clients that reconnect for ever cost nothing for ever.
#[tokio::test]
async fn a_watch_that_was_left_is_over() {
    let cluster = Cluster::new().await;
    for _ in 0..50 {
        drop(cluster.watch("/api/v1/configmaps?watch=1").await);
    }
    let labels = "verb=\"WATCH\",group=\"\",version=\"v1\",resource=\"configmaps\",subresource=\"\",scope=\"cluster\",component=\"apiserver\"";
    let metrics = cluster.get("/metrics").await;
    let line = format!("apiserver_longrunning_requests{{{labels}}} 0");
    assert!(metrics.body.as_str().is_some_and(|text| text.contains(&line)), "{}", metrics.body);
}
