//! Admission policies end to end (upstream: test/e2e/apimachinery/{validating,mutating}admissionpolicy.go).

use apimachinery::UserInfo;
use serde_json::{Value, json};

use crate::harness::{Answer, Cluster};

const GROUP: &str = "/apis/admissionregistration.k8s.io/v1";

async fn must(answer: Answer) -> Answer {
    assert!(answer.code < 300, "{}", answer.line());
    answer
}

async fn policy(cluster: &Cluster, name: &str, spec: Value) -> Answer {
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name}, "spec": spec,
    });
    cluster.post(&format!("{GROUP}/validatingadmissionpolicies"), policy).await
}

async fn bind(cluster: &Cluster, name: &str, policy: &str, further: Value) {
    let mut spec = json!({"policyName": policy, "validationActions": ["Deny"]});
    for (field, value) in further.as_object().expect("an object") {
        spec[field] = value.clone();
    }
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name}, "spec": spec,
    });
    must(cluster.post(&format!("{GROUP}/validatingadmissionpolicybindings"), binding).await).await;
}

fn config_maps() -> Value {
    json!({"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["configmaps"]}]})
}

fn config_map(name: &str, data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
}

async fn create(cluster: &Cluster, name: &str, data: Value) -> Answer {
    cluster.post("/api/v1/namespaces/default/configmaps", config_map(name, data)).await
}

#[tokio::test]
async fn validations_deny_with_upstreams_words() {
    let cluster = Cluster::new().await;
    let spec = json!({
        "matchConstraints": config_maps(),
        "matchConditions": [{"name": "not-mine", "expression": "request.name != 'exempt'"}],
        "variables": [
            {"name": "colour", "expression": "object.data.?colour.orValue('none')"},
            {"name": "known", "expression": "variables.colour in ['red', 'green']"},
        ],
        "validations": [
            {"expression": "variables.known", "messageExpression": "'no colour like ' + string(variables.colour)"},
            {"expression": "request.operation != 'UPDATE' || object.data.colour == oldObject.data.colour", "message": "colours stay", "reason": "Forbidden"},
            {"expression": "namespaceObject.metadata.name == request.namespace && request.userInfo.username == 'admin'"},
        ],
    });
    must(policy(&cluster, "colours", spec).await).await;
    must(create(&cluster, "unbound", json!({})).await).await;
    bind(&cluster, "everywhere", "colours", json!({})).await;
    must(create(&cluster, "a", json!({"colour": "red"})).await).await;
    must(create(&cluster, "exempt", json!({"colour": "pink"})).await).await;
    let denied = create(&cluster, "b", json!({"colour": "pink"})).await;
    assert_eq!(
        denied.line(),
        "422 Invalid: configmaps \"b\" is forbidden: ValidatingAdmissionPolicy 'colours' with binding 'everywhere' denied \
         request: no colour like pink"
    );
    assert_eq!(
        denied.at("/details/causes/0/message"),
        "ValidatingAdmissionPolicy 'colours' with binding 'everywhere' denied request: no colour like pink"
    );
    let changed =
        cluster.put("/api/v1/namespaces/default/configmaps/a", config_map("a", json!({"colour": "green"}))).await;
    assert_eq!(
        changed.line(),
        "403 Forbidden: configmaps \"a\" is forbidden: ValidatingAdmissionPolicy 'colours' with binding 'everywhere' denied \
         request: colours stay"
    );
    let other = cluster.acting_as(UserInfo::new("root", ["system:masters"]));
    let denied = create(&other, "c", json!({"colour": "red"})).await;
    assert!(
        denied.line().contains("failed expression: namespaceObject.metadata.name == request.namespace"),
        "{}",
        denied.line()
    );
    must(cluster.delete(&format!("{GROUP}/validatingadmissionpolicybindings/everywhere")).await).await;
    must(create(&cluster, "d", json!({"colour": "pink"})).await).await;
}

#[tokio::test]
async fn policies_that_do_not_compile_are_refused() {
    let cluster = Cluster::new().await;
    let spec =
        |expression: &str| json!({"matchConstraints": config_maps(), "validations": [{"expression": expression}]});
    let refused = policy(&cluster, "bad", spec("object.x ==")).await;
    assert_eq!(refused.code, 422);
    assert!(refused.line().contains("spec.validations[0].expression: Invalid value: \"object.x ==\": compilation failed: ERROR: <input>:1:12: Syntax error"), "{}", refused.line());
    let refused = policy(&cluster, "bad", spec("params.x == 1")).await;
    assert!(refused.line().contains("undeclared reference to 'params'"), "{}", refused.line());
    let refused = policy(&cluster, "bad", spec("request.nonsense == 1")).await;
    assert!(refused.line().contains("undefined field 'nonsense'"), "{}", refused.line());
    let refused = policy(&cluster, "bad", spec("1")).await;
    assert!(refused.line().contains("must evaluate to bool but got int"), "{}", refused.line());
    let webhook = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration", "metadata": {"name": "w"},
        "webhooks": [{
            "name": "a.b.c", "clientConfig": {"url": "https://127.0.0.1:1/"}, "sideEffects": "None",
            "admissionReviewVersions": ["v1"], "matchConditions": [{"name": "m", "expression": "object ="}],
        }],
    });
    let refused = cluster.post(&format!("{GROUP}/validatingwebhookconfigurations"), webhook).await;
    assert!(refused.line().contains("webhooks[0].matchConditions[0].expression"), "{}", refused.line());
}

#[tokio::test]
async fn parameters_by_name_and_by_selector() {
    let cluster = Cluster::new().await;
    let spec = json!({
        "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
        "matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["*"], "operations": ["CREATE"], "resources": ["secrets"]}]},
        "validations": [{"expression": "object.data.size() <= int(params.data.limit)", "messageExpression": "'at most ' + string(params.data.limit)"}],
    });
    must(policy(&cluster, "limits", spec).await).await;
    let secret = |name: &str, count: usize| {
        let data: serde_json::Map<String, Value> = (0..count).map(|key| (format!("k{key}"), json!("YQ=="))).collect();
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data})
    };
    let secrets = "/api/v1/namespaces/default/secrets";
    bind(&cluster, "by-name", "limits", json!({"paramRef": {"name": "limit", "parameterNotFoundAction": "Deny"}}))
        .await;
    let denied = cluster.post(secrets, secret("a", 1)).await;
    assert!(
        denied.line().ends_with("'limits' with binding 'by-name' denied request: failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction"),
        "{}",
        denied.line()
    );
    must(create(&cluster, "limit", json!({"limit": "2"})).await).await;
    must(cluster.post(secrets, secret("a", 2)).await).await;
    assert!(cluster.post(secrets, secret("b", 3)).await.line().ends_with("denied request: at most 2"));
    let mut strict = config_map("strict", json!({"limit": "1"}));
    strict["metadata"]["labels"] = json!({"limits": "yes"});
    must(cluster.post("/api/v1/namespaces/default/configmaps", strict).await).await;
    let selector =
        json!({"paramRef": {"selector": {"matchLabels": {"limits": "yes"}}, "parameterNotFoundAction": "Allow"}});
    bind(&cluster, "by-label", "limits", selector).await;
    assert!(
        cluster
            .post(secrets, secret("c", 2))
            .await
            .line()
            .ends_with("with binding 'by-label' denied request: at most 1")
    );
}

#[tokio::test]
async fn bindings_select_namespaces_and_choose_what_happens() {
    let cluster = Cluster::new().await;
    let spec = json!({"matchConstraints": config_maps(), "validations": [{"expression": "'a' in object.data", "message": "no a"}]});
    must(policy(&cluster, "wants-a", spec).await).await;
    let only = json!({"matchResources": {"namespaceSelector": {"matchLabels": {"strict": "yes"}}}});
    bind(&cluster, "strict", "wants-a", only).await;
    bind(&cluster, "warns", "wants-a", json!({"validationActions": ["Warn", "Audit"]})).await;
    let warned = must(create(&cluster, "x", json!({"b": "c"})).await).await;
    let warning =
        warned.headers.get("warning").and_then(|warning| warning.to_str().ok()).unwrap_or_default().to_owned();
    assert!(
        warning.contains("Validation failed for ValidatingAdmissionPolicy 'wants-a' with binding 'warns': no a"),
        "{warning}"
    );
    let namespace =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": {"strict": "yes"}}});
    must(cluster.post("/api/v1/namespaces", namespace).await).await;
    let denied = cluster.post("/api/v1/namespaces/shop/configmaps", config_map("x", json!({"b": "c"}))).await;
    assert!(denied.line().ends_with("with binding 'strict' denied request: no a"), "{}", denied.line());
}

#[tokio::test]
async fn failing_policies_follow_their_failure_policy() {
    let cluster = Cluster::new().await;
    let spec = |failure: &str| {
        json!({"failurePolicy": failure, "matchConstraints": config_maps(),
               "validations": [{"expression": "object.data.missing == 'x'"}]})
    };
    must(policy(&cluster, "fails", spec("Ignore")).await).await;
    bind(&cluster, "fails", "fails", json!({})).await;
    must(create(&cluster, "a", json!({})).await).await;
    must(policy(&cluster, "fails-hard", spec("Fail")).await).await;
    bind(&cluster, "fails-hard", "fails-hard", json!({})).await;
    let denied = create(&cluster, "b", json!({"x": "y"})).await;
    assert!(
        denied.line().ends_with(
            "denied request: expression 'object.data.missing == 'x'' resulted in error: no such key: missing"
        ),
        "{}",
        denied.line()
    );
    let runaway = json!({"matchConstraints": config_maps(), "validations": [{
        "expression": "lists.range(1000).all(a, lists.range(1000).all(b, lists.range(1000).all(c, a + b + c >= 0)))"}]});
    must(policy(&cluster, "runs-away", runaway).await).await;
    must(cluster.delete(&format!("{GROUP}/validatingadmissionpolicybindings/fails-hard")).await).await;
    bind(&cluster, "runs-away", "runs-away", json!({})).await;
    let denied = create(&cluster, "c", json!({})).await;
    assert!(denied.line().contains("call cost exceeds limit for expression"), "{}", denied.line());
}

#[tokio::test]
async fn expressions_ask_the_authorizer() {
    let cluster = Cluster::new().await;
    let spec = json!({
        "matchConstraints": config_maps(),
        "validations": [
            {"expression": "authorizer.group('').resource('secrets').namespace('default').check('create').allowed()", "message": "not you"},
            {"expression": "authorizer.requestResource.check('update').allowed()"},
            {"expression": "!authorizer.serviceAccount('default', 'x').path('/healthz').check('get').allowed()"},
        ],
    });
    must(policy(&cluster, "asks", spec).await).await;
    bind(&cluster, "asks", "asks", json!({})).await;
    must(create(&cluster, "a", json!({})).await).await;
}

/// Upstream: `validator.Validate` answers before anything else is evaluated, and conditions are evaluated without a
/// namespace.
#[tokio::test]
async fn a_policy_that_is_not_about_a_request_leaves_no_notes() {
    let cluster = Cluster::new().await;
    let spec = |condition: &str| {
        json!({
            "matchConstraints": config_maps(), "failurePolicy": "Fail", "validations": [{"expression": "true"}],
            "matchConditions": [{"name": "meant", "expression": condition}],
            "auditAnnotations": [{"key": "note", "valueExpression": "string(object.data.missing)"}],
        })
    };
    must(policy(&cluster, "notes", spec("object.metadata.name != 'a' && namespaceObject == null")).await).await;
    bind(&cluster, "notes", "notes", json!({})).await;
    must(create(&cluster, "a", json!({"b": "c"})).await).await;
    let denied = create(&cluster, "b", json!({"b": "c"})).await;
    assert!(denied.line().ends_with("no such key: missing"), "{}", denied.line());
}

#[tokio::test]
async fn mutations_complete_objects() {
    let cluster = Cluster::new().await;
    let policy = |name: &str, spec: Value| json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicy", "metadata": {"name": name}, "spec": spec});
    let binding = |name: &str, policy: &str| {
        json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicyBinding",
               "metadata": {"name": name}, "spec": {"policyName": policy}})
    };
    let deployments = json!({"resourceRules": [{"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["deployments"]}]});
    let first = json!({
        "matchConstraints": deployments, "reinvocationPolicy": "IfNeeded", "failurePolicy": "Fail",
        "variables": [{"name": "wanted", "expression": "1337"}],
        "mutations": [
            {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": "Object{spec: Object.spec{replicas: variables.wanted}, metadata: Object.metadata{annotations: {'seen': has(object.metadata.labels) && 'team' in object.metadata.labels ? 'yes' : 'no'}}}"}},
        ],
    });
    let second = json!({
        "matchConstraints": deployments, "reinvocationPolicy": "Never",
        "mutations": [
            {"patchType": "JSONPatch", "jsonPatch": {"expression": "[JSONPatch{op: 'test', path: '/spec/replicas', value: 1337}, JSONPatch{op: 'add', path: '/metadata/labels', value: {'team': 'a'}}]"}},
            {"patchType": "JSONPatch", "jsonPatch": {"expression": "[JSONPatch{op: 'test', path: '/spec/replicas', value: 1}, JSONPatch{op: 'remove', path: '/spec'}]"}},
        ],
    });
    for (name, spec) in [("a-first", first), ("b-second", second)] {
        must(cluster.post(&format!("{GROUP}/mutatingadmissionpolicies"), policy(name, spec)).await).await;
        must(cluster.post(&format!("{GROUP}/mutatingadmissionpolicybindings"), binding(name, name)).await).await;
    }
    let deployment = |name: &str| {
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": {
            "replicas": 1, "selector": {"matchLabels": {"app": "x"}},
            "template": {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}})
    };
    let made = must(cluster.post("/apis/apps/v1/namespaces/default/deployments", deployment("x")).await).await;
    assert_eq!(made.at("/spec/replicas"), 1337);
    assert_eq!(made.at("/metadata/labels/team"), "a");
    assert_eq!(made.at("/metadata/annotations/seen"), "yes", "the first policy saw what the second one did");
    assert_eq!(made.at("/spec/template/spec/containers/0/name"), "c");
    let broken = json!({
        "matchConstraints": deployments, "reinvocationPolicy": "Never",
        "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": "[JSONPatch{op: 'remove', path: '/spec/nothing'}]"}}],
    });
    must(cluster.post(&format!("{GROUP}/mutatingadmissionpolicies"), policy("c-broken", broken)).await).await;
    must(cluster.post(&format!("{GROUP}/mutatingadmissionpolicybindings"), binding("c", "c-broken")).await).await;
    let denied = cluster.post("/apis/apps/v1/namespaces/default/deployments", deployment("y")).await;
    assert!(
        denied.line().starts_with("403 Invalid: policy 'c-broken' with binding 'c' denied request: JSON Patch: "),
        "{}",
        denied.line()
    );
}

#[tokio::test]
async fn policies_are_type_checked_in_their_status() {
    let cluster = Cluster::new().await;
    let path = format!("{GROUP}/validatingadmissionpolicies/typed");
    let mut events = cluster.watch(&format!("{GROUP}/validatingadmissionpolicies?watch=true")).await;
    let constraints = json!({"resourceRules": [{"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["*"], "resources": ["deployments"]}]});
    let spec = json!({"matchConstraints": constraints, "validations": [{"expression": "object.spec.replicas > '1'"}]});
    let made = must(policy(&cluster, "typed", spec).await).await;
    assert_eq!(made.at("/metadata/generation"), 1);
    let checked = loop {
        let event = events.next().await.expect("an event");
        if event["object"]["status"]["observedGeneration"] == 1 {
            break event["object"].clone();
        }
    };
    assert_eq!(
        checked["status"]["typeChecking"]["expressionWarnings"],
        json!([{
            "fieldRef": "spec.validations[0].expression",
            "warning": "apps/v1, Kind=Deployment: ERROR: <input>:1:22: found no matching overload for '_>_' applied to '(int, string)'\n | object.spec.replicas > '1'\n | .....................^\n",
        }])
    );
    let mended = json!({"spec": {"validations": [{"expression": "object.spec.replicas > 1"}]}});
    must(cluster.patch("merge", &path, mended).await).await;
    let checked = loop {
        let event = events.next().await.expect("an event");
        if event["object"]["status"]["observedGeneration"] == 2 {
            break event["object"].clone();
        }
    };
    assert_eq!(checked["status"]["typeChecking"], json!({}));
}

#[tokio::test]
async fn messages_do_not_ask_what_people_may() {
    let cluster = Cluster::new().await;
    let validation =
        json!({"expression": "true", "messageExpression": "string(authorizer.path('/').check('get').allowed())"});
    let refused =
        policy(&cluster, "bad", json!({"matchConstraints": config_maps(), "validations": [validation]})).await;
    assert!(refused.line().contains("undeclared reference to 'authorizer'"), "{}", refused.line());
    let variables = json!([{"name": "in", "expression": "1"}]);
    let spec =
        json!({"matchConstraints": config_maps(), "variables": variables, "validations": [{"expression": "true"}]});
    let refused = policy(&cluster, "bad", spec).await;
    assert!(refused.line().contains("name is not a valid CEL identifier"), "{}", refused.line());
}

/// Upstream: test/e2e/apimachinery/validatingadmissionpolicy.go, "should validate against a Deployment".
#[tokio::test]
async fn deployments_are_judged_and_what_is_none_is_not() {
    let cluster = Cluster::new().await;
    let rule = json!({"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["*"], "resources": ["deployments"]});
    let constraints = json!({"resourceRules": [rule], "namespaceSelector": {"matchLabels": {"judged": "true"}}});
    let spec = json!({
        "matchConstraints": constraints,
        "variables": [
            {"name": "replicas", "expression": "object.spec.replicas"},
            {"name": "oddReplicas", "expression": "variables.replicas % 2 == 1"},
        ],
        "validations": [
            {"expression": "variables.replicas > 1", "messageExpression": "'wants replicas > 1, got ' + object.spec.replicas"},
            {"expression": "namespaceObject.metadata.name == 'default'", "message": "no other namespace"},
            {"expression": "variables.oddReplicas"},
        ],
    });
    must(policy(&cluster, "replicas", spec).await).await;
    bind(&cluster, "replicas", "replicas", json!({})).await;
    let object = |kind: &str, name: &str, replicas: u32| {
        json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name}, "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": "x"}},
            "template": {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}})
    };
    let deployments = "/apis/apps/v1/namespaces/default/deployments";
    must(cluster.post(deployments, object("Deployment", "unlabelled", 1)).await).await;
    let labels = json!({"metadata": {"labels": {"judged": "true"}}});
    must(cluster.patch("merge", "/api/v1/namespaces/default", labels).await).await;
    let refused = cluster.post(deployments, object("Deployment", "one", 1)).await;
    // A text and a number cannot be joined: the expression says what failed instead.
    assert_eq!(
        refused.line(),
        "422 Invalid: deployments.apps \"one\" is forbidden: ValidatingAdmissionPolicy 'replicas' with binding 'replicas' \
         denied request: failed expression: variables.replicas > 1"
    );
    let refused = cluster.post(deployments, object("Deployment", "two", 2)).await;
    assert!(refused.line().ends_with("failed expression: variables.oddReplicas"), "{}", refused.line());
    must(cluster.post(deployments, object("Deployment", "three", 3)).await).await;
    must(cluster.post("/apis/apps/v1/namespaces/default/replicasets", object("ReplicaSet", "one", 1)).await).await;
}

/// Upstream: the same file, "should type check a CRD" and "should type check validation expressions".
#[tokio::test]
async fn kinds_of_definitions_are_type_checked_too() {
    let cluster = Cluster::new().await;
    let properties =
        json!({"cronSpec": {"type": "string"}, "image": {"type": "string"}, "replicas": {"type": "integer"}});
    let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": properties}}});
    let definition = json!({"metadata": {"name": "crontabs.stable.example.com"}, "spec": {
        "group": "stable.example.com", "scope": "Namespaced", "names": {"plural": "crontabs", "kind": "CronTab"},
        "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}],
    }});
    must(cluster.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition).await).await;
    let mut events = cluster.watch(&format!("{GROUP}/validatingadmissionpolicies?watch=true")).await;
    let rule = json!({"apiGroups": ["stable.example.com"], "apiVersions": ["v1"], "operations": ["*"], "resources": ["crontabs"]});
    for (name, validations, expected) in [
        ("correct", json!([{"expression": "object.spec.replicas > 1"}]), vec![]),
        (
            "confused",
            json!([
                {"expression": "object.spec.replicas > '1'", "messageExpression": "'got ' + object.spec.replicas"},
                {"expression": "object.spec.maxRetries < 10"},
            ]),
            vec![
                ("spec.validations[0].expression", "found no matching overload for '_>_' applied to '(int, string)'"),
                (
                    "spec.validations[0].messageExpression",
                    "found no matching overload for '_+_' applied to '(string, int)'",
                ),
                ("spec.validations[1].expression", "undefined field 'maxRetries'"),
            ],
        ),
    ] {
        let spec = json!({"matchConstraints": {"resourceRules": [rule]}, "validations": validations});
        must(policy(&cluster, name, spec).await).await;
        let checked = loop {
            let event = events.next().await.expect("an event")["object"].clone();
            if event["metadata"]["name"] == name && event["status"]["typeChecking"].is_object() {
                break event["status"]["typeChecking"]["expressionWarnings"].as_array().cloned().unwrap_or_default();
            }
        };
        assert_eq!(checked.len(), expected.len(), "{checked:?}");
        for (warning, (field, words)) in checked.iter().zip(expected) {
            assert_eq!(warning["fieldRef"], field);
            assert!(warning["warning"].as_str().is_some_and(|text| text.contains(words)), "{warning}");
        }
    }
}

/// Upstream: the same file and mutatingadmissionpolicy.go, "should support ... API operations".
#[tokio::test]
async fn policies_and_bindings_have_all_their_operations() {
    let cluster = Cluster::new().await;
    let group = cluster.get("/apis/admissionregistration.k8s.io").await;
    assert!(group.at("/versions").to_string().contains("\"admissionregistration.k8s.io/v1\""), "{}", group.body);
    let served = cluster.get(GROUP).await;
    let validates = json!({"matchConstraints": config_maps(), "validations": [{"expression": "true"}]});
    let mutation = json!({"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": "Object{}"}});
    let mutates = json!({"matchConstraints": config_maps(), "mutations": [mutation], "reinvocationPolicy": "Never"});
    for (plural, spec, change) in [
        ("validatingadmissionpolicies", validates, json!({"failurePolicy": "Ignore"})),
        ("mutatingadmissionpolicies", mutates, json!({"failurePolicy": "Ignore"})),
        (
            "validatingadmissionpolicybindings",
            json!({"policyName": "gone", "validationActions": ["Deny"]}),
            json!({"validationActions": ["Audit"]}),
        ),
        ("mutatingadmissionpolicybindings", json!({"policyName": "gone"}), json!({"policyName": "other"})),
    ] {
        let resources = served.at("/resources").as_array().expect("resources");
        let resource = resources.iter().find(|resource| resource["name"] == plural).expect("it is discovered");
        let verbs = json!(["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]);
        assert_eq!(resource["verbs"], verbs, "{plural}");
        let path = format!("{GROUP}/{plural}");
        let object = json!({"metadata": {"generateName": "e2e-", "labels": {"e2e": "x"}}, "spec": spec});
        let mut last = Value::Null;
        for _ in 0..3 {
            last = must(cluster.post(&path, object.clone()).await).await.body;
        }
        let one = format!("{path}/{}", last["metadata"]["name"].as_str().expect("a name"));
        assert_eq!(cluster.get(&one).await.at("/metadata/uid"), &last["metadata"]["uid"]);
        let selected = format!("{path}?labelSelector=e2e%3Dx");
        let list = cluster.get(&selected).await;
        let from = list.at("/metadata/resourceVersion").as_str().expect("a revision");
        let mut watch = cluster.watch(&format!("{selected}&watch=true&resourceVersion={from}")).await;
        let patch = json!({"metadata": {"annotations": {"patched": "true"}}, "spec": change});
        let patched = must(cluster.patch("merge", &one, patch).await).await;
        let (field, value) = change.as_object().and_then(|change| change.iter().next()).expect("a change");
        assert_eq!(patched.at(&format!("/spec/{field}")), value);
        let annotate = |object: &mut Value| object["metadata"]["annotations"]["updated"] = "true".into();
        let updated = put(&cluster, &one, &annotate).await;
        assert_eq!(updated.at("/metadata/annotations"), &json!({"patched": "true", "updated": "true"}));
        loop {
            let event = watch.next().await.expect("an event");
            assert_eq!(event["type"], "MODIFIED", "{event}");
            if event["object"]["metadata"]["annotations"]["updated"] == "true" {
                break;
            }
        }
        if plural == "validatingadmissionpolicies" {
            status_is_written_by_itself(&cluster, &one).await;
        }
        must(cluster.delete(&one).await).await;
        assert_eq!(cluster.get(&one).await.code, 404);
        let items = |list: Answer| list.at("/items").as_array().map_or(0, Vec::len);
        assert_eq!(items(cluster.get(&selected).await), 2);
        must(cluster.delete(&selected).await).await;
        assert_eq!(items(cluster.get(&selected).await), 0);
    }
}

/// get, patch and update of `/status`.
async fn status_is_written_by_itself(cluster: &Cluster, path: &str) {
    let status = format!("{path}/status");
    let condition = |kind: &str| json!({"type": kind, "status": "True", "reason": "E2E", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"});
    let patch = json!({"status": {"conditions": [condition("StatusPatched")]}});
    let patched = must(cluster.patch("merge", &status, patch).await).await;
    assert_eq!(patched.at("/status/conditions/0/type"), "StatusPatched");
    let more = |object: &mut Value| {
        object["spec"]["failurePolicy"] = "Fail".into();
        object["status"]["conditions"].as_array_mut().expect("conditions").push(condition("StatusUpdated"));
    };
    let updated = put(cluster, &status, &more).await;
    assert_eq!(
        (updated.at("/spec/failurePolicy"), updated.at("/status/conditions/1/type")),
        (&json!("Ignore"), &json!("StatusUpdated"))
    );
    assert_eq!(cluster.get(&status).await.at("/status/conditions"), updated.at("/status/conditions"));
}

/// Reads, changes and puts an object; again, while the type checker writes its status in between.
async fn put(cluster: &Cluster, path: &str, change: &dyn Fn(&mut Value)) -> Answer {
    loop {
        let mut object = cluster.get(path).await.body;
        change(&mut object);
        let answer = cluster.put(path, object).await;
        if answer.code != 409 {
            return must(answer).await;
        }
    }
}
