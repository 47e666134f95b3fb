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
