//! The API server under load: 32 connections, HTTP/2, TLS, a client certificate, every write durable.
//!
//! The work is that of the table in BENCHMARKS.md for kube-apiserver 1.20 with etcd 3.4. The generator shares the
//! machine's cores with the server, so the server's own CPU time per operation says more than the rate.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::join_all;
use http::Method;
use http_body_util::BodyExt;
use testkit::{Background, Machine};

use crate::connection::{Connection, Dialer};
use crate::figures::{quantile, sorted};
use crate::process::Processes;

const CONNECTIONS: usize = 32;
const PODS: usize = 5_000;
const GETS: usize = 40_000;
const LISTS: usize = 96;
const LABEL_LISTS: usize = 2_000;
/// Of the pods, so many carry each label.
const LABEL_SHARE: usize = 100;
const WATCHES: usize = 100;
const UPDATES: usize = 500;
const MANY_PODS: usize = 100_000;
const MANY_WIDGETS: usize = 20_000;
const IDLE_WATCHES: usize = 1_000;
/// The size of a pod as it is stored and served.
const POD_BYTES: usize = 2_600;
const COLLECTION: &str = "/api/v1/namespaces/default/pods";
const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const WIDGETS: &str = "/apis/bench.example/v1/namespaces/default/widgets";
const JSON: &str = "application/json";
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";

/// Prints the tables.
pub async fn measure(machine: &Machine, kaji: &Path) {
    let server = Server::start(machine, kaji).await;
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        connections.push(server.dialer.dial().await);
    }
    let load = Load { connections, server: &server };
    load.service_account().await;
    let padding = load.padding().await;

    println!("\n| API server | rate | p50 | p99 | server's CPU each | resident |\n|---|---|---|---|---|---|");
    let create =
        |n: usize| Call { method: Method::POST, path: COLLECTION.to_owned(), kind: JSON, body: pod(n, padding) };
    load.run("create", PODS, create).await;
    load.run("get", GETS, |n| get(&format!("{COLLECTION}/p{}", n % PODS))).await;
    load.run("strategic merge patch", PODS, |n| patch(n, STRATEGIC, "patched")).await;
    load.run(&format!("list {PODS} pods"), LISTS, |_| get(COLLECTION)).await;
    let label = |n: usize| get(&format!("{COLLECTION}?labelSelector=bench%3Dg{}", n % (PODS / LABEL_SHARE)));
    load.run(&format!("list {LABEL_SHARE} of them by label"), LABEL_LISTS, label).await;
    load.watches().await;
    load.run("delete", PODS, delete).await;
    println!("\nThe server's peak: {:.0} MB resident.", server.processes.peak());

    load.memory(padding).await;
}

/// A `kaji server` with nothing but the API.
struct Server {
    processes: Processes,
    dialer: Dialer,
    _process: Background,
}

impl Server {
    async fn start(machine: &Machine, kaji: &Path) -> Self {
        let path = |name: &str| machine.dir().join(name).display().to_string();
        let (data, run, kubeconfig) = (path("data"), path("run"), path("api.kubeconfig"));
        let args = ["server", "--disable-agent", "--disable-scheduler", "--disable-controller-manager"];
        let places = ["--data-dir", &data, "--run-dir", &run, "--write-kubeconfig", &kubeconfig];
        let process = machine.spawn(kaji, &[&args[..], &places[..]].concat());
        let kubeconfig = loop {
            // The socket is there before anything is served, so a connection is all there is to wait for.
            match kube::config::Kubeconfig::read_from(&kubeconfig) {
                Ok(found) if tokio::net::TcpStream::connect("127.0.0.1:6443").await.is_ok() => break found,
                _ => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        };
        let server =
            Self { processes: Processes::one(process.id()), dialer: Dialer::new(&kubeconfig), _process: process };
        server.dialer.dial().await.call(&Method::GET, "/readyz", JSON, Bytes::new()).await;
        server
    }
}

struct Call {
    method: Method,
    path: String,
    kind: &'static str,
    body: Bytes,
}

fn get(path: &str) -> Call {
    Call { method: Method::GET, path: path.to_owned(), kind: JSON, body: Bytes::new() }
}

fn delete(n: usize) -> Call {
    let path = format!("{COLLECTION}/p{n}?gracePeriodSeconds=0");
    Call { method: Method::DELETE, path, kind: JSON, body: Bytes::new() }
}

fn patch(n: usize, kind: &'static str, value: &str) -> Call {
    let body = serde_json::json!({"metadata": {"annotations": {"bench": value}}});
    Call { method: Method::PATCH, path: format!("{COLLECTION}/p{n}"), kind, body: body.to_string().into() }
}

/// A pod that nobody schedules.
fn pod(n: usize, padding: usize) -> Bytes {
    let pod = serde_json::json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": format!("p{n}"),
            "labels": {"app": "bench", "bench": format!("g{}", n % (PODS / LABEL_SHARE))},
            "annotations": {"padding": "x".repeat(padding)},
        },
        "spec": {
            "schedulerName": "nobody",
            "containers": [{
                "name": "main", "image": "registry.example/team/app:1.0", "ports": [{"containerPort": 8080}],
                "env": [{"name": "PORT", "value": "8080"}, {"name": "MODE", "value": "bench"}],
                "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
                "readinessProbe": {"httpGet": {"path": "/healthz", "port": 8080}},
            }],
        },
    });
    pod.to_string().into()
}

/// A kind that nobody knew before.
fn definition() -> Bytes {
    let definition = serde_json::json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.bench.example"},
        "spec": {
            "group": "bench.example", "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget"},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {
                    "type": "object",
                    "properties": {"spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
                }},
            }],
        },
    });
    definition.to_string().into()
}

fn widget(n: usize, padding: usize) -> Bytes {
    let widget = serde_json::json!({
        "apiVersion": "bench.example/v1", "kind": "Widget",
        "metadata": {"name": format!("w{n}"), "labels": {"app": "bench"}},
        "spec": {"size": n, "padding": "x".repeat(padding)},
    });
    widget.to_string().into()
}

struct Load<'a> {
    connections: Vec<Connection>,
    server: &'a Server,
}

impl Load<'_> {
    /// The one that pods of the namespace have; its controller does not run.
    async fn service_account(&self) {
        let account = Bytes::from_static(br#"{"metadata":{"name":"default"}}"#);
        let path = "/api/v1/namespaces/default/serviceaccounts";
        self.connections[0].clone().call(&Method::POST, path, JSON, account).await;
    }

    /// How much makes a pod as large as it shall be.
    async fn padding(&self) -> usize {
        let mut connection = self.connections[0].clone();
        let size = connection.call(&Method::POST, COLLECTION, JSON, pod(0, 0)).await;
        let call = delete(0);
        connection.call(&call.method, &call.path, call.kind, call.body).await;
        POD_BYTES.saturating_sub(size)
    }

    /// `count` calls, one at a time on each connection.
    async fn all(&self, count: usize, call: impl Fn(usize) -> Call) -> Vec<Duration> {
        let next = AtomicUsize::new(0);
        let worker = |mut connection: Connection| {
            let (next, call) = (&next, &call);
            async move {
                let mut times = Vec::new();
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= count {
                        return times;
                    }
                    let Call { method, path, kind, body } = call(n);
                    let begun = Instant::now();
                    connection.call(&method, &path, kind, body).await;
                    times.push(begun.elapsed());
                }
            }
        };
        join_all(self.connections.iter().cloned().map(worker)).await.concat()
    }

    async fn run(&self, what: &str, count: usize, call: impl Fn(usize) -> Call) {
        let (begun, before) = (Instant::now(), self.server.processes.cpu());
        let times = self.all(count, call).await;
        self.row(what, &times, begun.elapsed(), self.server.processes.cpu() - before);
    }

    fn row(&self, what: &str, times: &[Duration], took: Duration, cpu: Duration) {
        let count = times.len() as f64;
        let times = sorted(times);
        println!(
            "| {what} | {:.0}/s | {:.2} ms | {:.2} ms | {:.4} ms | {:.0} MB |",
            count / took.as_secs_f64(),
            quantile(&times, 0.5).as_secs_f64() * 1e3,
            quantile(&times, 0.99).as_secs_f64() * 1e3,
            cpu.as_secs_f64() * 1e3 / count,
            self.server.processes.memory().0,
        );
    }

    /// The store's revision.
    async fn revision(&self) -> String {
        let response =
            self.connections[0].clone().open(&Method::GET, &format!("{COLLECTION}?limit=1"), JSON, Bytes::new()).await;
        let body = response.into_body().collect().await.expect("a whole answer").to_bytes();
        let list: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        list["metadata"]["resourceVersion"].as_str().expect("a revision").to_owned()
    }

    /// Everybody watches while pods change: how many events arrive in a second, and how late.
    async fn watches(&self) {
        let origin = Instant::now();
        let now = self.revision().await;
        let mut watches = Vec::new();
        for n in 0..WATCHES {
            let mut connection = self.connections[n % CONNECTIONS].clone();
            // Without a revision a watch would begin with all pods; it begins with what comes.
            let path = format!("{COLLECTION}?watch=true&resourceVersion={now}");
            let response = connection.open(&Method::GET, &path, JSON, Bytes::new()).await;
            watches.push(tokio::spawn(lags(response.into_body(), origin)));
        }
        let (begun, before) = (Instant::now(), self.server.processes.cpu());
        self.all(UPDATES, |n| patch(n, MERGE, &format!("at{}.", origin.elapsed().as_nanos()))).await;
        let lags: Vec<Duration> = join_all(watches).await.into_iter().flat_map(|lags| lags.expect("a watch")).collect();
        let what = format!("event to each of {WATCHES} watches, {UPDATES} updates (times are lags)");
        self.row(&what, &lags, begun.elapsed(), self.server.processes.cpu() - before);
    }

    /// What many objects cost, of which `make` makes the bodies.
    async fn objects(&self, what: &str, count: usize, path: &str, make: impl Fn(usize) -> Bytes) {
        let begin = self.server.processes.memory().0;
        let create = |n: usize| Call { method: Method::POST, path: path.to_owned(), kind: JSON, body: make(n) };
        self.all(count, create).await;
        let grown = self.server.processes.memory().0 - begin;
        println!("\n{count} {what} of {POD_BYTES} bytes: {grown:.0} MB, {:.1} kB each.", grown * 1e3 / count as f64);
    }

    /// What an object and a watch cost when there are many.
    async fn memory(&self, padding: usize) {
        self.objects("pods", MANY_PODS, COLLECTION, |n| pod(n, padding)).await;
        let connection = &mut self.connections[0].clone();
        connection.call(&Method::POST, DEFINITIONS, JSON, definition()).await;
        let size = connection.call(&Method::POST, WIDGETS, JSON, widget(MANY_WIDGETS, 0)).await;
        let padding = POD_BYTES.saturating_sub(size);
        self.objects("custom resources", MANY_WIDGETS, WIDGETS, |n| widget(n, padding)).await;
        let full = self.server.processes.memory().0;
        let now = self.revision().await;
        let mut bodies = Vec::new();
        for _ in 0..IDLE_WATCHES {
            let path = format!("{COLLECTION}?watch=true&resourceVersion={now}");
            bodies.push(connection.open(&Method::GET, &path, JSON, Bytes::new()).await);
        }
        let watched = self.server.processes.memory().0;
        println!("{IDLE_WATCHES} idle watches: {:.1} kB each.", (watched - full) * 1e3 / IDLE_WATCHES as f64);
    }
}

/// Reads a watch until all updates came; answers how late each was.
async fn lags(mut body: hyper::body::Incoming, origin: Instant) -> Vec<Duration> {
    let mut lags = Vec::with_capacity(UPDATES);
    let marker = memchr::memmem::Finder::new(b"\"bench\":\"at");
    let mut rest: Vec<u8> = Vec::new();
    while lags.len() < UPDATES {
        let frame = body.frame().await.expect("the watch goes on").expect("a whole frame");
        rest.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
        let now = origin.elapsed();
        while let Some(end) = memchr::memchr(b'\n', &rest) {
            let sent = marker.find(&rest[..end]).and_then(|at| {
                let digits = &rest[at + 11..end];
                let digits = &digits[..memchr::memchr(b'.', digits)?];
                std::str::from_utf8(digits).ok()?.parse::<u64>().ok()
            });
            lags.extend(sent.map(|nanos| now.saturating_sub(Duration::from_nanos(nanos))));
            rest.drain(..=end);
        }
    }
    lags
}
