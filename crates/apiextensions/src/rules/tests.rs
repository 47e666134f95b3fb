use super::*;
use expect_test::{Expect, expect};

fn definition(schema: Value) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced", "names": {"plural": "things", "kind": "Thing"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}],
        },
    })
}

fn object(value: Value) -> Object {
    let mut object = Object::from_value(value).expect("an object");
    set_defaults(&mut object);
    if !object.0.contains_key("status") {
        let now = jiff::Timestamp::UNIX_EPOCH;
        let user = apimachinery::UserInfo::new("me", ["all"]);
        let cx = WriteContext { user: &user, now, subresource: "" };
        DefinitionRules::new(None).prepare_for_create(&cx, &mut object);
    }
    object
}

fn spelled(errors: &[Error]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn check(value: Value, expect: Expect) {
    expect.assert_eq(&spelled(&DefinitionRules::new(None).validate(&object(value))));
}

fn check_schema(properties: Value, expect: Expect) {
    check(definition(json!({"type": "object", "properties": {"spec": properties}})), expect);
}

fn changed(mut value: Value, pointer: &str, new: Value) -> Value {
    let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
    value.pointer_mut(parent).expect("there")[name] = new;
    value
}

#[test]
fn a_small_definition_is_good_and_completed() {
    let small = definition(json!({"type": "object"}));
    check(small.clone(), expect![""]);
    let object = object(small);
    assert_eq!(object.str_at(&["spec", "names", "listKind"]), Some("ThingList"));
    assert_eq!(object.str_at(&["spec", "names", "singular"]), Some("thing"));
    assert_eq!(object.str_at(&["spec", "conversion", "strategy"]), Some("None"));
    assert_eq!(object.0["status"]["storedVersions"], json!(["v1"]));
}

#[test]
fn names_and_scope() {
    let good = || definition(json!({"type": "object"}));
    check(
        changed(good(), "/metadata/name", json!("stuff.example.com")),
        expect![[r#"metadata.name: Invalid value: "stuff.example.com": must be spec.names.plural+"."+spec.group"#]],
    );
    check(
        changed(changed(good(), "/spec/group", json!("example")), "/metadata/name", json!("things.example")),
        expect![[r#"spec.group: Invalid value: "example": should be a domain with at least one dot"#]],
    );
    check(
        changed(good(), "/spec/scope", json!("Galaxy")),
        expect![[r#"spec.scope: Unsupported value: "Galaxy": supported values: "Cluster", "Namespaced""#]],
    );
    check(
        changed(good(), "/spec/names/listKind", json!("Thing")),
        expect![[r#"spec.names.listKind: Invalid value: "Thing": kind and listKind may not be the same"#]],
    );
    check(
        changed(changed(good(), "/spec/group", json!("x.k8s.io")), "/metadata/name", json!("things.x.k8s.io")),
        expect![[
            r#"metadata.annotations[api-approved.kubernetes.io]: Required value: protected groups must have approval annotation "api-approved.kubernetes.io", see https://github.com/kubernetes/enhancements/pull/1111"#
        ]],
    );
    check(
        changed(good(), "/spec/preserveUnknownFields", json!(true)),
        expect![
            "spec.preserveUnknownFields: Invalid value: true: cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead"
        ],
    );
}

#[test]
fn versions() {
    let good = || definition(json!({"type": "object"}));
    check(
        changed(good(), "/spec/versions/0/storage", json!(false)),
        expect![[r#"
            spec.versions: Invalid value: ["v1"]: must have exactly one version marked as storage version
            status.storedVersions: Invalid value: []: must have at least one stored version"#]],
    );
    check(
        changed(good(), "/spec/versions/0/schema", json!({})),
        expect!["spec.versions[0].schema.openAPIV3Schema: Required value"],
    );
    let columns = json!([{"name": "", "type": "text", "jsonPath": "spec"}]);
    check(
        changed(good(), "/spec/versions/0/additionalPrinterColumns", columns),
        expect![[r#"
            spec.additionalPrinterColumns[0].name: Required value
            spec.additionalPrinterColumns[0].type: Invalid value: "text": must be one of boolean,date,integer,number,string
            spec.additionalPrinterColumns[0].JSONPath: Invalid value: "spec": must be a simple json path starting with ."#]],
    );
    let scale = json!({"scale": {"specReplicasPath": ".status.a", "statusReplicasPath": ""}});
    check(
        changed(good(), "/spec/versions/0/subresources", scale),
        expect![[r#"
            spec.subresources.scale.specReplicasPath: Invalid value: ".status.a": should be a json path under .spec
            spec.subresources.scale.statusReplicasPath: Required value"#]],
    );
    let fields = json!([{"jsonPath": ".spec.a[0]"}, {"jsonPath": ".spec"}, {"jsonPath": ".x"}]);
    let schema = json!({"type": "object", "properties": {"spec": {"type": "object"}}});
    check(
        changed(definition(schema), "/spec/versions/0/selectableFields", fields),
        expect![[r#"
            spec.selectableFields[0].jsonPath: Invalid value: ".spec.a[0]": is an invalid path: array notation is not allowed
            spec.selectableFields[1].jsonPath: Invalid value: ".spec": must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.
            spec.selectableFields[2].jsonPath: Invalid value: ".x": is an invalid path: does not refer to a valid field"#]],
    );
}

#[test]
fn conversion() {
    let with = |conversion: Value| changed(definition(json!({"type": "object"})), "/spec/conversion", conversion);
    check(
        with(json!({"strategy": "Webhook"})),
        expect![[r#"
            spec.conversion.webhookClientConfig: Required value: required when strategy is set to Webhook
            spec.conversion.conversionReviewVersions: Required value"#]],
    );
    let webhook = |config: Value, versions: Value| {
        with(json!({"strategy": "Webhook", "webhook": {"clientConfig": config, "conversionReviewVersions": versions}}))
    };
    check(webhook(json!({"service": {"name": "a", "namespace": "b", "path": "/convert"}}), json!(["v1"])), expect![""]);
    check(
        webhook(json!({"url": "http://me@host/x?a#b"}), json!(["v2"])),
        expect![[r#"
            spec.conversion.webhookClientConfig.url: Invalid value: "http": 'https' is the only allowed URL scheme; desired format: https://host[/path]
            spec.conversion.webhookClientConfig.url: Invalid value: "me": user information is not permitted in the URL
            spec.conversion.webhookClientConfig.url: Invalid value: "b": fragments are not permitted in the URL
            spec.conversion.webhookClientConfig.url: Invalid value: "a": query parameters are not permitted in the URL
            spec.conversion.conversionReviewVersions: Invalid value: ["v2"]: must include at least one of v1, v1beta1"#]],
    );
}

#[test]
fn schemas_are_structural() {
    check_schema(
        json!({}),
        expect![
            "spec.validation.openAPIV3Schema.properties[spec].type: Required value: must not be empty for specified object fields"
        ],
    );
    check_schema(
        json!({"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]}),
        expect![""],
    );
    check_schema(json!({"x-kubernetes-preserve-unknown-fields": true}), expect![""]);
    check_schema(
        json!({"type": "object", "properties": {"a": {"type": "string"}},
            "oneOf": [{"required": ["a"], "type": "object", "properties": {"a": {"description": "x"}}}]}),
        expect![[r#"
            spec.validation.openAPIV3Schema.properties[spec].oneOf[0].properties[a].description: Forbidden: must be empty to be structural
            spec.validation.openAPIV3Schema.properties[spec].oneOf[0].type: Forbidden: must be empty to be structural"#]],
    );
    check_schema(
        json!({"type": "array"}),
        expect!["spec.validation.openAPIV3Schema.properties[spec].items: Required value: must be specified"],
    );
    check_schema(
        json!({"type": "object", "x-kubernetes-embedded-resource": true}),
        expect![
            "spec.validation.openAPIV3Schema.properties[spec].properties: Required value: must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields"
        ],
    );
    check(
        definition(
            json!({"type": "object", "properties": {"metadata": {"type": "object", "properties": {"labels": {"type": "object"}}}}}),
        ),
        expect![
            "spec.validation.openAPIV3Schema.properties[metadata]: Forbidden: must not specify anything other than name and generateName, but metadata is implicitly specified"
        ],
    );
    check(
        definition(
            json!({"type": "object", "properties": {"a": {"type": "string"}}, "anyOf": [{"properties": {"b": {"minLength": 1}}}]}),
        ),
        expect![
            "spec.validation.openAPIV3Schema.properties[b]: Required value: because it is defined in spec.validation.openAPIV3Schema.anyOf[0].properties[b]"
        ],
    );
    check_schema(
        json!({"type": "string", "pattern": "("}),
        expect![[r#"
            spec.validation.openAPIV3Schema.properties[spec].pattern: Invalid value: "(": must be a valid regular expression, but isn't: regex parse error:
                (
                ^
            error: unclosed group"#]],
    );
}

#[test]
fn keywords_that_are_not_understood_are_refused() {
    check_schema(
        json!({"type": "object", "$ref": "#/x", "uniqueItems": true, "patternProperties": {"a": {}}}),
        expect![[r#"
            spec.validation.openAPIV3Schema.properties[spec].patternProperties: Forbidden: patternProperties is not supported
            spec.validation.openAPIV3Schema.properties[spec].$ref: Forbidden: $ref is not supported
            spec.validation.openAPIV3Schema.properties[spec].uniqueItems: Forbidden: uniqueItems cannot be set to true since the runtime complexity becomes quadratic"#]],
    );
    check_schema(
        json!({"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": {"type": "string"}}),
        expect![
            "spec.validation.openAPIV3Schema.properties[spec].additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive"
        ],
    );
}

#[test]
fn lists_say_what_they_are() {
    check_schema(
        json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["a", "b"],
            "items": {"type": "object", "properties": {"a": {"type": "string"}}}}),
        expect![[r#"
            spec.validation.openAPIV3Schema.properties[spec].x-kubernetes-list-map-keys: Invalid value: ["a","b"]: entries must all be names of item properties
            spec.validation.openAPIV3Schema.properties[spec].items.properties[a].default: Required value: this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property"#]],
    );
    check_schema(
        json!({"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "object"}}),
        expect![
            "spec.validation.openAPIV3Schema.properties[spec].items.x-kubernetes-map-type: Invalid value: null: must be atomic as item of a list with x-kubernetes-list-type=set"
        ],
    );
    check_schema(
        json!({"type": "object", "x-kubernetes-list-type": "bag"}),
        expect![[r#"
            spec.validation.openAPIV3Schema.properties[spec].type: Invalid value: "object": must be array if x-kubernetes-list-type is specified
            spec.validation.openAPIV3Schema.properties[spec].x-kubernetes-list-type: Unsupported value: "bag": supported values: "atomic", "set", "map""#]],
    );
}

#[test]
fn defaults_are_good_values() {
    check_schema(
        json!({"type": "object", "default": {"a": 1, "b": 2}, "properties": {"a": {"type": "string"}}}),
        expect![[r#"
            spec.validation.openAPIV3Schema.properties[spec].default: Invalid value: {"a":1,"b":2}: must not have unknown fields
            spec.validation.openAPIV3Schema.properties[spec].default.a: Invalid value: "integer": a in body must be of type string: "integer""#]],
    );
}

#[test]
fn an_update_changes_what_it_may() {
    let rules = DefinitionRules::new(None);
    let mut old = object(definition(json!({"type": "object"})));
    let judge = |old: &Object, pointer: &str, new: Value| {
        let value = changed(Value::Object(old.0.clone()), pointer, new);
        spelled(&rules.validate_update(&Object::from_value(value).expect("an object"), old))
    };
    assert_eq!(judge(&old, "/spec/scope", json!("Cluster")), "", "nothing is stored yet");
    crate::conditions::set(
        &mut old,
        &crate::conditions::Condition::new("Established", true, "InitialNamesAccepted", ""),
        jiff::Timestamp::UNIX_EPOCH,
    );
    assert_eq!(
        judge(&old, "/spec/scope", json!("Cluster")),
        r#"spec.scope: Invalid value: "Cluster": field is immutable"#
    );
    expect![[r#"
        spec.names.plural: Invalid value: "stuff": field is immutable"#]]
    .assert_eq(&judge(&old, "/spec/names/plural", json!("stuff")));
    expect![[r#"
        status.storedVersions: Invalid value: ["v1"]: must have the storage version v2
        status.storedVersions[0]: Invalid value: "v1": missing from spec.versions; v1 was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in v1 and removes v1 from status.storedVersions"#]]
    .assert_eq(&judge(&old, "/spec/versions/0/name", json!("v2")));
}
