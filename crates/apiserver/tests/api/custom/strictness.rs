//! Strict requests: what is unknown or there twice is refused, in the object and in those it holds.

use http::Request;
use serde_json::json;

use super::{DEFINITION, THINGS, cluster_with, thing, with};
use crate::harness::{Answer, Cluster};

async fn strictly(cluster: &Cluster, body: String) -> Answer {
    let path = format!("{THINGS}?fieldValidation=Strict");
    cluster.ask(Request::builder().method("POST").uri(path), body).await
}

#[tokio::test]
async fn without_a_schema_only_metadata_is_known() {
    let cluster = cluster_with(json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})).await;
    let free = json!({"any": {"thing": [{"goes": 1}]}});
    let taken = strictly(&cluster, thing("a", free.clone()).to_string()).await;
    assert_eq!((taken.code, taken.at("/spec")), (201, &free), "{}", taken.line());
    let odd = with(thing("b", free), "/metadata/labelz", json!({"a": "b"}));
    let refused = strictly(&cluster, odd.to_string()).await;
    assert_eq!(refused.code, 400);
    assert!(refused.line().ends_with("strict decoding error: unknown field \"metadata.labelz\""), "{}", refused.line());
    let twice = r#"{"apiVersion":"example.com/v1","kind":"Thing","metadata":{"name":"b"},"spec":{"x":{"y":1,"y":2}}}"#;
    let refused = strictly(&cluster, twice.to_owned()).await;
    assert!(refused.line().ends_with("strict decoding error: duplicate field \"spec.x.y\""), "{}", refused.line());
}

#[tokio::test]
async fn metadata_of_what_an_object_holds_is_known_too() {
    let child = json!({"type": "object", "x-kubernetes-embedded-resource": true, "properties": {
        "spec": {"type": "object", "properties": {"size": {"type": "integer"}}},
    }});
    let cluster = cluster_with(json!({"type": "object", "properties": {"child": child}})).await;
    let held = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"size": 1}});
    let good = thing("a", json!({"child": held}));
    let odd = with(good.clone(), "/spec/child/metadata/unknownMeta", json!("x"));
    let odd = with(odd, "/spec/child/spec/colour", json!("red"));
    let refused = strictly(&cluster, odd.to_string()).await;
    assert_eq!(refused.code, 400);
    for field in ["spec.child.metadata.unknownMeta", "spec.child.spec.colour"] {
        assert!(refused.line().contains(&format!("unknown field \"{field}\"")), "{}", refused.line());
    }
    let taken = strictly(&cluster, good.to_string()).await;
    assert_eq!(taken.code, 201, "{}", taken.line());
}

/// What a definition says is false is not published: to old clients the mere name of an extension would mean yes.
#[tokio::test]
async fn extensions_that_are_off_are_not_published() {
    let port = json!({"type": "string", "x-kubernetes-int-or-string": false, "x-kubernetes-embedded-resource": false});
    let cluster = cluster_with(json!({"type": "object", "properties": {"port": port}})).await;
    assert_eq!(cluster.get(DEFINITION).await.code, 200);
    let document = cluster.get("/openapi/v2").await;
    let index = cluster.get("/openapi/v3").await;
    let url = index.at("/paths/apis~1example.com~1v1/serverRelativeURL").as_str().expect("it is published").to_owned();
    let v3 = cluster.get(&url).await;
    let name = "com.example.v1.Thing/properties/spec/properties/port";
    for published in [document.at(&format!("/definitions/{name}")), v3.at(&format!("/components/schemas/{name}"))] {
        let keys: Vec<&String> = published.as_object().map(|fields| fields.keys().collect()).unwrap_or_default();
        assert_eq!(keys, ["type"], "{published}");
    }
}

/// What is applied is never passed over: unknown fields are refused whatever the request says of them
/// (upstream: test/e2e/apimachinery/field_validation.go).
#[tokio::test]
async fn what_is_applied_has_to_be_declared() {
    let child = json!({"type": "object", "x-kubernetes-embedded-resource": true, "properties": {
        "metadata": {"type": "object", "properties": {"name": {"type": "string"}}},
    }});
    let ports = json!({"type": "array", "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["containerPort", "protocol"],
        "items": {"type": "object", "required": ["containerPort", "protocol"], "properties": {
            "containerPort": {"type": "integer", "format": "int32"}, "name": {"type": "string"},
            "protocol": {"type": "string"}}}});
    let cron = json!({"type": "string", "pattern": r"^(\d+|\*)(/\d+)?(\s+(\d+|\*)(/\d+)?){4}$"});
    let cluster = cluster_with(json!({"type": "object", "properties": {
        "foo": {"type": "string"}, "cronSpec": cron, "template": child, "ports": ports}}))
    .await;
    let good = "apiVersion: example.com/v1\nkind: Thing\nmetadata:\n  name: a\n  finalizers:\n  - example.com/test\nspec:\n  foo: foo1\n  cronSpec: \"* * * * */5\"\n  ports:\n  - name: x\n    containerPort: 80\n    protocol: TCP\n";
    let taken = apply(&cluster, "Strict", good.to_owned()).await;
    assert_eq!(taken.code, 201, "{}", taken.line());
    for (from, to, field) in [
        ("spec:", "unknownField: unknown\nspec:", ".unknownField"),
        ("  name: a", "  name: a\n  unknownMeta: unknown", ".metadata.unknownMeta"),
        (
            "  foo: foo1",
            "  template:\n    apiVersion: foo/v1\n    kind: Sub\n    metadata: {name: sub, unknownSubMeta: unknown}",
            ".spec.template.metadata.unknownSubMeta",
        ),
    ] {
        for validation in ["Strict", "Warn", "Ignore"] {
            let refused = apply(&cluster, validation, good.replacen(from, to, 1)).await;
            let words = format!(
                "failed to create typed patch object (/a; example.com/v1, Kind=Thing): {field}: field not declared in schema"
            );
            assert_eq!((refused.code, refused.at("/message")), (500, &json!(words)), "{validation}");
        }
    }
}

#[tokio::test]
async fn duplicates_in_yaml_are_told_by_their_lines() {
    let cluster = cluster_with(json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})).await;
    let yaml = "\napiVersion: example.com/v1\nkind: Thing\nmetadata:\n  name: a\n  finalizers:\n  - example.com/test\nspec:\n  unknown: uk1\n  foo: foo1\n  foo: foo2\n";
    let line = "line 11: key \"foo\" already set in map";
    let refused = apply(&cluster, "Strict", yaml.to_owned()).await;
    let words =
        format!("error strict decoding patch: error converting YAML to JSON: yaml: unmarshal errors:\n  {line}");
    assert_eq!(refused.line(), format!("400 BadRequest: {words}"));
    let warned = apply(&cluster, "Warn", yaml.to_owned()).await;
    assert_eq!(
        (warned.code, warned.at("/spec")),
        (201, &json!({"unknown": "uk1", "foo": "foo2"})),
        "{}",
        warned.line()
    );
    assert_eq!(warned.headers["warning"], "299 - \"line 11: key \\\"foo\\\" already set in map\"");
    let path = format!("{THINGS}?fieldValidation=Strict");
    let created = Request::builder().method("POST").uri(path).header("content-type", "application/yaml");
    let refused = cluster.ask(created, yaml.replace("name: a", "name: b")).await;
    assert!(
        refused.line().ends_with(&format!("strict decoding error: yaml: unmarshal errors:\n  {line}")),
        "{}",
        refused.line()
    );
}

async fn apply(cluster: &Cluster, validation: &str, yaml: String) -> Answer {
    let path = format!("{THINGS}/a?fieldManager=me&fieldValidation={validation}");
    let request = Request::builder().method("PATCH").uri(path).header("content-type", "application/apply-patch+yaml");
    cluster.ask(request, yaml).await
}
