//! From a definition to a kind that is served, and back.

use expect_test::expect;
use http::Request;
use serde_json::{Value, json};

use super::{DEFINITION, DEFINITIONS, THINGS, conditions, define, definition, redefine, thing, with};
use crate::harness::Cluster;

fn plain() -> Value {
    json!({"type": "object", "description": "What is wanted", "properties": {"size": {"type": "integer"}}})
}

#[tokio::test]
async fn a_kind_is_served_as_soon_as_it_is_defined() {
    let cluster = Cluster::new().await;
    assert_eq!(cluster.get(THINGS).await.code, 404);
    let created = define(&cluster, definition(plain())).await;
    assert_eq!(created.at("/status/storedVersions"), &json!(["v1"]));
    let present = cluster.get(DEFINITION).await;
    assert_eq!(conditions(&present.body), ["NamesAccepted=True NoConflicts", "Established=True InitialNamesAccepted"]);
    assert_eq!(present.at("/status/acceptedNames/listKind"), "ThingList");
    assert_eq!(present.at("/spec/conversion/strategy"), "None");
    assert_eq!(cluster.get(THINGS).await.at("/kind"), "ThingList");
    assert_eq!(cluster.post(THINGS, thing("a", json!({"size": 1}))).await.line(), "201 Thing a");
    assert_eq!(cluster.get(&format!("{THINGS}/a")).await.at("/spec/size"), 1);
    let restarted = cluster.restarted().await;
    assert_eq!(restarted.get(&format!("{THINGS}/a")).await.at("/spec/size"), 1, "a restart keeps custom resources");
}

#[tokio::test]
async fn discovery_and_openapi_show_it_at_once() {
    let cluster = Cluster::new().await;
    let hash = |index: &Value| index["paths"]["apis/example.com/v1"]["serverRelativeURL"].as_str().map(str::to_owned);
    assert_eq!(hash(&cluster.get("/openapi/v3").await.body), None);
    define(&cluster, definition(plain())).await;
    let list = cluster.get("/apis/example.com/v1").await;
    assert_eq!(list.at("/resources/0/shortNames"), &json!(["th"]));
    assert_eq!(list.at("/resources/0/categories"), &json!(["all"]));
    assert_eq!(cluster.get("/apis/example.com").await.at("/preferredVersion/version"), "v1");
    let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let aggregated = cluster.ask(Request::builder().uri("/apis").header("accept", accept), "").await;
    let groups = aggregated.at("/items").as_array().expect("groups").clone();
    let group = groups.iter().find(|group| group["metadata"]["name"] == "example.com").expect("the group");
    assert_eq!(group["versions"][0]["resources"][0]["responseKind"]["kind"], "Thing");

    let before = hash(&cluster.get("/openapi/v3").await.body).expect("a document");
    let document = cluster.get(&before).await;
    let schema = document.at("/components/schemas/com.example.v1.Thing");
    assert_eq!(schema["properties"]["spec"]["description"], "What is wanted");
    assert_eq!(schema["x-kubernetes-group-version-kind"][0]["kind"], "Thing");
    assert!(document.at("/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta").is_object());
    let patch = &document.body["paths"]["/apis/example.com/v1/namespaces/{namespace}/things/{name}"]["patch"];
    let taken: Vec<&String> = patch["requestBody"]["content"].as_object().expect("types").keys().collect();
    assert_eq!(taken, ["application/apply-patch+yaml", "application/json-patch+json", "application/merge-patch+json"]);
    let v2 = cluster.get("/openapi/v2").await;
    assert_eq!(v2.at("/definitions/com.example.v1.Thing/properties/spec/type"), "object");

    redefine(&cluster, |present| {
        with(
            present,
            "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/color",
            json!({"type": "string"}),
        )
    })
    .await;
    let after = hash(&cluster.get("/openapi/v3").await.body).expect("a document");
    assert_ne!(after, before);
    let schema = cluster.get(&after).await;
    let properties = schema.at("/components/schemas/com.example.v1.Thing/properties/spec/properties");
    assert_eq!(properties["color"]["type"], "string", "a new schema is seen by the next reader");

    let mut watch =
        cluster.watch(&format!("{DEFINITIONS}?watch=1&fieldSelector=metadata.name%3Dthings.example.com")).await;
    cluster.delete(DEFINITION).await;
    while watch.line().await != "DELETED things.example.com" {}
    cluster.server.definitions.settled().await;
    assert_eq!(cluster.get("/apis/example.com/v1").await.code, 404);
    assert_eq!(hash(&cluster.get("/openapi/v3").await.body), None);
}

#[tokio::test]
async fn a_definition_goes_with_its_objects() {
    let cluster = Cluster::new().await;
    define(&cluster, definition(plain())).await;
    let held = with(thing("held", json!({})), "/metadata/finalizers", json!(["example.com/hold"]));
    cluster.post(THINGS, held).await;
    cluster.post(THINGS, thing("free", json!({}))).await;
    let mut things = cluster.watch(&format!("{THINGS}?watch=1&resourceVersion=0")).await;
    let mut first = [things.line().await, things.line().await];
    first.sort();
    assert_eq!(first, ["ADDED free", "ADDED held"]);
    // Who watches already sees them go.
    let (gone, deleted) = tokio::join!(things.line(), cluster.delete(DEFINITION));
    assert!(deleted.at("/metadata/deletionTimestamp").is_string(), "{}", deleted.line());
    assert_eq!(gone, "DELETED free");
    assert_eq!(things.line().await, "MODIFIED held");
    let refused = cluster.post(THINGS, thing("late", json!({}))).await;
    expect![[r#"403 Forbidden: things.example.com "late" is forbidden: create not allowed while custom resource definition is terminating"#]]
        .assert_eq(&refused.line());
    let mut definitions = cluster.watch(&format!("{DEFINITIONS}?watch=1&resourceVersion=0")).await;
    let released = json!({"metadata": {"finalizers": null}});
    assert_eq!(cluster.patch("merge", &format!("{THINGS}/held"), released).await.code, 200);
    assert_eq!(things.line().await, "DELETED held");
    assert_eq!(things.line().await, "end", "the kind is gone, and so is its watch");
    while definitions.line().await != "DELETED things.example.com" {}
    cluster.server.definitions.settled().await;
    assert_eq!(cluster.get(THINGS).await.code, 404);
    define(&cluster, definition(plain())).await;
    assert_eq!(cluster.get(THINGS).await.at("/items"), &json!([]), "it can come back");
}

#[tokio::test]
async fn a_deletion_goes_on_after_a_restart() {
    let cluster = Cluster::new().await;
    define(&cluster, definition(plain())).await;
    cluster.post(THINGS, with(thing("held", json!({})), "/metadata/finalizers", json!(["example.com/hold"]))).await;
    cluster.delete(DEFINITION).await;
    let restarted = cluster.restarted().await;
    let mut definitions = restarted.watch(&format!("{DEFINITIONS}?watch=1&resourceVersion=0")).await;
    restarted.patch("merge", &format!("{THINGS}/held"), json!({"metadata": {"finalizers": null}})).await;
    while definitions.line().await != "DELETED things.example.com" {}
}

#[tokio::test]
async fn a_name_belongs_to_the_first() {
    let cluster = Cluster::new().await;
    define(&cluster, definition(plain())).await;
    let other = with(definition(plain()), "/metadata/name", json!("stuffs.example.com"));
    let other = with(other, "/spec/names", json!({"plural": "stuffs", "kind": "Stuff", "shortNames": ["th"]}));
    define(&cluster, other).await;
    let stuffs = format!("{DEFINITIONS}/stuffs.example.com");
    let present = cluster.get(&stuffs).await;
    assert_eq!(conditions(&present.body), ["NamesAccepted=False ShortNamesConflict", "Established=False NotAccepted"]);
    assert_eq!(cluster.get("/apis/example.com/v1/stuffs").await.code, 404, "what is not established is not served");
    redefine(&cluster, |present| with(present, "/spec/names/shortNames", json!(["tg"]))).await;
    cluster.server.definitions.settled().await;
    let present = cluster.get(&stuffs).await;
    assert_eq!(conditions(&present.body), ["NamesAccepted=True NoConflicts", "Established=True InitialNamesAccepted"]);
    assert_eq!(cluster.get("/apis/example.com/v1/stuffs").await.code, 200);
}

#[tokio::test]
async fn bad_definitions_are_refused_with_their_reasons() {
    let cluster = Cluster::new().await;
    let bad = with(
        definition(json!({"properties": {"size": {"type": "integer"}}})),
        "/metadata/name",
        json!("x.example.com"),
    );
    let refused = cluster.post(DEFINITIONS, bad).await;
    expect![[r#"422 Invalid: CustomResourceDefinition.apiextensions.k8s.io "x.example.com" is invalid: [metadata.name: Invalid value: "x.example.com": must be spec.names.plural+"."+spec.group, spec.validation.openAPIV3Schema.properties[spec].type: Required value: must not be empty for specified object fields]"#]]
        .assert_eq(&refused.line());
    define(&cluster, definition(plain())).await;
    let present = cluster.get(DEFINITION).await.body;
    let moved = cluster.put(DEFINITION, with(present, "/spec/scope", json!("Cluster"))).await;
    expect![[r#"422 Invalid: CustomResourceDefinition.apiextensions.k8s.io "things.example.com" is invalid: spec.scope: Invalid value: "Cluster": field is immutable"#]]
        .assert_eq(&moved.line());
    let odd = json!({"type": "object", "properties": {"a": {"type": "string", "format": "postcode"}}});
    let warned = cluster
        .post(
            &format!("{DEFINITIONS}?dryRun=All"),
            with(
                with(definition(odd), "/metadata/name", json!("odds.example.com")),
                "/spec/names",
                json!({"plural": "odds", "kind": "Odd"}),
            ),
        )
        .await;
    assert_eq!(warned.headers["warning"], r#"299 - "unrecognized format \"postcode\"""#);
}
