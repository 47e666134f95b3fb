//! What is refused, in upstream's words.

use apimachinery::Object;
use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::{Policy, PolicyBinding};
use crate::resource::Strategy;

fn judge(strategy: &dyn Strategy, spec: &Value, change: impl FnOnce(&mut Value), expected: Expect) {
    let mut value = json!({"metadata": {"name": "p"}, "spec": spec});
    change(&mut value["spec"]);
    let mut object = Object::from_value(value).expect("an object");
    strategy.default(&mut object);
    let errors: Vec<String> = strategy.validate(&object).iter().map(ToString::to_string).collect();
    expected.assert_eq(&errors.join("\n"));
}

fn rules() -> Value {
    json!({"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["pods"]}]})
}

fn validating(change: impl FnOnce(&mut Value), expected: Expect) {
    let spec = json!({"matchConstraints": rules(), "validations": [{"expression": "true"}]});
    judge(&Policy { mutating: false }, &spec, change, expected);
}

fn mutating(change: impl FnOnce(&mut Value), expected: Expect) {
    let mutation = json!({"patchType": "JSONPatch", "jsonPatch": {"expression": "[]"}});
    let spec = json!({"matchConstraints": rules(), "mutations": [mutation], "reinvocationPolicy": "Never"});
    judge(&Policy { mutating: true }, &spec, change, expected);
}

fn binding(change: impl FnOnce(&mut Value), expected: Expect) {
    let spec = json!({"policyName": "p", "validationActions": ["Deny"]});
    judge(&PolicyBinding { mutating: false }, &spec, change, expected);
}

#[test]
fn policies_that_validate() {
    validating(|_| {}, expect![""]);
    validating(
        |spec| *spec = json!({}),
        expect![[r#"
            spec.matchConstraints: Required value
            spec.validations: Required value: validations or auditAnnotations must contain at least one item
            spec.auditAnnotations: Required value: validations or auditAnnotations must contain at least one item"#]],
    );
    validating(
        |spec| {
            spec["failurePolicy"] = "Perhaps".into();
            spec["matchConstraints"]["resourceRules"] = json!([]);
            spec["matchConstraints"]["matchPolicy"] = "Roughly".into();
        },
        expect![[r#"
            spec.failurePolicy: Unsupported value: "Perhaps": supported values: "Fail", "Ignore"
            spec.matchConstraints.matchPolicy: Unsupported value: "Roughly": supported values: "Equivalent", "Exact"
            spec.matchConstraints.resourceRules: Required value"#]],
    );
    validating(
        |spec| {
            let rule = &mut spec["matchConstraints"]["resourceRules"][0];
            rule["resourceNames"] = json!(["a", "a", "b/c"]);
            rule["operations"] = json!([]);
        },
        expect![[r#"
            spec.matchConstraints.resourceRules[0].resourceNames[1]: Duplicate value: "a"
            spec.matchConstraints.resourceRules[0].resourceNames[2]: Invalid value: "b/c": may not contain '/'
            spec.matchConstraints.resourceRules[0].operations: Required value"#]],
    );
    validating(
        |spec| spec["paramKind"] = json!({"apiVersion": "a/b/c", "kind": "_"}),
        expect![[r#"
            spec.paramKind.apiVersion: Invalid value: "a/b/c": unexpected GroupVersion string: a/b/c
            spec.paramKind.kind: Invalid value: "_": may have mixed case, but should otherwise match: a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"#]],
    );
    validating(
        |spec| spec["paramKind"] = json!({"apiVersion": "apps/", "kind": ""}),
        expect![[r#"
            spec.paramKind.apiVersion: Invalid value: "apps/": version must be specified
            spec.paramKind.kind: Required value"#]],
    );
    validating(
        |spec| {
            spec["variables"] = json!([{"name": " ", "expression": ""}]);
            spec["validations"] =
                json!([{"expression": " ", "message": "a\nb", "messageExpression": " ", "reason": "Mood"}]);
        },
        expect![[r#"
            spec.variables[0].name: Required value: name is not specified
            spec.variables[0].expression: Required value: expression is not specified
            spec.validations[0].expression: Required value: expression is not specified
            spec.validations[0].messageExpression: Invalid value: " ": must be non-empty if specified
            spec.validations[0].message: Invalid value: "a\nb": message must not contain line breaks
            spec.validations[0].reason: Unsupported value: "Mood": supported values: "Forbidden", "Invalid", "RequestEntityTooLarge""#]],
    );
    validating(
        |spec| {
            spec["auditAnnotations"] = json!([{"key": "a", "valueExpression": "'x'"}, {"key": "a", "valueExpression": ""}, {"key": "", "valueExpression": "'x'"}]);
        },
        expect![[r#"
            spec.auditAnnotations[1].valueExpression: Required value: valueExpression is not specified
            spec.auditAnnotations[1].key: Duplicate value: "a"
            spec.auditAnnotations[2].key: Invalid value: "p/": name part must be non-empty
            spec.auditAnnotations[2].key: Invalid value: "p/": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"#]],
    );
}

#[test]
fn policies_that_mutate() {
    mutating(|_| {}, expect![""]);
    mutating(
        |spec| {
            spec["reinvocationPolicy"] = json!(null);
            spec["mutations"] = json!([]);
        },
        expect![[r#"
            spec.mutations: Required value: mutations must contain at least one item
            spec.reinvocationPolicy: Required value"#]],
    );
    mutating(
        |spec| {
            spec["mutations"] = json!([
                {"patchType": "Merge"},
                {"patchType": "JSONPatch"},
                {"patchType": "ApplyConfiguration", "applyConfiguration": {}, "jsonPatch": {"expression": "[]"}},
            ]);
        },
        expect![[r#"
            spec.mutations[0].patchType: Unsupported value: "Merge": supported values: "ApplyConfiguration", "JSONPatch"
            spec.mutations[1].jsonPatch: Required value: must be specified when patchType is JSONPatch
            spec.mutations[2].applyConfiguration.expression: Required value: expression is not specified
            spec.mutations[2].jsonPatch: Invalid value: "{jsonPatch}": must not be specified when patchType is ApplyConfiguration"#]],
    );
}

#[test]
fn nothing_mutates_what_is_deleted() {
    mutating(
        |spec| {
            spec["matchConstraints"]["resourceRules"][0]["operations"] = json!(["CREATE", "DELETE", "CONNECT"]);
            spec["mutations"][0]["patchType"] = "".into();
        },
        expect![[r#"
            spec.matchConstraints.resourceRules.operations: Unsupported value: "DELETE": supported values: "*", "CONNECT", "CREATE", "UPDATE"
            spec.mutations[0].patchType: Required value"#]],
    );
    let mut rules = rules();
    rules["resourceRules"][0]["operations"] = json!(["DELETE"]);
    judge(
        &PolicyBinding { mutating: true },
        &json!({"policyName": "p", "matchResources": rules}),
        |_| {},
        expect![[
            r#"spec.matchResources.resourceRules.operations: Unsupported value: "DELETE": supported values: "*", "CONNECT", "CREATE", "UPDATE""#
        ]],
    );
}

#[test]
fn rules_of_policies() {
    validating(
        |spec| {
            let rule = &mut spec["matchConstraints"]["resourceRules"][0];
            rule["operations"] = json!(["*", "CREATE", "WATCH"]);
            rule["apiGroups"] = json!(["*", "apps"]);
            rule["apiVersions"] = json!(["", "*"]);
            rule["resources"] = json!(["pods/*", "pods/status", "*/scale", "deployments/scale", "*", "pods", "*/*"]);
            rule["scope"] = "Galaxy".into();
        },
        expect![[r#"
            spec.matchConstraints.resourceRules[0].operations: Invalid value: ["*","CREATE","WATCH"]: if '*' is present, must not specify other operations
            spec.matchConstraints.resourceRules[0].operations[2]: Unsupported value: "WATCH": supported values: "*", "CONNECT", "CREATE", "DELETE", "UPDATE"
            spec.matchConstraints.resourceRules[0].apiGroups: Invalid value: ["*","apps"]: if '*' is present, must not specify other API groups
            spec.matchConstraints.resourceRules[0].apiVersions: Invalid value: ["","*"]: if '*' is present, must not specify other API versions
            spec.matchConstraints.resourceRules[0].apiVersions[0]: Required value
            spec.matchConstraints.resourceRules[0].resources[1]: Invalid value: "pods/status": if 'pods/*' is present, must not specify pods/status
            spec.matchConstraints.resourceRules[0].resources[3]: Invalid value: "deployments/scale": if '*/scale' is present, must not specify deployments/scale
            spec.matchConstraints.resourceRules[0].resources: Invalid value: ["pods/*","pods/status","*/scale","deployments/scale","*","pods","*/*"]: if '*/*' is present, must not specify other resources
            spec.matchConstraints.resourceRules[0].resources: Invalid value: ["pods/*","pods/status","*/scale","deployments/scale","*","pods","*/*"]: if '*' is present, must not specify other resources without subresources
            spec.matchConstraints.resourceRules[0].scope: Unsupported value: "Galaxy": supported values: "*", "Cluster", "Namespaced""#]],
    );
}

#[test]
fn bindings() {
    binding(|_| {}, expect![""]);
    binding(
        |spec| *spec = json!({"policyName": "A", "validationActions": ["Warn", "Deny", "Warn", "Shout"]}),
        expect![[r#"
            spec.policyName: Invalid value: "A": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
            spec.validationActions[2]: Duplicate value: "Warn"
            spec.validationActions[3]: Unsupported value: "Shout": supported values: "Audit", "Deny", "Warn"
            spec.validationActions: Invalid value: ["Warn","Deny","Warn","Shout"]: must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)"#]],
    );
    binding(
        |spec| {
            spec["validationActions"] = json!([]);
            spec["paramRef"] = json!({"name": "a", "selector": {}});
        },
        expect![[r#"
            spec.paramRef.name: Forbidden: name and selector are mutually exclusive
            spec.paramRef.selector: Forbidden: name and selector are mutually exclusive
            spec.paramRef.parameterNotFoundAction: Required value
            spec.validationActions: Required value: at least one validation action is required"#]],
    );
    binding(
        |spec| spec["paramRef"] = json!({"parameterNotFoundAction": "Ignore"}),
        expect![[r#"
            spec.paramRef: Required value: one of name or selector must be specified
            spec.paramRef.parameterNotFoundAction: Unsupported value: "Ignore": supported values: "Deny", "Allow""#]],
    );
    binding(|spec| spec["matchResources"] = json!({}), expect![""]);
}

#[test]
fn the_status_of_policies() {
    let object = json!({"status": {
        "typeChecking": {"expressionWarnings": [{"fieldRef": " ", "warning": ""}]},
        "conditions": [{"type": "A", "status": "Perhaps", "reason": "a b", "lastTransitionTime": "2024-01-01T00:00:00Z"}],
    }});
    let object = Object::from_value(object).expect("an object");
    let errors = Policy { mutating: false }.validate_status_update(&object, &object);
    let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
    expect![[r#"
        status.typeChecking.expressionWarnings[0].warning: Required value
        status.typeChecking.expressionWarnings[0].fieldRef: Required value
        status.conditions[0].status: Unsupported value: "Perhaps": supported values: "False", "True", "Unknown"
        status.conditions[0].reason: Invalid value: "a b": a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric characters or '_,:', and must end with an alphanumeric character or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName',  or 'ReasonA,ReasonB',  or 'ReasonA:ReasonB', regex used for validation is '[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?')"#]]
    .assert_eq(&errors.join("\n"));
}
