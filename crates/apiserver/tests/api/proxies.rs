//! The proxies of pods and services: to backends on the loopback, in the clear and over TLS.

use std::sync::Arc;

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

/// Writes an object as it is: through the API no endpoint leads to the loopback.
async fn plant(cluster: &Cluster, key: &str, object: Value) {
    let write = Write { key: key.to_owned(), expect: Expect::Absent, value: Some(object.to_string().into()) };
    cluster.server.registry.store().write(write).await.expect("written");
}

#[tokio::test]
async fn backends_may_speak_tls_with_any_certificate() {
    let (cluster, scope) = (Cluster::new().await, Scope::root());
    let port = backend(&scope).await;
    let service = json!({"metadata": {"name": "web"}, "spec": {"ports": [{"name": "https", "port": 443}]}});
    let made = cluster.post("/api/v1/namespaces/default/services", service).await;
    assert_eq!(made.code, 201, "{}", made.line());
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "web-1", "namespace": "default", "labels": {"kubernetes.io/service-name": "web"}},
        "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": true}}],
        "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
    });
    plant(&cluster, "/registry/discovery.k8s.io/endpointslices/default/web-1", slice).await;
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "default"},
        "spec": {"containers": [{"name": "c", "image": "i"}]}, "status": {"podIP": "127.0.0.1"},
    });
    plant(&cluster, "/registry/core/pods/default/p", pod).await;
    let namespace = "/api/v1/namespaces/default";
    for target in ["services/https:web:https", "services/https:web:443", &format!("pods/https:p:{port}")] {
        let answer = cluster.get(&format!("{namespace}/{target}/proxy/a/b?c=d")).await;
        assert_eq!((answer.code, &answer.body), (200, &json!("GET /a/b?c=d")), "{target}");
    }
    // Who does not speak TLS to it is not understood.
    let refused = cluster.get(&format!("{namespace}/services/web:https/proxy/a")).await;
    assert!(refused.code >= 500, "{}", refused.line());
}
