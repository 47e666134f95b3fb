//! The proxies of pods and services: to backends on the loopback, in the clear and over TLS.

use std::sync::Arc;

use apiserver::Config;
use apiserver::authenticator::NobodyKnown;
use bytes::Bytes;
use component_base::Scope;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use store::{Expect, Write};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::harness::Cluster;

/// A backend that nobody can vouch for: its certificate is its own, for another name.
async fn backend(scope: &Scope) -> u16 {
    let made = rcgen::generate_simple_self_signed(vec!["elsewhere.example.com".into()]).expect("a certificate");
    let (cert, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let tls = apiserver::serve::tls_config(&cert, &key, &cert).expect("TLS");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let (acceptor, tasks) = (TlsAcceptor::from(Arc::new(tls)), scope.clone());
    scope.spawn("backend", async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tasks.spawn("backend/connection", async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let service = service_fn(|request: Request<Incoming>| async move {
                    let text = format!("{} {}", request.method(), request.uri());
                    Ok::<_, std::convert::Infallible>(Response::new(Full::new(Bytes::from(text))))
                });
                let http = hyper::server::conn::http1::Builder::new();
                let _ = http.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    port
}

/// A server whose proxies lead to the backend of a test.
async fn cluster_with_backends(scope: &Scope) -> Cluster {
    let config = Config { allow_local_loopback: true, ..testserver::config() };
    Cluster::with(config, Arc::new(NobodyKnown), scope).await
}

/// A slice of the service `web` with one endpoint.
fn slice(port: u16, address: &str, target: Value) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "web-1", "namespace": "default", "labels": {"kubernetes.io/service-name": "web"}},
        "endpoints": [{"addresses": [address], "conditions": {"ready": true}, "targetRef": target}],
        "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
    })
}

/// A pod `p` at an address.
fn pod(ip: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "default"},
        "spec": {"containers": [{"name": "c", "image": "i"}]}, "status": {"podIP": ip, "podIPs": [{"ip": ip}]},
    })
}

const SLICE: &str = "/registry/discovery.k8s.io/endpointslices/default/web-1";
const POD: &str = "/registry/core/pods/default/p";

async fn make_service(cluster: &Cluster) {
    let service = json!({"metadata": {"name": "web"}, "spec": {"ports": [{"name": "https", "port": 443}]}});
    let made = cluster.post("/api/v1/namespaces/default/services", service).await;
    assert_eq!(made.code, 201, "{}", made.line());
}

/// Writes an object as it is: through the API no endpoint leads to the loopback.
async fn plant(cluster: &Cluster, key: &str, object: Value) {
    let write = Write { key: key.to_owned(), expect: Expect::Absent, value: Some(object.to_string().into()) };
    cluster.server.registry.store().write(write).await.expect("written");
}

#[tokio::test]
async fn backends_may_speak_tls_with_any_certificate() {
    let scope = Scope::root();
    let cluster = cluster_with_backends(&scope).await;
    let port = backend(&scope).await;
    make_service(&cluster).await;
    let target = json!({"kind": "Pod", "namespace": "default", "name": "p"});
    plant(&cluster, SLICE, slice(port, "127.0.0.1", target)).await;
    plant(&cluster, POD, pod("127.0.0.1")).await;
    let namespace = "/api/v1/namespaces/default";
    for target in ["services/https:web:https", "services/https:web:443", &format!("pods/https:p:{port}")] {
        let answer = cluster.get(&format!("{namespace}/{target}/proxy/a/b?c=d")).await;
        assert_eq!((answer.code, &answer.body), (200, &json!("GET /a/b?c=d")), "{target}");
    }
    // Who does not speak TLS to it is not understood.
    let refused = cluster.get(&format!("{namespace}/services/web:https/proxy/a")).await;
    assert!(refused.code >= 500, "{}", refused.line());
}

#[tokio::test]
async fn what_no_pod_vouches_for_is_no_endpoint() {
    let scope = Scope::root();
    let port = backend(&scope).await;
    for (target, ip) in [
        (Value::Null, "127.0.0.1"),
        (json!({"kind": "Pod", "namespace": "other", "name": "p"}), "127.0.0.1"),
        (json!({"kind": "Pod", "namespace": "default", "name": "gone"}), "127.0.0.1"),
        (json!({"kind": "Pod", "namespace": "default", "name": "p"}), "127.0.0.2"),
    ] {
        let cluster = cluster_with_backends(&scope).await;
        make_service(&cluster).await;
        plant(&cluster, SLICE, slice(port, "127.0.0.1", target.clone())).await;
        plant(&cluster, POD, pod(ip)).await;
        let answer = cluster.get("/api/v1/namespaces/default/services/https:web:https/proxy/a").await;
        assert_eq!(
            (answer.code, answer.line().contains("no endpoints available for service")),
            (503, true),
            "{target}"
        );
    }
}

#[tokio::test]
async fn no_proxy_leads_to_what_the_server_alone_can_reach() {
    let scope = Scope::root();
    let port = backend(&scope).await;
    for ip in [
        "127.0.0.1",
        "127.8.8.8",
        "169.254.169.254",
        "224.0.0.1",
        "::1",
        "fe80::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "localhost",
    ] {
        let cluster = Cluster::new().await;
        make_service(&cluster).await;
        plant(&cluster, SLICE, slice(port, ip, json!({"kind": "Pod", "namespace": "default", "name": "p"}))).await;
        plant(&cluster, POD, pod(ip)).await;
        for path in [format!("pods/https:p:{port}"), "services/https:web:https".to_owned()] {
            let answer = cluster.get(&format!("/api/v1/namespaces/default/{path}/proxy/a")).await;
            assert_eq!(
                (answer.code, answer.line().contains("address not allowed")),
                (400, true),
                "{ip} {}",
                answer.line()
            );
        }
    }
}

#[tokio::test]
async fn another_port_of_a_node_is_not_its_kubelets() {
    let scope = Scope::root();
    let port = backend(&scope).await;
    let node = json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"},
        "status": {"addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}}},
    });
    for (cluster, expected) in [(cluster_with_backends(&scope).await, 200), (Cluster::new().await, 400)] {
        plant(&cluster, "/registry/core/nodes/n", node.clone()).await;
        let answer = cluster.get(&format!("/api/v1/nodes/https:n:{port}/proxy/a")).await;
        assert_eq!(answer.code, expected, "{}", answer.line());
        let kubelet = cluster.get("/api/v1/nodes/n:10250/proxy/a").await;
        assert_eq!(kubelet.code, 503, "{}", kubelet.line());
    }
}
