//! Admission webhooks, as upstream's suite uses its sample webhook.

use std::sync::mpsc;

use parking_lot::Mutex;
use serde_json::{Value, json};

use super::{CONFIG_MAPS, DEFINITIONS, anything, create, definition, names, texts, version};
use crate::harness::{Answer, Cluster};
use crate::webhooks::{Hook, MUTATING, VALIDATING, configure, patch};

const PODS: &str = "/api/v1/namespaces/default/pods";
const CUSTOM: &str = "/apis/stable.example.com/v1/namespaces/default/tests";
const DEFINITION: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/tests.stable.example.com";

fn rule(operations: &[&str], group: &str, version: &str, resources: &[&str]) -> Value {
    json!({"operations": operations, "apiGroups": [group], "apiVersions": [version], "resources": resources})
}

fn denied(why: &str) -> Value {
    json!({"allowed": false, "status": {"message": why, "code": 403, "reason": "Forbidden"}})
}

fn config_map(name: &str, data: Value) -> Value {
    json!({"metadata": {"name": name}, "data": data})
}

/// Denies objects whose data says so, on every operation.
async fn denying() -> Hook {
    Hook::start(|request| {
        let object = if request["object"].is_null() { &request["oldObject"] } else { &request["object"] };
        let bad = object["data"]["webhook-e2e-test"] == "webhook-disallow";
        if bad { denied("the object contains unwanted key and value") } else { json!({"allowed": true}) }
    })
    .await
}

/// Adds a key to the data of whatever has the key before it.
async fn adding(before: &'static str, key: &'static str) -> Hook {
    Hook::start(move |request| {
        if request["object"]["data"][before] != "yes" {
            return json!({"allowed": true});
        }
        patch(json!([{"op": "add", "path": format!("/data/{key}"), "value": "yes"}]))
    })
    .await
}

/// A definition of `tests.stable.example.com` whose root is this.
async fn custom_kind(cluster: &Cluster, schema: &Value) {
    let definition = definition("stable.example.com", "Test", &[version("v1", schema), version("v2", schema)]);
    create(cluster, DEFINITIONS, definition).await;
}

fn custom(name: &str, data: Value) -> Value {
    json!({"apiVersion": "stable.example.com/v1", "kind": "Test", "metadata": {"name": name}, "data": data})
}

fn unwanted(answer: &Answer) {
    assert_eq!(answer.code, 403, "{}", answer.line());
    assert!(answer.line().ends_with("the object contains unwanted key and value"), "{}", answer.line());
}

fn bad() -> Value {
    json!({"webhook-e2e-test": "webhook-disallow"})
}

/// The webhook of a configuration for a kind's rule.
fn on(hook: &Hook, rule: &Value) -> Value {
    hook.webhook(json!({"rules": [rule]}))
}

/// Conformance: Admission webhook, deny create.
#[tokio::test]
async fn pods_and_config_maps_are_denied() {
    let cluster = Cluster::new().await;
    let hook = denying().await;
    let exempt = json!({"matchExpressions": [{"key": "skip-webhook", "operator": "NotIn", "values": ["yes"]}]});
    let of_maps = hook.webhook(json!({
        "name": "deny-unwanted-configmap-data.k8s.io", "namespaceSelector": exempt,
        "rules": [rule(&["CREATE", "UPDATE", "DELETE"], "", "v1", &["configmaps"])],
    }));
    let pods = Hook::start(|request| {
        let bad = request["object"]["metadata"]["labels"]["bad"] == "yes";
        if bad { denied("the pod contains unwanted label") } else { json!({"allowed": true}) }
    })
    .await;
    let of_pods =
        pods.webhook(json!({"name": "deny-unwanted-pods.k8s.io", "rules": [rule(&["CREATE"], "", "v1", &["pods"])]}));
    configure(&cluster, VALIDATING, "webhook", &[of_maps, of_pods]).await;

    create(&cluster, "/api/v1/namespaces/default/serviceaccounts", json!({"metadata": {"name": "default"}})).await;
    let pod = |label: &str| json!({"metadata": {"name": "p", "labels": {label: "yes"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let refused = cluster.post(PODS, pod("bad")).await;
    assert!(refused.line().ends_with("the pod contains unwanted label"), "{}", refused.line());

    unwanted(&cluster.post(CONFIG_MAPS, config_map("disallowed", bad())).await);
    let made = create(&cluster, CONFIG_MAPS, config_map("allowed", json!({"good": "yes"}))).await;
    let mut updated = made.body;
    updated["data"] = bad();
    let path = format!("{CONFIG_MAPS}/allowed");
    unwanted(&cluster.put(&path, updated).await);
    unwanted(&cluster.patch("merge", &path, json!({"data": bad()})).await);
    assert_eq!(cluster.get(&path).await.at("/data"), &json!({"good": "yes"}));

    let exempted = json!({"metadata": {"name": "exempted", "labels": {"skip-webhook": "yes"}}});
    create(&cluster, "/api/v1/namespaces", exempted).await;
    create(&cluster, "/api/v1/namespaces/exempted/configmaps", config_map("disallowed", bad())).await;

    // A webhook that never answers: nobody accepts the connection.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("https://{}/", silent.local_addr().expect("an address"));
    let hangs = json!([
        {"op": "replace", "path": "/webhooks/1/clientConfig/url", "value": url},
        {"op": "replace", "path": "/webhooks/1/timeoutSeconds", "value": 1},
    ]);
    assert_eq!(cluster.patch("json", &format!("{VALIDATING}/webhook"), hangs).await.code, 200);
    let refused = cluster.post(PODS, pod("hangs")).await;
    assert_eq!(refused.code, 500);
    assert!(refused.line().ends_with("context deadline exceeded"), "{}", refused.line());
    assert_eq!(cluster.get(&format!("{PODS}/p")).await.code, 404);
}

/// Conformance: Admission webhook, deny attach.
#[tokio::test]
async fn attaching_is_denied() {
    let cluster = Cluster::new().await;
    let hook = Hook::start(|request| {
        let attaching = request["operation"] == "CONNECT" && request["resource"]["resource"] == "pods";
        if attaching {
            denied("attaching to pod 'to-be-attached-pod' is not allowed")
        } else {
            json!({"allowed": true})
        }
    })
    .await;
    let webhook = on(&hook, &rule(&["CONNECT"], "", "v1", &["pods/attach"]));
    configure(&cluster, VALIDATING, "webhook", &[webhook]).await;
    create(&cluster, "/api/v1/namespaces/default/serviceaccounts", json!({"metadata": {"name": "default"}})).await;
    let pod =
        json!({"metadata": {"name": "to-be-attached-pod"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    create(&cluster, PODS, pod).await;
    let binding = json!({"metadata": {"name": "to-be-attached-pod"}, "target": {"kind": "Node", "name": "n"}});
    create(&cluster, &format!("{PODS}/to-be-attached-pod/binding"), binding).await;
    for method in ["GET", "POST"] {
        let path = format!("{PODS}/to-be-attached-pod/attach?container=c&stdin=true&stdout=true");
        let refused = cluster.call(method, &path, Value::Null).await;
        assert_eq!(refused.code, 403, "{}", refused.line());
        assert!(refused.line().ends_with("is not allowed"), "{}", refused.line());
    }
    assert_eq!(hook.asked()[0]["subResource"], "attach");
}

/// Conformance: Admission webhook, deny custom resource create and delete.
#[tokio::test]
async fn custom_resources_are_denied() {
    let cluster = Cluster::new().await;
    custom_kind(&cluster, &anything()).await;
    let hook = denying().await;
    let webhook = on(&hook, &rule(&["CREATE", "UPDATE", "DELETE"], "stable.example.com", "*", &["tests"]));
    create(&cluster, CUSTOM, custom("made-before", bad())).await;
    configure(&cluster, VALIDATING, "webhook", &[webhook]).await;
    unwanted(&cluster.post(CUSTOM, custom("disallowed", bad())).await);
    create(&cluster, CUSTOM, custom("allowed", json!({"good": "yes"}))).await;
    unwanted(&cluster.patch("merge", &format!("{CUSTOM}/allowed"), json!({"data": bad()})).await);
    let path = format!("{CUSTOM}/made-before");
    unwanted(&cluster.delete(&path).await);
    assert_eq!(cluster.patch("merge", &path, json!({"data": {"webhook-e2e-test": "webhook-allow"}})).await.code, 200);
    assert_eq!(cluster.delete(&path).await.code, 200);
}

/// Conformance: Admission webhook, fail closed.
#[tokio::test]
async fn what_cannot_be_asked_about_is_denied() {
    let cluster = Cluster::new().await;
    let hook = Hook::start(|_| json!({"allowed": true})).await;
    let mut webhook = hook.webhook(json!({
        "failurePolicy": "Fail", "namespaceSelector": {"matchLabels": {"fail-closed": "yes"}},
    }));
    // Without the CA the webhook's certificate is nobody's.
    webhook["clientConfig"]["caBundle"] = Value::Null;
    configure(&cluster, VALIDATING, "fail-closed", &[webhook]).await;
    let namespace = json!({"metadata": {"name": "fail-closed", "labels": {"fail-closed": "yes"}}});
    create(&cluster, "/api/v1/namespaces", namespace).await;
    let refused = cluster.post("/api/v1/namespaces/fail-closed/configmaps", config_map("foo", json!({}))).await;
    assert_eq!((refused.code, refused.at("/reason")), (500, &json!("InternalError")), "{}", refused.line());
    assert!(refused.line().contains("failed calling webhook"), "{}", refused.line());
    assert!(hook.asked().is_empty());
    create(&cluster, CONFIG_MAPS, config_map("elsewhere", json!({}))).await;
}

/// Conformance: Admission webhook, ordered mutation.
#[tokio::test]
async fn config_maps_are_changed_by_one_webhook_after_the_other() {
    let cluster = Cluster::new().await;
    let (first, second) =
        (adding("mutation-start", "mutation-stage-1").await, adding("mutation-stage-1", "mutation-stage-2").await);
    let named = |hook: &Hook, name: &str| hook.webhook(json!({"name": name}));
    let webhooks = [named(&first, "adding-stage-1.k8s.io"), named(&second, "adding-stage-2.k8s.io")];
    configure(&cluster, MUTATING, "webhook", &webhooks).await;
    let made = create(&cluster, CONFIG_MAPS, config_map("to-be-mutated", json!({"mutation-start": "yes"}))).await;
    let expected = json!({"mutation-start": "yes", "mutation-stage-1": "yes", "mutation-stage-2": "yes"});
    assert_eq!(made.at("/data"), &expected);
    assert_eq!(cluster.get(&format!("{CONFIG_MAPS}/to-be-mutated")).await.at("/data"), &expected);
}

/// Conformance: Admission webhook, mutation with defaulting.
#[tokio::test]
async fn what_a_webhook_adds_gets_its_defaults() {
    let cluster = Cluster::new().await;
    let container = json!({"name": "webhook-added-init-container", "image": "webhook-added-image"});
    let hook =
        Hook::start(move |_| patch(json!([{"op": "add", "path": "/spec/initContainers", "value": [container]}]))).await;
    configure(&cluster, MUTATING, "webhook", &[on(&hook, &rule(&["CREATE"], "", "v1", &["pods"]))]).await;
    create(&cluster, "/api/v1/namespaces/default/serviceaccounts", json!({"metadata": {"name": "default"}})).await;
    let pod = json!({"metadata": {"name": "to-be-mutated"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let made = create(&cluster, PODS, pod).await;
    let added = made.at("/spec/initContainers/0");
    assert_eq!(added["name"], "webhook-added-init-container");
    assert_eq!(added["terminationMessagePolicy"], "File", "{added}");
    assert_eq!(added["imagePullPolicy"], "Always", "{added}");
}

/// Conformance: Admission webhook, admission control not allowed on webhook configuration objects.
#[tokio::test]
async fn configurations_of_webhooks_are_never_shown_to_webhooks() {
    let cluster = Cluster::new().await;
    let resources = ["validatingwebhookconfigurations", "mutatingwebhookconfigurations"];
    let all = rule(&["*"], "admissionregistration.k8s.io", "*", &resources);
    let denies = Hook::start(|_| denied("no")).await;
    let changes =
        Hook::start(|_| patch(json!([{"op": "add", "path": "/metadata/labels", "value": {"mutated": "yes"}}]))).await;
    configure(&cluster, VALIDATING, "denies", &[on(&denies, &all)]).await;
    configure(&cluster, MUTATING, "changes", &[on(&changes, &all)]).await;
    for kind in [VALIDATING, MUTATING] {
        let dummy = denies.webhook(json!({"rules": [rule(&["CREATE"], "", "v1", &["invalid"])]}));
        configure(&cluster, kind, "dummy", &[dummy]).await;
        let path = format!("{kind}/dummy");
        assert_eq!(cluster.get(&path).await.at("/metadata/labels"), &Value::Null);
        assert_eq!(cluster.delete(&path).await.code, 200);
        assert_eq!(cluster.get(&path).await.code, 404);
    }
    assert!(denies.asked().is_empty() && changes.asked().is_empty());
}

/// Conformance: Admission webhook, mutate custom resource.
#[tokio::test]
async fn custom_resources_are_changed() {
    let cluster = Cluster::new().await;
    custom_kind(&cluster, &anything()).await;
    let _hooks = mutate_custom(&cluster).await;
    let made = create(&cluster, CUSTOM, custom("cr", json!({"mutation-start": "yes"}))).await;
    let expected = json!({"mutation-start": "yes", "mutation-stage-1": "yes", "mutation-stage-2": "yes"});
    assert_eq!(made.at("/data"), &expected);
}

/// Conformance: Admission webhook, mutate custom resource with pruning.
#[tokio::test]
async fn what_a_webhook_adds_to_a_custom_resource_is_pruned() {
    let cluster = Cluster::new().await;
    let known = texts(&["mutation-start", "mutation-stage-1"]);
    custom_kind(&cluster, &json!({"type": "object", "properties": {"data": known}})).await;
    let _hooks = mutate_custom(&cluster).await;
    let made = create(&cluster, CUSTOM, custom("cr", json!({"mutation-start": "yes"}))).await;
    assert_eq!(made.at("/data"), &json!({"mutation-start": "yes", "mutation-stage-1": "yes"}));
}

/// Two webhooks that add a key each to custom resources.
async fn mutate_custom(cluster: &Cluster) -> [Hook; 2] {
    let hooks =
        [adding("mutation-start", "mutation-stage-1").await, adding("mutation-stage-1", "mutation-stage-2").await];
    let all = rule(&["CREATE", "UPDATE"], "stable.example.com", "*", &["tests"]);
    let named = |hook: &Hook, name: &str| hook.webhook(json!({"name": name, "rules": [all]}));
    let webhooks = [named(&hooks[0], "one.k8s.io"), named(&hooks[1], "two.k8s.io")];
    configure(cluster, MUTATING, "webhook", &webhooks).await;
    hooks
}

/// Conformance: Admission webhook, mutate custom resource with different stored version.
#[tokio::test]
async fn custom_resources_are_changed_whatever_version_is_stored() {
    let cluster = Cluster::new().await;
    custom_kind(&cluster, &anything()).await;
    let hook = adding("mutation-start", "mutation-stage-1").await;
    let of_v1 = rule(&["CREATE", "UPDATE"], "stable.example.com", "v1", &["tests"]);
    configure(&cluster, MUTATING, "webhook", &[on(&hook, &of_v1)]).await;
    create(&cluster, CUSTOM, custom("cr", json!({"mutation-start": "yes"}))).await;
    let stored = json!([
        {"op": "replace", "path": "/spec/versions/0/storage", "value": false},
        {"op": "replace", "path": "/spec/versions/1/storage", "value": true},
    ]);
    let moved = cluster.patch("json", DEFINITION, stored).await;
    assert_eq!(moved.code, 200, "{}", moved.line());
    let patched = cluster.patch("merge", &format!("{CUSTOM}/cr"), json!({"data": {"dummy": "test"}})).await;
    assert_eq!(patched.code, 200, "{}", patched.line());
    let expected = json!({"mutation-start": "yes", "mutation-stage-1": "yes", "dummy": "test"});
    let read = cluster.get(&CUSTOM.replace("/v1/", "/v2/")).await;
    assert_eq!(
        (read.at("/items/0/data"), read.at("/items/0/apiVersion")),
        (&expected, &json!("stable.example.com/v2"))
    );
    // Both were shown to the webhook in the version its rule names.
    assert_eq!(
        hook.asked().iter().map(|asked| asked["object"]["apiVersion"].clone()).collect::<Vec<_>>(),
        ["stable.example.com/v1"; 2]
    );
}

/// Conformance: Admission webhook, deny custom resource definition.
#[tokio::test]
async fn definitions_are_denied() {
    let cluster = Cluster::new().await;
    let hook = Hook::start(|request| {
        let bad = request["object"]["metadata"]["labels"]["webhook-e2e-test"] == "webhook-disallow";
        if bad { denied("the crd contains unwanted label") } else { json!({"allowed": true}) }
    })
    .await;
    let of_definitions = rule(&["CREATE"], "apiextensions.k8s.io", "*", &["customresourcedefinitions"]);
    configure(&cluster, VALIDATING, "webhook", &[on(&hook, &of_definitions)]).await;
    let mut unwanted = definition("stable.example.com", "Test", &[version("v1", &anything())]);
    unwanted["metadata"]["labels"] = json!({"webhook-e2e-test": "webhook-disallow"});
    let refused = cluster.post(DEFINITIONS, unwanted).await;
    assert_eq!(refused.code, 403, "{}", refused.line());
    assert!(refused.line().ends_with("the crd contains unwanted label"), "{}", refused.line());
    assert_eq!(cluster.get(DEFINITION).await.code, 404);
    assert_eq!(cluster.get(CUSTOM).await.code, 404, "the kind is not served");
}

/// Conformance: Admission webhook, update validating webhook.
#[tokio::test]
async fn a_changed_validating_webhook_is_in_effect_at_once() {
    let cluster = Cluster::new().await;
    let hook = denying().await;
    let webhook = on(&hook, &rule(&["CREATE"], "", "v1", &["configmaps"]));
    configure(&cluster, VALIDATING, "webhook", &[webhook]).await;
    unwanted(&cluster.post(CONFIG_MAPS, config_map("a", bad())).await);
    change_operations(&cluster, VALIDATING, "UPDATE").await;
    create(&cluster, CONFIG_MAPS, config_map("a", bad())).await;
    cluster.delete(&format!("{CONFIG_MAPS}/a")).await;
    change_operations(&cluster, VALIDATING, "CREATE").await;
    unwanted(&cluster.post(CONFIG_MAPS, config_map("a", bad())).await);
}

/// Conformance: Admission webhook, update mutating webhook.
#[tokio::test]
async fn a_changed_mutating_webhook_is_in_effect_at_once() {
    let cluster = Cluster::new().await;
    let hook = adding("mutation-start", "mutation-stage-1").await;
    let webhook = on(&hook, &rule(&["CREATE"], "", "v1", &["configmaps"]));
    configure(&cluster, MUTATING, "webhook", &[webhook]).await;
    let data = json!({"mutation-start": "yes"});
    change_operations(&cluster, MUTATING, "UPDATE").await;
    assert_eq!(create(&cluster, CONFIG_MAPS, config_map("a", data.clone())).await.at("/data"), &data);
    change_operations(&cluster, MUTATING, "CREATE").await;
    let made = create(&cluster, CONFIG_MAPS, config_map("b", data)).await;
    assert_eq!(made.at("/data/mutation-stage-1"), "yes");
}

/// `UPDATE` by an update of the configuration, anything else by a patch.
async fn change_operations(cluster: &Cluster, kind: &str, operation: &str) {
    let path = format!("{kind}/webhook");
    let changed = if operation == "UPDATE" {
        let mut present = cluster.get(&path).await.body;
        present["webhooks"][0]["rules"][0]["operations"] = json!([operation]);
        cluster.put(&path, present).await
    } else {
        let patch = json!([{"op": "replace", "path": "/webhooks/0/rules/0/operations", "value": [operation]}]);
        cluster.patch("json", &path, patch).await
    };
    assert_eq!(changed.code, 200, "{}", changed.line());
}

/// Makes ten configurations of a label, which have to be found by it.
async fn configure_ten(cluster: &Cluster, kind: &str, hook: &Hook) -> String {
    for index in 0..10 {
        let webhook = hook.webhook(json!({"name": format!("hook-{index}.k8s.io")}));
        let labels = json!({"e2e-list-test-webhooks": "x"});
        let configuration =
            json!({"metadata": {"name": format!("webhook-{index}"), "labels": labels}, "webhooks": [webhook]});
        create(cluster, kind, configuration).await;
    }
    let selected = format!("{kind}?labelSelector=e2e-list-test-webhooks%3Dx");
    assert_eq!(names(&cluster.get(&selected).await).len(), 10);
    selected
}

/// Conformance: Admission webhook, list validating webhooks.
#[tokio::test]
async fn validating_webhooks_are_listed_and_removed_together() {
    let cluster = Cluster::new().await;
    let hook = denying().await;
    let selected = configure_ten(&cluster, VALIDATING, &hook).await;
    unwanted(&cluster.post(CONFIG_MAPS, config_map("a", bad())).await);
    assert_eq!(cluster.delete(&selected).await.code, 200);
    assert_eq!(names(&cluster.get(&selected).await), [""; 0]);
    create(&cluster, CONFIG_MAPS, config_map("a", bad())).await;
}

/// Conformance: Admission webhook, list mutating webhooks.
#[tokio::test]
async fn mutating_webhooks_are_listed_and_removed_together() {
    let cluster = Cluster::new().await;
    let hook = adding("mutation-start", "mutation-stage-1").await;
    let selected = configure_ten(&cluster, MUTATING, &hook).await;
    let data = json!({"mutation-start": "yes"});
    let made = create(&cluster, CONFIG_MAPS, config_map("a", data.clone())).await;
    assert_eq!(made.at("/data/mutation-stage-1"), "yes");
    assert_eq!(hook.asked().len(), 10, "each was asked");
    assert_eq!(cluster.delete(&selected).await.code, 200);
    assert_eq!(names(&cluster.get(&selected).await), [""; 0]);
    assert_eq!(create(&cluster, CONFIG_MAPS, config_map("b", data.clone())).await.at("/data"), &data);
}

/// Conformance: Admission webhook, honor timeout.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_slow_webhook_is_given_the_time_it_is_promised() {
    let cluster = Cluster::new().await;
    // It answers when it is let go; should the test fail, the channel ends and it answers too.
    let (release, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let hook = Hook::start(move |_| {
        let _ = tokio::task::block_in_place(|| held.lock().recv());
        json!({"allowed": true})
    })
    .await;
    configure(&cluster, VALIDATING, "slow", &[hook.webhook(json!({"failurePolicy": "Fail", "timeoutSeconds": 1}))])
        .await;
    let refused = cluster.post(CONFIG_MAPS, config_map("a", json!({}))).await;
    assert_eq!(refused.code, 500);
    assert!(refused.line().ends_with("?timeout=1s\": context deadline exceeded"), "{}", refused.line());
    let ignore = json!([{"op": "replace", "path": "/webhooks/0/failurePolicy", "value": "Ignore"}]);
    let path = format!("{VALIDATING}/slow");
    assert_eq!(cluster.patch("json", &path, ignore).await.code, 200);
    create(&cluster, CONFIG_MAPS, config_map("ignored", json!({}))).await;
    // Those two are let go, and the third while its request waits.
    let patient = json!([
        {"op": "replace", "path": "/webhooks/0/failurePolicy", "value": "Fail"},
        {"op": "replace", "path": "/webhooks/0/timeoutSeconds", "value": 10},
    ]);
    assert_eq!(cluster.patch("json", &path, patient).await.code, 200);
    let letting_go = async {
        for _ in 0..3 {
            release.send(()).expect("somebody waits");
        }
    };
    let (made, ()) = tokio::join!(cluster.post(CONFIG_MAPS, config_map("b", json!({}))), letting_go);
    assert_eq!(made.code, 201, "{}", made.line());
    let unset = json!([{"op": "remove", "path": "/webhooks/0/timeoutSeconds"}]);
    let patched = cluster.patch("json", &path, unset).await;
    assert_eq!(patched.at("/webhooks/0/timeoutSeconds"), 10, "the default of v1");
    release.send(()).expect("somebody will wait");
    create(&cluster, CONFIG_MAPS, config_map("c", json!({}))).await;
}
