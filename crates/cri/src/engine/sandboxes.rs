//! The life of a sandbox.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use component_base::now;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::Inner;
use super::records::{Sandbox, SandboxRecord, read_json, write_json};
use super::shim_client::{self, ShimConnection};
use crate::runtime::{ContainerState, Error, NamespaceMode, Resources, SandboxConfig};
use crate::shim::protocol::{Reply, Request, SANDBOX_FILE, STATUS_FILE, ShimConfig, Status};

/// How long a helper may take to end all of its processes.
const SHUTDOWN: Duration = Duration::from_secs(30);

/// 64 hexadecimal digits, as everybody expects of an id.
pub(super) fn new_id() -> String {
    let half = || uuid::Uuid::new_v4().simple().to_string();
    half() + &half()
}

/// Where the containers' /dev/shm is.
pub(super) fn shm_path(sandbox: &Path, config: &SandboxConfig) -> PathBuf {
    if config.ipc == NamespaceMode::Node { PathBuf::from("/dev/shm") } else { sandbox.join("shm") }
}

impl Inner {
    pub(super) async fn run_sandbox(self: &Arc<Self>, config: SandboxConfig) -> Result<String, Error> {
        if !config.runtime_handler.is_empty() {
            let cause = format!("no runtime for {:?} is configured", config.runtime_handler);
            return Err(Error::failed("failed to get sandbox runtime", cause));
        }
        let id = new_id();
        let directory = self.config.run_dir.join(&id);
        let result = self.make_sandbox(id.clone(), directory.clone(), config).await;
        if result.is_err() {
            shim_client::shut_down(&directory).await;
            self.blocking(move || clear_directory(&directory)).await?;
        }
        result.map(|()| id)
    }

    async fn make_sandbox(
        self: &Arc<Self>,
        id: String,
        directory: PathBuf,
        config: SandboxConfig,
    ) -> Result<(), Error> {
        let shared_pid = config.pid == NamespaceMode::Pod;
        let init_cgroup = shared_pid.then(|| format!("{}/{id}", config.cgroup_parent.trim_end_matches('/')));
        let record = SandboxRecord {
            config: config.clone(),
            created_at: now(),
            ready: false,
            init_pid: None,
            init_cgroup: init_cgroup.clone(),
        };
        let (cgroups, place) = (self.cgroups.clone(), directory.clone());
        let sandbox = Arc::new(Sandbox::new(id.clone(), directory.clone(), record));
        let prepared = sandbox.clone();
        self.blocking(move || prepare(&prepared, &place, &config, init_cgroup.as_deref(), &*cgroups)).await?;
        let ready = shim_client::spawn(&self.config.shim, &directory).await?;
        sandbox.update(|record| {
            record.ready = true;
            record.init_pid = ready.init_pid;
        })?;
        self.watch(&sandbox).await?;
        self.sandboxes.write().insert(id, sandbox);
        Ok(())
    }

    /// Listens to the sandbox's helper until it ends.
    pub(super) async fn watch(self: &Arc<Self>, sandbox: &Arc<Sandbox>) -> Result<(), Error> {
        let failed = |err: &dyn std::fmt::Display| Error::failed("connecting to the sandbox's helper", err);
        let mut connection = ShimConnection::open(&sandbox.directory).await.map_err(|err| failed(&err))?;
        connection.ask(&Request::Subscribe, &[]).await.map_err(|err| failed(&err))?;
        let (inner, sandbox) = (self.clone(), sandbox.clone());
        self.scope.spawn("sandbox helper", async move {
            while let Ok(Some((reply, _))) = connection.receive().await {
                if let Reply::Event { container, status } = reply {
                    inner.learn(&container, status);
                }
            }
            inner.lost(&sandbox).await;
        });
        Ok(())
    }

    /// News of a container.
    pub(super) fn learn(&self, container: &str, status: Status) {
        let Ok(container) = self.container(container) else { return };
        if let Some(event) = container.advance(status) {
            // Nobody listening is no error.
            let _ = self.events.send(event);
        }
    }

    /// The helper has ended. In a sandbox that was stopped all is as it should be; in another one it died, and what it
    /// held cannot be watched any more: it is ended and reported. Upstream: containerd's handling of a lost shim.
    pub(super) async fn lost(self: &Arc<Self>, sandbox: &Arc<Sandbox>) {
        if !sandbox.is_ready() {
            return;
        }
        tracing::warn!(sandbox = %sandbox.id, "the helper of a sandbox has died; its containers are ended");
        if let Err(err) = sandbox.update(|record| record.ready = false) {
            tracing::warn!(sandbox = %sandbox.id, %err, "a sandbox's state could not be written");
        }
        self.settle(sandbox).await;
    }

    /// Ends what is left of a sandbox without a helper, and learns what the helper recorded last.
    pub(super) async fn settle(self: &Arc<Self>, sandbox: &Arc<Sandbox>) {
        for container in self.containers_of(&sandbox.id) {
            if let Ok(status) = read_json::<Status>(&container.directory.join(STATUS_FILE)) {
                self.learn(&container.id, status);
            }
            let ContainerState::Running { started_at } = container.state() else { continue };
            let (cgroups, cgroup) = (self.cgroups.clone(), container.cgroup());
            if let Err(err) = self.blocking(move || cgroups.kill(&cgroup)).await {
                tracing::warn!(container = %container.id, %err, "a lost container could not be ended");
            }
            let state = ContainerState::Exited {
                started_at: Some(started_at),
                finished_at: now(),
                exit_code: 255,
                reason: "Unknown".to_owned(),
                message: "the container's helper ended before it".to_owned(),
            };
            let status = Status { state, pid: None };
            if let Err(err) = write_json(&container.directory.join(STATUS_FILE), &status) {
                tracing::warn!(container = %container.id, %err, "a container's state could not be written");
            }
            self.learn(&container.id, status);
        }
        if let Some(cgroup) = sandbox.record().init_cgroup {
            let cgroups = self.cgroups.clone();
            if let Err(err) = self.blocking(move || cgroups.remove(&cgroup)).await {
                tracing::warn!(sandbox = %sandbox.id, %err, "a sandbox's control group could not be removed");
            }
        }
    }

    pub(super) async fn stop_sandbox(self: &Arc<Self>, id: &str) -> Result<(), Error> {
        let Ok(sandbox) = self.sandbox(id) else { return Ok(()) };
        let _turn = sandbox.turn.lock().await;
        sandbox.update(|record| record.ready = false)?;
        // The helper goes when all have ended and are recorded.
        if tokio::time::timeout(SHUTDOWN, shim_client::shut_down(&sandbox.directory)).await.is_err() {
            return Err(Error::Timeout(SHUTDOWN.as_secs()));
        }
        self.settle(&sandbox).await;
        let shm = sandbox.directory.join("shm");
        self.blocking(move || {
            detach(&shm);
            Ok(())
        })
        .await
    }

    pub(super) async fn remove_sandbox(self: &Arc<Self>, id: &str) -> Result<(), Error> {
        let Ok(sandbox) = self.sandbox(id) else { return Ok(()) };
        self.stop_sandbox(id).await?;
        for container in self.containers_of(id) {
            self.remove_container(&container.id).await?;
        }
        let directory = sandbox.directory.clone();
        self.blocking(move || clear_directory(&directory)).await?;
        self.sandboxes.write().remove(id);
        Ok(())
    }
}

fn prepare(
    sandbox: &Sandbox,
    directory: &Path,
    config: &SandboxConfig,
    init_cgroup: Option<&str>,
    cgroups: &dyn crate::cgroup::CgroupManager,
) -> Result<(), Error> {
    let io = |doing: &'static str| move |err: std::io::Error| Error::failed(doing, err);
    fs::create_dir_all(directory).map_err(io("making the sandbox's directory"))?;
    if !config.log_directory.as_os_str().is_empty() {
        fs::create_dir_all(&config.log_directory).map_err(io("making the pod's log directory"))?;
    }
    let mut init_cgroups = Vec::new();
    if let Some(cgroup) = init_cgroup {
        cgroups.ensure(cgroup, &Resources::default())?;
        init_cgroups = cgroups.directories(cgroup).into_iter().map(|(_, dir)| dir.join("cgroup.procs")).collect();
    }
    let shim = ShimConfig {
        hostname: Some(config.hostname.clone()).filter(|name| !name.is_empty()),
        new_ipc: config.ipc != NamespaceMode::Node,
        shared_pid: config.pid == NamespaceMode::Pod,
        netns: config.netns.clone(),
        sysctls: config.sysctls.clone(),
        init_cgroups,
    };
    write_json(&directory.join(SANDBOX_FILE), &shim)?;
    if config.ipc != NamespaceMode::Node {
        let shm = directory.join("shm");
        fs::create_dir_all(&shm).map_err(io("making /dev/shm"))?;
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        mount("shm", &shm, "tmpfs", flags, c"mode=1777,size=65536k")
            .map_err(|err| Error::failed("mounting /dev/shm", std::io::Error::from(err)))?;
    }
    sandbox.update(|_| {})
}

/// Unmounts what may be mounted there.
pub(super) fn detach(path: &Path) {
    let _ = unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW);
}

/// Removes a sandbox's or container's directory, unmounting what is in it first. A missing one is no error.
pub(super) fn clear_directory(directory: &Path) -> Result<(), Error> {
    detach(&directory.join("shm"));
    detach(&directory.join("rootfs"));
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        detach(&entry.path().join("rootfs"));
    }
    match fs::remove_dir_all(directory) {
        Err(err) if err.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::failed(format!("removing {}", directory.display()), err))
        }
        _ => Ok(()),
    }
}
