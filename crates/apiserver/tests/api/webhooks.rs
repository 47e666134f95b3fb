//! Admission webhooks: a real server behind TLS on the loopback answers reviews.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use apiserver::Config;
use apiserver::authenticator::NobodyKnown;
use audit::{Audit, Policy};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use component_base::Scope;
use expect_test::expect;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::harness::{Answer, Cluster};
use crate::who::Kept;

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
pub const VALIDATING: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
pub const MUTATING: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";

type Respond = dyn Fn(&Value) -> Value + Send + Sync;

/// A webhook's server; it remembers what it was asked, and over how many connections.
pub struct Hook {
    port: u16,
    ca: String,
    asked: Arc<Mutex<Vec<Value>>>,
    connections: Arc<AtomicUsize>,
    _scope: Scope,
}

impl Hook {
    /// Answers each request with the response that `respond` makes of it; the uid is added.
    pub async fn start(respond: impl Fn(&Value) -> Value + Send + Sync + 'static) -> Self {
        let names = ["127.0.0.1", "localhost", "hook.default.svc"].map(str::to_owned).to_vec();
        let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
        let (cert, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let tls = apiserver::serve::tls_config(&cert, &key, &cert).expect("TLS");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (scope, asked) = (Scope::root(), Arc::new(Mutex::new(Vec::new())));
        let (acceptor, respond): (_, Arc<Respond>) = (TlsAcceptor::from(Arc::new(tls)), Arc::new(respond));
        let (tasks, memory, connections) = (scope.clone(), asked.clone(), Arc::new(AtomicUsize::new(0)));
        let accepted = connections.clone();
        scope.spawn("hook", async move {
            while let Ok((stream, _)) = listener.accept().await {
                accepted.fetch_add(1, Ordering::Relaxed);
                let (acceptor, respond, memory) = (acceptor.clone(), respond.clone(), memory.clone());
                tasks.spawn("hook/connection", async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service = service_fn(move |request| answer(request, respond.clone(), memory.clone()));
                    let http = hyper::server::conn::http1::Builder::new();
                    let _ = http.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { port, ca: STANDARD.encode(cert), asked, connections, _scope: scope }
    }

    pub fn asked(&self) -> Vec<Value> {
        self.asked.lock().clone()
    }

    /// A webhook of a configuration for config maps.
    pub fn webhook(&self, change: Value) -> Value {
        let url = format!("https://127.0.0.1:{}/review", self.port);
        let rule = json!({
            "operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"],
        });
        let mut webhook = json!({
            "name": "hook.example.com", "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "clientConfig": {"url": url, "caBundle": self.ca}, "rules": [rule],
        });
        for (field, value) in change.as_object().into_iter().flatten() {
            webhook[field] = value.clone();
        }
        webhook
    }
}

async fn answer(
    request: Request<Incoming>,
    respond: Arc<Respond>,
    memory: Arc<Mutex<Vec<Value>>>,
) -> Result<Response<Full<bytes::Bytes>>, hyper::Error> {
    let bytes = request.into_body().collect().await?.to_bytes();
    let review: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let mut response = respond(&review["request"]);
    if response["uid"].is_null() {
        response["uid"] = review["request"]["uid"].clone();
    }
    memory.lock().push(review["request"].clone());
    let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response});
    Ok(Response::new(Full::new(review.to_string().into())))
}

pub async fn configure(cluster: &Cluster, path: &str, name: &str, webhooks: &[Value]) {
    let configuration = json!({"metadata": {"name": name}, "webhooks": webhooks});
    let made = cluster.post(path, configuration).await;
    assert_eq!(made.code, 201, "{}", made.line());
}

async fn make(cluster: &Cluster, name: &str) -> Answer {
    cluster.post(CONFIG_MAPS, json!({"metadata": {"name": name}})).await
}

/// The response that has these operations done.
pub fn patch(operations: Value) -> Value {
    json!({"allowed": true, "patchType": "JSONPatch", "patch": STANDARD.encode(operations.to_string())})
}

#[tokio::test]
async fn a_webhook_says_no_and_why() {
    let cluster = Cluster::new().await;
    let hook = Hook::start(|request| match request["name"].as_str() {
        Some("plain") => json!({"allowed": false}),
        Some("why") => {
            json!({"allowed": false, "status": {"message": "not today", "code": 403, "reason": "Forbidden"}})
        }
        _ => json!({"allowed": true, "warnings": ["mind the gap"], "auditAnnotations": {"a": "b"}}),
    })
    .await;
    configure(&cluster, VALIDATING, "v", &[hook.webhook(json!({}))]).await;
    expect![[r#"400 : admission webhook "hook.example.com" denied the request without explanation"#]]
        .assert_eq(&make(&cluster, "plain").await.line());
    expect![[r#"403 Forbidden: admission webhook "hook.example.com" denied the request: not today"#]]
        .assert_eq(&make(&cluster, "why").await.line());
    let made = make(&cluster, "fine").await;
    assert_eq!(made.code, 201, "{}", made.line());
    assert_eq!(made.headers.get("warning").and_then(|value| value.to_str().ok()), Some("299 - \"mind the gap\""));
    let asked = hook.asked().pop().expect("it was asked");
    assert_eq!(asked["operation"], "CREATE");
    assert_eq!(asked["kind"], json!({"group": "", "version": "v1", "kind": "ConfigMap"}));
    assert_eq!(asked["resource"], json!({"group": "", "version": "v1", "resource": "configmaps"}));
    assert_eq!((&asked["namespace"], &asked["dryRun"]), (&json!("default"), &json!(false)));
    assert_eq!(asked["userInfo"]["username"], "admin");
    assert_eq!((&asked["object"]["metadata"]["name"], &asked["oldObject"]), (&json!("fine"), &Value::Null));
    assert_eq!(asked["options"], json!({"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"}));
}

#[tokio::test]
async fn deletes_updates_and_connections_are_asked_about() {
    let cluster = Cluster::new().await;
    let hook = Hook::start(|request| json!({"allowed": request["operation"] != "DELETE"})).await;
    let connect =
        json!({"operations": ["CONNECT"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods/attach"]});
    let all = json!({"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]});
    configure(&cluster, VALIDATING, "v", &[hook.webhook(json!({"rules": [all, connect]}))]).await;
    assert_eq!(make(&cluster, "a").await.code, 201);
    let path = format!("{CONFIG_MAPS}/a");
    assert_eq!(cluster.patch("merge", &path, json!({"data": {"k": "v"}})).await.code, 200);
    assert_eq!(cluster.delete(&path).await.code, 400, "it was refused");
    let asked = hook.asked();
    let operations: Vec<&str> = asked.iter().filter_map(|request| request["operation"].as_str()).collect();
    assert_eq!(operations, ["CREATE", "UPDATE", "DELETE"]);
    assert_eq!(asked[1]["oldObject"]["metadata"]["name"], "a");
    assert_eq!(
        (&asked[1]["options"]["kind"], &asked[2]["options"]["kind"]),
        (&json!("PatchOptions"), &json!("DeleteOptions"))
    );
    assert_eq!((&asked[2]["object"], &asked[2]["oldObject"]["data"]["k"]), (&Value::Null, &json!("v")));
}

/// Upstream: endpoints/handlers/rest.go `ConnectResource`: admission comes before the connecter.
#[tokio::test]
async fn a_connection_is_judged_before_anybody_looks_where_it_leads() {
    let cluster = Cluster::new().await;
    let hook = Hook::start(|_| json!({"allowed": false, "status": {"message": "no", "code": 403}})).await;
    let resources = ["pods/exec", "pods/attach", "pods/portforward", "pods/proxy", "services/proxy", "nodes/proxy"];
    let rule = json!({"operations": ["CONNECT"], "apiGroups": [""], "apiVersions": ["v1"], "resources": resources});
    configure(&cluster, VALIDATING, "v", &[hook.webhook(json!({"rules": [rule]}))]).await;
    let namespace = "/api/v1/namespaces/default";
    let paths = [
        format!("{namespace}/pods/gone/exec?command=sh"),
        format!("{namespace}/pods/gone/attach"),
        format!("{namespace}/pods/gone/portforward"),
        format!("{namespace}/pods/https:gone:8443/proxy"),
        format!("{namespace}/services/a:b:c:d/proxy/path"),
        "/api/v1/nodes/gone/proxy/healthz".to_owned(),
    ];
    for path in &paths {
        let refused = cluster.get(path).await;
        let line = "403 : admission webhook \"hook.example.com\" denied the request: no";
        assert_eq!(refused.line(), line, "{path}");
    }
    let asked = hook.asked();
    assert_eq!((asked.len(), &asked[3]["name"]), (paths.len(), &json!("https:gone:8443")));
    let refused = cluster.get(&format!("{namespace}/pods/gone/exec?dryRun=All")).await;
    assert_eq!(refused.line(), "400 BadRequest: dryRun is not supported");
}

#[tokio::test]
async fn webhooks_mutate_in_order_and_again_if_they_ask() {
    let cluster = Cluster::new().await;
    let first = Hook::start(|request| {
        let seen = request["object"]["data"]["second"].is_string();
        patch(json!([{"op": "add", "path": "/data/first", "value": if seen { "saw second" } else { "alone" }}]))
    })
    .await;
    let second = Hook::start(|request| {
        let first = request["object"]["data"]["first"].clone();
        patch(json!([{"op": "add", "path": "/data/second", "value": format!("after {}", first.as_str().unwrap_or("nobody"))}]))
    })
    .await;
    let again = json!({"name": "first.example.com", "reinvocationPolicy": "IfNeeded"});
    configure(&cluster, MUTATING, "a", &[first.webhook(again)]).await;
    configure(&cluster, MUTATING, "b", &[second.webhook(json!({"name": "second.example.com"}))]).await;
    let made = cluster.post(CONFIG_MAPS, json!({"metadata": {"name": "x"}, "data": {"own": "x"}})).await;
    assert_eq!(
        made.at("/data"),
        &json!({"first": "saw second", "own": "x", "second": "after alone"}),
        "{}",
        made.line()
    );
    assert_eq!((first.asked().len(), second.asked().len()), (2, 1));
}

#[tokio::test]
async fn failures_follow_the_policy() {
    let cluster = Cluster::new().await;
    let hook = Hook::start(|_| json!({"uid": "another", "allowed": true})).await;
    let webhook = hook.webhook(json!({}));
    configure(&cluster, VALIDATING, "v", std::slice::from_ref(&webhook)).await;
    let refused = make(&cluster, "a").await;
    assert_eq!(refused.code, 500);
    let text = refused.line();
    let prefix = "500 InternalError: Internal error occurred: failed calling webhook \"hook.example.com\": received invalid webhook response: expected response.uid=";
    assert!(text.starts_with(prefix), "{text}");
    let ignoring = json!([{"op": "add", "path": "/webhooks/0/failurePolicy", "value": "Ignore"}]);
    assert_eq!(cluster.patch("json", &format!("{VALIDATING}/v"), ignoring).await.code, 200);
    assert_eq!(make(&cluster, "a").await.code, 201, "the next request knows the new policy");
    let nobody = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = nobody.local_addr().expect("an address").port();
    drop(nobody);
    let gone = json!([
        {"op": "replace", "path": "/webhooks/0/clientConfig/url", "value": format!("https://127.0.0.1:{port}/x")},
        {"op": "replace", "path": "/webhooks/0/failurePolicy", "value": "Fail"},
    ]);
    assert_eq!(cluster.patch("json", &format!("{VALIDATING}/v"), gone).await.code, 200);
    let unreachable = format!(
        "500 InternalError: Internal error occurred: failed calling webhook \"hook.example.com\": failed to call webhook: Post \"https://127.0.0.1:{port}/x?timeout=10s\": dial tcp 127.0.0.1:{port}: connect: connection refused"
    );
    assert_eq!(make(&cluster, "b").await.line(), unreachable);
    assert_eq!(
        cluster.delete(&format!("{VALIDATING}/v")).await.code,
        200,
        "configurations are never shown to webhooks"
    );
    assert_eq!(make(&cluster, "b").await.code, 201);
}

/// Whatever goes wrong is a failure: who fails closed lets nothing pass.
#[tokio::test]
async fn answers_that_are_none_are_failures() {
    let answers = [
        (500, json!({})),
        (404, json!("who?")),
        (200, json!("no review")),
        (200, json!({"apiVersion": "v1", "kind": "Pod"})),
        (200, json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"})),
        (302, json!({})),
    ];
    let (cluster, scope) = (Cluster::new().await, Scope::root());
    for (index, (code, body)) in answers.into_iter().enumerate() {
        let reply = body.clone();
        let hook = webhook::testing::TestServer::start(&scope, move |_, _| (code, reply.clone())).await;
        for (policy, code) in [("Fail", 500), ("Ignore", 201)] {
            let name = format!("{}-{index}", policy.to_lowercase());
            let webhook = json!({
                "name": "hook.example.com", "sideEffects": "None", "admissionReviewVersions": ["v1"], "failurePolicy": policy,
                "clientConfig": {"url": hook.url, "caBundle": STANDARD.encode(&hook.ca_pem)},
                "rules": [{"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}],
            });
            for kind in [VALIDATING, MUTATING] {
                configure(&cluster, kind, &name, std::slice::from_ref(&webhook)).await;
                let answer = make(&cluster, &format!("{name}-{}", kind.len())).await;
                assert_eq!(answer.code, code, "{policy} {body}: {}", answer.line());
                assert!(code == 201 || answer.line().contains("failed calling webhook"), "{}", answer.line());
                assert_eq!(cluster.delete(&format!("{kind}/{name}")).await.code, 200);
            }
        }
    }
    scope.cancel();
}

#[tokio::test]
async fn certificates_are_checked() {
    let cluster = Cluster::new().await;
    let (hook, other) = (Hook::start(|_| json!({"allowed": true})).await, Hook::start(|_| json!({})).await);
    let mut webhook = hook.webhook(json!({}));
    webhook["clientConfig"]["caBundle"] = other.ca.as_str().into();
    configure(&cluster, VALIDATING, "v", &[webhook]).await;
    let refused = make(&cluster, "a").await.line();
    assert!(refused.contains("tls: failed to verify certificate: x509"), "{refused}");
    assert!(hook.asked().is_empty());
}

#[tokio::test]
async fn services_are_resolved() {
    let cluster = Cluster::new().await;
    let hook = Hook::start(|_| json!({"allowed": true})).await;
    let service = json!({"metadata": {"name": "hook"}, "spec": {"type": "ExternalName", "externalName": "localhost"}});
    assert_eq!(cluster.post("/api/v1/namespaces/default/services", service).await.code, 201);
    let at = |name: &str| {
        json!({
            "service": {"namespace": "default", "name": name, "path": "/x", "port": hook.port}, "caBundle": hook.ca,
        })
    };
    configure(&cluster, VALIDATING, "v", &[hook.webhook(json!({"clientConfig": at("hook")}))]).await;
    let made = make(&cluster, "a").await;
    assert_eq!(made.code, 201, "{}", made.line());
    assert_eq!(hook.asked().len(), 1);
    configure(&cluster, VALIDATING, "w", &[hook.webhook(json!({"clientConfig": at("nope")}))]).await;
    let refused = make(&cluster, "b").await.line();
    assert!(refused.ends_with("service \"nope\" not found"), "{refused}");
}

#[tokio::test]
async fn selectors_and_dry_runs_decide_who_is_asked() {
    let cluster = Cluster::new().await;
    let hook = Hook::start(|_| json!({"allowed": false})).await;
    let by_object = json!({"objectSelector": {"matchLabels": {"judged": "yes"}}});
    let by_namespace = json!({"name": "n.example.com", "namespaceSelector": {"matchLabels": {"judged": "yes"}}});
    configure(&cluster, VALIDATING, "v", &[hook.webhook(by_object), hook.webhook(by_namespace)]).await;
    assert_eq!(make(&cluster, "a").await.code, 201);
    let labeled = json!({"metadata": {"name": "b", "labels": {"judged": "yes"}}});
    assert_eq!(cluster.post(CONFIG_MAPS, labeled).await.code, 400);
    let labels = json!({"metadata": {"labels": {"judged": "yes"}}});
    assert_eq!(cluster.patch("merge", "/api/v1/namespaces/default", labels).await.code, 200);
    assert_eq!(make(&cluster, "c").await.code, 400);
    let unsafe_hook = hook.webhook(json!({"sideEffects": "Some"}));
    let refused = cluster.post(VALIDATING, json!({"metadata": {"name": "w"}, "webhooks": [unsafe_hook]})).await;
    assert_eq!(refused.code, 422, "{}", refused.line());
}

#[tokio::test]
async fn other_versions_are_shown_as_the_rule_names_them() {
    let cluster = Cluster::new().await;
    let hook = Hook::start(|request| {
        let metrics = request["object"]["spec"]["metrics"].is_array();
        json!({"allowed": metrics, "status": {"message": "not v2"}})
    })
    .await;
    let rule = json!({
        "operations": ["CREATE"], "apiGroups": ["autoscaling"], "apiVersions": ["v2"],
        "resources": ["horizontalpodautoscalers"],
    });
    configure(&cluster, VALIDATING, "v", &[hook.webhook(json!({"rules": [rule]}))]).await;
    let autoscaler = json!({"metadata": {"name": "a"}, "spec": {
        "maxReplicas": 3, "targetCPUUtilizationPercentage": 50,
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"},
    }});
    let made = cluster.post("/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers", autoscaler).await;
    assert_eq!(made.code, 201, "{}", made.line());
    let asked = hook.asked().pop().expect("it was asked");
    assert_eq!((&asked["kind"]["version"], &asked["requestKind"]["version"]), (&json!("v2"), &json!("v1")));
}

#[tokio::test]
async fn bindings_connections_and_evictions_have_their_own_names() {
    let cluster = Cluster::new().await;
    let hook = Hook::start(|request| json!({"allowed": request["operation"] != "CONNECT"})).await;
    let rule = json!({"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["pods/*"]});
    configure(&cluster, VALIDATING, "v", &[hook.webhook(json!({"rules": [rule]}))]).await;
    let account = json!({"metadata": {"name": "default"}});
    cluster.post("/api/v1/namespaces/default/serviceaccounts", account).await;
    let pods = "/api/v1/namespaces/default/pods";
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    assert_eq!(cluster.post(pods, pod).await.code, 201);
    let binding = json!({"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n"}});
    assert_eq!(cluster.post(&format!("{pods}/p/binding"), binding).await.code, 201);
    let attached = cluster.post(&format!("{pods}/p/attach?stdin=true&container=c"), Value::Null).await;
    expect![[r#"400 : admission webhook "hook.example.com" denied the request without explanation"#]]
        .assert_eq(&attached.line());
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}});
    assert_eq!(cluster.post(&format!("{pods}/p/eviction"), eviction).await.code, 201);
    let asked = hook.asked();
    let line = |request: &Value| {
        let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        format!("{} {} {}", text(&request["operation"]), text(&request["subResource"]), text(&request["kind"]["kind"]))
    };
    assert_eq!(
        asked.iter().map(line).collect::<Vec<_>>(),
        ["CREATE - Pod", "CREATE binding Binding", "CONNECT attach PodAttachOptions", "CREATE eviction Eviction"]
    );
    assert_eq!((&asked[2]["object"]["stdin"], &asked[2]["object"]["container"]), (&json!(true), &json!("c")));
}

#[tokio::test]
async fn a_silent_webhook_is_given_its_time_and_no_more() {
    let cluster = Cluster::new().await;
    let hook = Hook::start(|_| json!({"allowed": true})).await;
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = silent.local_addr().expect("an address").port();
    let mut webhook = hook.webhook(json!({"timeoutSeconds": 1}));
    webhook["clientConfig"]["url"] = format!("https://127.0.0.1:{port}/").into();
    configure(&cluster, VALIDATING, "v", &[webhook]).await;
    let expected = format!(
        "500 InternalError: Internal error occurred: failed calling webhook \"hook.example.com\": failed to call \
         webhook: Post \"https://127.0.0.1:{port}/?timeout=1s\": context deadline exceeded"
    );
    assert_eq!(make(&cluster, "a").await.line(), expected);
}

/// Upstream: test/e2e/apimachinery/webhook.go, "match conditions". They are compiled whenever they are written.
#[tokio::test]
async fn conditions_narrow_down_what_is_asked() {
    for kind in [VALIDATING, MUTATING] {
        let cluster = Cluster::new().await;
        let hook = Hook::start(|_| json!({"allowed": false})).await;
        let with = |expressions: &[&str]| {
            let conditions: Vec<Value> = expressions
                .iter()
                .enumerate()
                .map(|(index, expression)| json!({"name": format!("expression-{index}"), "expression": expression}))
                .collect();
            hook.webhook(json!({"matchConditions": conditions}))
        };
        configure(&cluster, kind, "v", &[with(&["object.metadata.name != 'free'"])]).await;
        assert_eq!(make(&cluster, "free").await.code, 201);
        assert_eq!(make(&cluster, "bound").await.code, 400);
        let and = json!([{"op": "add", "path": "/webhooks/0/matchConditions/-", "value":
            {"name": "and", "expression": "object.metadata.name != 'open'"}}]);
        let changed = cluster.patch("json", &format!("{kind}/v"), and).await;
        assert_eq!(changed.at("/webhooks/0/matchConditions/1/name"), "and", "{}", changed.line());
        assert_eq!(make(&cluster, "open").await.code, 201);
        assert_eq!(make(&cluster, "bound").await.code, 400);
        let broken = json!({"metadata": {"name": "w"}, "webhooks": [with(&["... [] bad expression"])]});
        let created = cluster.post(kind, broken).await;
        let patch =
            json!([{"op": "replace", "path": "/webhooks/0/matchConditions/0/expression", "value": "object.metadata."}]);
        let patched = cluster.patch("json", &format!("{kind}/v"), patch).await;
        for refused in [created, patched] {
            assert_eq!(refused.code, 422, "{}", refused.line());
            assert_eq!(refused.at("/details/causes/0/field"), "webhooks[0].matchConditions[0].expression");
            assert!(refused.line().contains("compilation failed"), "{}", refused.line());
        }
    }
}

/// Upstream: test/e2e/apimachinery/webhook.go, "should mutate everything except 'skip-me' configmaps".
#[tokio::test]
async fn what_a_condition_leaves_out_is_not_changed() {
    let cluster = Cluster::new().await;
    let hook = Hook::start(|_| patch(json!([{"op": "add", "path": "/data", "value": {"changed": "yes"}}]))).await;
    let condition = json!({"name": "skip-me", "expression": "object.metadata.name != 'skip-me'"});
    configure(&cluster, MUTATING, "m", &[hook.webhook(json!({"matchConditions": [condition]}))]).await;
    assert_eq!(make(&cluster, "skip-me").await.at("/data"), &Value::Null);
    assert_eq!(make(&cluster, "other").await.at("/data/changed"), "yes");
    assert_eq!(hook.asked().len(), 1);
}

#[tokio::test]
async fn a_connection_serves_for_many_calls() {
    let cluster = Cluster::new().await;
    let hook = Hook::start(|_| json!({"allowed": true})).await;
    configure(&cluster, VALIDATING, "v", &[hook.webhook(json!({}))]).await;
    for name in ["a", "b", "c"] {
        assert_eq!(make(&cluster, name).await.code, 201);
    }
    assert_eq!((hook.asked().len(), hook.connections.load(Ordering::Relaxed)), (3, 1));
}

#[tokio::test]
async fn what_comes_of_calls_is_counted() {
    let cluster = Cluster::new().await;
    let hook = Hook::start(|request| match request["name"].as_str() {
        Some("no") => json!({"allowed": false, "status": {"code": 403}}),
        _ => json!({"allowed": true}),
    })
    .await;
    let liar = Hook::start(|_| json!({"uid": "another"})).await;
    let open = liar.webhook(json!({"name": "open.example.com", "failurePolicy": "Ignore"}));
    configure(&cluster, VALIDATING, "v", &[hook.webhook(json!({})), open]).await;
    let closed = liar.webhook(json!({"name": "closed.example.com", "objectSelector": {"matchLabels": {"a": "b"}}}));
    configure(&cluster, MUTATING, "m", &[closed]).await;
    assert_eq!(make(&cluster, "yes").await.code, 201);
    assert_eq!(make(&cluster, "no").await.code, 403);
    let labeled = json!({"metadata": {"name": "x", "labels": {"a": "b"}}});
    assert_eq!(cluster.post(CONFIG_MAPS, labeled).await.code, 500);
    let (_, _, page) = cluster.bytes(Request::builder().uri("/metrics"), "").await;
    let page = String::from_utf8_lossy(&page).into_owned();
    for line in [
        r#"webhook_request_total{name="hook.example.com",type="validating",operation="CREATE",code="200",rejected="false"} 1"#,
        r#"webhook_request_total{name="hook.example.com",type="validating",operation="CREATE",code="403",rejected="true"} 1"#,
        r#"webhook_request_total{name="open.example.com",type="validating",operation="CREATE",code="503",rejected="false"} 2"#,
        r#"webhook_rejection_count{name="hook.example.com",type="validating",operation="CREATE",error_type="no_error",rejection_code="403"} 1"#,
        r#"webhook_rejection_count{name="closed.example.com",type="admit",operation="CREATE",error_type="calling_webhook_error",rejection_code="503"} 1"#,
        r#"webhook_fail_open_count{name="open.example.com",type="validating"} 2"#,
        r#"webhook_admission_duration_seconds_count{name="closed.example.com",type="admit",operation="CREATE",rejected="true"} 1"#,
        r#"controller_admission_duration_seconds_count{name="ValidatingAdmissionWebhook",type="validate",operation="CREATE",rejected="true"} 1"#,
        r#"step_admission_duration_seconds_count{type="validate",operation="CREATE",rejected="true"} 1"#,
    ] {
        let line = format!("apiserver_admission_{line}");
        let like: Vec<&str> = page.lines().filter(|known| known.starts_with("apiserver_admission_webhook")).collect();
        assert!(page.lines().any(|known| known == line), "{line} is not in\n{}", like.join("\n"));
    }
}

#[tokio::test]
async fn patches_are_noted_for_those_who_may_read_requests() {
    let annotations = async |level: &str| {
        let (scope, log) = (Scope::root(), Kept::default());
        let policy = format!("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{{level: {level}}}]\n");
        let audit = Audit::new(Policy::parse(&policy).expect("a policy"), vec![Box::new(log.clone())]);
        let config = Config { audit: Some(audit), ..testserver::config() };
        let cluster = Cluster::with(config, Arc::new(NobodyKnown), &scope).await;
        let hook = Hook::start(|_| patch(json!([{"op": "add", "path": "/data", "value": {"a": "b"}}]))).await;
        configure(&cluster, MUTATING, "m", &[hook.webhook(json!({}))]).await;
        assert_eq!(make(&cluster, "a").await.at("/data/a"), "b");
        let last = log.0.lock().last().map(|event| event["annotations"].clone()).unwrap_or_default();
        let of_webhooks = |(key, value): (String, Value)| {
            let text = value.as_str().unwrap_or_default().to_owned();
            key.contains("webhook").then(|| format!("{key} {text}"))
        };
        last.as_object().cloned().unwrap_or_default().into_iter().filter_map(of_webhooks).collect::<Vec<_>>()
    };
    let mutated = r#"mutation.webhook.admission.k8s.io/round_0_index_0 {"configuration":"m","mutated":true,"webhook":"hook.example.com"}"#;
    let patched = r#"patch.webhook.admission.k8s.io/round_0_index_0 {"configuration":"m","patch":[{"op":"add","path":"/data","value":{"a":"b"}}],"patchType":"JSONPatch","webhook":"hook.example.com"}"#;
    assert_eq!(annotations("Metadata").await, [mutated]);
    assert_eq!(annotations("Request").await, [mutated, patched]);
    assert_eq!(annotations("RequestResponse").await, [mutated, patched]);
}

#[tokio::test]
async fn webhooks_have_no_say_about_webhooks_and_policies() {
    let cluster = Cluster::new().await;
    let hook = Hook::start(|_| json!({"allowed": false})).await;
    let everything = json!({"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"]});
    let webhook = || hook.webhook(json!({"rules": [everything]}));
    configure(&cluster, VALIDATING, "v", &[webhook()]).await;
    configure(&cluster, MUTATING, "m", &[webhook()]).await;
    configure(&cluster, VALIDATING, "w", &[webhook()]).await;
    let group = "/apis/admissionregistration.k8s.io/v1";
    let rule = json!({"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]});
    let policy = json!({"metadata": {"name": "p"}, "spec": {
        "matchConstraints": {"resourceRules": [rule]}, "validations": [{"expression": "true"}],
    }});
    assert_eq!(cluster.post(&format!("{group}/validatingadmissionpolicies"), policy).await.code, 201);
    assert_eq!(make(&cluster, "a").await.code, 400, "all others are refused");
    for name in ["v", "w"] {
        assert_eq!(cluster.delete(&format!("{VALIDATING}/{name}")).await.code, 200);
    }
    let groups: Vec<Value> = hook.asked().iter().map(|request| request["resource"]["group"].clone()).collect();
    assert!(!groups.contains(&json!("admissionregistration.k8s.io")), "{groups:?}");
}

/// Upstream: apiserver/pkg/admission/metrics.
#[tokio::test]
async fn conditions_are_counted() {
    let cluster = Cluster::new().await;
    let hook = Hook::start(|_| json!({"allowed": true})).await;
    let conditions = json!([{"name": "named", "expression": "object.metadata.name != 'skipped'"}]);
    let change = json!({"name": "counted.example.com", "matchConditions": conditions});
    configure(&cluster, VALIDATING, "v", &[hook.webhook(change)]).await;
    assert_eq!((make(&cluster, "asked").await.code, make(&cluster, "skipped").await.code), (201, 201));
    assert_eq!(hook.asked().len(), 1);
    let page = cluster.get("/metrics").await;
    let text = page.body.as_str().expect("text");
    let labels = "name=\"counted.example.com\",kind=\"webhook\",type=\"validating\",operation=\"CREATE\"";
    let of = |name: &str, value: u32| format!("apiserver_admission_match_condition_{name}{{{labels}}} {value}\n");
    for line in [of("exclusions_total", 1), of("evaluation_errors_total", 0), of("evaluation_seconds_count", 2)] {
        assert!(text.contains(&line), "{line}");
    }
    let summary = "apiserver_admission_step_admission_duration_seconds_summary_count{type=\"validate\"";
    assert!(text.contains(summary), "{summary}");
}
