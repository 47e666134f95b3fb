//! Groups that other servers answer.

mod streams;
mod writes;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use apiserver::Config;
use apiserver::aggregation::ProxyClientConfig;
use apiserver::authenticator::NobodyKnown;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use component_base::Scope;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

use crate::harness::{Answer, Cluster};
use crate::streams::Ca;

pub const API_SERVICES: &str = "/apis/apiregistration.k8s.io/v1/apiservices";
pub const GROUP: &str = "ext.example.org";

/// A server of a group of its own, and the CA that signs both sides' certificates.
pub struct Extension {
    pub ca: Ca,
    port: u16,
    connections: Arc<AtomicUsize>,
    /// The paths that were asked for.
    asked: mpsc::UnboundedReceiver<String>,
    scope: Scope,
}

impl Extension {
    async fn start() -> Self {
        Self::answering(answer).await
    }

    /// A server that answers like this; the last argument says whether it was shown a certificate.
    pub async fn answering<F>(answer: F) -> Self
    where
        F: Fn(&Request<Bytes>, bool) -> Response<Full<Bytes>> + Clone + Send + Sync + 'static,
    {
        let (ca, scope) = (Ca::new(), Scope::root());
        let leaf = ca.leaf_at("extension", "ext.default.svc");
        let tls = apiserver::serve::tls_config(&leaf.cert, &leaf.key, &ca.pem).expect("TLS");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (acceptor, tasks) = (TlsAcceptor::from(Arc::new(tls)), scope.clone());
        let (told, asked) = mpsc::unbounded_channel();
        let connections = Arc::new(AtomicUsize::new(0));
        let accepted = connections.clone();
        scope.spawn("extension", async move {
            while let Ok((stream, _)) = listener.accept().await {
                accepted.fetch_add(1, Ordering::Relaxed);
                let (acceptor, answer, told) = (acceptor.clone(), answer.clone(), told.clone());
                tasks.spawn("extension/connection", async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let shown = stream.get_ref().1.peer_certificates().is_some();
                    let service = service_fn(move |request: Request<Incoming>| {
                        let _ = told.send(request.uri().path().to_owned());
                        let answer = answer.clone();
                        async move {
                            let (parts, body) = request.into_parts();
                            let body = body.collect().await?.to_bytes();
                            Ok::<_, hyper::Error>(answer(&Request::from_parts(parts, body), shown))
                        }
                    });
                    let http = hyper::server::conn::http1::Builder::new();
                    let _ = http.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { ca, port, connections, asked, scope }
    }

    /// The server that knows this one.
    pub async fn cluster(&self) -> Cluster {
        let proxy = self.ca.leaf_at("front-proxy-client", "front-proxy-client");
        let proxy_client = ProxyClientConfig {
            cert_pem: proxy.cert,
            key_pem: proxy.key,
            ca_pem: self.ca.pem.clone(),
            allowed_names: vec!["front-proxy-client".into()],
        };
        let config =
            Config { proxy_client: Some(proxy_client), client_ca_pem: self.ca.pem.clone(), ..Config::default() };
        let cluster = Cluster::with(config, Arc::new(NobodyKnown), &self.scope).await;
        let service = json!({
            "metadata": { "name": "ext" }, "spec": { "type": "ExternalName", "externalName": "localhost" },
        });
        assert_eq!(cluster.post("/api/v1/namespaces/default/services", service).await.code, 201);
        cluster
    }

    pub fn api_service(&self, version: &str, service: &str, ca: &Ca) -> Value {
        json!({
            "metadata": { "name": format!("{version}.{GROUP}") },
            "spec": {
                "group": GROUP, "version": version, "groupPriorityMinimum": 2000, "versionPriority": 10,
                "caBundle": STANDARD.encode(&ca.pem),
                "service": { "namespace": "default", "name": service, "port": self.port },
            },
        })
    }

    pub async fn end(self, cluster: Cluster) {
        drop(cluster);
        assert!(self.scope.shutdown(Duration::from_secs(30)).await, "all tasks end");
    }
}

/// Documents, and for anything else what was asked, and as whom.
fn answer(request: &Request<Bytes>, shown: bool) -> Response<Full<Bytes>> {
    let document = match request.uri().path() {
        "/apis/ext.example.org/v1" => json!({
            "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "ext.example.org/v1", "resources": [
                { "name": "things", "singularName": "thing", "namespaced": true, "kind": "Thing", "verbs": ["get", "list"] },
                { "name": "things/status", "singularName": "", "namespaced": true, "kind": "Thing", "verbs": ["get"] },
            ],
        }),
        "/openapi/v2" => json!({ "swagger": "2.0",
            "paths": { "/apis/ext.example.org/v1/things": { "get": {} }, "/healthz": { "get": {} } },
        }),
        "/openapi/v3" => json!({ "paths": {
            "apis/ext.example.org/v1": { "serverRelativeURL": "/openapi/v3/apis/ext.example.org/v1?hash=ABC" },
        } }),
        _ => {
            let mut said: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
            for (name, value) in request.headers() {
                if name.as_str().starts_with("x-") || name == "authorization" {
                    said.entry(name.as_str()).or_default().push(value.to_str().expect("text"));
                }
            }
            json!({ "kind": "Echo", "uri": request.uri().to_string(), "said": said, "shown": shown })
        }
    };
    let mut response = Response::new(Full::from(document.to_string()));
    response.headers_mut().insert("content-type", "application/json".parse().expect("a header"));
    response
}

/// Waits until the APIService's condition gives this reason.
pub async fn until(cluster: &Cluster, name: &str, reason: &str) -> Value {
    let mut events = cluster.watch(&format!("{API_SERVICES}?watch=1&fieldSelector=metadata.name%3D{name}")).await;
    loop {
        let event = events.next().await.expect("the watch goes on");
        let condition = &event["object"]["status"]["conditions"][0];
        if condition["reason"] == reason {
            return condition.clone();
        }
    }
}

pub async fn groups(cluster: &Cluster) -> Vec<String> {
    let list = cluster.get("/apis").await;
    let names = list.at("/groups").as_array().expect("groups").iter();
    names.map(|group| group["name"].as_str().expect("a name").to_owned()).collect()
}

/// The paths of the group in the index of all paths.
async fn root_paths(cluster: &Cluster) -> Vec<String> {
    let index = cluster.get("/").await;
    let paths = index.at("/paths").as_array().expect("paths").iter().filter_map(Value::as_str);
    paths.filter(|path| path.contains(GROUP)).map(str::to_owned).collect()
}

fn words(answer: &Answer) -> (u16, &str) {
    (answer.code, answer.body.as_str().unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_answered_here_has_local_api_services() {
    let cluster = Cluster::new().await;
    for (name, priority) in [("v1.", 18000), ("v1.apps", 17800), ("v2.autoscaling", 17500)] {
        let condition = until(&cluster, name, "Local").await;
        assert_eq!((&condition["type"], &condition["status"]), (&json!("Available"), &json!("True")), "{name}");
        let service = cluster.get(&format!("{API_SERVICES}/{name}")).await;
        assert_eq!(service.at("/spec/groupPriorityMinimum"), priority);
        assert_eq!(service.at("/metadata/labels/kube-aggregator.kubernetes.io~1automanaged"), "onstart");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_server_answers_its_group_as_the_user() {
    let extension = Extension::start().await;
    let cluster = extension.cluster().await;
    let trust = cluster.get("/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication").await;
    assert_eq!(trust.at("/data/requestheader-username-headers"), "[\"X-Remote-User\"]");
    assert_eq!(trust.at("/data/requestheader-allowed-names"), "[\"front-proxy-client\"]");
    assert_eq!(trust.at("/data/requestheader-client-ca-file"), extension.ca.pem.as_str());

    let created = cluster.post(API_SERVICES, extension.api_service("v1", "ext", &extension.ca)).await;
    assert_eq!(created.code, 201, "{}", created.line());
    until(&cluster, "v1.ext.example.org", "Passed").await;

    let request = Request::builder()
        .uri("/apis/ext.example.org/v1/namespaces/a/things/x?watch=0&y=%2F")
        .header("authorization", "Bearer secret")
        .header("x-remote-user", "somebody else")
        .header("x-own", "kept");
    let echo = cluster.ask(request, "").await;
    assert_eq!(echo.at("/uri"), "/apis/ext.example.org/v1/namespaces/a/things/x?watch=0&y=%2F");
    let said = json!({
        "x-own": ["kept"], "x-remote-group": ["system:masters", "system:authenticated"], "x-remote-user": ["admin"],
    });
    assert_eq!((echo.at("/said"), echo.at("/shown")), (&said, &json!(true)));

    assert!(groups(&cluster).await.iter().any(|name| name == GROUP));
    assert_eq!(root_paths(&cluster).await, ["/apis/ext.example.org", "/apis/ext.example.org/v1"]);
    let group = cluster.get("/apis/ext.example.org").await;
    assert_eq!(group.at("/preferredVersion/groupVersion"), "ext.example.org/v1");
    assert_eq!(cluster.get("/apis/ext.example.org/v1").await.at("/kind"), "APIResourceList");
    let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let discovery = cluster.ask(Request::builder().uri("/apis").header("accept", accept), "").await;
    let items = discovery.at("/items").as_array().expect("items");
    let item = items.iter().find(|item| item["metadata"]["name"] == GROUP).expect("the group");
    assert_eq!(item["versions"][0]["freshness"], "Current");
    assert_eq!(item["versions"][0]["resources"][0]["subresources"][0]["subresource"], "status");
    let index = cluster.get("/openapi/v3").await;
    let url = index.at("/paths/apis~1ext.example.org~1v1/serverRelativeURL");
    assert_eq!(url, "/openapi/v3/apis/ext.example.org/v1?hash=ABC");
    assert_eq!(cluster.get(url.as_str().expect("a path")).await.at("/uri"), url);

    let merged = cluster.get("/openapi/v2").await;
    assert!(merged.at("/paths/~1apis~1ext.example.org~1v1~1things/get").is_object());
    assert_eq!(merged.at("/paths/~1healthz"), &Value::Null, "only its group version");
    assert!(merged.at("/definitions/io.k8s.api.core.v1.Pod").is_object());

    cluster.delete(&format!("{API_SERVICES}/v1.ext.example.org")).await;
    let mut gone = false;
    for _ in 0..10_000 {
        gone = cluster.get("/apis/ext.example.org/v1/things").await.code == 404;
        if gone {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert!(gone && !groups(&cluster).await.iter().any(|name| name == GROUP));
    assert_eq!(root_paths(&cluster).await, [""; 0]);
    extension.end(cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_cannot_be_trusted_or_found_answers_nothing() {
    let extension = Extension::start().await;
    let cluster = extension.cluster().await;
    let stranger = Ca::new();
    cluster.post(API_SERVICES, extension.api_service("v1", "ext", &stranger)).await;
    let condition = until(&cluster, "v1.ext.example.org", "FailedDiscoveryCheck").await;
    assert_eq!(condition["status"], "False", "{condition}");
    let refused = cluster.get("/apis/ext.example.org/v1/things").await;
    assert_eq!(words(&refused), (503, "service unavailable\n"));

    cluster.post(API_SERVICES, extension.api_service("v2", "nothing", &extension.ca)).await;
    let condition = until(&cluster, "v2.ext.example.org", "ServiceNotFound").await;
    assert_eq!(condition["message"], "service/nothing in \"default\" is not present");
    let refused = cluster.get("/apis/ext.example.org/v2/things").await;
    assert_eq!(words(&refused), (503, "service unavailable\n"));
    let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let discovery = cluster.ask(Request::builder().uri("/apis").header("accept", accept), "").await;
    let items = discovery.at("/items").as_array().expect("items");
    let item = items.iter().find(|item| item["metadata"]["name"] == GROUP).expect("the group");
    assert_eq!(item["versions"][0]["freshness"], "Stale");

    let mut unchecked = extension.api_service("v1", "ext", &extension.ca);
    unchecked["spec"]["insecureSkipTLSVerify"] = true.into();
    unchecked["spec"]["caBundle"] = Value::Null;
    cluster.patch("merge", &format!("{API_SERVICES}/v1.ext.example.org"), unchecked).await;
    until(&cluster, "v1.ext.example.org", "Passed").await;
    assert_eq!(cluster.get("/apis/ext.example.org/v1/things").await.at("/kind"), "Echo");
    extension.end(cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_serves_for_many_requests() {
    let extension = Extension::start().await;
    let cluster = extension.cluster().await;
    cluster.post(API_SERVICES, extension.api_service("v1", "ext", &extension.ca)).await;
    until(&cluster, "v1.ext.example.org", "Passed").await;
    for _ in 0..20 {
        assert_eq!(cluster.get("/apis/ext.example.org/v1/things").await.at("/kind"), "Echo");
    }
    // Checks may be under way at the same time.
    let connections = extension.connections.load(Ordering::Relaxed);
    assert!(connections < 5, "{connections} connections");
    extension.end(cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_concerns_its_own_server_alone() {
    let mut extension = Extension::start().await;
    let cluster = extension.cluster().await;
    for version in ["v1", "v2"] {
        cluster.post(API_SERVICES, extension.api_service(version, "ext", &extension.ca)).await;
        until(&cluster, &format!("{version}.ext.example.org"), "Passed").await;
    }
    while extension.asked.try_recv().is_ok() {}
    let priority = json!({ "spec": { "versionPriority": 20 } });
    cluster.patch("merge", &format!("{API_SERVICES}/v2.ext.example.org"), priority).await;
    let mut asked = Vec::new();
    while asked.last().is_none_or(|path| path != "/openapi/v2") {
        let next = tokio::time::timeout(Duration::from_secs(30), extension.asked.recv()).await;
        asked.push(next.expect("in time").expect("it is there"));
    }
    assert!(asked.iter().all(|path| path != "/apis/ext.example.org/v1"), "{asked:?}");
    extension.end(cluster).await;
}
