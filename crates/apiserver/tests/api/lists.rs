//! Lists: selectors, pages, tables, revisions.

use http::Request;
use serde_json::{Value, json};

use crate::harness::{Answer, Cluster};

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";

async fn filled(count: usize) -> Cluster {
    let cluster = Cluster::new().await;
    for index in 0..count {
        let labels = json!({"parity": if index % 2 == 0 { "even" } else { "odd" }});
        let body = json!({"metadata": {"name": format!("cm-{index}"), "labels": labels}});
        assert_eq!(cluster.post(CONFIG_MAPS, body).await.code, 201);
    }
    cluster
}

fn names(answer: &Answer) -> Vec<&str> {
    let items = answer.at("/items").as_array().map(Vec::as_slice).unwrap_or_default();
    items.iter().filter_map(|item| item["metadata"]["name"].as_str()).collect()
}

#[tokio::test]
async fn selectors_select() {
    let cluster = filled(4).await;
    for (query, expected) in [
        ("", &["cm-0", "cm-1", "cm-2", "cm-3"][..]),
        ("?labelSelector=parity%3Dodd", &["cm-1", "cm-3"]),
        ("?labelSelector=parity%20in%20(even),!x", &["cm-0", "cm-2"]),
        ("?fieldSelector=metadata.name%3Dcm-1", &["cm-1"]),
        ("?fieldSelector=metadata.name!%3Dcm-1", &["cm-0", "cm-2", "cm-3"]),
        ("?fieldSelector=metadata.namespace%3Delsewhere", &[]),
    ] {
        assert_eq!(names(&cluster.get(&format!("{CONFIG_MAPS}{query}")).await), expected, "{query}");
    }
    assert_eq!(cluster.get(&format!("{CONFIG_MAPS}?fieldSelector=spec.x%3D1")).await.code, 400);
    assert_eq!(cluster.get(&format!("{CONFIG_MAPS}?labelSelector=a%20b%20c")).await.code, 400);
    let everywhere = cluster.get("/api/v1/configmaps").await;
    assert_eq!(names(&everywhere).len(), 4);
    assert_eq!((everywhere.at("/kind"), everywhere.at("/apiVersion")), (&json!("ConfigMapList"), &json!("v1")));
}

#[tokio::test]
async fn pages_are_of_one_revision() {
    let cluster = filled(5).await;
    let first = cluster.get(&format!("{CONFIG_MAPS}?limit=2")).await;
    assert_eq!((names(&first), first.at("/metadata/remainingItemCount")), (vec!["cm-0", "cm-1"], &json!(3)));
    cluster.delete(&format!("{CONFIG_MAPS}/cm-3")).await;
    let mut seen = Vec::new();
    let mut token = first.at("/metadata/continue").as_str().expect("a token").to_owned();
    while !token.is_empty() {
        let page = cluster.get(&format!("{CONFIG_MAPS}?limit=2&continue={token}")).await;
        assert_eq!(page.at("/metadata/resourceVersion"), first.at("/metadata/resourceVersion"));
        seen.extend(names(&page).into_iter().map(str::to_owned));
        token = page.at("/metadata/continue").as_str().unwrap_or_default().to_owned();
    }
    assert_eq!(seen, ["cm-2", "cm-3", "cm-4"], "what was deleted meanwhile is still in the list");
    let odd = cluster.get(&format!("{CONFIG_MAPS}?limit=1&labelSelector=parity%3Deven")).await;
    assert_eq!((names(&odd), odd.at("/metadata/remainingItemCount")), (vec!["cm-0"], &Value::Null));
    assert_eq!(cluster.get(&format!("{CONFIG_MAPS}?continue=nonsense")).await.code, 400);
}

#[tokio::test]
async fn a_page_whose_revision_is_gone_offers_a_way_on() {
    let cluster = filled(3).await;
    let first = cluster.get(&format!("{CONFIG_MAPS}?limit=1")).await;
    let token = first.at("/metadata/continue").as_str().expect("a token").to_owned();
    cluster.delete(&format!("{CONFIG_MAPS}/cm-1")).await;
    let store = cluster.server.registry.store();
    store.compact(store.revision()).await.expect("compacted");
    let expired = cluster.get(&format!("{CONFIG_MAPS}?limit=1&continue={token}")).await;
    assert_eq!((expired.code, expired.at("/reason")), (410, &json!("Expired")));
    let token = expired.at("/metadata/continue").as_str().expect("another token").to_owned();
    let rest = cluster.get(&format!("{CONFIG_MAPS}?continue={token}")).await;
    assert_eq!(names(&rest), ["cm-2"], "inconsistent, as told");
}

#[tokio::test]
async fn a_list_can_be_read_at_a_revision() {
    let cluster = filled(2).await;
    let then = cluster.get(CONFIG_MAPS).await;
    let revision = then.at("/metadata/resourceVersion").as_str().expect("a revision").to_owned();
    cluster.delete(&format!("{CONFIG_MAPS}/cm-0")).await;
    let exact = cluster.get(&format!("{CONFIG_MAPS}?resourceVersion={revision}&resourceVersionMatch=Exact")).await;
    assert_eq!(exact.body, then.body);
    let newest = cluster.get(&format!("{CONFIG_MAPS}?resourceVersion={revision}")).await;
    assert_eq!(names(&newest), ["cm-1"]);
    assert_eq!(names(&cluster.get(&format!("{CONFIG_MAPS}?resourceVersion=0")).await), ["cm-1"]);
}

#[tokio::test]
async fn tables_and_metadata_are_served() {
    let cluster = filled(1).await;
    let table = Request::builder()
        .uri(CONFIG_MAPS)
        .header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json");
    let table = cluster.ask(table, "").await;
    assert_eq!((table.at("/kind"), table.at("/rows/0/cells/0")), (&json!("Table"), &json!("cm-0")));
    assert_eq!(table.at("/columnDefinitions/0/name"), "Name");
    assert_eq!(table.at("/rows/0/object/kind"), "PartialObjectMetadata");
    let partial = Request::builder()
        .uri(CONFIG_MAPS)
        .header("accept", "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1");
    let partial = cluster.ask(partial, "").await;
    assert_eq!(
        (partial.at("/kind"), partial.at("/items/0/metadata/name")),
        (&json!("PartialObjectMetadataList"), &json!("cm-0"))
    );
    let yaml = Request::builder().uri(format!("{CONFIG_MAPS}/cm-0")).header("accept", "application/yaml");
    let yaml = cluster.ask(yaml, "").await;
    assert!(yaml.body.as_str().is_some_and(|text| text.contains("name: cm-0")), "{:?}", yaml.body);
    let unknown = Request::builder().uri(CONFIG_MAPS).header("accept", "text/html");
    let refused = cluster.ask(unknown, "").await;
    assert_eq!(
        refused.line(),
        "406 NotAcceptable: only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf"
    );
}

#[tokio::test]
async fn a_collection_is_deleted() {
    let cluster = filled(4).await;
    let deleted = cluster.delete(&format!("{CONFIG_MAPS}?labelSelector=parity%3Dodd")).await;
    assert_eq!(names(&deleted), ["cm-1", "cm-3"]);
    assert_eq!(names(&cluster.get(CONFIG_MAPS).await), ["cm-0", "cm-2"]);
}

#[tokio::test]
async fn an_event_is_served_in_both_groups() {
    let cluster = Cluster::new().await;
    let body = json!({
        "metadata": {"name": "e"}, "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"},
        "reason": "Started", "message": "text", "type": "Normal", "source": {"component": "kubelet"},
    });
    let created = cluster.post("/api/v1/namespaces/default/events", body).await;
    assert_eq!(created.code, 201, "{}", created.line());
    let other = cluster.get("/apis/events.k8s.io/v1/namespaces/default/events/e").await;
    assert_eq!((other.at("/apiVersion"), other.at("/note")), (&json!("events.k8s.io/v1"), &json!("text")));
    let selected = cluster.get("/apis/events.k8s.io/v1/events?fieldSelector=regarding.name%3Dp").await;
    assert_eq!(names(&selected), ["e"]);
    let selected = cluster.get("/api/v1/events?fieldSelector=involvedObject.name%3Dp,source%3Dkubelet").await;
    assert_eq!(names(&selected), ["e"]);
}
