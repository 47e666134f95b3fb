//! Discovery, health, version.

use http::Request;
use serde_json::{Value, json};

use crate::harness::Cluster;

#[tokio::test]
async fn both_forms_of_discovery_agree() {
    let cluster = Cluster::new().await;
    let mut legacy: Vec<String> = Vec::new();
    let groups = cluster.get("/apis").await;
    let mut paths = vec!["/api/v1".to_owned()];
    for group in groups.at("/groups").as_array().expect("groups") {
        assert_eq!(
            cluster.get(&format!("/apis/{}", group["name"].as_str().expect("a name"))).await.at("/kind"),
            "APIGroup"
        );
        for version in group["versions"].as_array().expect("versions") {
            paths.push(format!("/apis/{}", version["groupVersion"].as_str().expect("a version")));
        }
    }
    for path in paths {
        let list = cluster.get(&path).await;
        for resource in list.at("/resources").as_array().expect("resources") {
            legacy.push(format!(
                "{} {}",
                list.at("/groupVersion").as_str().expect("text"),
                resource["name"].as_str().expect("text")
            ));
        }
    }
    let mut aggregated: Vec<String> = Vec::new();
    for path in ["/api", "/apis"] {
        let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
        let answer = cluster.ask(Request::builder().uri(path).header("accept", accept), "").await;
        assert_eq!(answer.at("/kind"), "APIGroupDiscoveryList");
        for group in answer.at("/items").as_array().expect("items") {
            collect(group, &mut aggregated);
        }
        let again =
            Request::builder().uri(path).header("accept", accept).header("if-none-match", &answer.headers["etag"]);
        assert_eq!(cluster.ask(again, "").await.code, 304);
    }
    legacy.sort();
    aggregated.sort();
    assert_eq!(legacy, aggregated);
    assert!(legacy.iter().any(|line| line == "v1 pods/log"));
    assert!(legacy.iter().any(|line| line == "apps/v1 deployments/scale"));
}

fn collect(group: &Value, lines: &mut Vec<String>) {
    let name = group["metadata"]["name"].as_str().expect("text");
    for version in group["versions"].as_array().expect("versions") {
        let version_name = version["version"].as_str().expect("text");
        let group_version = if name.is_empty() { version_name.to_owned() } else { format!("{name}/{version_name}") };
        for resource in version["resources"].as_array().expect("resources") {
            let resource_name = resource["resource"].as_str().expect("text");
            lines.push(format!("{group_version} {resource_name}"));
            for sub in resource["subresources"].as_array().into_iter().flatten() {
                lines.push(format!("{group_version} {resource_name}/{}", sub["subresource"].as_str().expect("text")));
            }
        }
    }
}

#[tokio::test]
async fn every_kind_can_be_listed_and_watched() {
    let cluster = Cluster::new().await;
    for row in api::RESOURCES.iter().filter(|row| row.verbs.has("watch")) {
        let base = if row.gvk.group.is_empty() {
            "/api/v1".to_owned()
        } else {
            format!("/apis/{}/{}", row.gvk.group, row.gvk.version)
        };
        let list = cluster.get(&format!("{base}/{}", row.plural)).await;
        assert_eq!(list.at("/kind"), &json!(format!("{}List", row.gvk.kind)), "{}", list.line());
        assert!(list.at("/metadata/resourceVersion").as_str().is_some_and(|version| version != "0"));
        cluster.watch(&format!("{base}/{}?watch=1", row.plural)).await;
    }
}

#[tokio::test]
async fn health_and_version_answer() {
    let cluster = Cluster::new().await;
    for path in ["/livez", "/readyz", "/healthz", "/readyz/ping"] {
        let answer = cluster.get(path).await;
        assert_eq!((answer.code, &answer.body), (200, &json!("ok")), "{path}");
    }
    assert!(
        cluster.get("/readyz?verbose").await.body.as_str().is_some_and(|text| text.ends_with("readyz check passed\n"))
    );
    assert_eq!(cluster.get("/livez/etcd").await.body, "ok");
    assert_eq!(cluster.get("/readyz/nothing").await.code, 404);
    let excluded = cluster.get("/readyz?verbose&exclude=shutdown").await;
    assert!(excluded.body.as_str().is_some_and(|text| text.contains("[+]shutdown excluded: ok\n")));
    assert_eq!(cluster.get("/version").await.at("/minor"), "37");
    assert!(cluster.get("/metrics").await.body.as_str().is_some_and(|text| text.contains("apiserver_request_total")));
    assert_eq!(cluster.get("/nothing").await.code, 404);
}

#[tokio::test]
async fn openapi_names_its_documents() {
    let cluster = Cluster::new().await;
    let index = cluster.get("/openapi/v3").await;
    let paths = index.at("/paths").as_object().expect("paths");
    let apps = paths["apis/apps/v1"]["serverRelativeURL"].as_str().expect("a path");
    let document = cluster.get(apps).await;
    assert!(document.headers["cache-control"].to_str().is_ok_and(|text| text.contains("immutable")), "{apps}");
    assert!(document.at("/components/schemas/io.k8s.api.apps.v1.Deployment").is_object());
    assert_eq!(cluster.get("/openapi/v2").await.at("/swagger"), "2.0");
}

#[tokio::test]
async fn openapi_2_has_two_forms() {
    let cluster = Cluster::new().await;
    let json = "application/json";
    let protobuf = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
    let deprecated = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
    for (accept, expected) in [
        (protobuf, Some(protobuf)),
        (deprecated, Some(protobuf)),
        (&format!("{json};q=0.5, {deprecated}"), Some(protobuf)),
        (&format!("{json}, {protobuf}"), Some(json)),
        ("application/*", Some(json)),
        ("application/com.github.proto-openapi.spec.v3@v1.0+protobuf", None),
    ] {
        let answer = cluster.ask(Request::builder().uri("/openapi/v2").header("accept", accept), "").await;
        match expected {
            Some(media_type) => assert_eq!(answer.headers["content-type"], media_type, "{accept}"),
            None => assert_eq!(answer.code, 406, "{accept}"),
        }
        if expected == Some(protobuf) {
            // Field 1, `swagger`, then field 2, `info`.
            let text = answer.body.as_str().expect("no JSON");
            assert!(text.starts_with("\n\u{3}2.0\u{12}"), "{accept}");
        }
    }
}
