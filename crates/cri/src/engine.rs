//! Our own container runtime: [`Runtime`], a [`RuntimeService`] over youki's OCI library in one helper per pod
//! ([`crate::shim`]).
//!
//! ```text
//! RunPodSandbox    spawn the helper, which makes and holds the pod's namespaces
//! CreateContainer  prepare: overlay mounted, user looked up, configuration written, control group made
//! StartContainer   the helper makes and starts the process; the overlay's mount goes into the container's namespace
//! exits, output    are the helper's; it records them on disk and tells us, so nothing is polled
//! ```
//! All that is needed to go on after a restart lies below the run directory; [`Runtime::open`] adopts it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use component_base::Scope;
use parking_lot::RwLock;
use tokio::sync::broadcast;

use crate::cgroup::{self, CgroupManager};
use crate::images::ImageStore;
use crate::runtime::{
    ContainerConfig, ContainerEvent, ContainerState, ContainerStats, ContainerStatus, Error, ExecIo, ExecRequest,
    Resources, RuntimeService, SandboxConfig, SandboxStatus,
};

mod adopt;
mod capabilities;
mod containers;
mod records;
mod sandboxes;
mod seccomp;
mod sessions;
mod shim_client;
mod signal;
mod spec;
mod user;

use records::{Container, Sandbox};

/// How many events a receiver may lag behind before it has to list anew.
const EVENTS: usize = 1024;

/// How the helper is started: a program and its leading arguments.
#[derive(Clone, Debug)]
pub struct ShimCommand {
    /// The executable, usually `/proc/self/exe`.
    pub program: PathBuf,
    /// Arguments before the helper's own, usually `shim`.
    pub args: Vec<String>,
}

/// Where the runtime keeps its things.
#[derive(Clone, Debug)]
pub struct RuntimeConfig {
    /// Writable layers; on disk.
    pub data_dir: PathBuf,
    /// Sockets and state of what runs; may be lost at a reboot.
    pub run_dir: PathBuf,
    /// How to start the helper.
    pub shim: ShimCommand,
}

/// Sandboxes and containers. Clones share the same runtime.
#[derive(Clone)]
pub struct Runtime {
    inner: Arc<Inner>,
}

struct Inner {
    config: RuntimeConfig,
    images: ImageStore,
    cgroups: Arc<dyn CgroupManager>,
    filters: Arc<seccomp::Filters>,
    scope: Scope,
    events: broadcast::Sender<ContainerEvent>,
    sandboxes: RwLock<HashMap<String, Arc<Sandbox>>>,
    containers: RwLock<HashMap<String, Arc<Container>>>,
}

impl Runtime {
    /// Opens the runtime and adopts what runs below `run_dir`. Ending `scope` leaves all of that running.
    pub async fn open(config: RuntimeConfig, images: ImageStore, scope: Scope) -> Result<Self, Error> {
        let inner = Arc::new(Inner {
            config,
            images,
            cgroups: Arc::from(cgroup::detect()?),
            filters: Arc::default(),
            scope,
            events: broadcast::channel(EVENTS).0,
            sandboxes: RwLock::default(),
            containers: RwLock::default(),
        });
        inner.adopt().await?;
        Ok(Self { inner })
    }

    /// The control groups that the runtime uses; the kubelet keeps those of pods and QoS classes with it.
    pub fn cgroups(&self) -> Arc<dyn CgroupManager> {
        self.inner.cgroups.clone()
    }
}

impl Inner {
    fn sandbox(&self, id: &str) -> Result<Arc<Sandbox>, Error> {
        let sandbox = self.sandboxes.read().get(id).cloned();
        sandbox.ok_or_else(|| Error::NotFound { what: "sandbox", id: id.to_owned() })
    }

    fn container(&self, id: &str) -> Result<Arc<Container>, Error> {
        let container = self.containers.read().get(id).cloned();
        container.ok_or_else(|| Error::NotFound { what: "container", id: id.to_owned() })
    }

    fn containers_of(&self, sandbox: &str) -> Vec<Arc<Container>> {
        self.containers.read().values().filter(|container| container.sandbox.id == sandbox).cloned().collect()
    }

    /// Runs work that waits for disk or processes on the blocking pool.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.scope.spawn_blocking(work).await.unwrap_or_else(|err| Err(Error::failed("working on a container", err)))
    }
}

#[async_trait]
impl RuntimeService for Runtime {
    fn version(&self) -> String {
        "kaji://1.37.0".to_owned()
    }

    async fn run_pod_sandbox(&self, config: SandboxConfig) -> Result<String, Error> {
        self.inner.run_sandbox(config).await
    }

    async fn stop_pod_sandbox(&self, sandbox_id: &str) -> Result<(), Error> {
        self.inner.stop_sandbox(sandbox_id).await
    }

    async fn remove_pod_sandbox(&self, sandbox_id: &str) -> Result<(), Error> {
        self.inner.remove_sandbox(sandbox_id).await
    }

    async fn list_pod_sandboxes(&self) -> Result<Vec<SandboxStatus>, Error> {
        Ok(self.inner.sandboxes.read().values().map(|sandbox| sandbox.status()).collect())
    }

    async fn create_container(&self, sandbox_id: &str, config: ContainerConfig) -> Result<String, Error> {
        self.inner.create_container(sandbox_id, config).await
    }

    async fn start_container(&self, container_id: &str) -> Result<(), Error> {
        self.inner.start_container(container_id).await
    }

    async fn stop_container(&self, container_id: &str, grace_s: u64) -> Result<(), Error> {
        self.inner.stop_container(container_id, grace_s).await
    }

    async fn remove_container(&self, container_id: &str) -> Result<(), Error> {
        self.inner.remove_container(container_id).await
    }

    async fn list_containers(&self) -> Result<Vec<ContainerStatus>, Error> {
        Ok(self.inner.containers.read().values().map(|container| container.status()).collect())
    }

    async fn container_status(&self, container_id: &str) -> Result<ContainerStatus, Error> {
        Ok(self.inner.container(container_id)?.status())
    }

    async fn update_container_resources(&self, container_id: &str, resources: Resources) -> Result<(), Error> {
        self.inner.update_container(container_id, resources).await
    }

    async fn reopen_container_log(&self, container_id: &str) -> Result<(), Error> {
        self.inner.reopen_log(container_id).await
    }

    async fn exec_sync(
        &self,
        container_id: &str,
        command: &[String],
        timeout_s: u64,
    ) -> Result<(i32, Vec<u8>, Vec<u8>), Error> {
        self.inner.exec_sync(container_id, command, timeout_s).await
    }

    async fn exec(&self, request: ExecRequest, io: ExecIo) -> Result<i32, Error> {
        self.inner.exec(request, io).await
    }

    async fn attach(&self, container_id: &str, io: ExecIo) -> Result<(), Error> {
        self.inner.attach(container_id, io).await
    }

    async fn container_stats(&self, container_id: &str) -> Result<ContainerStats, Error> {
        self.inner.container_stats(container_id).await
    }

    fn events(&self) -> broadcast::Receiver<ContainerEvent> {
        self.inner.events.subscribe()
    }
}

/// A state in words, for messages.
fn state_word(state: &ContainerState) -> &'static str {
    match state {
        ContainerState::Created => "created",
        ContainerState::Running { .. } => "running",
        ContainerState::Exited { .. } => "exited",
    }
}
