//! What the official conformance suite asks of sig-api-machinery and sig-auth, as tests of our own: as much of it as an
//! API server can answer by itself.
//!
//! The doc comment of a test begins with `Conformance:` and the name its specification has in Kubernetes v1.20's
//! conformance.yaml; a test of the `testkit` crate sees to it that every name has its test. Where controllers or pods
//! are needed the test is in the folder of the same name of `controllers` or `kaji`.

mod aggregator;
mod conversion;
mod crd;
mod discovery;
mod events;
mod publish_openapi;
mod secrets;
mod service_accounts;
mod watch;
mod webhooks;

use serde_json::{Value, json};

use crate::harness::{Answer, Cluster};

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/// The names of a list's items.
fn names(list: &Answer) -> Vec<&str> {
    let items = list.at("/items").as_array().map(Vec::as_slice).unwrap_or_default();
    items.iter().filter_map(|item| item["metadata"]["name"].as_str()).collect()
}

/// Posts an object that is taken.
async fn create(cluster: &Cluster, path: &str, body: Value) -> Answer {
    let created = cluster.post(path, body).await;
    assert_eq!(created.code, 201, "{}", created.line());
    created
}

/// A version of a definition, served and with this schema.
fn version(name: &str, schema: &Value) -> Value {
    json!({"name": name, "served": true, "storage": false, "schema": {"openAPIV3Schema": schema}})
}

/// A definition of a namespaced kind, whose first version is stored.
fn definition(group: &str, kind: &str, versions: &[Value]) -> Value {
    let plural = format!("{}s", kind.to_lowercase());
    let mut versions = versions.to_vec();
    versions[0]["storage"] = true.into();
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{group}")},
        "spec": {
            "group": group, "scope": "Namespaced", "names": {"plural": plural, "kind": kind}, "versions": versions,
        },
    })
}

/// A schema that takes anything.
fn anything() -> Value {
    json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

/// A schema of text fields at the root.
fn texts(fields: &[&str]) -> Value {
    let properties: serde_json::Map<String, Value> =
        fields.iter().map(|field| ((*field).to_owned(), json!({"type": "string"}))).collect();
    json!({"type": "object", "properties": properties})
}
