//! A runtime, an image store, a network and control groups without a kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use component_base::now;
use cri::cgroup::{CgroupManager, CgroupStats, DeviceRule};
use cri::{
    ContainerConfig, ContainerEvent, ContainerState, ContainerStats, ContainerStatus, Error, ExecIo, ExecRequest,
    Image, ImageService, PullProgress, RegistryAuth, Resources, RuntimeService, SandboxConfig, SandboxStatus,
};
use kubelet::{Attachment, NetworkError, NetworkRequest, PodNetwork};
use parking_lot::Mutex;
use tokio::sync::{broadcast, watch};

const PATIENCE: Duration = Duration::from_secs(30);

/// What the runtime has.
#[derive(Default)]
pub struct State {
    sandboxes: BTreeMap<String, SandboxStatus>,
    containers: BTreeMap<String, ContainerStatus>,
    made: usize,
}

impl State {
    /// How many sandboxes there are.
    pub fn sandboxes(&self) -> usize {
        self.sandboxes.len()
    }
}

/// Containers that run until they are told to end.
pub struct FakeRuntime {
    state: Mutex<State>,
    changed: watch::Sender<()>,
    events: broadcast::Sender<ContainerEvent>,
}

impl FakeRuntime {
    pub fn new() -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), changed: watch::Sender::new(()), events: broadcast::channel(64).0 })
    }

    /// How many containers were ever made.
    pub fn made(&self) -> usize {
        self.state.lock().made
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        let state = self.state.lock();
        state.sandboxes.is_empty() && state.containers.is_empty()
    }

    /// Environment of the latest container of a name.
    pub fn env(&self, name: &str) -> Vec<(String, String)> {
        let state = self.state.lock();
        let found = state
            .containers
            .values()
            .filter(|container| container.config.name == name)
            .max_by_key(|c| c.config.attempt);
        found.map(|container| container.config.env.clone()).unwrap_or_default()
    }

    /// Ends the running container of a name.
    pub fn end(&self, name: &str, exit_code: i32) {
        let running = |container: &&ContainerStatus| {
            container.config.name == name && matches!(container.state, ContainerState::Running { .. })
        };
        let id = self.state.lock().containers.values().find(running).map(|container| container.id.clone());
        self.exit(&id.expect("a running container"), exit_code);
    }

    /// Waits until the runtime's state is as wanted.
    pub async fn until(&self, wanted: impl Fn(&State) -> bool) {
        let mut changes = self.changed.subscribe();
        let wait = async {
            while !wanted(&self.state.lock()) {
                changes.changed().await.expect("the runtime lives");
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("the runtime gets there");
    }

    fn exit(&self, id: &str, exit_code: i32) {
        let mut state = self.state.lock();
        let State { sandboxes, containers, .. } = &mut *state;
        let Some(container) = containers.get_mut(id) else { return };
        let ContainerState::Running { started_at } = container.state else { return };
        container.state = ContainerState::Exited {
            started_at: Some(started_at),
            finished_at: now(),
            exit_code,
            reason: if exit_code == 0 { "Completed" } else { "Error" }.to_owned(),
            message: String::new(),
        };
        let pod_uid = sandboxes.get(&container.sandbox_id).map(|s| s.config.uid.clone()).unwrap_or_default();
        let event = ContainerEvent {
            sandbox_id: container.sandbox_id.clone(),
            pod_uid,
            container_id: id.to_owned(),
            state: container.state.clone(),
        };
        drop(state);
        // Nobody may listen between two kubelets.
        let _ = self.events.send(event);
        self.changed.send_replace(());
    }

    fn not_found(what: &'static str, id: &str) -> Error {
        Error::NotFound { what, id: id.to_owned() }
    }
}

#[async_trait]
impl RuntimeService for FakeRuntime {
    fn version(&self) -> String {
        "fake://1".to_owned()
    }

    async fn run_pod_sandbox(&self, config: SandboxConfig) -> Result<String, Error> {
        let id = format!("sandbox-{}-{}", config.uid, config.attempt);
        let sandbox = SandboxStatus { id: id.clone(), config, ready: true, created_at: now() };
        self.state.lock().sandboxes.insert(id.clone(), sandbox);
        self.changed.send_replace(());
        Ok(id)
    }

    async fn stop_pod_sandbox(&self, id: &str) -> Result<(), Error> {
        let of_sandbox: Vec<String> = {
            let mut state = self.state.lock();
            if let Some(sandbox) = state.sandboxes.get_mut(id) {
                sandbox.ready = false;
            }
            state.containers.values().filter(|c| c.sandbox_id == id).map(|c| c.id.clone()).collect()
        };
        of_sandbox.iter().for_each(|container| self.exit(container, 137));
        Ok(())
    }

    async fn remove_pod_sandbox(&self, id: &str) -> Result<(), Error> {
        let mut state = self.state.lock();
        state.sandboxes.remove(id);
        state.containers.retain(|_, container| container.sandbox_id != id);
        drop(state);
        self.changed.send_replace(());
        Ok(())
    }

    async fn list_pod_sandboxes(&self) -> Result<Vec<SandboxStatus>, Error> {
        Ok(self.state.lock().sandboxes.values().cloned().collect())
    }

    async fn create_container(&self, sandbox_id: &str, config: ContainerConfig) -> Result<String, Error> {
        let mut state = self.state.lock();
        state.made += 1;
        let id = format!("container-{}", state.made);
        let status = ContainerStatus {
            id: id.clone(),
            sandbox_id: sandbox_id.to_owned(),
            config,
            created_at: now(),
            state: ContainerState::Created,
            image_id: "sha256:1".to_owned(),
            image_ref: "sha256:1".to_owned(),
            log_path: PathBuf::new(),
            pid: None,
        };
        state.containers.insert(id.clone(), status);
        Ok(id)
    }

    async fn start_container(&self, id: &str) -> Result<(), Error> {
        let mut state = self.state.lock();
        let container = state.containers.get_mut(id).ok_or_else(|| Self::not_found("container", id))?;
        container.state = ContainerState::Running { started_at: now() };
        Ok(())
    }

    async fn stop_container(&self, id: &str, _: u64) -> Result<(), Error> {
        self.exit(id, 0);
        Ok(())
    }

    async fn remove_container(&self, id: &str) -> Result<(), Error> {
        self.state.lock().containers.remove(id);
        Ok(())
    }

    async fn list_containers(&self) -> Result<Vec<ContainerStatus>, Error> {
        Ok(self.state.lock().containers.values().cloned().collect())
    }

    async fn container_status(&self, id: &str) -> Result<ContainerStatus, Error> {
        self.state.lock().containers.get(id).cloned().ok_or_else(|| Self::not_found("container", id))
    }

    async fn update_container_resources(&self, _: &str, _: Resources) -> Result<(), Error> {
        Ok(())
    }

    async fn reopen_container_log(&self, _: &str) -> Result<(), Error> {
        Ok(())
    }

    async fn exec_sync(&self, _: &str, _: &[String], _: u64) -> Result<(i32, Vec<u8>, Vec<u8>), Error> {
        Ok((0, Vec::new(), Vec::new()))
    }

    async fn exec(&self, request: ExecRequest, _: ExecIo) -> Result<i32, Error> {
        Err(Self::not_found("container", &request.container_id))
    }

    async fn attach(&self, id: &str, _: ExecIo) -> Result<(), Error> {
        Err(Self::not_found("container", id))
    }

    async fn container_stats(&self, _: &str) -> Result<ContainerStats, Error> {
        Ok(ContainerStats::default())
    }

    fn events(&self) -> broadcast::Receiver<ContainerEvent> {
        self.events.subscribe()
    }
}

/// A store that has every image.
pub struct FakeImages;

#[async_trait]
impl ImageService for FakeImages {
    async fn list_images(&self) -> Result<Vec<Image>, Error> {
        Ok(Vec::new())
    }

    async fn image_status(&self, _: &str) -> Result<Option<Image>, Error> {
        Ok(Some(Image { id: "sha256:1".to_owned(), ..Image::default() }))
    }

    async fn pull_image(
        &self,
        _: &str,
        _: &[RegistryAuth],
        _: Option<watch::Sender<PullProgress>>,
    ) -> Result<Image, Error> {
        Ok(Image { id: "sha256:1".to_owned(), ..Image::default() })
    }

    async fn remove_image(&self, _: &str) -> Result<(), Error> {
        Ok(())
    }

    async fn image_fs_usage(&self) -> Result<(u64, u64), Error> {
        Ok((0, 0))
    }
}

/// A network that gives every pod the same address.
#[derive(Default)]
pub struct FakeNetwork {
    detached: AtomicUsize,
    attached: Mutex<BTreeSet<String>>,
}

impl FakeNetwork {
    /// How many pods were detached.
    pub fn detached(&self) -> usize {
        self.detached.load(Ordering::SeqCst)
    }

    fn attachment() -> Attachment {
        Attachment { netns: PathBuf::from("/nowhere"), ips: vec!["10.244.0.9".parse().expect("an address")] }
    }
}

#[async_trait]
impl PodNetwork for FakeNetwork {
    async fn attach(&self, request: &NetworkRequest) -> Result<Attachment, NetworkError> {
        self.attached.lock().insert(request.uid.clone());
        Ok(Self::attachment())
    }

    async fn attachment(&self, uid: &str) -> Result<Option<Attachment>, NetworkError> {
        Ok(self.attached.lock().contains(uid).then(Self::attachment))
    }

    async fn detach(&self, uid: &str) -> Result<(), NetworkError> {
        if self.attached.lock().remove(uid) {
            self.detached.fetch_add(1, Ordering::SeqCst);
        }
        Ok(())
    }

    async fn retain(&self, live: BTreeSet<String>) -> Result<(), NetworkError> {
        self.attached.lock().retain(|uid| live.contains(uid));
        Ok(())
    }

    async fn dial(&self, _: &str, _: u16) -> Result<tokio::net::TcpStream, NetworkError> {
        Err(NetworkError { doing: "connecting".to_owned(), cause: "there is no network".to_owned() })
    }
}

/// Control groups that limit nothing.
pub struct FakeCgroups;

impl CgroupManager for FakeCgroups {
    fn ensure(&self, _: &str, _: &Resources) -> Result<(), Error> {
        Ok(())
    }

    fn remove(&self, _: &str) -> Result<(), Error> {
        Ok(())
    }

    fn stats(&self, _: &str) -> Result<CgroupStats, Error> {
        Ok(CgroupStats::default())
    }

    fn allow_devices(&self, _: &str, _: &[DeviceRule]) -> Result<(), Error> {
        Ok(())
    }

    fn kill(&self, _: &str) -> Result<(), Error> {
        Ok(())
    }

    fn directories(&self, _: &str) -> Vec<(String, PathBuf)> {
        Vec::new()
    }

    fn processes(&self, _: &str) -> Result<Vec<i32>, Error> {
        Ok(Vec::new())
    }
}
