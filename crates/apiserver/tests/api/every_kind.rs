//! What holds for every kind in the catalogue, whoever wrote its row.

use http::Request;
use serde_json::{Value, json};

use crate::harness::Cluster;

/// `/api/v1` or `/apis/apps/v1`.
fn root(row: &api::Resource) -> String {
    let version = row.gvk.api_version();
    if row.gvk.group.is_empty() { format!("/api/{version}") } else { format!("/apis/{version}") }
}

fn watched() -> impl Iterator<Item = &'static api::Resource> {
    api::RESOURCES.iter().map(|row| &**row).filter(|row| row.verbs.has("watch"))
}

/// Old clients ask for a watch by its path: `/api/v1/watch/namespaces/default/pods`.
#[tokio::test]
async fn every_kind_is_watched_by_its_old_path_too() {
    let cluster = Cluster::new().await;
    for row in watched() {
        let root = root(row);
        cluster.watch(&format!("{root}/watch/{}", row.plural)).await;
        let namespace = if row.is_namespaced() { "namespaces/default/" } else { "" };
        cluster.watch(&format!("{root}/watch/{namespace}{}", row.plural)).await;
        cluster.watch(&format!("{root}/watch/{namespace}{}/one", row.plural)).await;
    }
}

/// An empty list is a list: of its kind, at the store's revision, in every shape.
#[tokio::test]
async fn every_kind_is_listed_as_a_table_and_as_metadata() {
    let cluster = Cluster::new().await;
    for row in watched() {
        let path = format!("{}/{}", root(row), row.plural);
        for kind in ["Table", "PartialObjectMetadataList"] {
            let accept = format!("application/json;as={kind};v=v1;g=meta.k8s.io");
            let list = cluster.ask(Request::builder().uri(&path).header("accept", accept), "").await;
            assert_eq!((list.code, list.at("/kind")), (200, &json!(kind)), "{path}: {}", list.line());
            assert!(list.at("/metadata/resourceVersion").is_string(), "{path}");
            if kind == "Table" {
                assert!(list.at("/columnDefinitions/0/name").is_string(), "{path} has columns");
            }
        }
    }
}

/// What can be deleted can be deleted together, and discovery says so; namespaces are the exception, as upstream.
#[tokio::test]
async fn collections_are_deleted_where_discovery_says_so() {
    let cluster = Cluster::new().await;
    let mut exceptions = Vec::new();
    for row in watched() {
        let list = cluster.get(&root(row)).await;
        let resources = list.at("/resources").as_array().expect("resources");
        let resource = resources.iter().find(|one| one["name"] == row.plural).expect("it is discovered");
        let verbs: Vec<&str> = resource["verbs"].as_array().expect("verbs").iter().filter_map(Value::as_str).collect();
        assert!(verbs.contains(&"list") && verbs.contains(&"watch"), "{}: {verbs:?}", row.plural);
        if verbs.contains(&"delete") && !verbs.contains(&"deletecollection") {
            exceptions.push(row.plural.to_string());
        }
    }
    assert_eq!(exceptions, ["namespaces"]);
}

/// Both documents about a group are found with and without a slash at the end.
#[tokio::test]
async fn discovery_does_not_mind_a_slash() {
    let cluster = Cluster::new().await;
    let mut paths = vec!["/api".to_owned(), "/api/v1".into(), "/apis".into()];
    for group in cluster.get("/apis").await.at("/groups").as_array().expect("groups") {
        paths.push(format!("/apis/{}", group["name"].as_str().expect("a name")));
        paths.push(format!("/apis/{}", group["preferredVersion"]["groupVersion"].as_str().expect("a version")));
    }
    for path in paths {
        let (without, with) = (cluster.get(&path).await, cluster.get(&format!("{path}/")).await);
        assert_eq!((with.code, &with.body), (200, &without.body), "{path}/");
    }
}

/// Aggregated discovery names group, version and kind of every answer, and all versions of a group.
#[tokio::test]
async fn aggregated_discovery_leaves_nothing_to_guess() {
    let cluster = Cluster::new().await;
    for path in ["/api", "/apis"] {
        let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
        let answer = cluster.ask(Request::builder().uri(path).header("accept", accept), "").await;
        for group in answer.at("/items").as_array().expect("groups") {
            let name = group["metadata"]["name"].as_str().unwrap_or_default();
            let versions = group["versions"].as_array().expect("versions");
            if name == "autoscaling" {
                let names: Vec<&Value> = versions.iter().map(|version| &version["version"]).collect();
                assert_eq!(names, ["v2", "v1"]);
            }
            let resources = versions.iter().flat_map(|version| version["resources"].as_array().expect("resources"));
            for resource in resources {
                let kind = &resource["responseKind"];
                let told = ["group", "version", "kind"].iter().all(|field| kind[field].is_string());
                assert!(told && resource["singularResource"].is_string(), "{name}: {resource}");
            }
        }
    }
    // Who asks for neither gets the old documents.
    for (accept, kind) in [("application/json", "APIGroupList"), ("*/*", "APIGroupList")] {
        let answer = cluster.ask(Request::builder().uri("/apis").header("accept", accept), "").await;
        assert_eq!(answer.at("/kind"), kind, "{accept}");
    }
}

const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

/// Controllers written in Go create such kinds in protobuf, nested messages and all.
#[tokio::test]
async fn nested_messages_arrive_whole() {
    let cluster = Cluster::new().await;
    let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
        "size": {"type": "integer", "default": 1}, "list": {"type": "array", "items": {"type": "string"}},
    }}}});
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced", "names": {"plural": "things", "kind": "Thing"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}],
        },
    });
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": {"name": "a"}, "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": true}, "nodeName": "n"}],
        "ports": [{"name": "http", "port": 80, "protocol": "TCP"}],
    });
    let probe = json!({"httpGet": {"path": "/healthz", "port": "http"}, "periodSeconds": 3});
    let container = json!({"name": "c", "image": "i", "livenessProbe": probe});
    let template = json!({
        "apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "a"},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [container]}},
    });
    for (path, object, pointer) in [
        ("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition, "/spec/versions/0/schema"),
        ("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", slice, "/endpoints/0"),
        ("/api/v1/namespaces/default/podtemplates", template, "/template/spec/containers/0/livenessProbe/httpGet/path"),
    ] {
        let text = |field: &str| object[field].as_str().expect("a type");
        let bytes =
            ::protobuf::encode(text("apiVersion"), text("kind"), object.to_string().as_bytes()).expect("encodes");
        let request = Request::builder().method("POST").uri(path).header("content-type", PROTOBUF);
        let made = cluster.ask(request, bytes).await;
        assert_eq!((made.code, made.at(pointer)), (201, object.pointer(pointer).expect("there")), "{}", made.line());
    }
}

/// Custom resources have no protobuf; who tries is told which forms there are.
#[tokio::test]
async fn custom_resources_have_no_protobuf() {
    let cluster = Cluster::new().await;
    let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let definition = json!({
        "metadata": {"name": "things.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced", "names": {"plural": "things", "kind": "Thing"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}],
        },
    });
    let made = cluster.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition).await;
    assert_eq!(made.code, 201, "{}", made.line());
    let path = "/apis/example.com/v1/namespaces/default/things";
    let request = Request::builder().method("POST").uri(path).header("content-type", PROTOBUF);
    let refused = cluster.ask(request, "k8s\0").await;
    assert_eq!((refused.code, refused.at("/reason")), (415, &json!("UnsupportedMediaType")), "{}", refused.line());
    let refused = cluster.ask(Request::builder().uri(path).header("accept", PROTOBUF), "").await;
    assert_eq!(refused.code, 406, "{}", refused.line());
    let list = Request::builder().uri(path).header("accept", format!("{PROTOBUF},application/json"));
    assert_eq!(cluster.ask(list, "").await.at("/kind"), "ThingList", "the next choice is taken");
}
