use super::*;
use expect_test::{Expect, expect};
use serde_json::json;

fn definition() -> Value {
    let v1 = json!({"type": "object", "properties": {
        "spec": {"type": "object", "required": ["size"], "properties": {
            "size": {"type": "integer", "minimum": 1},
            "color": {"type": "string", "default": "red"},
            "ports": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                "items": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}},
        }},
        "status": {"type": "object", "properties": {"replicas": {"type": "integer"}, "phase": {"type": "string", "enum": ["A"]}}},
    }});
    json!({
        "metadata": {"name": "things.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList"},
            "versions": [
                {"name": "v1beta1", "served": true, "storage": false, "deprecated": true, "schema": {"openAPIV3Schema": v1}},
                {"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": v1},
                    "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.size", "statusReplicasPath": ".status.replicas"}},
                    "selectableFields": [{"jsonPath": ".spec.color"}]},
                {"name": "v0", "served": false, "storage": false, "schema": {"openAPIV3Schema": v1}},
            ],
        },
    })
}

fn served() -> Vec<Arc<Resource>> {
    let text = definition().to_string();
    let object: Object = serde_json::from_str(&text).expect("an object");
    let definition = Definition::parse(&object).expect("a definition");
    let names = definition.spec.names.clone();
    rows(
        &definition,
        &names,
        Source { bytes: text.into(), in_form_since: Arc::new(AtomicU64::new(7)), is_terminating: Arc::default() },
        None,
    )
}

fn thing(spec: Value) -> Object {
    let object = json!({"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "a"}, "spec": spec});
    Object::from_value(object).expect("an object")
}

fn spelled(errors: &[Error]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_served_version_is_a_row() {
    let rows = served();
    let names: Vec<String> = rows.iter().map(|row| row.gvk.api_version()).collect();
    assert_eq!(names, ["example.com/v1beta1", "example.com/v1"]);
    let row = &rows[1];
    assert_eq!(row.key("default", "a"), "/registry/example.com/things/default/a");
    assert_eq!((row.storage_version.as_str(), row.list_kind().as_str()), ("v1", "ThingList"));
    assert_eq!(row.selectable_fields, ["spec.color"]);
    assert_eq!(row.subresources.scale.as_ref().expect("a scale").spec_replicas, "spec.size");
    let warnings = rows[0].custom.as_ref().expect("custom").warnings().to_vec();
    assert_eq!(warnings, ["example.com/v1beta1 Thing is deprecated; use example.com/v1 Thing"]);
    assert!(row.schema_of(&row.gvk).is_some());
    assert!(row.schema_of(&GroupVersionKind::new("autoscaling", "v1", "Scale")).is_some(), "built-in bodies too");
}

#[test]
fn what_a_client_sends_is_brought_into_form() {
    let rows = served();
    let custom = rows[1].custom.as_ref().expect("custom");
    let mut object = thing(json!({"size": 1, "color": null, "bogus": 1, "ports": null}));
    let problems = custom.admit(&mut object).expect("in form");
    assert_eq!(problems, [Problem::Unknown("spec.bogus".into())]);
    rows[1].strategy.default(&mut object);
    assert_eq!(object.0["spec"], json!({"size": 1, "color": "red"}));
    let mut stored = thing(json!({"size": 1, "gone": true}));
    stored.0.insert("apiVersion".into(), "example.com/v0".into());
    custom.restore(&mut stored);
    assert_eq!(stored.0["spec"], json!({"size": 1, "color": "red"}), "in a version that is stored, served or not");
}

#[test]
fn objects_are_judged_by_their_schema() {
    let rows = served();
    let strategy = &rows[1].strategy;
    let check = |spec: Value, expect: Expect| expect.assert_eq(&spelled(&strategy.validate(&thing(spec))));
    check(json!({"size": 1}), expect![""]);
    check(
        json!({"ports": [{"name": "a"}, {"name": "a"}]}),
        expect![[r#"
            spec.size: Required value
            spec.ports[1]: Duplicate value: {"name":"a"}"#]],
    );
    check(
        json!({"size": "x"}),
        expect![[r#"
            spec.size: Invalid value: "string": spec.size in body must be of type integer: "string"
            .spec.size: Invalid value: 0: .spec.size accessor error: x is of the type string, expected int64"#]],
    );
    let twice = thing(json!({"size": 1, "ports": [{"name": "a"}, {"name": "a"}]}));
    assert_eq!(strategy.validate_update(&twice, &twice), []);
}

#[test]
fn a_status_is_judged_by_its_part_of_the_schema() {
    let rows = served();
    let with = |phase: &str| {
        let mut object = thing(json!({"size": -1}));
        object.0.insert("status".into(), json!({"phase": phase}));
        object
    };
    let judge = |new: &str, old: &str| spelled(&rows[1].strategy.validate_status_update(&with(new), &with(old)));
    assert_eq!(judge("A", ""), "");
    assert_eq!(judge("B", "A"), r#"status.phase: Unsupported value: "B": supported values: "A""#);
    assert_eq!(judge("B", "B"), "", "it was so before");
}

#[test]
fn finalizers_without_a_domain_are_doubtful() {
    let mut object = thing(json!({}));
    object.metadata_mut().insert("finalizers".into(), json!(["mine", "example.com/x", "orphan"]));
    let warnings = served()[1].strategy.warnings(&object);
    assert_eq!(
        warnings,
        [
            r#"metadata.finalizers: "mine": prefer a domain-qualified finalizer name to avoid accidental conflicts with other finalizer writers"#
        ]
    );
}
