//! The verbs on custom resources.

use expect_test::expect;
use http::Request;
use serde_json::{Value, json};

use super::{THINGS, cluster_with, define, definition, redefine, thing, with};
use crate::harness::Cluster;

fn sized() -> Value {
    json!({"type": "object", "required": ["size"], "properties": {
        "size": {"type": "integer", "minimum": 1}, "color": {"type": "string", "default": "red"},
        "ports": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
            "items": {"type": "object", "required": ["name"], "properties": {
                "name": {"type": "string"}, "port": {"x-kubernetes-int-or-string": true}}}},
    }})
}

fn with_subresources() -> Value {
    let scale = json!({"specReplicasPath": ".spec.size", "statusReplicasPath": ".status.size", "labelSelectorPath": ".status.selector"});
    let columns = json!([
        {"name": "Size", "type": "integer", "jsonPath": ".spec.size", "description": "How large"},
        {"name": "Color", "type": "string", "jsonPath": ".spec.color", "priority": 1},
    ]);
    let definition = with(definition(sized()), "/spec/versions/0/subresources", json!({"status": {}, "scale": scale}));
    let definition = with(definition, "/spec/versions/0/additionalPrinterColumns", columns);
    with(
        definition,
        "/spec/versions/0/selectableFields",
        json!([{"jsonPath": ".spec.color"}, {"jsonPath": ".spec.size"}]),
    )
}

#[tokio::test]
async fn fields_that_nobody_knows_are_told_of_and_go() {
    let cluster = cluster_with(sized()).await;
    let odd = || {
        let odd = with(thing("a", json!({"size": 1, "bogus": 1})), "/metadata/strange", json!(1));
        with(odd, "/spec/ports", json!([{"name": "a", "odd": 1}]))
    };
    let strict = cluster.post(&format!("{THINGS}?fieldValidation=Strict"), odd()).await;
    expect![[r#"400 BadRequest: Thing in version "v1" cannot be handled as a Thing: strict decoding error: unknown field "metadata.strange", unknown field "spec.bogus", unknown field "spec.ports[0].odd""#]]
        .assert_eq(&strict.line());
    let warned = cluster.post(THINGS, odd()).await;
    assert_eq!(warned.headers.get_all("warning").iter().count(), 3);
    assert_eq!(warned.at("/spec"), &json!({"size": 1, "color": "red", "ports": [{"name": "a"}]}));
    let twice = r#"{"apiVersion":"example.com/v1","kind":"Thing","metadata":{"name":"b"},"spec":{"size":1,"size":2}}"#;
    let path = format!("{THINGS}?fieldValidation=Strict");
    let twice = cluster.ask(Request::builder().method("POST").uri(path), twice).await;
    expect![[r#"400 BadRequest: Thing in version "v1" cannot be handled as a Thing: strict decoding error: duplicate field "spec.size""#]]
        .assert_eq(&twice.line());
}

#[tokio::test]
async fn values_are_judged_by_the_schema() {
    let cluster = cluster_with(sized()).await;
    let bad = json!({"size": 0, "ports": [{"name": "a"}, {"name": "a", "port": true}]});
    let refused = cluster.post(THINGS, thing("a", bad)).await;
    expect![[r#"422 Invalid: Thing.example.com "a" is invalid: [spec.ports[1].port: Invalid value: "boolean": spec.ports[1].port in body must be of type integer,string: "boolean", spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1, spec.ports[1]: Duplicate value: {"name":"a"}]"#]]
        .assert_eq(&refused.line());
    assert_eq!(refused.at("/details/causes/1/field"), "spec.size");
    let untyped = cluster.post(THINGS, json!({"metadata": {"name": "a"}})).await;
    expect![[r#"400 BadRequest: Object 'Kind' is missing in '{"metadata":{"name":"a"}}'"#]].assert_eq(&untyped.line());
    cluster.post(THINGS, thing("a", json!({"size": 1}))).await;
    let unversioned = cluster.put(&format!("{THINGS}/a"), thing("a", json!({"size": 2}))).await;
    assert_eq!(
        (unversioned.code, unversioned.at("/details/causes/0/field")),
        (422, &json!("metadata.resourceVersion"))
    );
}

#[tokio::test]
async fn all_patches_but_the_strategic_one() {
    let cluster = cluster_with(sized()).await;
    cluster.post(THINGS, thing("a", json!({"size": 1}))).await;
    let path = format!("{THINGS}/a");
    assert_eq!(
        cluster.patch("merge", &path, json!({"spec": {"size": 2, "color": null}})).await.at("/spec"),
        &json!({"size": 2, "color": "red"})
    );
    let json_patch = json!([{"op": "replace", "path": "/spec/size", "value": 3}]);
    assert_eq!(cluster.patch("json", &path, json_patch).await.at("/spec/size"), 3);
    let strategic = cluster.patch("strategic-merge", &path, json!({"spec": {"size": 4}})).await;
    expect!["415 UnsupportedMediaType: the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml"]
        .assert_eq(&strategic.line());
    let present = cluster.get(&path).await;
    assert_eq!(present.at("/metadata/generation"), 3, "each change counts");
    assert_eq!(
        cluster.patch("merge", &path, json!({"spec": {"size": 3}})).await.body,
        present.body,
        "no change, no write"
    );
}

#[tokio::test]
async fn apply_knows_the_schema() {
    let cluster = cluster_with(sized()).await;
    let path = |manager: &str| format!("{THINGS}/a?fieldManager={manager}");
    let ports = |name: &str, port: u16| thing("a", json!({"ports": [{"name": name, "port": port}]}));
    let created = cluster.patch("apply", &path("me"), with(ports("http", 80), "/spec/size", json!(1))).await;
    assert_eq!(created.line(), "201 Thing a");
    assert_eq!(created.at("/spec/color"), "red");
    let fields = created.at("/metadata/managedFields/0/fieldsV1/f:spec").to_string();
    expect![[r#"{"f:ports":{"k:{\"name\":\"http\"}":{".":{},"f:name":{},"f:port":{}}},"f:size":{}}"#]]
        .assert_eq(&fields);
    let both = cluster.patch("apply", &path("you"), ports("https", 443)).await;
    assert_eq!(both.at("/spec/ports").as_array().map(Vec::len), Some(2), "items are told apart by their keys");
    let conflict = cluster.patch("apply", &path("you"), ports("http", 81)).await;
    expect![[r#"409 Conflict: Apply failed with 1 conflict: conflict with "me": .spec.ports[name="http"].port"#]]
        .assert_eq(&conflict.line());
}

#[tokio::test]
async fn status_and_scale_are_parts_of_their_own() {
    let cluster = Cluster::new().await;
    define(&cluster, with_subresources()).await;
    let created = cluster.post(THINGS, with(thing("a", json!({"size": 1})), "/status", json!({"size": 9}))).await;
    assert!(created.at("/status").is_null(), "a status is not given at create");
    let path = format!("{THINGS}/a");
    let status =
        json!({"status": {"size": 2, "selector": "a=b"}, "spec": {"size": 5}, "metadata": {"labels": {"a": "b"}}});
    let written = cluster.patch("merge", &format!("{path}/status"), status).await;
    assert_eq!((written.at("/spec/size"), written.at("/status/size")), (&json!(1), &json!(2)));
    assert_eq!((written.at("/metadata/labels"), written.at("/metadata/generation")), (&Value::Null, &json!(1)));
    assert_eq!(written.at("/metadata/managedFields/1/subresource"), "status");
    let scale = cluster.get(&format!("{path}/scale")).await;
    assert_eq!(scale.at("/spec/replicas"), 1);
    assert_eq!(scale.at("/status"), &json!({"replicas": 2, "selector": "a=b"}));
    let scaled = cluster.patch("merge", &format!("{path}/scale"), json!({"spec": {"replicas": 4}})).await;
    assert_eq!((scaled.at("/kind"), scaled.at("/spec/replicas")), (&json!("Scale"), &json!(4)));
    let present = cluster.get(&path).await;
    assert_eq!((present.at("/spec/size"), present.at("/metadata/generation")), (&json!(4), &json!(2)));
    assert_eq!(cluster.get(&format!("{path}/nothing")).await.code, 404);
}

/// A status in a configuration for the main resource is nobody's, and so is a spec in one for the status.
#[tokio::test]
async fn who_applies_owns_the_part_that_is_written() {
    let cluster = Cluster::new().await;
    define(&cluster, with_subresources()).await;
    let whole = |size: u32| {
        let object = with(thing("a", json!({"size": size})), "/status", json!({"size": size}));
        with(object, "/metadata/labels", json!({"size": size.to_string()}))
    };
    let path = |part: &str, manager: &str| format!("{THINGS}/a{part}?fieldManager={manager}&force=true");
    let created = cluster.patch("apply", &path("", "main"), whole(1)).await;
    assert_eq!((created.code, created.at("/status")), (201, &Value::Null), "{}", created.line());
    let status = cluster.patch("apply", &path("/status", "state"), whole(2)).await;
    assert_eq!(status.code, 200, "{}", status.line());
    assert_eq!((status.at("/spec/size"), status.at("/status/size")), (&json!(1), &json!(2)));
    assert_eq!(status.at("/metadata/labels/size"), "1");
    let main = cluster.patch("apply", &path("", "main"), whole(3)).await;
    assert_eq!((main.at("/spec/size"), main.at("/status/size")), (&json!(3), &json!(2)), "{}", main.line());
    let owned: Vec<(&Value, &Value)> = main
        .at("/metadata/managedFields")
        .as_array()
        .expect("owners")
        .iter()
        .map(|entry| (&entry["manager"], &entry["fieldsV1"]))
        .collect();
    let (of_main, of_state) = (
        json!({"f:metadata": {"f:labels": {"f:size": {}}}, "f:spec": {"f:size": {}}}),
        json!({"f:status": {"f:size": {}}}),
    );
    assert_eq!(owned, [(&json!("main"), &of_main), (&json!("state"), &of_state)]);
}

#[tokio::test]
async fn tables_have_the_columns_of_the_definition() {
    let cluster = Cluster::new().await;
    define(&cluster, with_subresources()).await;
    cluster.post(THINGS, thing("a", json!({"size": 1}))).await;
    let accept = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let table = cluster.ask(Request::builder().uri(THINGS).header("accept", accept), "").await;
    let columns = table.at("/columnDefinitions").as_array().expect("columns").clone();
    let spelled: Vec<String> = columns
        .iter()
        .map(|column| format!("{} {} {}", column["name"], column["priority"], column["description"]))
        .collect();
    assert_eq!(
        spelled,
        [
            r#""Name" 0 "Name""#,
            r#""Size" 0 "How large""#,
            r#""Color" 1 "Custom resource definition column (in JSONPath format): .spec.color""#
        ]
    );
    assert_eq!(table.at("/rows/0/cells"), &json!(["a", 1, "red"]));
}

#[tokio::test]
async fn declared_fields_select() {
    let cluster = Cluster::new().await;
    define(&cluster, with_subresources()).await;
    for (name, color, size) in [("a", "red", 1), ("b", "blue", 2), ("c", "red", 3)] {
        cluster.post(THINGS, thing(name, json!({"size": size, "color": color}))).await;
    }
    let names = |answer: &Value| -> Vec<String> {
        let items = answer["items"].as_array().cloned().unwrap_or_default();
        items.iter().map(|item| item["metadata"]["name"].as_str().unwrap_or_default().to_owned()).collect()
    };
    let list = |selector: &str| format!("{THINGS}?fieldSelector={selector}");
    assert_eq!(names(&cluster.get(&list("spec.color%3Dred")).await.body), ["a", "c"]);
    assert_eq!(names(&cluster.get(&list("spec.color!%3Dred")).await.body), ["b"]);
    assert_eq!(names(&cluster.get(&list("spec.color%3Dred,spec.size%3D3")).await.body), ["c"]);
    let unknown = cluster.get(&list("spec.other%3Dx")).await;
    expect!["400 BadRequest: field label not supported: spec.other"].assert_eq(&unknown.line());
    let mut watch = cluster.watch(&format!("{}&watch=1", list("spec.color%3Dblue"))).await;
    assert_eq!(watch.line().await, "ADDED b");
    cluster.patch("merge", &format!("{THINGS}/a"), json!({"spec": {"color": "blue"}})).await;
    cluster.patch("merge", &format!("{THINGS}/b"), json!({"spec": {"color": "red"}})).await;
    assert_eq!((watch.line().await, watch.line().await), ("ADDED a".into(), "DELETED b".into()));
}

#[tokio::test]
async fn what_an_update_leaves_alone_stays_valid() {
    let cluster = cluster_with(sized()).await;
    cluster.post(THINGS, thing("a", json!({"size": 1, "color": "crimson"}))).await;
    redefine(&cluster, |present| {
        let color = json!({"type": "string", "default": "red", "maxLength": 4});
        with(present, "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/color", color)
    })
    .await;
    let path = format!("{THINGS}/a");
    assert_eq!(cluster.patch("merge", &path, json!({"spec": {"size": 2}})).await.code, 200);
    let refused = cluster.patch("merge", &path, json!({"spec": {"color": "scarlet"}})).await;
    expect![[r#"422 Invalid: Thing.example.com "a" is invalid: spec.color: Too long: may not be more than 4 bytes"#]]
        .assert_eq(&refused.line());
    assert_eq!(cluster.post(THINGS, thing("b", json!({"size": 1, "color": "crimson"}))).await.code, 422);
}

#[tokio::test]
async fn dry_runs_write_nothing() {
    let cluster = cluster_with(sized()).await;
    let path = format!("{THINGS}?dryRun=All");
    assert_eq!(cluster.post(&path, thing("a", json!({"size": 1}))).await.at("/spec/color"), "red");
    assert_eq!(cluster.get(&format!("{THINGS}/a")).await.code, 404);
}
