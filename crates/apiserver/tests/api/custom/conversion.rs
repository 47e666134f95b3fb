//! Several versions of a kind.

use std::sync::Arc;

use bytes::Bytes;
use component_base::Scope;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;

use super::{DEFINITION, THINGS, define, definition, redefine, thing, with};
use crate::harness::{Answer, Cluster};
use crate::webhooks::{Hook, MUTATING, VALIDATING, configure, patch};

const OLD_THINGS: &str = "/apis/example.com/v1beta1/namespaces/default/things";

fn two_versions() -> Value {
    let both = definition(json!({"type": "object", "properties": {
        "host": {"type": "string"}, "port": {"type": "string"}, "hostPort": {"type": "string"}}}));
    let mut old = both["spec"]["versions"][0].clone();
    old["name"] = "v1beta1".into();
    old["storage"] = false.into();
    old["deprecated"] = true.into();
    with(both.clone(), "/spec/versions", json!([both["spec"]["versions"][0], old]))
}

#[tokio::test]
async fn without_a_converter_only_the_version_differs() {
    let cluster = Cluster::new().await;
    define(&cluster, two_versions()).await;
    cluster.post(THINGS, thing("a", json!({"host": "x"}))).await;
    let old = cluster.get(&format!("{OLD_THINGS}/a")).await;
    assert_eq!((old.at("/apiVersion"), old.at("/spec/host")), (&json!("example.com/v1beta1"), &json!("x")));
    assert_eq!(old.headers["warning"], r#"299 - "example.com/v1beta1 Thing is deprecated; use example.com/v1 Thing""#);
    let list = cluster.get(OLD_THINGS).await;
    assert_eq!(list.at("/items/0/apiVersion"), "example.com/v1beta1");
    let mut watch = cluster.watch(&format!("{OLD_THINGS}?watch=1")).await;
    assert_eq!(watch.next().await.expect("an event")["object"]["apiVersion"], "example.com/v1beta1");
    let written = cluster.patch("merge", &format!("{OLD_THINGS}/a"), json!({"spec": {"host": "y"}})).await;
    assert_eq!(written.at("/apiVersion"), "example.com/v1beta1");
    assert_eq!(cluster.get(&format!("{THINGS}/a")).await.at("/spec/host"), "y");
    assert_eq!(cluster.get("/apis/example.com").await.at("/preferredVersion/version"), "v1");

    redefine(&cluster, |present| {
        with(with(present, "/spec/versions/0/storage", json!(false)), "/spec/versions/1/storage", json!(true))
    })
    .await;
    assert_eq!(cluster.get(DEFINITION).await.at("/status/storedVersions"), &json!(["v1", "v1beta1"]));
    assert_eq!(cluster.get(&format!("{OLD_THINGS}/a")).await.at("/apiVersion"), "example.com/v1beta1");
    assert_eq!(cluster.get(&format!("{THINGS}/a")).await.at("/apiVersion"), "example.com/v1");
    redefine(&cluster, |present| with(present, "/spec/versions/1/served", json!(false))).await;
    assert_eq!(cluster.get(OLD_THINGS).await.code, 404);
    assert_eq!(cluster.get(&format!("{THINGS}/a")).await.at("/spec/host"), "y");
}

/// A webhook that joins host and port in one version and parts them in the other.
async fn webhook(scope: &Scope, answer: impl Fn(Value) -> Value + Send + Sync + 'static) -> (String, String) {
    let answer: Arc<dyn Fn(Value) -> Value + Send + Sync> = Arc::new(answer);
    let signed = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).expect("a certificate");
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(signed.signing_key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![signed.cert.der().clone()], key)
        .expect("a key that fits");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("https://{}/convert", listener.local_addr().expect("an address"));
    let connections = scope.clone();
    scope.spawn("test/webhook", async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, answer) = (acceptor.clone(), answer.clone());
            connections.spawn("test/webhook-connection", async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let service = service_fn(move |request: Request<Incoming>| {
                    let answer = answer.clone();
                    async move {
                        let body = request.into_body().collect().await?.to_bytes();
                        let review: Value = serde_json::from_slice(&body).expect("a review");
                        Ok::<_, hyper::Error>(Response::new(Full::new(Bytes::from(answer(review).to_string()))))
                    }
                });
                let _ =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    (url, signed.cert.pem())
}

fn convert(review: Value) -> Value {
    let wanted = review["request"]["desiredAPIVersion"].clone();
    let objects = review["request"]["objects"].as_array().cloned().unwrap_or_default();
    let converted: Vec<Value> = objects
        .into_iter()
        .map(|mut object| {
            object["apiVersion"] = wanted.clone();
            object["spec"] = if wanted == "example.com/v1" {
                let joined = object["spec"]["hostPort"].as_str().unwrap_or_default().to_owned();
                let (host, port) = joined.split_once(':').unwrap_or((&joined, ""));
                json!({"host": host, "port": port})
            } else {
                let text = |name: &str| object["spec"][name].as_str().unwrap_or_default().to_owned();
                json!({"hostPort": format!("{}:{}", text("host"), text("port"))})
            };
            object
        })
        .collect();
    let response =
        json!({"uid": review["request"]["uid"], "result": {"status": "Success"}, "convertedObjects": converted});
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview", "response": response})
}

fn fail(review: Value) -> Value {
    let response = json!({"uid": review["request"]["uid"], "result": {"status": "Failure", "message": "not today"}});
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview", "response": response})
}

async fn converted_by(cluster: &Cluster, url: &str, ca: &str) {
    define_converted(cluster, two_versions(), url, ca).await;
}

/// Defines a kind whose versions a webhook converts.
async fn define_converted(cluster: &Cluster, versions: Value, url: &str, ca: &str) {
    use base64::Engine as _;
    let ca = base64::engine::general_purpose::STANDARD.encode(ca);
    let webhook = json!({"clientConfig": {"url": url, "caBundle": ca}, "conversionReviewVersions": ["v1"]});
    define(cluster, with(versions, "/spec/conversion", json!({"strategy": "Webhook", "webhook": webhook}))).await;
}

#[tokio::test]
async fn a_webhook_converts_both_ways() {
    let (cluster, scope) = (Cluster::new().await, Scope::root());
    let (url, ca) = webhook(&scope, convert).await;
    converted_by(&cluster, &url, &ca).await;
    cluster.post(THINGS, thing("a", json!({"host": "h", "port": "80"}))).await;
    let old = with(thing("b", json!({"hostPort": "g:81"})), "/apiVersion", json!("example.com/v1beta1"));
    let created = cluster.post(OLD_THINGS, old).await;
    assert_eq!(created.at("/spec"), &json!({"hostPort": "g:81"}), "{}", created.line());
    assert_eq!(cluster.get(&format!("{OLD_THINGS}/a")).await.at("/spec"), &json!({"hostPort": "h:80"}));
    assert_eq!(cluster.get(&format!("{THINGS}/b")).await.at("/spec"), &json!({"host": "g", "port": "81"}));
    let list = cluster.get(OLD_THINGS).await;
    assert_eq!(
        (list.at("/items/0/spec/hostPort"), list.at("/items/1/spec/hostPort")),
        (&json!("h:80"), &json!("g:81"))
    );
    let mut watch = cluster.watch(&format!("{OLD_THINGS}?watch=1")).await;
    assert_eq!(watch.next().await.expect("an event")["object"]["spec"], json!({"hostPort": "h:80"}));
    let changed = cluster.patch("merge", &format!("{OLD_THINGS}/a"), json!({"spec": {"hostPort": "i:82"}})).await;
    assert_eq!(changed.at("/spec"), &json!({"hostPort": "i:82"}), "{}", changed.line());
    assert_eq!(cluster.get(&format!("{THINGS}/a")).await.at("/spec/host"), "i");

    // A list may hold objects that were stored in different versions.
    redefine(&cluster, |present| {
        with(with(present, "/spec/versions/0/storage", json!(false)), "/spec/versions/1/storage", json!(true))
    })
    .await;
    cluster.post(THINGS, thing("c", json!({"host": "k", "port": "83"}))).await;
    let mixed = cluster.get(THINGS).await;
    let hosts: Vec<&Value> =
        mixed.at("/items").as_array().expect("items").iter().map(|item| &item["spec"]["host"]).collect();
    assert_eq!(hosts, ["i", "g", "k"]);
    scope.cancel();
}

#[tokio::test]
async fn a_webhook_that_fails_fails_the_request() {
    let (cluster, scope) = (Cluster::new().await, Scope::root());
    let (url, ca) = webhook(&scope, fail).await;
    converted_by(&cluster, &url, &ca).await;
    cluster.post(THINGS, thing("a", json!({"host": "h"}))).await;
    let refused = cluster.get(&format!("{OLD_THINGS}/a")).await;
    assert_eq!(
        refused.line(),
        "500 InternalError: Internal error occurred: conversion webhook for example.com/v1, Kind=Thing failed: not today"
    );
    assert_eq!(cluster.get(&format!("{THINGS}/a")).await.code, 200, "its own version needs nobody");
    scope.cancel();
}

#[tokio::test]
async fn what_was_converted_is_not_converted_again() {
    let (cluster, scope, calls) = (Cluster::new().await, Scope::root(), Arc::new(Mutex::new(Vec::new())));
    let memory = calls.clone();
    let count = move |review: Value| {
        memory.lock().push(review["request"]["objects"].as_array().map_or(0, Vec::len));
        convert(review)
    };
    let (url, ca) = webhook(&scope, count).await;
    converted_by(&cluster, &url, &ca).await;
    for name in ["a", "b", "c"] {
        cluster.post(THINGS, thing(name, json!({"host": name, "port": "1"}))).await;
    }
    assert_eq!(cluster.get(OLD_THINGS).await.at("/items/2/spec/hostPort"), "c:1");
    assert_eq!(*calls.lock(), [3], "a list is converted at once");
    assert_eq!(cluster.get(&format!("{OLD_THINGS}/b")).await.at("/spec/hostPort"), "b:1");
    let mut watches = Vec::new();
    for _ in 0..3 {
        let mut watch = cluster.watch(&format!("{OLD_THINGS}?watch=1")).await;
        for name in ["a", "b", "c"] {
            assert_eq!(watch.line().await, format!("ADDED {name}"));
        }
        watches.push(watch);
    }
    assert_eq!(*calls.lock(), [3], "who reads the same reads what was made");
    cluster.patch("merge", &format!("{THINGS}/a"), json!({"spec": {"port": "2"}})).await;
    for watch in &mut watches {
        assert_eq!(watch.next().await.expect("an event")["object"]["spec"], json!({"hostPort": "a:2"}));
    }
    assert_eq!(*calls.lock(), [3, 1], "an event is converted once for all who watch");
    scope.cancel();
}

#[tokio::test]
async fn admission_sees_the_version_that_its_rules_name() {
    let (cluster, scope) = (Cluster::new().await, Scope::root());
    let (url, ca) = webhook(&scope, convert).await;
    converted_by(&cluster, &url, &ca).await;
    let hook = Hook::start(|_| patch(json!([{"op": "replace", "path": "/spec/hostPort", "value": "changed:1"}]))).await;
    let rule = json!({
        "operations": ["*"], "apiGroups": ["example.com"], "apiVersions": ["v1beta1"], "resources": ["things"],
    });
    configure(&cluster, MUTATING, "m", &[hook.webhook(json!({"rules": [rule]}))]).await;
    let judge = Hook::start(|request| json!({"allowed": request["object"]["spec"]["hostPort"] == "changed:1"})).await;
    let condition = json!({"name": "changed", "expression": "object.spec.hostPort.startsWith('changed')"});
    let judging = json!({"rules": [rule], "matchConditions": [condition]});
    configure(&cluster, VALIDATING, "v", &[judge.webhook(judging)]).await;
    let made = cluster.post(THINGS, thing("a", json!({"host": "h", "port": "80"}))).await;
    assert_eq!(made.at("/spec"), &json!({"host": "changed", "port": "1"}), "{}", made.line());
    let asked = hook.asked().pop().expect("it was asked");
    let versions = (&asked["kind"]["version"], &asked["requestKind"]["version"], &asked["object"]["apiVersion"]);
    assert_eq!(versions, (&json!("v1beta1"), &json!("v1"), &json!("example.com/v1beta1")));
    assert_eq!(asked["object"]["spec"]["hostPort"], "h:80");
    assert_eq!(judge.asked().len(), 1);

    let policies = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies";
    let policy = json!({"metadata": {"name": "p"}, "spec": {
        "matchConstraints": {"resourceRules": [rule]},
        "validations": [{"expression": "object.spec.hostPort == 'never'", "messageExpression": "'it is ' + string(object.spec.hostPort)"}],
    }});
    assert_eq!(cluster.post(policies, policy).await.code, 201);
    let binding = json!({"metadata": {"name": "p"}, "spec": {"policyName": "p", "validationActions": ["Deny"]}});
    assert_eq!(
        cluster.post("/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings", binding).await.code,
        201
    );
    let refused = cluster.post(THINGS, thing("b", json!({"host": "h", "port": "80"}))).await;
    assert!(refused.line().ends_with("denied request: it is changed:1"), "{}", refused.line());
    scope.cancel();
}

#[tokio::test]
async fn a_conversion_that_fails_fails_admission() {
    let (cluster, scope) = (Cluster::new().await, Scope::root());
    let (url, ca) = webhook(&scope, fail).await;
    converted_by(&cluster, &url, &ca).await;
    let hook = Hook::start(|_| json!({"allowed": true})).await;
    let rule = json!({
        "operations": ["*"], "apiGroups": ["example.com"], "apiVersions": ["v1beta1"], "resources": ["things"],
    });
    configure(&cluster, VALIDATING, "v", &[hook.webhook(json!({"rules": [rule], "failurePolicy": "Ignore"}))]).await;
    let refused = cluster.post(THINGS, thing("a", json!({"host": "h"}))).await;
    assert_eq!(
        refused.line(),
        "500 InternalError: Internal error occurred: conversion webhook for example.com/v1, Kind=Thing failed: not today"
    );
    assert!(hook.asked().is_empty());
    scope.cancel();
}

/// Upstream: test/e2e/apimachinery/crd_selectable_fields.go.
#[tokio::test]
async fn fields_of_the_version_that_is_asked_for_select() {
    let (cluster, scope) = (Cluster::new().await, Scope::root());
    let (url, ca) = webhook(&scope, convert).await;
    let fields = |paths: &[&str]| -> Value { paths.iter().map(|path| json!({"jsonPath": path})).collect() };
    let versions = with(two_versions(), "/spec/versions/0/selectableFields", fields(&[".spec.host", ".spec.port"]));
    let versions = with(versions, "/spec/versions/1/selectableFields", fields(&[".spec.hostPort"]));
    define_converted(&cluster, versions, &url, &ca).await;
    let (new, old) = (
        |selector: &str| format!("{THINGS}?fieldSelector={selector}"),
        |selector: &str| format!("{OLD_THINGS}?fieldSelector={selector}"),
    );
    let host = new("spec.host%3Dhost1");
    let host_port = new("spec.host%3Dhost1,spec.port%3D80");
    let joined = old("spec.hostPort%3Dhost1:80");
    let mut watches = Vec::new();
    for path in [&host, &host_port, &joined] {
        watches.push(cluster.watch(&format!("{path}&watch=true")).await);
    }
    for (name, host, port) in [("a", "host1", "80"), ("b", "host1", "8080"), ("c", "host2", "80")] {
        let made = cluster.post(THINGS, thing(name, json!({"host": host, "port": port}))).await;
        assert_eq!(made.code, 201, "{}", made.line());
    }
    for (path, expected) in [
        (host.clone(), vec!["a", "b"]),
        (host_port.clone(), vec!["a"]),
        (joined.clone(), vec!["a"]),
        (old("spec.hostPort%3Dhost1:8080"), vec!["b"]),
        (old("spec.hostPort!%3Dhost1:80"), vec!["b", "c"]),
    ] {
        assert_eq!(names(&cluster.get(&path).await), expected, "{path}");
        let state = format!(
            "{path}&watch=true&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan"
        );
        let mut informer = cluster.watch(&state).await;
        for name in expected {
            assert_eq!(informer.line().await, format!("ADDED {name}"), "{path}");
        }
        assert_eq!(informer.line().await, "BOOKMARK", "{path}");
    }
    let others = old("spec.hostPort!%3Dhost1:80&limit=1");
    let page = cluster.get(&others).await;
    assert_eq!(names(&page), ["b"]);
    let token = page.at("/metadata/continue").as_str().expect("there is more").to_owned();
    let rest = cluster.get(&format!("{others}&continue={token}")).await;
    assert_eq!((names(&rest), rest.at("/metadata/continue")), (vec!["c"], &Value::Null));

    assert_eq!(cluster.delete(&joined).await.code, 200);
    cluster.patch("merge", &format!("{THINGS}/b"), json!({"spec": {"host": "host2"}})).await;
    assert_eq!(names(&cluster.get(&host).await), [""; 0]);
    let expected = [
        vec!["ADDED a", "ADDED b", "DELETED a", "DELETED b"],
        vec!["ADDED a", "DELETED a"],
        vec!["ADDED a", "DELETED a"],
    ];
    for (watch, lines) in watches.iter_mut().zip(expected) {
        for line in lines {
            assert_eq!(watch.line().await, line);
        }
    }
    scope.cancel();
}

fn names(list: &Answer) -> Vec<&str> {
    let items = list.at("/items").as_array().map(Vec::as_slice).unwrap_or_default();
    items.iter().filter_map(|item| item["metadata"]["name"].as_str()).collect()
}
