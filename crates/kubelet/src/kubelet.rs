//! The kubelet itself: one worker a pod, fed by one informer and by what the runtime reports.

mod adopt;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use client::{Client, Event, Informers, Recorder};
use component_base::Scope;
use cri::cgroup::CgroupManager;
use cri::{ContainerState, ImageService, Resources, RuntimeService};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use parking_lot::{Mutex, RwLock};
use tokio::sync::{Semaphore, broadcast, mpsc, watch};

use crate::config::{Config, ConfigError};
use crate::container::dns::Resolver;
use crate::container::resources::MIN_SHARES;
use crate::context::{Context, PULLS};
use crate::logs;
use crate::network::PodNetwork;
use crate::node::lease;
use crate::node::machine::MachineInfo;
use crate::node::register::Registrar;
use crate::pod::PodRef;
use crate::pod::machine::Adopted;
use crate::pod::worker::{Latest, Message, PodView, Worker};
use crate::sources::Sources;
use crate::volumes::token::ApiTokens;

/// How often the sizes of logs are looked at.
const LOG_MONITOR: std::time::Duration = std::time::Duration::from_secs(10);

/// Messages a worker may be behind before it is told to look for itself.
const INBOX: usize = 64;

/// What a kubelet works with.
pub struct Deps {
    /// The API, as this node (`system:node:<name>`).
    pub client: Client,
    /// Caches that read as this node.
    pub informers: Informers,
    /// Sandboxes and containers.
    pub runtime: Arc<dyn RuntimeService>,
    /// Images.
    pub images: Arc<dyn ImageService>,
    /// Namespaces and addresses.
    pub network: Arc<dyn PodNetwork>,
    /// Control groups.
    pub cgroups: Arc<dyn CgroupManager>,
}

/// Why a kubelet cannot be built or run.
#[derive(Debug, thiserror::Error)]
pub enum KubeletError {
    /// The configuration says something impossible.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The endpoint's port could not be opened.
    #[error("listening on port {port}")]
    Listen {
        /// The port.
        port: u16,
        /// Why.
        #[source]
        err: std::io::Error,
    },
    /// The runtime does not answer.
    #[error("asking the runtime what it runs")]
    Runtime(#[source] cri::Error),
}

/// The node's agent.
pub struct Kubelet {
    config: Config,
    deps: Deps,
}

impl Kubelet {
    /// A kubelet that has not begun.
    pub fn build(config: Config, deps: Deps) -> Result<Self, KubeletError> {
        config.validate()?;
        Ok(Self { config, deps })
    }

    /// Registers the node, takes over what runs, and runs pods until the scope ends. Returns once the node is
    /// registered; the rest goes on in tasks of `scope`.
    pub async fn run(self, scope: &Scope) -> Result<(), KubeletError> {
        let Self { config, deps } = self;
        // Files of pods are written by the modes we give, whatever the caller's mask.
        if let Err(err) = std::fs::create_dir_all(config.pods_dir()) {
            tracing::warn!(error = %err, "making the directory of pods failed");
        }
        let resolver = std::fs::read_to_string(&config.resolv_conf).unwrap_or_default();
        let pods = deps.informers.informer_where::<Pod>(&format!("spec.nodeName={}", config.node_name));
        let cx = Arc::new(Context {
            machine: MachineInfo::read(&config.data_dir),
            resolver: Resolver::parse(&resolver),
            sources: Sources::new(&deps.client, scope),
            tokens: Arc::new(ApiTokens(deps.client.clone())),
            recorder: Recorder::new(deps.client.clone(), "kubelet", Some(&config.node_name), scope),
            services: deps.informers.informer(),
            node_changed: Arc::default(),
            images_changed: watch::Sender::new(()),
            pulls: Semaphore::new(PULLS),
            scope: scope.clone(),
            config,
            runtime: deps.runtime,
            images: deps.images,
            network: deps.network,
            cgroups: deps.cgroups,
            client: deps.client,
        });
        prepare_cgroups(&cx);
        // Subscribed before the list, so that nothing falls in between.
        let events = cx.runtime.events();
        let adopted = adopt::what_runs(&cx).await.map_err(KubeletError::Runtime)?;
        let workers = Arc::new(Workers { cx: cx.clone(), adopted: Mutex::new(adopted), running: RwLock::default() });
        crate::server::serve(&cx, &workers, scope).await?;
        let registrar = Arc::new(Registrar::new(cx.clone()));
        let node = registrar.register().await;
        scope.spawn("node-lease", lease::run(cx.client.clone(), node.clone()));
        scope.spawn("node-status", registrar.run(node));
        // Before the first worker begins, so that what is left over is told from what is new.
        pods.synced().await;
        let live: BTreeSet<String> = pods.lister().list().iter().filter_map(|pod| pod.uid()).collect();
        let left_over = adopt::left_over(&workers, live).await;
        let on_event = workers.clone();
        pods.on_event(move |event| on_event.note(event));
        scope.spawn("runtime-events", workers.clone().follow_runtime(events));
        scope.spawn("log-rotation", workers.clone().rotate_logs());
        scope.spawn("pod-cleanup", async move { left_over.remove(&workers.cx).await });
        Ok(())
    }
}

/// Pods that ask for nothing share what is left: their group weighs least
/// (upstream: pkg/kubelet/cm/qos_container_manager_linux.go).
fn prepare_cgroups(cx: &Context) {
    let best_effort = format!("{}/besteffort", cx.config.cgroup_root);
    let weight = Resources { cpu_shares: MIN_SHARES, ..Resources::default() };
    if let Err(err) = cx.cgroups.ensure(&best_effort, &weight) {
        tracing::warn!(error = %err, "making the control group of best-effort pods failed");
    }
}

struct Running {
    latest: watch::Sender<Latest>,
    inbox: mpsc::Sender<Message>,
    view: Arc<RwLock<PodView>>,
}

/// The workers by the UID of their pod.
pub struct Workers {
    pub(crate) cx: Arc<Context>,
    /// What ran when the kubelet started and no worker has taken over yet.
    adopted: Mutex<HashMap<String, Adopted>>,
    running: RwLock<HashMap<String, Running>>,
}

impl Workers {
    /// Every pod of this node.
    pub fn pods(&self) -> Vec<Arc<Pod>> {
        self.running.read().values().map(|worker| worker.view.read().pod.clone()).collect()
    }

    /// A view of every pod of this node.
    pub fn views(&self) -> Vec<PodView> {
        self.running.read().values().map(|worker| worker.view.read().clone()).collect()
    }

    /// The view of a pod by namespace and name; of several the one that is not going away.
    pub fn find(&self, namespace: &str, name: &str) -> Option<PodView> {
        let running = self.running.read();
        let views = running.values().map(|worker| worker.view.read().clone());
        views
            .filter(|view| view.pod.name_any() == name && view.pod.namespace().as_deref() == Some(namespace))
            .min_by_key(|view| view.pod.metadata.deletion_timestamp.is_some())
    }

    /// UIDs of the pods that have a worker.
    pub fn uids(&self) -> BTreeSet<String> {
        self.running.read().keys().cloned().collect()
    }

    fn note(self: &Arc<Self>, event: &Event<Pod>) {
        match event {
            Event::Added(pod) => self.present(pod),
            Event::Updated { old, new } => {
                if old.metadata.uid != new.metadata.uid {
                    self.gone(old);
                }
                self.present(new);
            }
            Event::Deleted(pod) => self.gone(pod),
        }
    }

    fn present(self: &Arc<Self>, pod: &Arc<Pod>) {
        let uid = pod.uid().unwrap_or_default();
        if let Some(worker) = self.running.read().get(&uid) {
            worker.latest.send_replace(Latest::Present(pod.clone()));
            return;
        }
        let adopted = self.adopted.lock().remove(&uid).unwrap_or_default();
        let worker = Worker::new(self.cx.clone(), pod.clone(), adopted);
        let (latest, latest_receiver) = watch::channel(Latest::Present(pod.clone()));
        let (inbox, inbox_receiver) = mpsc::channel(INBOX);
        let running = Running { latest, inbox, view: worker.view() };
        self.running.write().insert(uid.clone(), running);
        let workers = Arc::downgrade(self);
        self.cx.scope.spawn("pod-worker", async move {
            worker.run(latest_receiver, inbox_receiver).await;
            if let Some(workers) = workers.upgrade() {
                workers.running.write().remove(&uid);
            }
        });
    }

    fn gone(&self, pod: &Arc<Pod>) {
        if let Some(worker) = self.running.read().get(&pod.uid().unwrap_or_default()) {
            worker.latest.send_replace(Latest::Gone(pod.clone()));
        }
    }

    /// Passes the runtime's reports on to the workers.
    async fn follow_runtime(self: Arc<Self>, mut events: broadcast::Receiver<cri::ContainerEvent>) {
        loop {
            match events.recv().await {
                Ok(event) => {
                    if matches!(event.state, ContainerState::Exited { .. }) {
                        self.tell(&event.pod_uid, Message::ContainerExited(event.container_id)).await;
                    }
                }
                Err(broadcast::error::RecvError::Lagged(missed)) => {
                    tracing::warn!(missed, "reports of the runtime were missed; every pod looks for itself");
                    for uid in self.uids() {
                        self.tell(&uid, Message::Relist).await;
                    }
                }
                Err(broadcast::error::RecvError::Closed) => return,
            }
        }
    }

    /// Rotates logs that grew large. How fast they grow is the containers' affair, so the clock decides when to look
    /// (upstream: containerLogMonitorInterval).
    async fn rotate_logs(self: Arc<Self>) {
        loop {
            tokio::time::sleep(LOG_MONITOR).await;
            for view in self.views() {
                let dir = self.cx.config.pod_log_dir.join(PodRef::of(&view.pod).log_directory());
                for container in view.containers.iter().filter(|container| container.running) {
                    let Some(id) = &container.id else { continue };
                    let log = logs::path(&dir, &container.name, container.attempt);
                    if !logs::rotate::is_due(&log) {
                        continue;
                    }
                    let moved = logs::rotate::rotate(&log, component_base::now());
                    let result = match moved {
                        Ok(()) => self.cx.runtime.reopen_container_log(id).await.map_err(|err| err.to_string()),
                        Err(err) => Err(err.to_string()),
                    };
                    if let Err(err) = result {
                        tracing::warn!(log = %log.display(), error = err, "rotating a log failed");
                    }
                }
            }
        }
    }

    /// Tells that the image store changed: the Node shows it, and pods may wait for it.
    pub async fn images_changed(&self) {
        self.cx.node_changed.notify_one();
        self.cx.images_changed.send_replace(());
        for uid in self.uids() {
            self.tell(&uid, Message::ImagesChanged).await;
        }
    }

    async fn tell(&self, uid: &str, message: Message) {
        let inbox = self.running.read().get(uid).map(|worker| worker.inbox.clone());
        if let Some(inbox) = inbox {
            // A worker that has ended needs no messages.
            let _ = inbox.send(message).await;
        }
    }
}
