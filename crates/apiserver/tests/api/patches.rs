//! The four kinds of patch.

use expect_test::expect;
use serde_json::{Value, json};

use crate::harness::Cluster;

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

fn deployment() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "a", "image": "i"}, {"name": "b", "image": "i"}]}},
        },
    })
}

#[tokio::test]
async fn each_kind_patches_its_way() {
    let cluster = Cluster::new().await;
    let created = cluster.post(DEPLOYMENTS, deployment()).await;
    assert_eq!(created.code, 201, "{}", created.line());
    let path = format!("{DEPLOYMENTS}/web");
    let images = |body: &Value| -> Vec<String> {
        let containers =
            body.pointer("/spec/template/spec/containers").and_then(Value::as_array).cloned().unwrap_or_default();
        containers
            .iter()
            .map(|container| {
                format!(
                    "{}={}",
                    container["name"].as_str().unwrap_or_default(),
                    container["image"].as_str().unwrap_or_default()
                )
            })
            .collect()
    };
    let by_name = json!({"spec": {"template": {"spec": {"containers": [{"name": "b", "image": "j"}]}}}});
    let strategic = cluster.patch("strategic-merge", &path, by_name).await;
    assert_eq!(images(&strategic.body), ["a=i", "b=j"], "{}", strategic.line());
    let json_patch = json!([{"op": "test", "path": "/spec/replicas", "value": 1}, {"op": "replace", "path": "/spec/replicas", "value": 2}]);
    assert_eq!(cluster.patch("json", &path, json_patch.clone()).await.at("/spec/replicas"), 2);
    let failed = cluster.patch("json", &path, json_patch).await;
    expect!["422 Invalid: the server rejected our request due to an error in our request"].assert_eq(&failed.line());
    let unchanged = cluster.patch("merge", &path, json!({"spec": {"replicas": 2}})).await;
    let again = cluster.patch("merge", &path, json!({})).await;
    assert_eq!(unchanged.at("/metadata/resourceVersion"), again.at("/metadata/resourceVersion"));
    let stale = cluster.patch("merge", &path, json!({"metadata": {"resourceVersion": "1"}})).await;
    assert_eq!(stale.code, 409);
    let unknown = cluster
        .ask(http::Request::builder().method("PATCH").uri(&path).header("content-type", "text/plain"), "x")
        .await;
    expect!["415 UnsupportedMediaType: the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml"].assert_eq(&unknown.line());
}

#[tokio::test]
async fn apply_owns_fields() {
    let cluster = Cluster::new().await;
    let path = format!("{DEPLOYMENTS}/web");
    let created = cluster.patch("apply", &format!("{path}?fieldManager=me"), deployment()).await;
    assert_eq!(created.line(), "201 Deployment web");
    assert_eq!(created.at("/metadata/managedFields/0/manager"), "me");
    let again = cluster.patch("apply", &format!("{path}?fieldManager=me"), deployment()).await;
    assert_eq!(again.at("/metadata/resourceVersion"), created.at("/metadata/resourceVersion"), "nothing changed");
    let mut mine = deployment();
    mine["spec"]["replicas"] = 3.into();
    assert_eq!(cluster.patch("apply", &format!("{path}?fieldManager=me"), mine).await.at("/spec/replicas"), 3);
    let theirs =
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {"replicas": 5}});
    let conflict = cluster.patch("apply", &format!("{path}?fieldManager=you"), theirs.clone()).await;
    expect![[r#"409 Conflict: Apply failed with 1 conflict: conflict with "me": .spec.replicas"#]]
        .assert_eq(&conflict.line());
    let forced = cluster.patch("apply", &format!("{path}?fieldManager=you&force=true"), theirs).await;
    assert_eq!(forced.at("/spec/replicas"), 5);
    let nobody = cluster.patch("apply", &path, deployment()).await;
    expect![[r#"422 Invalid: PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch"#]].assert_eq(&nobody.line());
}
