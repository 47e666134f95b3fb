//! One API server and one kubelet, which can be restarted.

use std::fmt::Debug;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use apimachinery::UserInfo;
use client::{Client, Informers};
use component_base::Scope;
use futures::StreamExt;
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use kube::api::{DeleteParams, PostParams};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::watch_object;
use kube::{Api, Resource};
use kubelet::{Config, Kubelet};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tempfile::TempDir;
use testserver::{Placed, TestServer};

use crate::fakes::{FakeCgroups, FakeImages, FakeNetwork, FakeRuntime};

const PATIENCE: Duration = Duration::from_secs(60);
const NODE: &str = "node";

/// The machine under test.
pub struct Machine {
    pub runtime: Arc<FakeRuntime>,
    pub network: Arc<FakeNetwork>,
    admin: Client,
    of_node: Client,
    dir: TempDir,
    scope: Scope,
    kubelet: Scope,
}

impl Machine {
    /// An API server with a node.
    pub async fn start() -> Self {
        let scope = Scope::root();
        let server = TestServer::start(&scope).await;
        let (admin, of_node) =
            (server.admin(), server.client(UserInfo::new(format!("system:node:{NODE}"), ["system:nodes"])));
        let mut machine = Self {
            runtime: FakeRuntime::new(),
            network: Arc::default(),
            admin,
            of_node,
            dir: tempfile::tempdir().expect("a directory"),
            kubelet: Scope::root(),
            scope,
        };
        machine.create::<ServiceAccount>(json!({"metadata": {"name": "default"}})).await;
        machine.start_kubelet().await;
        machine
    }

    /// Starts the kubelet (again).
    pub async fn start_kubelet(&mut self) {
        self.kubelet = Scope::root();
        let config = Config {
            node_name: NODE.to_owned(),
            node_ip: Ipv4Addr::LOCALHOST.into(),
            data_dir: self.dir.path().to_owned(),
            pod_log_dir: self.dir.path().join("logs"),
            cgroup_root: "/none".to_owned(),
            cluster_dns: None,
            cluster_domain: "cluster.local".to_owned(),
            resolv_conf: "/etc/resolv.conf".into(),
            max_pods: 110,
            pod_cidr: Some("10.244.0.0/24".to_owned()),
            node_labels: Vec::new(),
            port: 10250,
            tls: None,
            kubernetes_service: None,
        };
        let deps = kubelet::Deps {
            client: self.of_node.clone(),
            informers: Informers::new(self.of_node.clone(), &self.kubelet),
            runtime: self.runtime.clone(),
            images: Arc::new(FakeImages),
            network: self.network.clone(),
            cgroups: Arc::new(FakeCgroups),
        };
        let kubelet = Kubelet::build(config, deps).expect("the configuration is right");
        tokio::time::timeout(PATIENCE, kubelet.run(&self.kubelet)).await.expect("in time").expect("it runs");
    }

    /// Ends the kubelet as a crash would: the runtime keeps what it has.
    pub async fn stop_kubelet(&mut self) {
        assert!(self.kubelet.shutdown(PATIENCE).await, "every task ends");
    }

    /// Ends everything.
    pub async fn stop(mut self) {
        self.stop_kubelet().await;
        assert!(self.scope.shutdown(PATIENCE).await, "every task ends");
    }

    /// Makes an object in the default namespace.
    pub async fn create<K>(&self, object: Value) -> K
    where
        K: Placed + serde::Serialize + DeserializeOwned + Clone + Debug,
    {
        let object: K = serde_json::from_value(object).expect("an object");
        let api = K::api(&self.admin, "default");
        api.create(&PostParams::default(), &object).await.expect("it is created")
    }

    /// Makes a pod of one container `c` on the node.
    pub async fn pod(&self, name: &str, container: Value) {
        let mut container = container;
        container["name"] = json!("c");
        container["imagePullPolicy"] = json!("IfNotPresent");
        self.pod_with(name, json!({"containers": [container]})).await;
    }

    /// Makes a pod on the node.
    pub async fn pod_with(&self, name: &str, spec: Value) {
        let mut spec = spec;
        spec["nodeName"] = json!(NODE);
        spec["automountServiceAccountToken"] = json!(false);
        self.create::<Pod>(json!({"metadata": {"name": name}, "spec": spec})).await;
    }

    /// Deletes a pod and lets it end in its own time.
    pub async fn delete(&self, name: &str) {
        let api: Api<Pod> = Api::namespaced(self.admin.clone(), "default");
        api.delete(name, &DeleteParams::default()).await.expect("it is deleted");
    }

    /// Removes a pod from the API without asking the node.
    pub async fn delete_at_once(&self, name: &str) {
        let api: Api<Pod> = Api::namespaced(self.admin.clone(), "default");
        api.delete(name, &DeleteParams::default().grace_period(0)).await.expect("it is deleted");
    }

    /// Waits until a pod is gone.
    pub async fn until_gone(&self, name: &str) {
        let api: Api<Pod> = Api::namespaced(self.admin.clone(), "default");
        let mut changes = Box::pin(watch_object(api, name).default_backoff());
        let wait = async { while !matches!(changes.next().await, Some(Ok(None))) {} };
        tokio::time::timeout(PATIENCE, wait).await.expect("the pod goes");
    }

    /// Waits until an object is as wanted; without a namespace it is one of the cluster.
    pub async fn until<K>(&self, namespace: Option<&str>, name: &str, wanted: impl Fn(&K) -> bool) -> K
    where
        K: Resource<DynamicType = ()> + DeserializeOwned + Clone + Debug + Send + 'static,
        K: Placed,
    {
        let api = K::api(&self.admin, namespace.unwrap_or_default());
        let mut changes = Box::pin(watch_object(api, name).default_backoff());
        let mut last = None;
        let wait = async {
            loop {
                match changes.next().await.expect("a watch does not end") {
                    Ok(Some(object)) if wanted(&object) => return object,
                    Ok(object) => last = object,
                    Err(_) => {}
                }
            }
        };
        let found = tokio::time::timeout(PATIENCE, wait).await;
        found.unwrap_or_else(|_| panic!("{name} does not get there: {last:?}"))
    }
}
