//! Watchers: who sees which change, and in which order.

use serde_json::{Value, json};

use super::{CONFIG_MAPS, create};
use crate::harness::{Cluster, Events};

const LABEL: &str = "watch-this-configmap";

fn labelled(name: &str, label: &str) -> Value {
    json!({"metadata": {"name": name, "labels": {LABEL: label}}})
}

fn mutation(number: u32) -> Value {
    json!({"data": {"mutation": number.to_string()}})
}

async fn mutate(cluster: &Cluster, name: &str, patch: Value) -> String {
    let patched = cluster.patch("merge", &format!("{CONFIG_MAPS}/{name}"), patch).await;
    assert_eq!(patched.code, 200, "{}", patched.line());
    revision(&patched.body)
}

fn revision(object: &Value) -> String {
    object["metadata"]["resourceVersion"].as_str().expect("a revision").to_owned()
}

/// The next event as `MODIFIED name 1`, with the number of its mutation.
async fn next(watch: &mut Events) -> String {
    let event = watch.next().await.expect("an event");
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let object = &event["object"];
    format!("{} {} {}", text(&event["type"]), text(&object["metadata"]["name"]), text(&object["data"]["mutation"]))
}

async fn watch(cluster: &Cluster, labels: &str, from: &str) -> Events {
    let selector = format!("{LABEL}%20in%20({labels})");
    cluster.watch(&format!("{CONFIG_MAPS}?watch=true&labelSelector={selector}&resourceVersion={from}")).await
}

/// Conformance: watch-configmaps-with-multiple-watchers.
#[tokio::test]
async fn each_watcher_sees_what_its_labels_select() {
    let cluster = Cluster::new().await;
    let mut both = watch(&cluster, "multiple-watchers-A,multiple-watchers-B", "").await;
    let mut of_a = watch(&cluster, "multiple-watchers-A", "").await;
    let mut of_b = watch(&cluster, "multiple-watchers-B", "").await;
    create(&cluster, CONFIG_MAPS, labelled("a", "multiple-watchers-A")).await;
    mutate(&cluster, "a", mutation(1)).await;
    mutate(&cluster, "a", mutation(2)).await;
    cluster.delete(&format!("{CONFIG_MAPS}/a")).await;
    create(&cluster, CONFIG_MAPS, labelled("b", "multiple-watchers-B")).await;
    cluster.delete(&format!("{CONFIG_MAPS}/b")).await;
    let (first, second) = (["ADDED a -", "MODIFIED a 1", "MODIFIED a 2", "DELETED a 2"], ["ADDED b -", "DELETED b -"]);
    for (watch, expected) in
        [(&mut both, [&first[..], &second].concat()), (&mut of_a, first.to_vec()), (&mut of_b, second.to_vec())]
    {
        for line in expected {
            assert_eq!(next(watch).await, line);
        }
    }
    // Nothing else was sent: what comes next is what happens next.
    create(&cluster, CONFIG_MAPS, labelled("a2", "multiple-watchers-A")).await;
    create(&cluster, CONFIG_MAPS, labelled("b2", "multiple-watchers-B")).await;
    assert_eq!(next(&mut of_a).await, "ADDED a2 -");
    assert_eq!(next(&mut of_b).await, "ADDED b2 -");
    assert_eq!((next(&mut both).await, next(&mut both).await), ("ADDED a2 -".into(), "ADDED b2 -".into()));
}

/// Conformance: watch-configmaps-from-resource-version.
#[tokio::test]
async fn a_watch_begins_after_the_revision_it_names() {
    let cluster = Cluster::new().await;
    create(&cluster, CONFIG_MAPS, labelled("a", "from-resource-version")).await;
    let first = mutate(&cluster, "a", mutation(1)).await;
    mutate(&cluster, "a", mutation(2)).await;
    cluster.delete(&format!("{CONFIG_MAPS}/a")).await;
    let mut watch = watch(&cluster, "from-resource-version", &first).await;
    assert_eq!(next(&mut watch).await, "MODIFIED a 2");
    assert_eq!(next(&mut watch).await, "DELETED a 2");
}

/// Conformance: watch-configmaps-closed-and-restarted.
#[tokio::test]
async fn a_watch_goes_on_where_another_was_closed() {
    let cluster = Cluster::new().await;
    let mut former = watch(&cluster, "watch-closed-and-restarted", "").await;
    create(&cluster, CONFIG_MAPS, labelled("a", "watch-closed-and-restarted")).await;
    mutate(&cluster, "a", mutation(1)).await;
    assert_eq!(next(&mut former).await, "ADDED a -");
    let last = former.next().await.expect("an event");
    drop(former);
    mutate(&cluster, "a", mutation(2)).await;
    cluster.delete(&format!("{CONFIG_MAPS}/a")).await;
    let mut later = watch(&cluster, "watch-closed-and-restarted", &revision(&last["object"])).await;
    assert_eq!(next(&mut later).await, "MODIFIED a 2");
    assert_eq!(next(&mut later).await, "DELETED a 2");
}

/// Conformance: watch-configmaps-label-changed.
#[tokio::test]
async fn an_object_that_is_no_longer_selected_is_deleted_for_the_watcher() {
    let cluster = Cluster::new().await;
    let mut watch = watch(&cluster, "label-changed-and-restored", "").await;
    let relabel = |label: &str| json!({"metadata": {"labels": {LABEL: label}}});
    create(&cluster, CONFIG_MAPS, labelled("a", "label-changed-and-restored")).await;
    mutate(&cluster, "a", mutation(1)).await;
    mutate(&cluster, "a", relabel("wrong-value")).await;
    mutate(&cluster, "a", mutation(2)).await;
    mutate(&cluster, "a", relabel("label-changed-and-restored")).await;
    mutate(&cluster, "a", mutation(3)).await;
    cluster.delete(&format!("{CONFIG_MAPS}/a")).await;
    for line in ["ADDED a -", "MODIFIED a 1", "DELETED a 1", "ADDED a 2", "MODIFIED a 3", "DELETED a 3"] {
        assert_eq!(next(&mut watch).await, line);
    }
}

/// Conformance: watch-consistency.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_watches_see_one_order() {
    const WATCHES: usize = 30;
    let cluster = Cluster::new().await;
    let list = cluster.get(CONFIG_MAPS).await;
    let path = |from: &str| format!("{CONFIG_MAPS}?watch=true&resourceVersion={from}");
    let mut watches = vec![cluster.watch(&path(&revision(&list.body))).await];
    let write = async {
        for turn in 0..WATCHES as u32 {
            let name = format!("cm-{}", turn % 7);
            create(&cluster, CONFIG_MAPS, labelled(&name, "x")).await;
            mutate(&cluster, &name, mutation(turn)).await;
            cluster.delete(&format!("{CONFIG_MAPS}/{name}")).await;
        }
    };
    let read = async {
        for _ in 0..WATCHES {
            let mut revisions = Vec::new();
            for watch in &mut watches {
                revisions.push(revision(&watch.next().await.expect("an event")["object"]));
            }
            assert!(revisions.iter().all(|one| *one == revisions[0]), "{revisions:?}");
            watches.push(cluster.watch(&path(&revisions[0])).await);
        }
    };
    tokio::join!(write, read);
}
