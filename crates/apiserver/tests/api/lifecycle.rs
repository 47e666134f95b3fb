//! Create, update, delete: metadata, conflicts, finalizers, errors in upstream's words.

use expect_test::expect;
use serde_json::{Value, json};

use crate::harness::Cluster;

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn config_map(name: &str, data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
}

#[tokio::test]
async fn an_object_lives() {
    let cluster = Cluster::new().await;
    let created = cluster.post(CONFIG_MAPS, config_map("a", json!({"k": "v"}))).await;
    assert_eq!(created.line(), "201 ConfigMap a");
    for field in ["uid", "creationTimestamp", "resourceVersion"] {
        assert!(created.at("/metadata")[field].is_string(), "{field}");
    }
    assert_eq!(created.at("/metadata/managedFields/0/operation"), "Update");
    let path = format!("{CONFIG_MAPS}/a");
    assert_eq!(cluster.get(&path).await.body, created.body);

    let mut changed = created.body.clone();
    changed["data"]["k"] = "w".into();
    let updated = cluster.put(&path, changed.clone()).await;
    assert_eq!(updated.line(), "200 ConfigMap a");
    assert_ne!(updated.at("/metadata/resourceVersion"), created.at("/metadata/resourceVersion"));
    assert_eq!(updated.at("/metadata/uid"), created.at("/metadata/uid"));

    let stale = cluster.put(&path, changed).await;
    expect![[r#"409 Conflict: Operation cannot be fulfilled on configmaps "a": the object has been modified; please apply your changes to the latest version and try again"#]]
        .assert_eq(&stale.line());

    let same = cluster.put(&path, updated.body.clone()).await;
    assert_eq!(same.at("/metadata/resourceVersion"), updated.at("/metadata/resourceVersion"), "nothing was written");

    assert_eq!(cluster.delete(&path).await.at("/status"), "Success");
    expect![[r#"404 NotFound: configmaps "a" not found"#]].assert_eq(&cluster.get(&path).await.line());
    expect![[r#"404 NotFound: configmaps "a" not found"#]].assert_eq(&cluster.delete(&path).await.line());
}

#[tokio::test]
async fn errors_have_upstreams_words() {
    let cluster = Cluster::new().await;
    cluster.post(CONFIG_MAPS, config_map("a", json!({}))).await;
    let mut transcript = String::new();
    for (method, path, body) in [
        ("POST", CONFIG_MAPS, config_map("a", json!({}))),
        ("POST", CONFIG_MAPS, config_map("A_b", json!({}))),
        ("POST", CONFIG_MAPS, json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}})),
        ("POST", CONFIG_MAPS, json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}})),
        ("POST", CONFIG_MAPS, json!({"apiVersion": "v2", "kind": "ConfigMap", "metadata": {"name": "p"}})),
        ("POST", CONFIG_MAPS, json!({"metadata": {"name": "p", "namespace": "other"}})),
        ("POST", CONFIG_MAPS, json!({"metadata": {"name": "p"}, "data": {"a": 1}})),
        ("POST", "/api/v1/namespaces/nowhere/configmaps", config_map("a", json!({}))),
        ("PUT", "/api/v1/namespaces/default/configmaps/b", config_map("a", json!({}))),
        ("PUT", "/api/v1/namespaces/default/configmaps/b", config_map("b", json!({}))),
        ("GET", "/api/v1/namespaces/default/nothings", Value::Null),
        ("GET", "/apis/nothing/v1/things", Value::Null),
        ("GET", "/api/v1/namespaces/default/configmaps/a/status", Value::Null),
        ("POST", "/api/v1/configmaps", config_map("c", json!({}))),
        ("PATCH", "/api/v1/namespaces/default/configmaps/a", json!({})),
        ("DELETE", "/api/v1/namespaces/kube-system", Value::Null),
    ] {
        transcript.push_str(&format!("{method} {path}\n  {}\n", cluster.call(method, path, body).await.line()));
    }
    expect![[r#"
        POST /api/v1/namespaces/default/configmaps
          409 AlreadyExists: configmaps "a" already exists
        POST /api/v1/namespaces/default/configmaps
          422 Invalid: ConfigMap "A_b" is invalid: metadata.name: Invalid value: "A_b": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        POST /api/v1/namespaces/default/configmaps
          422 Invalid: ConfigMap "" is invalid: metadata.name: Required value: name or generateName is required
        POST /api/v1/namespaces/default/configmaps
          400 BadRequest: Pod in version "v1" cannot be handled as a ConfigMap: converting (Pod) to (ConfigMap): unknown conversion
        POST /api/v1/namespaces/default/configmaps
          400 BadRequest: the API version in the data (v2) does not match the expected API version (v1)
        POST /api/v1/namespaces/default/configmaps
          400 BadRequest: the namespace of the provided object does not match the namespace sent on the request
        POST /api/v1/namespaces/default/configmaps
          400 BadRequest: ConfigMap in version "v1" cannot be handled as a ConfigMap: json: cannot unmarshal number into Go struct field ConfigMap.data of type string
        POST /api/v1/namespaces/nowhere/configmaps
          404 NotFound: namespaces "nowhere" not found
        PUT /api/v1/namespaces/default/configmaps/b
          400 BadRequest: the name of the object (a) does not match the name on the URL (b)
        PUT /api/v1/namespaces/default/configmaps/b
          404 NotFound: configmaps "b" not found
        GET /api/v1/namespaces/default/nothings
          404 NotFound: the server could not find the requested resource
        GET /apis/nothing/v1/things
          404 NotFound: the server could not find the requested resource
        GET /api/v1/namespaces/default/configmaps/a/status
          404 NotFound: the server could not find the requested resource
        POST /api/v1/configmaps
          405 MethodNotAllowed: the server does not allow this method on the requested resource
        PATCH /api/v1/namespaces/default/configmaps/a
          415 UnsupportedMediaType: the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml
        DELETE /api/v1/namespaces/kube-system
          403 Forbidden: namespaces "kube-system" is forbidden: this namespace may not be deleted
    "#]].assert_eq(&transcript);
    let broken = cluster.ask(http::Request::builder().method("POST").uri(CONFIG_MAPS), "{\"a\":").await;
    assert_eq!(broken.code, 400);
}

#[tokio::test]
async fn unknown_fields_are_judged_as_asked() {
    let cluster = Cluster::new().await;
    let body = json!({"metadata": {"name": "a"}, "dota": {"k": "v"}});
    let strict = cluster.post(&format!("{CONFIG_MAPS}?fieldValidation=Strict"), body.clone()).await;
    expect![[r#"400 BadRequest: ConfigMap in version "v1" cannot be handled as a ConfigMap: strict decoding error: unknown field "dota""#]]
        .assert_eq(&strict.line());
    let warned = cluster.post(CONFIG_MAPS, body).await;
    assert_eq!(warned.headers["warning"], r#"299 - "unknown field \"dota\"""#);
    assert_eq!(warned.at("/dota"), &Value::Null);
}

#[tokio::test]
async fn dry_runs_write_nothing() {
    let cluster = Cluster::new().await;
    let dry = cluster.post(&format!("{CONFIG_MAPS}?dryRun=All"), config_map("a", json!({}))).await;
    assert_eq!(dry.line(), "201 ConfigMap a");
    assert_eq!(cluster.get(&format!("{CONFIG_MAPS}/a")).await.code, 404);
    cluster.post(CONFIG_MAPS, config_map("a", json!({}))).await;
    assert_eq!(cluster.post(&format!("{CONFIG_MAPS}?dryRun=All"), config_map("a", json!({}))).await.code, 409);
    assert_eq!(cluster.delete(&format!("{CONFIG_MAPS}/a?dryRun=All")).await.code, 200);
    assert_eq!(cluster.get(&format!("{CONFIG_MAPS}/a")).await.code, 200);
}

#[tokio::test]
async fn finalizers_hold_an_object_until_the_last_is_gone() {
    let cluster = Cluster::new().await;
    let body = json!({"metadata": {"name": "a", "finalizers": ["example.com/hold"]}});
    cluster.post(CONFIG_MAPS, body).await;
    let path = format!("{CONFIG_MAPS}/a");
    let deleted = cluster.delete(&path).await;
    assert_eq!(deleted.line(), "200 ConfigMap a");
    assert!(deleted.at("/metadata/deletionTimestamp").is_string());
    let added = cluster
        .patch("merge", &path, json!({"metadata": {"finalizers": ["example.com/hold", "example.com/more"]}}))
        .await;
    assert_eq!(added.code, 422, "{}", added.line());
    let released = cluster.patch("merge", &path, json!({"metadata": {"finalizers": null}})).await;
    assert_eq!(released.line(), "200 ConfigMap a");
    assert_eq!(cluster.get(&path).await.code, 404);
}

#[tokio::test]
async fn names_are_generated() {
    let cluster = Cluster::new().await;
    let created = cluster.post(CONFIG_MAPS, json!({"metadata": {"generateName": "web-"}})).await;
    let name = created.at("/metadata/name").as_str().expect("a name").to_owned();
    assert!(name.starts_with("web-") && name.len() == 9, "{name}");
}

#[tokio::test]
async fn a_namespace_ends_by_its_finalizer() {
    let cluster = Cluster::new().await;
    let created = cluster.post("/api/v1/namespaces", json!({"metadata": {"name": "shop"}})).await;
    assert_eq!(created.at("/spec/finalizers/0"), "kubernetes");
    assert_eq!(created.at("/metadata/labels/kubernetes.io~1metadata.name"), "shop");
    assert_eq!(created.at("/status/phase"), "Active");
    let deleted = cluster.delete("/api/v1/namespaces/shop").await;
    assert_eq!(deleted.at("/status/phase"), "Terminating");
    let late = cluster.post("/api/v1/namespaces/shop/configmaps", config_map("a", json!({}))).await;
    expect![[r#"403 Forbidden: configmaps "a" is forbidden: unable to create new content in namespace shop because it is being terminated"#]]
        .assert_eq(&late.line());
    assert_eq!(cluster.delete("/api/v1/namespaces/shop").await.code, 409);
    let mut finalized = deleted.body.clone();
    finalized["spec"]["finalizers"] = json!([]);
    assert_eq!(cluster.put("/api/v1/namespaces/shop/finalize", finalized).await.code, 200);
    assert_eq!(cluster.get("/api/v1/namespaces/shop").await.code, 404);
}

#[tokio::test]
async fn nobody_but_the_allowed_gets_in() {
    let cluster = Cluster::new().await.acting_as(apimachinery::UserInfo::new("eve", ["nobodies"]));
    expect![[r#"403 Forbidden: configmaps is forbidden: User "eve" cannot list resource "configmaps" in API group "" in the namespace "default""#]]
        .assert_eq(&cluster.get(CONFIG_MAPS).await.line());
}

#[tokio::test]
async fn generation_counts_changes_of_the_spec() {
    let cluster = Cluster::new().await;
    let path = "/apis/apps/v1/namespaces/default/deployments";
    let body = json!({
        "metadata": {"name": "web"},
        "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
        },
    });
    let created = cluster.post(path, body).await;
    assert_eq!(created.at("/metadata/generation"), 1, "{}", created.line());
    let path = format!("{path}/web");
    let labelled = cluster.patch("merge", &path, json!({"metadata": {"labels": {"a": "b"}}})).await;
    assert_eq!(labelled.at("/metadata/generation"), 1);
    let scaled = cluster.patch("merge", &path, json!({"spec": {"replicas": 3}})).await;
    assert_eq!(scaled.at("/metadata/generation"), 2);
    let status = cluster
        .patch("merge", &format!("{path}/status"), json!({"status": {"replicas": 3}, "spec": {"replicas": 9}}))
        .await;
    assert_eq!((status.at("/metadata/generation"), status.at("/spec/replicas")), (&json!(2), &json!(3)));
    let main = cluster.patch("merge", &path, json!({"status": {"replicas": 7}})).await;
    assert_eq!(main.at("/status/replicas"), 3);
    let scale = cluster.patch("merge", &format!("{path}/scale"), json!({"spec": {"replicas": 5}})).await;
    assert_eq!((scale.line().as_str(), scale.at("/spec/replicas")), ("200 Scale web", &json!(5)));
    assert_eq!(scale.at("/status/selector"), "app=web");
    assert_eq!(cluster.get(&path).await.at("/spec/replicas"), 5);
}
