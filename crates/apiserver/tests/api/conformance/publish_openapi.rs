//! Schemas of custom kinds in both OpenAPI documents. What kubectl makes of them is tested with kubectl.

use serde_json::{Value, json};

use super::{DEFINITIONS, create, definition, version};
use crate::harness::{Answer, Cluster};

fn schema(description: &str) -> Value {
    json!({
        "type": "object", "description": description,
        "properties": {"spec": {"type": "object", "description": "Specification of Foo", "required": ["name"],
            "properties": {"name": {"type": "string"}, "kind": {"type": "string", "enum": ["a", "b"]}}}},
    })
}

/// Both documents' lists of what is published.
struct Documents<'c> {
    cluster: &'c Cluster,
    v2: Answer,
    index: Answer,
}

impl<'c> Documents<'c> {
    async fn of(cluster: &'c Cluster) -> Self {
        Self { cluster, v2: cluster.get("/openapi/v2").await, index: cluster.get("/openapi/v3").await }
    }

    /// The schema of a kind; both documents have the same, or none.
    async fn schema(&self, group: &str, version: &str, kind: &str) -> Option<Value> {
        let reversed: Vec<&str> = group.rsplit('.').collect();
        let name = format!("{}.{version}.{kind}", reversed.join("."));
        let of_v2 = self.v2.body["definitions"][&name].clone();
        let of_v3 = match self.index.body["paths"][format!("apis/{group}/{version}")]["serverRelativeURL"].as_str() {
            Some(url) => self.cluster.get(url).await.body["components"]["schemas"][&name].clone(),
            None => Value::Null,
        };
        assert_eq!(of_v2["description"], of_v3["description"], "both documents say the same");
        assert_eq!(of_v2["x-kubernetes-group-version-kind"], of_v3["x-kubernetes-group-version-kind"]);
        if of_v3.is_null() {
            return None;
        }
        let gvk = json!([{"group": group, "version": version, "kind": kind}]);
        assert_eq!(of_v3["x-kubernetes-group-version-kind"], gvk);
        let spec = &of_v3["properties"]["spec"];
        assert_eq!((&spec["required"], &spec["description"]), (&json!(["name"]), &json!("Specification of Foo")));
        assert_eq!(spec["properties"]["kind"]["enum"], json!(["a", "b"]));
        assert_eq!(of_v2["properties"]["spec"]["required"], json!(["name"]));
        Some(of_v3)
    }
}

async fn assert_published(cluster: &Cluster, expected: &[(&str, &str, &str)]) -> Vec<Value> {
    let documents = Documents::of(cluster).await;
    let mut found = Vec::new();
    for (group, version, kind) in expected {
        let schema = documents.schema(group, version, kind).await;
        found.push(schema.unwrap_or_else(|| panic!("{group}/{version} {kind} is not published")));
    }
    found
}

async fn assert_not_published(cluster: &Cluster, group: &str, version: &str) {
    assert_eq!(Documents::of(cluster).await.schema(group, version, "Foo").await, None);
}

fn two_versions(group: &str, first: &str, second: &str) -> Value {
    definition(group, "Foo", &[version(first, &schema("one")), version(second, &schema("two"))])
}

/// Conformance: Custom Resource OpenAPI Publish, varying groups.
#[tokio::test]
async fn kinds_of_several_groups_are_published() {
    let cluster = Cluster::new().await;
    for (group, name) in [("waldo.example.com", "v1"), ("foo.example.com", "v3")] {
        create(&cluster, DEFINITIONS, definition(group, "Foo", &[version(name, &schema("x"))])).await;
    }
    assert_published(&cluster, &[("waldo.example.com", "v1", "Foo"), ("foo.example.com", "v3", "Foo")]).await;
}

/// Conformance: Custom Resource OpenAPI Publish, varying versions.
#[tokio::test]
async fn several_versions_of_a_kind_are_published() {
    let cluster = Cluster::new().await;
    create(&cluster, DEFINITIONS, two_versions("multi-ver.example.com", "v2", "v3")).await;
    assert_published(&cluster, &[("multi-ver.example.com", "v2", "Foo"), ("multi-ver.example.com", "v3", "Foo")]).await;
}

/// Conformance: Custom Resource OpenAPI Publish, varying kinds.
#[tokio::test]
async fn several_kinds_of_a_version_are_published() {
    let cluster = Cluster::new().await;
    for kind in ["Foo", "Waldo"] {
        create(&cluster, DEFINITIONS, definition("common.example.com", kind, &[version("v6", &schema(kind))])).await;
    }
    assert_published(&cluster, &[("common.example.com", "v6", "Foo"), ("common.example.com", "v6", "Waldo")]).await;
}

/// Conformance: Custom Resource OpenAPI Publish, version rename.
#[tokio::test]
async fn a_version_with_a_new_name_is_published_by_it() {
    let cluster = Cluster::new().await;
    let group = "rename.example.com";
    create(&cluster, DEFINITIONS, two_versions(group, "v2", "v3")).await;
    assert_published(&cluster, &[(group, "v2", "Foo"), (group, "v3", "Foo")]).await;
    let rename = json!([{"op": "replace", "path": "/spec/versions/1/name", "value": "v4"}]);
    let patched = cluster.patch("json", &format!("{DEFINITIONS}/foos.{group}"), rename).await;
    assert_eq!(patched.code, 200, "{}", patched.line());
    assert_published(&cluster, &[(group, "v2", "Foo"), (group, "v4", "Foo")]).await;
    assert_not_published(&cluster, group, "v3").await;
}

/// Conformance: Custom Resource OpenAPI Publish, stop serving version.
#[tokio::test]
async fn a_version_that_is_not_served_is_not_published() {
    let cluster = Cluster::new().await;
    let group = "unserved.example.com";
    create(&cluster, DEFINITIONS, two_versions(group, "v5", "v6alpha1")).await;
    let both = assert_published(&cluster, &[(group, "v5", "Foo"), (group, "v6alpha1", "Foo")]).await;
    let unserve = json!([{"op": "replace", "path": "/spec/versions/1/served", "value": false}]);
    let patched = cluster.patch("json", &format!("{DEFINITIONS}/foos.{group}"), unserve).await;
    assert_eq!(patched.code, 200, "{}", patched.line());
    assert_not_published(&cluster, group, "v6alpha1").await;
    let kept = assert_published(&cluster, &[(group, "v5", "Foo")]).await;
    assert_eq!(kept, both[..1], "the other one is as it was");
}
