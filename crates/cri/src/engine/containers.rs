//! The life of a container.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use component_base::now;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, mkdirat, openat, openat2};
use tokio::sync::watch;

use super::records::{Container, ContainerRecord, Sandbox, read_json, write_json};
use super::sandboxes::{clear_directory, detach, new_id, shm_path};
use super::shim_client::{self, RequestError};
use super::{Inner, capabilities, seccomp, signal, spec, state_word, user};
use crate::cgroup::{CgroupManager, DeviceRule};
use crate::images::{PreparedImage, mount_overlay};
use crate::runtime::{ContainerConfig, ContainerState, ContainerStats, Error, NamespaceMode, Resources};
use crate::shim::protocol::{LAUNCH_FILE, Launch, Reply, Request, SECCOMP_FILE, STATUS_FILE, Status};

/// How long a killed container may take to be gone.
const KILLED: Duration = Duration::from_secs(30);

/// Everything that is laid out on disk for a container before it starts.
struct Layout<'a> {
    id: &'a str,
    sandbox: &'a Sandbox,
    directory: &'a Path,
    data: &'a Path,
    config: &'a ContainerConfig,
    image: &'a PreparedImage,
    pid_namespace: Option<PathBuf>,
}

impl Inner {
    /// Where a container's writable layer is.
    fn data_path(&self, container: &str) -> PathBuf {
        self.config.data_dir.join("containers").join(container)
    }

    pub(super) async fn create_container(
        self: &Arc<Self>,
        sandbox_id: &str,
        config: ContainerConfig,
    ) -> Result<String, Error> {
        let sandbox = self.sandbox(sandbox_id)?;
        if !sandbox.is_ready() {
            return Err(Error::failed("failed to create container", format!("sandbox {sandbox_id} is not running")));
        }
        let image = self.images.prepare(&config.image).await?;
        let pid_namespace = self.pid_namespace(&sandbox, &config)?;
        let id = new_id();
        let (directory, data) = (sandbox.directory.join(&id), self.data_path(&id));
        let (cgroups, filters) = (self.cgroups.clone(), self.filters.clone());
        let made = {
            let (id, sandbox) = (id.clone(), sandbox.clone());
            self.blocking(move || {
                let layout = Layout {
                    id: &id,
                    sandbox: &sandbox,
                    directory: &directory,
                    data: &data,
                    config: &config,
                    image: &image,
                    pid_namespace,
                };
                let record = layout.make(&*cgroups, &filters).inspect_err(|_| layout.clear(&*cgroups))?;
                let status = Status { state: ContainerState::Created, pid: None };
                Ok(Container {
                    id: id.clone(),
                    sandbox: sandbox.clone(),
                    directory: directory.clone(),
                    record: record.into(),
                    life: watch::Sender::new(status),
                    _hold: image.hold.clone(),
                    turn: tokio::sync::Mutex::new(()),
                })
            })
            .await?
        };
        let made = Arc::new(made);
        self.containers.write().insert(id.clone(), made.clone());
        let event = crate::runtime::ContainerEvent {
            sandbox_id: sandbox.id.clone(),
            pod_uid: sandbox.record().config.uid,
            container_id: id.clone(),
            state: ContainerState::Created,
        };
        let _ = self.events.send(event);
        Ok(id)
    }

    /// The PID namespace that the container joins, where it gets none of its own.
    fn pid_namespace(&self, sandbox: &Sandbox, config: &ContainerConfig) -> Result<Option<PathBuf>, Error> {
        let of = |pid: i32| Some(PathBuf::from(format!("/proc/{pid}/ns/pid")));
        if let Some(target) = &config.security.pid_target {
            let target = self.container(target)?;
            let pid = target
                .pid()
                .ok_or_else(|| Error::WrongState { id: target.id.clone(), state: state_word(&target.state()) })?;
            return Ok(of(pid));
        }
        let record = sandbox.record();
        // A pod that shares its processes shares them among all of its containers.
        if record.config.pid == NamespaceMode::Node { Ok(None) } else { Ok(record.init_pid.and_then(of)) }
    }

    pub(super) async fn start_container(self: &Arc<Self>, id: &str) -> Result<(), Error> {
        let container = self.container(id)?;
        let _turn = container.turn.lock().await;
        if container.state() != ContainerState::Created {
            return Err(Error::WrongState { id: id.to_owned(), state: state_word(&container.state()) });
        }
        let request = Request::Start { container: id.to_owned() };
        match shim_client::ask(&container.sandbox.directory, &request).await {
            Ok(reply) => {
                if let Reply::Event { status, .. } = reply {
                    self.learn(id, status);
                }
                self.limit(container.clone()).await
            }
            Err(RequestError::Refused(cause)) => {
                // How it ended is on disk before we are told, and perhaps not among the news yet.
                if let Ok(status) = read_json(&container.directory.join(STATUS_FILE)) {
                    self.learn(id, status);
                }
                Err(Error::Start(cause))
            }
            Err(err) => Err(Error::failed("failed to start container", err)),
        }
    }

    /// Sets the limits that hold from exec on: with a small quota of CPU time the preparations before it, which are
    /// ours, would use up many periods of it.
    pub(super) async fn limit(&self, container: Arc<Container>) -> Result<(), Error> {
        let cgroups = self.cgroups.clone();
        self.blocking(move || {
            let resources = container.record.lock().config.resources.clone();
            if resources.cpu_quota_us <= 0 {
                return Ok(());
            }
            match cgroups.ensure(&container.cgroup(), &resources) {
                // It has ended meanwhile and its group is being removed.
                Err(_) if matches!(container.state(), ContainerState::Exited { .. }) => Ok(()),
                result => result,
            }
        })
        .await
    }

    pub(super) async fn stop_container(self: &Arc<Self>, id: &str, grace_s: u64) -> Result<(), Error> {
        let Ok(container) = self.container(id) else { return Ok(()) };
        let mut life = container.life.subscribe();
        let running = |status: &Status| matches!(status.state, ContainerState::Running { .. });
        if !running(&life.borrow()) {
            return Ok(());
        }
        let signal = container.record.lock().stop_signal;
        if grace_s > 0 {
            self.signal(&container, signal).await?;
            let ended = tokio::time::timeout(Duration::from_secs(grace_s), life.wait_for(|status| !running(status)));
            if ended.await.is_ok() {
                return Ok(());
            }
        }
        self.signal(&container, libc::SIGKILL).await?;
        if tokio::time::timeout(KILLED, life.wait_for(|status| !running(status))).await.is_ok() {
            return Ok(());
        }
        // A process that a frozen group holds, or a helper that hangs.
        let (cgroups, cgroup) = (self.cgroups.clone(), container.cgroup());
        self.blocking(move || cgroups.kill(&cgroup)).await?;
        match tokio::time::timeout(KILLED, life.wait_for(|status| !running(status))).await {
            Ok(_) => Ok(()),
            Err(_) => Err(Error::Timeout(grace_s + 2 * KILLED.as_secs())),
        }
    }

    /// A container or helper that is gone takes no signal, which is what a signal is for.
    async fn signal(&self, container: &Container, signal: i32) -> Result<(), Error> {
        let request = Request::Signal { container: container.id.clone(), signal };
        match shim_client::ask(&container.sandbox.directory, &request).await {
            Ok(_) | Err(RequestError::Gone | RequestError::Refused(_)) => Ok(()),
            Err(RequestError::Io(err))
                if matches!(err.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) =>
            {
                Ok(())
            }
            Err(err) => Err(Error::failed("failed to stop container", err)),
        }
    }

    pub(super) async fn remove_container(self: &Arc<Self>, id: &str) -> Result<(), Error> {
        let Ok(container) = self.container(id) else { return Ok(()) };
        self.stop_container(id, 0).await?;
        let _turn = container.turn.lock().await;
        // Nothing may start it from here on; a helper that is gone has forgotten it already.
        let _ = shim_client::ask(&container.sandbox.directory, &Request::Forget { container: id.to_owned() }).await;
        let (cgroups, cgroup) = (self.cgroups.clone(), container.cgroup());
        let (directory, data) = (container.directory.clone(), self.data_path(id));
        self.blocking(move || {
            cgroups.remove(&cgroup)?;
            clear_directory(&data)?;
            clear_directory(&directory)
        })
        .await?;
        self.containers.write().remove(id);
        Ok(())
    }

    pub(super) async fn update_container(&self, id: &str, resources: Resources) -> Result<(), Error> {
        let container = self.container(id)?;
        if matches!(container.state(), ContainerState::Exited { .. }) {
            return Err(Error::WrongState { id: id.to_owned(), state: "exited" });
        }
        let cgroups = self.cgroups.clone();
        self.blocking(move || {
            cgroups.ensure(&container.cgroup(), &resources)?;
            let mut record = container.record.lock();
            record.config.resources = resources;
            record.save(&container.directory)
        })
        .await
    }

    pub(super) async fn reopen_log(&self, id: &str) -> Result<(), Error> {
        let container = self.container(id)?;
        if !matches!(container.state(), ContainerState::Running { .. }) {
            return Err(Error::WrongState { id: id.to_owned(), state: state_word(&container.state()) });
        }
        let request = Request::ReopenLog { container: id.to_owned() };
        shim_client::ask(&container.sandbox.directory, &request)
            .await
            .map(drop)
            .map_err(|err| Error::failed("failed to reopen the container's log", err))
    }

    pub(super) async fn container_stats(&self, id: &str) -> Result<ContainerStats, Error> {
        let container = self.container(id)?;
        let (cgroups, upper) = (self.cgroups.clone(), self.data_path(id).join("upper"));
        self.blocking(move || {
            let stats = cgroups.stats(&container.cgroup())?;
            Ok(ContainerStats {
                cpu_usage_ns: stats.cpu_usage_ns,
                memory_working_set_bytes: stats.memory_working_set_bytes,
                memory_rss_bytes: stats.memory_rss_bytes,
                writable_layer_bytes: disk_usage(&upper),
            })
        })
        .await
    }
}

impl Layout<'_> {
    /// Makes everything that a start needs. What is half made when it fails is [`Layout::clear`]'s.
    fn make(&self, cgroups: &dyn CgroupManager, filters: &seccomp::Filters) -> Result<ContainerRecord, Error> {
        let sandbox = self.sandbox.record().config;
        let rootfs = self.directory.join("rootfs");
        self.mount(&rootfs)?;
        let defaults = &self.image.defaults;
        let identity = user::resolve(&user::Accounts::read(&rootfs), &defaults.user, &self.config.security)?;
        let working_dir = spec::working_dir(self.config, defaults);
        ensure_directory(&rootfs, Path::new(working_dir))
            .map_err(|err| Error::failed(format!("making the working directory {working_dir:?}"), err))?;

        let cgroup = format!("{}/{}", sandbox.cgroup_parent.trim_end_matches('/'), self.id);
        cgroups.ensure(&cgroup, &Resources { cpu_quota_us: 0, ..self.config.resources.clone() })?;
        let rules = if self.config.security.privileged { &[DeviceRule::ALL][..] } else { &spec::DEVICE_RULES };
        cgroups.allow_devices(&cgroup, rules)?;
        let directories = cgroups.directories(&cgroup);
        for mount in &self.config.mounts {
            // As containerd: a source that is not there is made a directory.
            if !mount.host_path.exists() {
                fs::create_dir_all(&mount.host_path)
                    .map_err(|err| Error::failed(format!("making {}", mount.host_path.display()), err))?;
            }
        }
        let parts = spec::Parts {
            sandbox: &sandbox,
            config: self.config,
            defaults,
            identity: &identity,
            rootfs: &rootfs,
            shm: &shm_path(&self.sandbox.directory, &sandbox),
            cgroup: &cgroup,
            cgroups: &directories,
            pid_namespace: self.pid_namespace.clone(),
        };
        let shares_pid = self.pid_namespace.is_some()
            || sandbox.pid == NamespaceMode::Node
            || self.config.security.pid == NamespaceMode::Node;
        write_json(&self.directory.join("config.json"), &parts.build()?)?;
        let security = &self.config.security;
        let capabilities = capabilities::capabilities(security)?;
        let profile = if security.privileged { "" } else { &security.seccomp_profile };
        if let Some(profile) = seccomp::profile(profile, &capabilities)? {
            let path = self.directory.join(SECCOMP_FILE);
            fs::write(&path, &*filters.compile(&profile)?)
                .map_err(|err| Error::failed(format!("writing {}", path.display()), err))?;
        }
        let record = self.record(&sandbox.log_directory, cgroup)?;
        let launch = Launch {
            log_path: Some(record.log_path.clone()).filter(|path| !path.as_os_str().is_empty()),
            tty: self.config.tty,
            stdin: self.config.stdin,
            stdin_once: self.config.stdin_once,
            uid: identity.uid,
            gid: identity.gid,
            oom_score_adj: self.config.resources.oom_score_adj,
            cgroups: directories.into_iter().map(|(_, dir)| dir).collect(),
            shares_pid,
            capabilities: capabilities.into_iter().collect(),
            no_new_privs: security.no_new_privs,
        };
        write_json(&self.directory.join(LAUNCH_FILE), &launch)?;
        write_json(&self.directory.join(STATUS_FILE), &Status { state: ContainerState::Created, pid: None })?;
        // Last: a container with this file is whole.
        record.save(self.directory)?;
        Ok(record)
    }

    fn record(&self, log_directory: &Path, cgroup: String) -> Result<ContainerRecord, Error> {
        let image = &self.image.image;
        let name = [self.config.stop_signal.as_str(), self.image.defaults.stop_signal.as_str(), "SIGTERM"]
            .into_iter()
            .find(|name| !name.is_empty())
            .unwrap_or("SIGTERM");
        let stop_signal = signal::number(name)
            .ok_or_else(|| Error::failed("failed to read the stop signal", format!("unknown signal {name:?}")))?;
        let log_path = &self.config.log_path;
        Ok(ContainerRecord {
            config: self.config.clone(),
            created_at: now(),
            image_id: image.id.clone(),
            image_ref: image.repo_digests.first().unwrap_or(&image.id).clone(),
            log_path: if log_path.as_os_str().is_empty() { PathBuf::new() } else { log_directory.join(log_path) },
            layers: self.image.hold.names().to_vec(),
            cgroup,
            stop_signal,
        })
    }

    /// The image's layers below a layer of the container's own.
    fn mount(&self, rootfs: &Path) -> Result<(), Error> {
        let (upper, work, lower) = (self.data.join("upper"), self.data.join("work"), self.data.join("lower"));
        let make = || -> io::Result<()> {
            for dir in [rootfs, &upper, &work] {
                fs::create_dir_all(dir)?;
            }
            let mut layers = self.image.layers.clone();
            if layers.is_empty() {
                fs::create_dir_all(&lower)?;
                layers.push(lower.clone());
            }
            mount_overlay(&layers, &upper, &work, rootfs)
        };
        make().map_err(|err| match err.kind() {
            io::ErrorKind::StorageFull => Error::DiskFull { path: self.data.display().to_string() },
            _ => Error::failed("failed to mount the container's root file system", err),
        })
    }

    fn clear(&self, cgroups: &dyn CgroupManager) {
        let parent = self.sandbox.record().config.cgroup_parent;
        let cgroup = format!("{}/{}", parent.trim_end_matches('/'), self.id);
        detach(&self.directory.join("rootfs"));
        for result in [cgroups.remove(&cgroup), clear_directory(self.data), clear_directory(self.directory)] {
            if let Err(err) = result {
                tracing::warn!(container = %self.id, %err, "left behind by a container that was not created");
            }
        }
    }
}

/// Makes `path` with its parents below `root`, following links no further than it.
fn ensure_directory(root: &Path, path: &Path) -> io::Result<()> {
    let root = openat(CWD, root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let open = |path: &Path| {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        openat2(&root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS)
    };
    let mut at = PathBuf::new();
    for part in path.components() {
        let std::path::Component::Normal(name) = part else { continue };
        let above = open(&at)?;
        at.push(name);
        if let Err(rustix::io::Errno::NOENT) = open(&at) {
            match mkdirat(&above, name, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                Err(err) => return Err(err.into()),
            }
        }
    }
    open(&at)?;
    Ok(())
}

/// Blocks that a tree uses.
fn disk_usage(directory: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let mut total = 0;
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let Ok(meta) = entry.metadata() else { continue };
            total += meta.blocks() * 512;
            if meta.is_dir() {
                directories.push(entry.path());
            }
        }
    }
    total
}
