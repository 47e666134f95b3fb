//! Secrets as objects; what pods get of them is tested with real pods.

use serde_json::json;

use super::{create, names};
use crate::harness::Cluster;

const SECRETS: &str = "/api/v1/namespaces/default/secrets";

/// Conformance: Secrets, with empty-key.
#[tokio::test]
async fn a_key_has_to_be_something() {
    let cluster = Cluster::new().await;
    let refused = cluster.post(SECRETS, json!({"metadata": {"name": "s"}, "data": {"": "dmFsdWU="}})).await;
    assert_eq!((refused.code, refused.at("/details/causes/0/field")), (422, &json!("data[]")), "{}", refused.line());
}

/// Conformance: Secret patching.
#[tokio::test]
async fn a_secret_is_patched_and_deleted_by_its_label() {
    let cluster = Cluster::new().await;
    let selected = "/api/v1/secrets?labelSelector=testsecret-constant%3Dtrue";
    assert_eq!(names(&cluster.get(selected).await), [""; 0]);
    let secret = json!({
        "metadata": {"name": "test-secret", "labels": {"testsecret-constant": "true"}},
        "data": {"key": "dmFsdWU="}, "type": "Opaque",
    });
    create(&cluster, SECRETS, secret).await;
    assert_eq!(names(&cluster.get(selected).await), ["test-secret"]);
    let patch = json!({"metadata": {"labels": {"testsecret": "true"}}, "data": {"key": "dmFsdWUx"}});
    let path = format!("{SECRETS}/test-secret");
    assert_eq!(cluster.patch("strategic-merge", &path, patch).await.code, 200);
    let patched = cluster.get(&path).await;
    assert_eq!(
        (patched.at("/data/key"), patched.at("/metadata/labels/testsecret")),
        (&json!("dmFsdWUx"), &json!("true"))
    );
    assert_eq!(cluster.delete(&format!("{SECRETS}?labelSelector=testsecret%3Dtrue")).await.code, 200);
    assert_eq!(names(&cluster.get(selected).await), [""; 0]);
}
