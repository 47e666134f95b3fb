//! Type checking: what the expressions of a validating policy have against the schemas of the kinds it matches, said in
//! its status and nowhere else (upstream: policy/validating/typechecking.go, pkg/controller/validatingadmissionpolicystatus).
//!
//! ```text
//! a policy is written -> controller -> kinds its rules name -> their schemas -> each expression against each -> status
//! ```

mod controller;

use std::collections::BTreeSet;

use api::Resource;
use apimachinery::GroupVersionKind;
use k8s_cel::{Environment, Type};
use serde_json::{Value, json};
use std::sync::Arc;

use super::definition::{compile_variables, items, text};
use super::environment;

pub(crate) use controller::start;

/// No more kinds than these of one rule are checked (upstream: `maxTypesToCheck`).
const MAX_TYPES: usize = 10;

/// The warnings about a policy: `fieldRef` and `warning` of each expression that is wrong for some kind.
fn check(policy: &Value, rows: &[Arc<Resource>]) -> Vec<Value> {
    let spec = policy.get("spec").unwrap_or(&Value::Null);
    let environments = environments(spec, rows);
    let mut warnings = Vec::new();
    let mut judge = |field: String, source: &str| {
        let complaints: Vec<String> = environments
            .iter()
            .filter_map(|(kind, environment)| {
                let error = environment.compile(source).err()?;
                Some(format!("{}: {error}\n", shown(kind)))
            })
            .collect();
        if !complaints.is_empty() {
            warnings.push(json!({"fieldRef": field, "warning": complaints.join("\n")}));
        }
    };
    for (index, validation) in items(spec, "validations").enumerate() {
        judge(format!("spec.validations[{index}].expression"), text(validation, "expression"));
        let message = text(validation, "messageExpression");
        if !message.is_empty() {
            judge(format!("spec.validations[{index}].messageExpression"), message);
        }
    }
    warnings
}

/// What expressions may name, for each kind that the policy matches and that has a schema.
fn environments(spec: &Value, rows: &[Arc<Resource>]) -> Vec<(GroupVersionKind, Environment)> {
    let params = spec.get("paramKind").filter(|kind| kind.is_object());
    let params = params.map(|kind| GroupVersionKind::from_api_version(text(kind, "apiVersion"), text(kind, "kind")));
    let type_of = |kind: &GroupVersionKind| {
        let row = rows.iter().find(|row| row.gvk == *kind)?;
        Some(Type::of_kind(&api::openapi::resolved(row)?, &kind.kind))
    };
    let mut base = environment::of_policy(params.is_some());
    if let Some(ty) = params.as_ref().and_then(type_of) {
        base = base.with("params", ty);
    }
    let typed = |kind: GroupVersionKind| {
        let ty = type_of(&kind)?;
        let environment = base.clone().with("object", ty.clone()).with("oldObject", ty);
        let (_, environment) = compile_variables(&environment, spec);
        Some((kind, environment))
    };
    kinds(spec, rows).into_iter().filter_map(typed).collect()
}

/// The kinds that the rules name without wildcards, in the order of group, version and kind. The core group has an
/// empty name, and upstream's mapper takes that for any group.
fn kinds(spec: &Value, rows: &[Arc<Resource>]) -> BTreeSet<GroupVersionKind> {
    let mut found = BTreeSet::new();
    let rules = spec.get("matchConstraints").map(|constraints| items(constraints, "resourceRules"));
    for rule in rules.into_iter().flatten() {
        let sorted = |field: &str| -> BTreeSet<&str> { items(rule, field).filter_map(Value::as_str).collect() };
        let (groups, versions) = (sorted("apiGroups"), sorted("apiVersions"));
        if groups.iter().chain(&versions).any(|word| word.contains('*')) {
            continue;
        }
        let resources = sorted("resources");
        let mut count = 0;
        for group in &groups {
            for version in &versions {
                for resource in resources.iter().filter(|resource| !resource.contains(['*', '/'])) {
                    let named = rows.iter().filter(|row| {
                        (group.is_empty() || row.gvk.group == *group)
                            && row.gvk.version == *version
                            && row.plural == *resource
                    });
                    for row in named {
                        found.insert(row.gvk.clone());
                        count += 1;
                        if count == MAX_TYPES {
                            return found;
                        }
                    }
                }
            }
        }
    }
    found
}

/// As Go shows a kind: `apps/v1, Kind=Deployment`.
fn shown(kind: &GroupVersionKind) -> String {
    format!("{}/{}, Kind={}", kind.group, kind.version, kind.kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn rules(groups: &[&str], versions: &[&str], resources: &[&str]) -> Value {
        json!({"resourceRules": [{"apiGroups": groups, "apiVersions": versions, "resources": resources}]})
    }

    #[test]
    fn kinds_are_those_that_rules_name_outright() {
        let named = |constraints: Value| -> Vec<String> {
            kinds(&json!({"matchConstraints": constraints}), &api::RESOURCES).iter().map(shown).collect()
        };
        assert_eq!(named(rules(&["apps"], &["v1"], &["deployments"])), ["apps/v1, Kind=Deployment"]);
        assert_eq!(named(rules(&["apps"], &["v1"], &["*"])), [""; 0]);
        assert_eq!(named(rules(&["apps"], &["*"], &["deployments"])), [""; 0]);
        assert_eq!(named(rules(&[""], &["v1"], &["pods/*", "pods/status", "nonsense"])), [""; 0]);
        assert_eq!(named(rules(&["", "apps"], &["v1"], &["pods"])), ["/v1, Kind=Pod"]);
        let many =
            ["configmaps", "endpoints", "events", "namespaces", "nodes", "pods", "secrets", "services", "bindings"];
        assert_eq!(
            named(rules(&[""], &["v1"], &[&many[..], &["replicationcontrollers", "limitranges"]].concat())).len(),
            10
        );
    }

    fn warn(spec: Value, expected: Expect) {
        let mut policy = json!({"spec": spec});
        if policy["spec"]["matchConstraints"].is_null() {
            policy["spec"]["matchConstraints"] = rules(&["apps"], &["v1"], &["deployments"]);
        }
        let warnings = check(&policy, &api::RESOURCES);
        let lines = warnings.iter().map(|warning| {
            let text = |field: &str| warning[field].as_str().unwrap_or_default().to_owned();
            format!("{}\n{}", text("fieldRef"), text("warning"))
        });
        expected.assert_eq(&lines.collect::<Vec<_>>().join("--\n"));
    }

    #[test]
    fn warnings_have_upstreams_words() {
        warn(json!({"validations": [{"expression": "object.spec.replicas > 1"}]}), expect![""]);
        warn(
            json!({
                "matchConstraints": rules(&["apps"], &["v1"], &["replicasets", "deployments"]),
                "validations": [{"expression": "object.replicas > 1"}],
            }),
            expect![[r#"
                spec.validations[0].expression
                apps/v1, Kind=Deployment: ERROR: <input>:1:7: undefined field 'replicas'
                 | object.replicas > 1
                 | ......^

                apps/v1, Kind=ReplicaSet: ERROR: <input>:1:7: undefined field 'replicas'
                 | object.replicas > 1
                 | ......^
            "#]],
        );
        warn(
            json!({
                "validations": [
                    {"expression": "true", "messageExpression": "object.spec.replicas + 'x'"},
                    {"expression": "variables.count > '1'"},
                    {"expression": "authorizer.allowed()"},
                    {"expression": "params.data.x == 1 && params.nothing == ''"},
                    {"expression": "object.spec.template.spec.containers.all(c, c.image.startsWith('a') && c.ports[0].hostPort > 1)"},
                    {"expression": "object.metadata.creationTimestamp > timestamp('2024-01-01T00:00:00Z') && object.metadata.labels['a'] == 'b'"},
                    {"expression": "request.nonsense == '' || namespaceObject.metadata.name == 1"},
                ],
                "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
                "variables": [{"name": "count", "expression": "object.spec.replicas"}],
            }),
            expect![[r#"
                spec.validations[0].messageExpression
                apps/v1, Kind=Deployment: ERROR: <input>:1:22: found no matching overload for '_+_' applied to '(int, string)'
                 | object.spec.replicas + 'x'
                 | .....................^
                --
                spec.validations[1].expression
                apps/v1, Kind=Deployment: ERROR: <input>:1:17: found no matching overload for '_>_' applied to '(int, string)'
                 | variables.count > '1'
                 | ................^
                --
                spec.validations[2].expression
                apps/v1, Kind=Deployment: ERROR: <input>:1:19: found no matching overload for 'allowed' applied to 'kubernetes.authorization.Authorizer.()'
                 | authorizer.allowed()
                 | ..................^
                --
                spec.validations[3].expression
                apps/v1, Kind=Deployment: ERROR: <input>:1:15: found no matching overload for '_==_' applied to '(string, int)'
                 | params.data.x == 1 && params.nothing == ''
                 | ..............^
                ERROR: <input>:1:29: undefined field 'nothing'
                 | params.data.x == 1 && params.nothing == ''
                 | ............................^
                --
                spec.validations[6].expression
                apps/v1, Kind=Deployment: ERROR: <input>:1:8: undefined field 'nonsense'
                 | request.nonsense == '' || namespaceObject.metadata.name == 1
                 | .......^
                ERROR: <input>:1:57: found no matching overload for '_==_' applied to '(string, int)'
                 | request.nonsense == '' || namespaceObject.metadata.name == 1
                 | ........................................................^
            "#]],
        );
    }

    #[test]
    fn parameters_of_an_unknown_kind_may_be_anything() {
        let spec =
            json!({"paramKind": {"apiVersion": "a/v1", "kind": "B"}, "validations": [{"expression": "params.x == 1"}]});
        warn(spec, expect![""]);
    }
}
