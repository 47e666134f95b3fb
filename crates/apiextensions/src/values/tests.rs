use super::*;
use expect_test::{Expect, expect};
use serde_json::json;

fn schema(spec: Value) -> Schema {
    serde_json::from_value(json!({"type": "object", "properties": {"spec": spec}})).expect("a schema")
}

fn spelled(errors: &[Error]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn check(spec: Value, value: Value, expect: Expect) {
    let schema = schema(spec);
    let patterns = Patterns::of(&schema);
    let errors = Validator::new(&patterns).validate(&schema, &json!({ "spec": value }), &Path::default());
    expect.assert_eq(&spelled(&errors));
}

fn check_update(spec: Value, old: Value, new: Value, expect: Expect) {
    let schema = schema(spec);
    let patterns = Patterns::of(&schema);
    let (old, new) = (json!({ "spec": old }), json!({ "spec": new }));
    expect.assert_eq(&spelled(&Validator::new(&patterns).validate_update(&schema, &new, &old, &Path::default())));
}

#[test]
fn types() {
    check(
        json!({"type": "integer"}),
        json!("x"),
        expect![[r#"spec: Invalid value: "string": spec in body must be of type integer: "string""#]],
    );
    check(json!({"type": "integer"}), json!(3.0), expect![""]);
    check(json!({"type": "number"}), json!(3), expect![""]);
    check(
        json!({"type": "integer"}),
        json!(3.5),
        expect![[r#"
            spec: Invalid value: "number": spec in body must be of type integer: "number"
            <nil>: Invalid value: "": Checked value must be of type integer (default format) in spec"#]],
    );
    check(
        json!({"type": "string"}),
        Value::Null,
        expect![[r#"spec: Invalid value: "null": spec in body must be of type string: "null""#]],
    );
    check(json!({"type": "string", "nullable": true}), Value::Null, expect![""]);
    for good in [json!(1), json!("1")] {
        check(json!({"x-kubernetes-int-or-string": true}), good, expect![""]);
    }
    check(
        json!({"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]}),
        json!(true),
        expect![[r#"spec: Invalid value: "boolean": spec in body must be of type integer,string: "boolean""#]],
    );
}

#[test]
fn numbers() {
    let bounds = json!({"type": "integer", "minimum": 1, "maximum": 10, "multipleOf": 2});
    check(bounds.clone(), json!(4), expect![""]);
    check(
        bounds.clone(),
        json!(15),
        expect![[r#"
            spec: Invalid value: 15: spec in body should be a multiple of 2
            spec: Invalid value: 15: spec in body should be less than or equal to 10"#]],
    );
    check(bounds, json!(0), expect!["spec: Invalid value: 0: spec in body should be greater than or equal to 1"]);
    check(
        json!({"type": "number", "minimum": 0.5, "exclusiveMinimum": true, "maximum": 2, "exclusiveMaximum": true}),
        json!(0.5),
        expect!["spec: Invalid value: 0.5: spec in body should be greater than 0.5"],
    );
    check(
        json!({"type": "number", "maximum": 2, "exclusiveMaximum": true}),
        json!(2),
        expect!["spec: Invalid value: 2: spec in body should be less than 2"],
    );
    check(
        json!({"type": "integer", "format": "int32"}),
        json!(3_000_000_000_i64),
        expect![[r#"<nil>: Invalid value: "": Checked value must be of type integer with format int32 in spec"#]],
    );
}

/// Upstream: apiextensions-apiserver/pkg/apiserver/validation/validation_test.go, "numeric formats invalid".
#[test]
fn formats_of_numbers() {
    let formatted = |kind: &str, format: &str| json!({"type": kind, "format": format});
    let (int32, int64) = (formatted("integer", "int32"), formatted("integer", "int64"));
    let (float, double) = (formatted("number", "float"), formatted("number", "double"));
    for (schema, least, most) in [
        (&int32, json!(i32::MIN), json!(i32::MAX)),
        (&int64, json!(i64::MIN), json!(i64::MAX)),
        (&float, json!(f32::MIN), json!(f32::MAX)),
        (&double, json!(f64::MIN), json!(f64::MAX)),
    ] {
        for value in [least, json!(0), most] {
            check(schema.clone(), value, expect![""]);
        }
    }
    let out_of_int32 =
        expect![[r#"<nil>: Invalid value: "": Checked value must be of type integer with format int32 in spec"#]];
    check(int32.clone(), json!(i64::from(i32::MIN) - 1), out_of_int32);
    for value in [json!(u64::MAX), json!(-1e19)] {
        let expected = expect![[r#"
            spec: Invalid value: "float64": spec in body must be of type int64: "float64"
            <nil>: Invalid value: "": Checked value must be of type integer with format int64 in spec"#]];
        check(int64.clone(), value, expected);
    }
    for value in [f32::MIN, f32::MAX] {
        let expected =
            expect![[r#"<nil>: Invalid value: "": Checked value must be of type number with format float in spec"#]];
        check(float.clone(), json!(f64::from(value) * 1.1), expected);
    }
    check(int32.clone(), json!(true), expect![[r#"spec: Invalid value: "": spec in body must be of type int32: """#]]);
    check(
        int32,
        json!("1"),
        expect![[r#"spec: Invalid value: "string": spec in body must be of type integer: "string""#]],
    );
    check(
        json!({"type": "integer", "format": "int32", "maximum": 4_294_967_295_u32}),
        json!(1),
        expect![[
            r#"<nil>: Invalid value: "": Maximum boundary value must be of type integer with format int32 in spec"#
        ]],
    );
    check(json!({"type": "integer", "format": "uint32"}), json!(4_294_967_295_u32), expect![""]);
    check_update(formatted("integer", "int32"), json!(1_i64 << 31), json!(1_i64 << 31), expect![""]);
}

#[test]
fn texts() {
    let text = json!({"type": "string", "minLength": 2, "maxLength": 4, "pattern": "^[a-z]+$"});
    check(text.clone(), json!("abc"), expect![""]);
    check(
        text.clone(),
        json!("a"),
        expect![[r#"spec: Invalid value: "a": spec in body should be at least 2 chars long"#]],
    );
    check(text.clone(), json!("abcde"), expect!["spec: Too long: may not be more than 4 bytes"]);
    check(text, json!("äö1"), expect![[r#"spec: Invalid value: "äö1": spec in body should match '^[a-z]+$'"#]]);
    check(
        json!({"type": "string", "enum": ["a", "b"]}),
        json!("c"),
        expect![[r#"spec: Unsupported value: "c": supported values: "a", "b""#]],
    );
}

#[test]
fn lists_and_objects() {
    let list = json!({"type": "array", "minItems": 1, "maxItems": 2, "items": {"type": "object", "required": ["name"],
        "properties": {"name": {"type": "string"}}}});
    check(list.clone(), json!([]), expect!["spec: Invalid value: 0: spec in body should have at least 1 items"]);
    check(
        list,
        json!([{"name": 1}, {}, {"name": ""}]),
        expect![[r#"
            spec[0].name: Invalid value: "integer": spec[0].name in body must be of type string: "integer"
            spec[1].name: Required value
            spec: Too many: 3: must have at most 2 items"#]],
    );
    let map = json!({"type": "object", "minProperties": 2, "additionalProperties": {"type": "string"}});
    check(
        map,
        json!({"a": 1}),
        expect![[r#"
            spec: Invalid value: 1: spec in body should have at least 2 properties
            spec.a: Invalid value: "integer": spec.a in body must be of type string: "integer""#]],
    );
    check(
        json!({"type": "object", "maxProperties": 1}),
        json!({"a": 1, "b": 2}),
        expect!["spec: Too many: 2: must have at most 1 items"],
    );
}

#[test]
fn alternatives() {
    let one = json!({"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
        "oneOf": [{"required": ["a"]}, {"required": ["b"]}]});
    check(one.clone(), json!({"a": 1}), expect![""]);
    check(
        one.clone(),
        json!({}),
        expect![[r#"
            <nil>: Invalid value: "": "spec" must validate one and only one schema (oneOf). Found none valid
            spec.a: Required value"#]],
    );
    check(
        one,
        json!({"a": 1, "b": 2}),
        expect![[
            r#"<nil>: Invalid value: "": "spec" must validate one and only one schema (oneOf). Found 2 valid alternatives"#
        ]],
    );
    check(
        json!({"type": "integer", "anyOf": [{"maximum": 1}, {"minimum": 5}]}),
        json!(3),
        expect![[r#"
            <nil>: Invalid value: "": "spec" must validate at least one schema (anyOf)
            spec: Invalid value: 3: spec in body should be less than or equal to 1"#]],
    );
    check(
        json!({"type": "integer", "allOf": [{"maximum": 1}, {"minimum": 0}]}),
        json!(3),
        expect![[r#"
            spec: Invalid value: 3: spec in body should be less than or equal to 1
            <nil>: Invalid value: "": "spec" must validate all the schemas (allOf)"#]],
    );
    check(
        json!({"type": "integer", "not": {"minimum": 1}}),
        json!(3),
        expect![[r#"<nil>: Invalid value: "": "spec" must not validate the schema (not)"#]],
    );
}

#[test]
fn what_an_update_leaves_alone_is_not_judged_anew() {
    let tight = || json!({"type": "string", "maxLength": 2});
    let spec = json!({"type": "object", "properties": {
        "a": tight(), "b": tight(),
        "set": {"type": "array", "items": tight()},
        "map": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["key"],
            "items": {"type": "object", "properties": {"key": {"type": "string"}, "value": tight()}}},
        "atomic": {"type": "object", "x-kubernetes-map-type": "atomic", "properties": {"a": tight(), "b": tight()}},
    }});
    check_update(spec.clone(), json!({"a": "long"}), json!({"a": "long", "b": "x"}), expect![""]);
    check_update(
        spec.clone(),
        json!({"a": "long"}),
        json!({"a": "longer"}),
        expect!["spec.a: Too long: may not be more than 2 bytes"],
    );
    // Items with keys are found again wherever they are; those without only as a whole list.
    let map = |value: &str| json!({"map": [{"key": "1", "value": value}, {"key": "2", "value": "long"}]});
    let turned = json!({"map": [{"key": "2", "value": "long"}, {"key": "3", "value": "x"}]});
    check_update(spec.clone(), map("x"), turned, expect![""]);
    check_update(spec.clone(), json!({"set": ["long"]}), json!({"set": ["long"], "a": "x"}), expect![""]);
    check_update(
        spec.clone(),
        json!({"set": ["long"]}),
        json!({"set": ["long", "x"]}),
        expect!["spec.set[0]: Too long: may not be more than 2 bytes"],
    );
    check_update(
        spec,
        json!({"atomic": {"a": "long"}}),
        json!({"atomic": {"a": "long", "b": "x"}}),
        expect!["spec.atomic.a: Too long: may not be more than 2 bytes"],
    );
}
