//! Our own container runtime: [`Runtime`].

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use component_base::Scope;
use tokio::sync::broadcast;

use crate::images::ImageStore;
use crate::runtime::{
    ContainerConfig, ContainerEvent, ContainerStats, ContainerStatus, Error, ExecIo, ExecRequest, Resources,
    RuntimeService, SandboxConfig, SandboxStatus,
};

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

/// Sandboxes and containers over youki's library. Clones share the same runtime.
#[derive(Clone)]
pub struct Runtime {
    events: Arc<broadcast::Sender<ContainerEvent>>,
}

impl Runtime {
    /// Opens the runtime and adopts what runs below `run_dir`.
    pub async fn open(config: RuntimeConfig, images: ImageStore, scope: Scope) -> Result<Self, Error> {
        let _ = (config, images, scope);
        Ok(Self { events: Arc::new(broadcast::channel(1024).0) })
    }
}

fn unbuilt<T>() -> Result<T, Error> {
    Err(Error::Failed { doing: "running a container".to_owned(), cause: "not built yet".to_owned() })
}

#[async_trait]
impl RuntimeService for Runtime {
    fn version(&self) -> String {
        "kaji://1.37.0".to_owned()
    }
    async fn run_pod_sandbox(&self, _: SandboxConfig) -> Result<String, Error> {
        unbuilt()
    }
    async fn stop_pod_sandbox(&self, _: &str) -> Result<(), Error> {
        unbuilt()
    }
    async fn remove_pod_sandbox(&self, _: &str) -> Result<(), Error> {
        unbuilt()
    }
    async fn list_pod_sandboxes(&self) -> Result<Vec<SandboxStatus>, Error> {
        unbuilt()
    }
    async fn create_container(&self, _: &str, _: ContainerConfig) -> Result<String, Error> {
        unbuilt()
    }
    async fn start_container(&self, _: &str) -> Result<(), Error> {
        unbuilt()
    }
    async fn stop_container(&self, _: &str, _: u64) -> Result<(), Error> {
        unbuilt()
    }
    async fn remove_container(&self, _: &str) -> Result<(), Error> {
        unbuilt()
    }
    async fn list_containers(&self) -> Result<Vec<ContainerStatus>, Error> {
        unbuilt()
    }
    async fn container_status(&self, _: &str) -> Result<ContainerStatus, Error> {
        unbuilt()
    }
    async fn update_container_resources(&self, _: &str, _: Resources) -> Result<(), Error> {
        unbuilt()
    }
    async fn reopen_container_log(&self, _: &str) -> Result<(), Error> {
        unbuilt()
    }
    async fn exec_sync(&self, _: &str, _: &[String], _: u64) -> Result<(i32, Vec<u8>, Vec<u8>), Error> {
        unbuilt()
    }
    async fn exec(&self, _: ExecRequest, _: ExecIo) -> Result<i32, Error> {
        unbuilt()
    }
    async fn attach(&self, _: &str, _: ExecIo) -> Result<(), Error> {
        unbuilt()
    }
    async fn container_stats(&self, _: &str) -> Result<ContainerStats, Error> {
        unbuilt()
    }
    fn events(&self) -> broadcast::Receiver<ContainerEvent> {
        self.events.subscribe()
    }
}
