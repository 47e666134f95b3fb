//! Rules of custom resources (upstream: apiextensions-apiserver/pkg/apiserver/schema/cel/*_test.go,
//! pkg/apis/apiextensions/validation/validation_test.go).

use apimachinery::field::Path;
use k8s_cel::{Budget, Rules};
use serde_json::{Value as Json, json};

fn root() -> Path {
    Path::new("openAPIV3Schema")
}

fn compiled(spec: Json) -> Rules {
    let schema = json!({"type": "object", "properties": {"spec": spec}});
    match Rules::compile(&schema, &root()) {
        Ok(Some(rules)) => rules,
        other => panic!("rules: {other:?}"),
    }
}

/// What is said against a schema of `spec`.
fn refusals(spec: Json) -> Vec<String> {
    let schema = json!({"type": "object", "properties": {"spec": spec}});
    match Rules::compile(&schema, &root()) {
        Ok(_) => Vec::new(),
        Err(errors) => {
            errors.iter().map(|error| format!("{}: {:?}: {}", error.field, error.kind, error.detail)).collect()
        }
    }
}

/// What the rules say against `spec` that replaces `old`.
fn said(rules: &Rules, spec: Json, old: Option<Json>) -> Vec<String> {
    let wrap = |spec: Json| json!({"apiVersion": "a/v1", "kind": "A", "metadata": {"name": "x"}, "spec": spec});
    let (object, old) = (wrap(spec), old.map(wrap));
    let errors = rules.validate(&Path::default(), &object, old.as_ref(), &mut Budget::new());
    errors.iter().map(ToString::to_string).collect()
}

fn rule(rule: &str) -> Json {
    json!([{ "rule": rule }])
}

#[test]
fn broken_rules_are_told_with_their_path() {
    let rules = compiled(json!({
        "type": "object",
        "x-kubernetes-validations": [
            {"rule": "self.min <= self.max", "message": "min must not exceed max"},
            {"rule": "self.min >= 0", "messageExpression": "'min is ' + string(self.min)", "fieldPath": ".min", "reason": "FieldValueForbidden"},
        ],
        "properties": {
            "min": {"type": "integer"},
            "max": {"type": "integer", "x-kubernetes-validations": rule("self < 100")},
            "names": {"type": "array", "maxItems": 10, "items": {
                "type": "string", "maxLength": 20, "x-kubernetes-validations": rule("self.startsWith('a')")}},
            "map": {"type": "object", "maxProperties": 10, "additionalProperties": {
                "type": "string", "maxLength": 20, "x-kubernetes-validations": rule("size(self) > 1")}},
        },
    }));
    assert_eq!(said(&rules, json!({"min": 1, "max": 2}), None), [""; 0]);
    assert_eq!(said(&rules, json!({"min": 3, "max": 2}), None), ["spec: Invalid value: min must not exceed max"]);
    assert_eq!(
        said(&rules, json!({"min": -1, "max": 200, "names": ["ab", "b"], "map": {"k": "v"}}), None),
        [
            "spec.min: Forbidden: min is -1",
            "spec.map[k]: Invalid value: \"v\": failed rule: size(self) > 1",
            "spec.max: Invalid value: 200: failed rule: self < 100",
            "spec.names[1]: Invalid value: \"b\": failed rule: self.startsWith('a')",
        ]
    );
    assert_eq!(
        said(&rules, json!({"max": 1}), None),
        [
            "spec: Invalid value: \"object\": no such key: min evaluating rule: min must not exceed max",
            "spec: Invalid value: \"object\": no such key: min evaluating rule: self.min >= 0",
        ]
    );
}

#[test]
fn values_are_read_through_the_schema() {
    let rules = compiled(json!({
        "type": "object",
        "properties": {
            "when": {"type": "string", "format": "date-time"},
            "day": {"type": "string", "format": "date"},
            "span": {"type": "string", "format": "duration"},
            "blob": {"type": "string", "format": "byte", "maxLength": 100},
            "ratio": {"type": "number"},
            "port": {"x-kubernetes-int-or-string": true},
            "foo-bar": {"type": "integer"},
            "namespace": {"type": "string", "maxLength": 10},
            "set": {"type": "array", "maxItems": 5, "x-kubernetes-list-type": "set", "items": {"type": "integer"}},
            "opt": {"type": "string", "nullable": true, "maxLength": 10},
        },
        "x-kubernetes-validations": [
            {"rule": "self.when > timestamp('2024-01-01T00:00:00Z') && self.day.getFullYear() == 2024"},
            {"rule": "self.span <= duration('1h') && self.blob == b'abc' && self.ratio + 1.0 == 3.0"},
            {"rule": "type(self.port) == int ? self.port < 100 : self.port == '50%'"},
            {"rule": "self.foo__dash__bar == 1 && self.__namespace__ == 'x'"},
            {"rule": "self.set == [3, 2, 1]"},
            {"rule": "self.set + [3, 4] == [1, 2, 3, 4]"},
            {"rule": "!has(self.opt) || self.opt.size() > 0"},
        ],
    }));
    let spec = |port: Json| {
        json!({"when": "2024-05-01T00:00:00Z", "day": "2024-05-01", "span": "30m", "blob": "YWJj", "ratio": 2,
               "port": port, "foo-bar": 1, "namespace": "x", "set": [1, 2, 3]})
    };
    assert_eq!(said(&rules, spec(json!(80)), None), [""; 0]);
    assert_eq!(said(&rules, spec(json!("50%")), None), [""; 0]);
    assert_eq!(said(&rules, spec(json!(800)), None).len(), 1);
}

#[test]
fn the_root_has_its_metadata() {
    let schema = json!({
        "type": "object",
        "x-kubernetes-validations": [{"rule": "self.metadata.name.startsWith('x') && self.kind == 'A'"}],
    });
    let rules = Rules::compile(&schema, &root()).expect("sound").expect("rules");
    let object = |name: &str| json!({"apiVersion": "a/v1", "kind": "A", "metadata": {"name": name, "labels": {}}});
    let said = |name: &str| rules.validate(&Path::default(), &object(name), None, &mut Budget::new());
    assert!(said("x1").is_empty());
    assert_eq!(said("y").len(), 1);
    let schema = json!({"type": "object", "x-kubernetes-validations": [{"rule": "self.metadata.labels.size() > 0"}]});
    let errors = Rules::compile(&schema, &root()).expect_err("labels are out of sight");
    assert!(errors[0].detail.contains("undefined field 'labels'"), "{errors:?}");
}

#[test]
fn transition_rules() {
    let rules = compiled(json!({
        "type": "object",
        "properties": {
            "fixed": {"type": "string", "maxLength": 10, "x-kubernetes-validations": rule("self == oldSelf")},
            "counter": {"type": "integer", "x-kubernetes-validations": [
                {"rule": "oldSelf.hasValue() ? self > oldSelf.value() : self == 1", "optionalOldSelf": true}]},
            "list": {"type": "array", "maxItems": 10, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"], "items": {
                "type": "object", "required": ["k"], "properties": {"k": {"type": "string", "maxLength": 5}, "v": {"type": "integer"}},
                "x-kubernetes-validations": rule("self.v >= oldSelf.v")}},
        },
    }));
    assert_eq!(said(&rules, json!({"fixed": "a", "counter": 1}), None), [""; 0]);
    assert_eq!(said(&rules, json!({"counter": 2}), None).len(), 1);
    assert_eq!(said(&rules, json!({"fixed": "a"}), Some(json!({}))), [""; 0], "nothing to compare with");
    assert_eq!(
        said(&rules, json!({"fixed": "b", "counter": 5}), Some(json!({"fixed": "a", "counter": 5}))),
        [
            "spec.counter: Invalid value: 5: failed rule: oldSelf.hasValue() ? self > oldSelf.value() : self == 1",
            "spec.fixed: Invalid value: \"b\": failed rule: self == oldSelf",
        ]
    );
    let list = |items: Json| json!({ "list": items });
    assert_eq!(
        said(
            &rules,
            list(json!([{"k": "b", "v": 1}, {"k": "a", "v": 1}, {"k": "new", "v": 0}])),
            Some(list(json!([{"k": "a", "v": 2}, {"k": "b", "v": 1}])))
        ),
        ["spec.list[1]: Invalid value: failed rule: self.v >= oldSelf.v"]
    );
}

#[test]
fn what_was_wrong_before_only_earns_a_warning() {
    let rules = compiled(json!({
        "type": "object",
        "properties": {
            "a": {"type": "integer", "x-kubernetes-validations": rule("self > 0")},
            "b": {"type": "integer"},
        },
    }));
    let object = |a: i64, b: i64| json!({"spec": {"a": a, "b": b}});
    let judged = |new: Json, old: Json| rules.judge(&Path::default(), &new, Some(&old), &mut Budget::new());
    let unchanged = judged(object(-1, 2), object(-1, 1));
    assert_eq!(unchanged.errors, []);
    assert_eq!(unchanged.warnings, ["spec.a: Invalid value: -1: failed rule: self > 0"]);
    assert_eq!(judged(object(-2, 1), object(-1, 1)).errors.len(), 1);
}

#[test]
fn unsound_rules_are_refused() {
    let refused = |rules: Json| {
        refusals(json!({
            "type": "object",
            "properties": {"x": {"type": "integer"}, "s": {"type": "string"}, "m": {"type": "object", "additionalProperties": {"type": "string"}}},
            "x-kubernetes-validations": rules,
        }))
    };
    let path = "openAPIV3Schema.properties[spec].x-kubernetes-validations[0]";
    let one = |rules: Json| {
        let refused = refused(rules);
        assert_eq!(refused.len(), 1, "{refused:?}");
        refused[0].strip_prefix(path).expect("the path").to_owned()
    };
    assert!(
        one(rule("self.x = 1")).starts_with(".rule: Invalid: compilation failed: ERROR: <input>:1:8: Syntax error")
    );
    assert!(one(rule("self.y == 1")).contains("undefined field 'y'"));
    assert!(one(rule("self.x == 'a'")).contains("found no matching overload for '_==_' applied to '(int, string)'"));
    assert_eq!(one(rule("self.x")), ".rule: Invalid: cel expression must evaluate to a bool");
    assert_eq!(one(rule(" ")), ".rule: Required: rule is not specified");
    assert_eq!(one(json!([{"rule": "true", "message": " "}])), ".message: Invalid: must be non-empty if specified");
    assert_eq!(
        one(json!([{"rule": "true\n&& true"}])),
        ".message: Required: message must be specified if rule contains line breaks"
    );
    assert_eq!(
        one(json!([{"rule": "true", "messageExpression": "1"}])),
        ".messageExpression: Invalid: messageExpression must evaluate to a string"
    );
    assert!(one(json!([{"rule": "true", "reason": "Nonsense"}])).starts_with(".reason: NotSupported"));
    assert_eq!(one(json!([{"rule": "true", "fieldPath": ".y"}])), ".fieldPath: Invalid: must be a valid path");
    assert_eq!(one(json!([{"rule": "true", "fieldPath": "x"}])), ".fieldPath: Invalid: must be a valid path");
    assert_eq!(refused(json!([{"rule": "true", "fieldPath": ".m['a.b']"}])), [""; 0]);
    assert_eq!(
        one(json!([{"rule": "true", "optionalOldSelf": true}])),
        ".optionalOldSelf: Invalid: may not be set if oldSelf is not used in rule"
    );
}

#[test]
fn old_values_that_cannot_be_told_may_not_be_used() {
    let refused = refusals(json!({
        "type": "object",
        "properties": {"l": {"type": "array", "maxItems": 10, "items": {"type": "integer", "x-kubernetes-validations": rule("self > oldSelf")}}},
    }));
    assert_eq!(
        refused,
        [
            "openAPIV3Schema.properties[spec].properties[l].items.x-kubernetes-validations[0].rule: Invalid: oldSelf cannot be \
          used on the uncorrelatable portion of the schema within openAPIV3Schema.properties[spec].properties[l]"
        ]
    );
}

#[test]
fn what_could_cost_too_much_is_refused() {
    let list = |limits: &str, rule_text: &str| {
        let mut list =
            json!({"type": "array", "items": {"type": "string"}, "x-kubernetes-validations": rule(rule_text)});
        if limits.contains("items") {
            list["maxItems"] = 100.into();
        }
        if limits.contains("length") {
            list["items"]["maxLength"] = 100.into();
        }
        refusals(json!({"type": "object", "properties": {"l": list}}))
    };
    assert_eq!(list("items length", "self.all(x, x.contains('abc'))"), [""; 0]);
    assert_eq!(list("", "self.all(x, x == 'abc')"), [""; 0]);
    let nested = list("", "self.all(x, self.all(y, x == y))");
    assert!(nested[0].contains("estimated rule cost exceeds budget by factor of more than 100x"), "{nested:?}");
    assert!(
        nested
            .iter()
            .any(|error| error.contains("estimated rule cost total for entire OpenAPIv3 schema exceeds budget"))
    );
    assert_eq!(list("items length", "self.all(x, self.all(y, x == y))"), [""; 0]);
}

#[test]
fn objects_that_cost_too_much_are_cut_off() {
    let rules = compiled(json!({
        "type": "object",
        "properties": {"l": {"type": "array", "maxItems": 100, "items": {"type": "integer"},
            "x-kubernetes-validations": rule("self.all(a, self.all(b, self.all(c, a + b + c >= 0)))")}},
    }));
    let numbers: Vec<u32> = (0..100).collect();
    assert_eq!(
        said(&rules, json!({ "l": numbers }), None),
        [
            "spec.l: Invalid value: \"array\": 'operation cancelled: actual cost limit exceeded': no further validation rules will be \
          run due to call cost exceeds limit for rule: self.all(a, self.all(b, self.all(c, a + b + c >= 0)))"
        ]
    );
}
