//! What an update leaves alone may stay wrong, where it can be found again; rules about a change always hold
//! (upstream: test/e2e/apimachinery/crd_validation_ratcheting.go).

use serde_json::{Value, json};

use super::{DEFINITION, THINGS, cluster_with, redefine, thing, with};
use crate::harness::{Answer, Cluster};

const SCHEMA: &str = "/spec/versions/0/schema/openAPIV3Schema";

/// A place for anything, as the first schema of each test has it.
async fn cluster() -> Cluster {
    let cluster = cluster_with(json!({"type": "object"})).await;
    constrain(&cluster, json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})).await;
    cluster
}

async fn constrain(cluster: &Cluster, schema: Value) {
    redefine(cluster, |present| with(present, SCHEMA, schema)).await;
    assert_eq!(cluster.get(DEFINITION).await.code, 200);
}

async fn apply(cluster: &Cluster, fields: &Value, labels: Value) -> Answer {
    let mut object = thing("a", Value::Null);
    object.as_object_mut().expect("an object").extend(fields.as_object().cloned().expect("fields"));
    object.as_object_mut().expect("an object").remove("spec");
    object["metadata"]["labels"] = labels;
    cluster.patch("apply", &format!("{THINGS}/a?fieldManager=manager"), object).await
}

async fn applied(cluster: &Cluster, fields: &Value, labels: Value) {
    let answer = apply(cluster, fields, labels).await;
    assert!(answer.code < 300, "{}", answer.line());
}

/// A text at the root, in an object, in each item of a list with keys and in each entry of a map.
fn everywhere(field: &Value) -> Value {
    let other = json!({"type": "string"});
    let object = json!({"type": "object", "properties": {"field": field, "otherField": other}});
    let mut item = object.clone();
    item["properties"]["key"] = json!({"type": "string"});
    item["required"] = json!(["key"]);
    json!({"type": "object", "properties": {
        "field": field, "otherField": other, "struct": object,
        "list": {"type": "array", "maxItems": 5, "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["key"], "items": item},
        "map": {"type": "object", "maxProperties": 5, "additionalProperties": object},
    }})
}

/// The same without limits: a rule this cheap needs none.
fn unlimited(field: &Value) -> Value {
    let mut schema = everywhere(field);
    schema["properties"]["list"].as_object_mut().expect("a list").remove("maxItems");
    schema["properties"]["map"].as_object_mut().expect("a map").remove("maxProperties");
    schema
}

fn values(text: &str) -> Value {
    json!({
        "field": text, "struct": {"field": text}, "map": {"foo": {"field": text}, "bar": {"field": text}},
        "list": [{"key": "foo", "field": text}, {"key": "bar", "field": text}],
    })
}

/// All six places are told of.
fn all_refused(answer: &Answer, map: [&str; 2]) {
    assert_eq!(answer.code, 422, "{}", answer.line());
    let fields: Vec<&str> = answer
        .at("/details/causes")
        .as_array()
        .expect("causes")
        .iter()
        .filter_map(|cause| cause["field"].as_str())
        .collect();
    for field in ["field", "struct.field", "list[0].field", "list[1].field", map[0], map[1]] {
        assert!(fields.contains(&field), "{field} is not among {fields:?}");
    }
}

#[tokio::test]
async fn what_is_found_again_may_stay_wrong() {
    for constraint in [json!({"enum": ["good"]}), json!({"x-kubernetes-validations": [{"rule": "self == \"good\""}]})] {
        let cluster = cluster().await;
        applied(&cluster, &values("bad"), json!({})).await;
        let mut field = constraint.clone();
        field["type"] = "string".into();
        constrain(&cluster, unlimited(&field)).await;
        applied(&cluster, &values("bad"), json!({"foo": "bar"})).await;
        let more = json!({
            "field": "bad", "otherField": "new", "struct": {"field": "bad", "otherField": "new"},
            "list": [
                {"key": "baz", "field": "good"}, {"key": "bar", "field": "bad", "otherField": "new"},
                {"key": "foo", "field": "bad", "otherField": "new"},
            ],
            "map": {"foo": {"field": "bad", "otherField": "new"}, "bar": {"field": "bad"}, "baz": {"field": "good"}},
        });
        applied(&cluster, &more, json!({})).await;
        let named = |map: [&'static str; 2]| {
            if constraint["enum"].is_null() { map } else { ["map.foo.field", "map.bar.field"] }
        };
        let worse = apply(&cluster, &values("worse"), json!({})).await;
        all_refused(&worse, named(["map[foo].field", "map[bar].field"]));
    }
}

#[tokio::test]
async fn what_is_not_found_again_is_judged_anew() {
    let constraints =
        [json!({"enum": ["good", "fine"]}), json!({"x-kubernetes-validations": [{"rule": "self != \"foo\""}]})];
    for constraint in constraints {
        let cluster = cluster().await;
        let lists = |more: &[&str]| {
            let list: Vec<&str> = ["foo", "bar", "baz"].iter().chain(more).copied().collect();
            json!({"atomicArray": list, "setArray": list})
        };
        applied(&cluster, &lists(&[]), json!({})).await;
        let mut item = constraint;
        item["type"] = "string".into();
        constrain(
            &cluster,
            json!({"type": "object", "properties": {
                "atomicArray": {"type": "array", "items": item},
                "setArray": {"type": "array", "x-kubernetes-list-type": "set", "items": item},
            }}),
        )
        .await;
        applied(&cluster, &lists(&[]), json!({"foo": "bar"})).await;
        let refused = apply(&cluster, &lists(&["good"]), json!({"foo": "bar"})).await;
        assert_eq!(refused.code, 422, "{}", refused.line());
        for list in ["atomicArray", "setArray"] {
            assert!(refused.line().contains(list), "{}", refused.line());
        }
    }
}

#[tokio::test]
async fn rules_about_a_change_always_hold() {
    let cluster = cluster().await;
    applied(&cluster, &values("foo"), json!({})).await;
    let rule = json!([{"rule": "self != oldSelf"}]);
    constrain(&cluster, everywhere(&json!({"type": "string", "maxLength": 5, "x-kubernetes-validations": rule}))).await;
    let refused = apply(&cluster, &values("foo"), json!({"foo": "bar"})).await;
    all_refused(&refused, ["map[foo].field", "map[bar].field"]);
    applied(&cluster, &values("new"), json!({"foo": "bar"})).await;
}

#[tokio::test]
async fn rules_that_may_do_without_the_old_value_hold_at_create_too() {
    let cluster = cluster().await;
    let rule = json!([{"rule": "!oldSelf.hasValue() || self != oldSelf.value()", "optionalOldSelf": true}]);
    constrain(&cluster, everywhere(&json!({"type": "string", "maxLength": 5, "x-kubernetes-validations": rule}))).await;
    applied(&cluster, &values("foo"), json!({})).await;
    let refused = apply(&cluster, &values("foo"), json!({"foo": "bar"})).await;
    all_refused(&refused, ["map[foo].field", "map[bar].field"]);
    applied(&cluster, &values("new"), json!({})).await;
}

/// Since 1.36 numbers have to fit their format; those that are there already stay (upstream: PR 136582).
#[tokio::test]
async fn numbers_fit_their_format_or_stay_as_they_are() {
    let cluster = cluster().await;
    let numbers = json!({"int32": 2_147_483_648_u32, "float": 3.5e38, "text": "a"});
    applied(&cluster, &numbers, json!({})).await;
    constrain(
        &cluster,
        json!({"type": "object", "properties": {
            "int32": {"type": "integer", "format": "int32"}, "int64": {"type": "integer", "format": "int64"},
            "float": {"type": "number", "format": "float"}, "text": {"type": "string"},
        }}),
    )
    .await;
    applied(&cluster, &numbers, json!({"foo": "bar"})).await;
    applied(&cluster, &with(numbers.clone(), "/text", json!("b")), json!({})).await;
    for (field, value, words) in [
        ("int32", json!(2_147_483_649_u32), "must be of type integer with format int32 in int32"),
        ("float", json!(3.6e38), "must be of type number with format float in float"),
        ("int64", json!(1e19), "must be of type integer with format int64 in int64"),
    ] {
        let refused = apply(&cluster, &with(numbers.clone(), &format!("/{field}"), value), json!({})).await;
        assert_eq!(refused.code, 422, "{field}");
        assert!(refused.line().contains(&format!("Checked value {words}")), "{}", refused.line());
    }
}
