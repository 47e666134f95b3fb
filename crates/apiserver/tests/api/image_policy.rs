//! ImagePolicyWebhook against a real server behind TLS on the loopback.

use std::sync::Arc;

use apiserver::authenticator::NobodyKnown;
use apiserver::{Config, admission};
use audit::{Audit, Policy};
use component_base::Scope;
use expect_test::expect;
use parking_lot::Mutex;
use serde_json::{Value, json};
use webhook::testing::TestServer;

use crate::harness::Cluster;
use crate::who::Kept;

const PODS: &str = "/api/v1/namespaces/default/pods";

type Asked = Arc<Mutex<Vec<Value>>>;

/// A backend that refuses images of `bad`, says so for a reason where they are of `bad/known`, and breaks over `broken`;
/// and what it was asked.
async fn backend(scope: &Scope) -> (TestServer, Asked) {
    let asked = Asked::default();
    let log = asked.clone();
    let server = TestServer::start(scope, move |_, seen| {
        assert_eq!(seen.headers["authorization"], "Bearer shared-secret");
        assert_eq!(seen.path, "/policy");
        log.lock().push(seen.body.clone());
        let images = seen.body["spec"]["containers"].to_string();
        let status = match () {
            () if images.contains("broken") => return (403, json!({})),
            () if images.contains("bad/known") => json!({"allowed": false, "reason": "no signature"}),
            () if images.contains("bad") => json!({"allowed": false}),
            () => json!({"allowed": true, "auditAnnotations": {"policy": "strict"}}),
        };
        (200, json!({"apiVersion": "imagepolicy.k8s.io/v1alpha1", "kind": "ImageReview", "status": status}))
    })
    .await;
    (server, asked)
}

/// A cluster that asks the backend; `more` is further configuration.
async fn cluster(server: &TestServer, more: Value, log: &Kept, scope: &Scope) -> Cluster {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("kubeconfig");
    std::fs::write(&path, server.kubeconfig("/policy")).expect("written");
    let mut policy = json!({"kubeConfigFile": path});
    policy.as_object_mut().expect("fields").extend(more.as_object().cloned().unwrap_or_default());
    let admission = admission::Config {
        plugins: [("ImagePolicyWebhook".to_owned(), json!({"imagePolicy": policy}))].into(),
        enable_admission_plugins: vec!["ImagePolicyWebhook".to_owned()],
        disable_admission_plugins: vec!["ServiceAccount".to_owned()],
    };
    let policy =
        "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules: [{level: Metadata}]\n";
    let audit = Audit::new(Policy::parse(policy).expect("a policy"), vec![Box::new(log.clone())]);
    let config = Config { admission, audit: Some(audit), ..Config::default() };
    Cluster::with(config, Arc::new(NobodyKnown), scope).await
}

fn pod(name: &str, image: &str) -> Value {
    json!({
        "metadata": {"name": name, "annotations": {"break-glass.image-policy.k8s.io/ticket": "1", "other": "x"}},
        "spec": {"containers": [{"name": "c", "image": image}], "initContainers": [{"name": "i", "image": "init"}]},
    })
}

/// The notes of the last request in the audit log about image policy.
fn notes(log: &Kept) -> Vec<String> {
    let events = log.0.lock();
    let annotations = events.last().map(|event| event["annotations"].clone()).unwrap_or_default();
    let annotations = annotations.as_object().cloned().unwrap_or_default();
    annotations
        .into_iter()
        .filter(|(key, _)| key.contains("image-policy"))
        .map(|(key, value)| format!("{key}={value}"))
        .collect()
}

#[tokio::test]
async fn the_backend_judges_images_and_is_believed_for_a_while() {
    let (scope, log) = (Scope::root(), Kept::default());
    let (server, asked) = backend(&scope).await;
    let cluster = cluster(&server, json!({}), &log, &scope).await;
    expect!["201 Pod a"].assert_eq(&cluster.post(PODS, pod("a", "good")).await.line());
    assert_eq!(notes(&log), [r#"imagepolicywebhook.image-policy.k8s.io/policy="strict""#]);
    let review = asked.lock().pop().expect("a review");
    expect![[r#"{"annotations":{"break-glass.image-policy.k8s.io/ticket":"1"},"containers":[{"image":"good"},{"image":"init"}],"namespace":"default"}"#]]
        .assert_eq(&review["spec"].to_string());
    assert_eq!(
        (&review["apiVersion"], &review["kind"]),
        (&json!("imagepolicy.k8s.io/v1alpha1"), &json!("ImageReview"))
    );
    expect!["201 Pod b"].assert_eq(&cluster.post(PODS, pod("b", "good")).await.line());
    assert!(asked.lock().is_empty(), "the answer is kept");
    for _ in 0..2 {
        expect![[r#"403 Forbidden: pods "c" is forbidden: one or more images rejected by webhook backend"#]]
            .assert_eq(&cluster.post(PODS, pod("c", "bad")).await.line());
    }
    assert_eq!(asked.lock().drain(..).count(), 1, "so is a refusal");
    expect![[
        r#"403 Forbidden: pods "c" is forbidden: image policy webhook backend denied one or more images: no signature"#
    ]]
    .assert_eq(&cluster.post(PODS, pod("c", "bad/known")).await.line());
    asked.lock().clear();
    let labels = json!({"metadata": {"labels": {"a": "b"}}});
    expect!["200 Pod a"].assert_eq(&cluster.patch("merge", &format!("{PODS}/a"), labels).await.line());
    assert!(asked.lock().is_empty(), "no image is new");
    let image = json!([{"op": "replace", "path": "/spec/containers/0/image", "value": "bad"}]);
    expect![[r#"403 Forbidden: pods "a" is forbidden: one or more images rejected by webhook backend"#]]
        .assert_eq(&cluster.patch("json", &format!("{PODS}/a"), image).await.line());
}

#[tokio::test]
async fn answers_need_not_be_kept() {
    let (scope, log) = (Scope::root(), Kept::default());
    let (server, asked) = backend(&scope).await;
    let cluster = cluster(&server, json!({"allowTTL": -1, "denyTTL": -1}), &log, &scope).await;
    for name in ["a", "b"] {
        assert_eq!(cluster.post(PODS, pod(name, "good")).await.code, 201);
        assert_eq!(cluster.post(PODS, pod("c", "bad")).await.code, 403);
    }
    assert_eq!(asked.lock().len(), 4);
}

#[tokio::test]
async fn a_backend_that_fails_refuses_or_lets_pass() {
    let (scope, log) = (Scope::root(), Kept::default());
    let (server, _) = backend(&scope).await;
    let strict = cluster(&server, json!({}), &log, &scope).await;
    let refused = strict.post(PODS, pod("a", "broken")).await;
    assert_eq!(refused.code, 403, "{}", refused.line());
    assert!(notes(&log).is_empty());
    let open = cluster(&server, json!({"defaultAllow": true}), &log, &scope).await;
    expect!["201 Pod a"].assert_eq(&open.post(PODS, pod("a", "broken")).await.line());
    assert_eq!(notes(&log), [r#"imagepolicywebhook.image-policy.k8s.io/failed-open="true""#]);
}
