//! Kinds that CustomResourceDefinitions add: everything generic holds for them.

mod conversion;
mod definitions;
mod objects;
mod ratcheting;
mod schemas;
mod strictness;

use serde_json::{Value, json};

use crate::harness::{Answer, Cluster};

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const DEFINITION: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/things.example.com";
const THINGS: &str = "/apis/example.com/v1/namespaces/default/things";

/// A definition of `things.example.com`, with this schema of `spec`.
fn definition(spec: Value) -> Value {
    let schema = json!({"type": "object", "properties": {
        "spec": spec, "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
    }});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"plural": "things", "kind": "Thing", "shortNames": ["th"], "categories": ["all"]},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}],
        },
    })
}

fn thing(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": name}, "spec": spec})
}

/// The same value with another one at a place.
fn with(mut value: Value, pointer: &str, new: Value) -> Value {
    let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
    value.pointer_mut(parent).expect("there")[name] = new;
    value
}

async fn define(cluster: &Cluster, definition: Value) -> Answer {
    let created = cluster.post(DEFINITIONS, definition).await;
    assert_eq!(created.code, 201, "{}", created.line());
    created
}

/// A server that knows things with this schema of `spec`.
async fn cluster_with(spec: Value) -> Cluster {
    let cluster = Cluster::new().await;
    define(&cluster, definition(spec)).await;
    cluster
}

/// Replaces the definition by an edited one.
async fn redefine(cluster: &Cluster, edit: impl FnOnce(Value) -> Value) {
    let present = cluster.get(DEFINITION).await;
    let updated = cluster.put(DEFINITION, edit(present.body)).await;
    assert_eq!(updated.code, 200, "{}", updated.line());
}

/// The conditions of the definition, as `Established=True InitialNamesAccepted`.
fn conditions(definition: &Value) -> Vec<String> {
    let list = definition["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    list.iter().map(|one| format!("{}={} {}", text(&one["type"]), text(&one["status"]), text(&one["reason"]))).collect()
}
