//! A control plane without a node, and a node without a kernel.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use apimachinery::UserInfo;
use client::corev1::pod::node_name;
use client::informer::Cacheable;
use client::{Client, Event, Informers, Lister, Recorder};
use component_base::Scope;
use controllers::{ClientBuilder, Controllers};
use k8s_openapi::api::core::v1::{Node, Pod, ServiceAccount};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Resource, ResourceExt};
use scheduler::Scheduler;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use testserver::{Placed, TestServer};
use tokio::sync::{Notify, mpsc};

/// Longer than anything here takes, on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running control plane, in an administrator's hands.
pub struct Cluster {
    pub client: Client,
    pub informers: Informers,
    scope: Scope,
}

impl Cluster {
    /// API server, scheduler and all controllers, each with the identity it has in a real cluster.
    pub async fn start() -> Self {
        let scope = Scope::root();
        let server = TestServer::start(&scope).await;
        let of = |name: &str| server.client(UserInfo::new(name, Vec::<String>::new()));

        let manager = of("system:kube-controller-manager");
        let shared = Informers::new(manager, &scope);
        let config = controllers::Config {
            root_ca_pem: "the CA".into(),
            cluster_cidr: "10.244.0.0/16".parse().expect("a range"),
            node_cidr_mask: 24,
            terminated_pod_threshold: 100,
            signing: None,
            token_generator: None,
        };
        let behind = server.clone();
        let clients: ClientBuilder = Arc::new(move |name| {
            let groups = ["system:serviceaccounts", "system:serviceaccounts:kube-system"];
            let user = UserInfo::new(format!("system:serviceaccount:kube-system:{name}"), groups);
            behind.client(user)
        });
        Controllers::build(config, clients, &shared).expect("the configuration is right").run(&scope);

        let scheduler = of("system:kube-scheduler");
        let informers = Informers::new(scheduler.clone(), &scope);
        let recorder = Recorder::new(scheduler.clone(), "default-scheduler", None, &scope);
        let built = Scheduler::build(scheduler::Config::default(), scheduler, &informers, recorder);
        built.expect("the configuration is right").run(&scope);

        let admin = server.admin();
        let informers = Informers::new(admin.clone(), &scope);
        let cluster = Self { client: admin, informers, scope };
        cluster.ready("default").await;
        cluster
    }

    /// A control plane and one node.
    pub async fn with_node() -> Self {
        let cluster = Self::start().await;
        cluster.add_node("kaji", "4").await;
        cluster
    }

    /// Pods can be made in a namespace once it has its service account.
    pub async fn ready(&self, namespace: &str) {
        self.until::<ServiceAccount, _>("a service account", |all| {
            all.list_in(namespace).iter().any(|one| one.name_any() == "default").then_some(())
        })
        .await;
    }

    /// Adds a node whose pods run at once and end at once.
    pub async fn add_node(&self, name: &str, cpu: &str) {
        let node = json!({
            "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, "topology.kubernetes.io/zone": "here"}},
        });
        self.create::<Node>(None, node).await;
        let status = json!({"status": {
            "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}],
            "capacity": {"cpu": cpu, "memory": "8Gi", "pods": "110"},
            "allocatable": {"cpu": cpu, "memory": "8Gi", "pods": "110"},
        }});
        let api: Api<Node> = Api::all(self.client.clone());
        api.patch_status(name, &PatchParams::default(), &Patch::Strategic(status)).await.expect("the node is ready");
        self.imitate_kubelet(name);
        // Until the controllers have seen it ready it is tainted.
        let free = |node: &Arc<Node>| node.spec.as_ref().is_none_or(|spec| spec.taints.is_none());
        self.until::<Node, _>("a node without taints", |all| {
            all.list().iter().any(|node| node.name_any() == name && free(node)).then_some(())
        })
        .await;
    }

    fn imitate_kubelet(&self, node: &str) {
        let (sender, mut receiver) = mpsc::unbounded_channel::<Arc<Pod>>();
        let here = node.to_owned();
        self.informers.informer::<Pod>().on_event(move |event| {
            if !matches!(event, Event::Deleted(_)) && node_name(event.object()) == Some(&here) {
                // The receiver ends with the test.
                let _ = sender.send(event.object().clone());
            }
        });
        let client = self.client.clone();
        self.scope.spawn("kubelet", async move {
            while let Some(pod) = receiver.recv().await {
                act(&client, &pod).await;
            }
        });
    }

    /// Creates an object from JSON.
    pub async fn create<K: Made>(&self, namespace: Option<&str>, object: Value) -> K {
        let object: K = serde_json::from_value(object).expect("an object");
        let api = K::api(&self.client, namespace.unwrap_or_default());
        api.create(&PostParams::default(), &object).await.expect("it is created")
    }

    /// Merges a patch into an object.
    pub async fn patch<K: Made>(&self, namespace: &str, name: &str, patch: Value) -> K {
        let api = K::api(&self.client, namespace);
        api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.expect("it is patched")
    }

    /// Code and message of the refusal of an object.
    pub async fn refused<K: Made>(&self, namespace: &str, object: Value) -> String {
        let object: K = serde_json::from_value(object).expect("an object");
        refusal(K::api(&self.client, namespace).create(&PostParams::default(), &object).await)
    }

    /// Code and message of the refusal of a strategic patch.
    pub async fn patch_refused<K: Made>(&self, namespace: &str, name: &str, patch: Value) -> String {
        let (api, params) = (K::api(&self.client, namespace), PatchParams::default());
        refusal(api.patch(name, &params, &Patch::Strategic(patch)).await)
    }

    /// Deletes an object.
    pub async fn delete<K: Made>(&self, namespace: &str, name: &str, params: DeleteParams) {
        K::api(&self.client, namespace).delete(name, &params).await.expect("it is deleted");
    }

    /// Waits until `look` finds what it looks for among the objects of a kind; each change makes it look again.
    pub async fn until<K: Cacheable, T>(&self, what: &str, look: impl Fn(&Lister<K>) -> Option<T>) -> T {
        let informer = self.informers.informer::<K>();
        let changed = Arc::new(Notify::new());
        let tell = changed.clone();
        informer.on_event(move |_| tell.notify_one());
        let lister = informer.lister();
        let found = async {
            // What nobody has heard of yet is not gone.
            informer.synced().await;
            loop {
                if let Some(found) = look(&lister) {
                    return found;
                }
                changed.notified().await;
            }
        };
        match tokio::time::timeout(PATIENCE, found).await {
            Ok(found) => found,
            Err(_) => panic!("waited in vain for {what}; there is: {:#?}", lister.list()),
        }
    }

    /// Ends everything.
    pub async fn stop(self) {
        assert!(self.scope.shutdown(PATIENCE).await, "every task ends");
    }
}

fn refusal<K: Debug>(result: Result<K, kube::Error>) -> String {
    match result {
        Err(kube::Error::Api(status)) => format!("{} {}", status.code, status.message),
        other => panic!("it was not refused: {other:?}"),
    }
}

/// What tests create.
pub trait Made: Resource<DynamicType = ()> + Placed + Clone + DeserializeOwned + serde::Serialize + Debug {}

impl<K: Resource<DynamicType = ()> + Placed + Clone + DeserializeOwned + serde::Serialize + Debug> Made for K {}

/// What a kubelet would do: run a pod, or let it go.
async fn act(client: &Client, pod: &Pod) {
    static ADDRESSES: AtomicUsize = AtomicUsize::new(2);
    let api: Api<Pod> = Api::namespaced(client.clone(), &pod.namespace().unwrap_or_default());
    let name = pod.name_any();
    if pod.metadata.deletion_timestamp.is_some() {
        // Another pass may have removed it already.
        let _ = api.delete(&name, &DeleteParams::default().grace_period(0)).await;
        return;
    }
    if pod.labels().get("test").map(String::as_str) == Some("ends") {
        let ended = json!({"status": {"phase": "Succeeded"}});
        if client::corev1::pod::phase(pod) != "Succeeded" {
            let _ = api.patch_status(&name, &PatchParams::default(), &Patch::Strategic(ended)).await;
        }
        return;
    }
    let stays_unready = pod.labels().get("test").map(String::as_str) == Some("never-ready");
    if client::corev1::pod::phase(pod) == "Running" || stays_unready {
        return;
    }
    let number = ADDRESSES.fetch_add(1, Ordering::Relaxed);
    let ip = format!("10.244.{}.{}", number / 250, number % 250 + 1);
    let now = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(component_base::now());
    let ready = json!({"type": "Ready", "status": "True", "lastTransitionTime": now});
    let status = json!({"status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}], "conditions": [ready]}});
    let _ = api.patch_status(&name, &PatchParams::default(), &Patch::Strategic(status)).await;
}

/// A pod template of a label `app`.
pub fn template(app: &str, image: &str) -> Value {
    json!({
        "metadata": {"labels": {"app": app}},
        "spec": {"terminationGracePeriodSeconds": 5, "containers": [{"name": "main", "image": image,
            "ports": [{"name": "http", "containerPort": 8080}], "resources": {"requests": {"cpu": "10m"}}}]},
    })
}

/// A deployment of so many replicas.
pub fn deployment(name: &str, replicas: i32, more: Value) -> Value {
    let mut spec = json!({
        "replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template(name, "app:1"),
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        spec[key] = value.clone();
    }
    json!({"metadata": {"name": name}, "spec": spec})
}

/// The objects of a namespace with a label.
pub fn labeled<K: Cacheable>(all: &Lister<K>, namespace: &str, key: &str, value: &str) -> Vec<Arc<K>> {
    let has = |object: &Arc<K>| object.labels().get(key).map(String::as_str) == Some(value);
    all.list_in(namespace).into_iter().filter(has).collect()
}
