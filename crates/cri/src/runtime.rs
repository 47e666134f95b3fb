//! The seam between kubelet and runtime: [`RuntimeService`] and [`ImageService`], after
//! `runtime.v1` of the CRI (upstream: staging/src/k8s.io/cri-api/pkg/apis/runtime/v1/api.proto).

use std::collections::BTreeMap;
use std::path::PathBuf;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{broadcast, mpsc};

/// Where a namespace of a sandbox comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum NamespaceMode {
    /// One for all containers of the pod.
    #[default]
    Pod,
    /// One for each container (PID only).
    Container,
    /// The node's.
    Node,
}

/// What a pod's sandbox is made of.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct SandboxConfig {
    /// The pod's name.
    pub name: String,
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's UID.
    pub uid: String,
    /// How often the sandbox of this pod was made before.
    pub attempt: u32,
    /// Host name inside the UTS namespace; the node's when empty.
    pub hostname: String,
    /// Directory of the pod's container logs, as `/var/log/pods/<ns>_<name>_<uid>`.
    pub log_directory: PathBuf,
    /// Path of the network namespace, made by the caller; `None` for the node's.
    pub netns: Option<PathBuf>,
    /// PID namespace.
    pub pid: NamespaceMode,
    /// IPC namespace.
    pub ipc: NamespaceMode,
    /// cgroup parent of the pod, as `/kaji/node/kubepods/burstable/pod<uid>`, made by the caller's `ensure_pod_cgroup`.
    pub cgroup_parent: String,
    /// Kernel parameters of the sandbox.
    pub sysctls: BTreeMap<String, String>,
    /// Labels, kept for listing.
    pub labels: BTreeMap<String, String>,
    /// Annotations, kept for listing.
    pub annotations: BTreeMap<String, String>,
    /// The RuntimeClass handler; "" is the built-in runtime.
    pub runtime_handler: String,
}

/// A sandbox as it is.
#[derive(Clone, Debug, PartialEq)]
pub struct SandboxStatus {
    /// Its id.
    pub id: String,
    /// What it was made of.
    pub config: SandboxConfig,
    /// Ready, or stopped.
    pub ready: bool,
    /// When it was made.
    pub created_at: Timestamp,
}

/// How mounts made on one side show on the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum MountPropagation {
    /// `rprivate`.
    #[default]
    Private,
    /// `rslave`.
    HostToContainer,
    /// `rshared`.
    Bidirectional,
}

/// A bind mount into a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Mount {
    /// Path in the container.
    pub container_path: PathBuf,
    /// Path on the node.
    pub host_path: PathBuf,
    /// Read only.
    pub readonly: bool,
    /// Propagation.
    pub propagation: MountPropagation,
}

/// Resource limits of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Resources {
    /// CPU weight on the v1 scale (2..=262144); 0 for the default.
    pub cpu_shares: u64,
    /// CPU time a period, in µs; 0 for no limit.
    pub cpu_quota_us: i64,
    /// The period, in µs; 0 for 100,000.
    pub cpu_period_us: u64,
    /// Bytes of memory; 0 for no limit.
    pub memory_limit_bytes: i64,
    /// Preference of the OOM killer, -1000..=1000.
    pub oom_score_adj: i32,
    /// Most processes; 0 for no limit.
    pub pids_limit: i64,
}

/// Who a container runs as and what it may do.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SecurityContext {
    /// User id; the image's user when `None`.
    pub run_as_user: Option<i64>,
    /// Group id; the image's, or the user's primary group, when `None`.
    pub run_as_group: Option<i64>,
    /// Further groups.
    pub supplemental_groups: Vec<i64>,
    /// All capabilities, all devices, no masks.
    pub privileged: bool,
    /// Root file system read only.
    pub readonly_rootfs: bool,
    /// Sets `no_new_privs`.
    pub no_new_privs: bool,
    /// Capabilities added to the default set, without `CAP_`; `ALL` for all.
    pub add_capabilities: Vec<String>,
    /// Capabilities dropped; `ALL` for all.
    pub drop_capabilities: Vec<String>,
    /// `RuntimeDefault`, `Unconfined`, or `localhost/<path>`.
    pub seccomp_profile: String,
    /// Paths hidden from the container; the default set when `None`.
    pub masked_paths: Option<Vec<String>>,
    /// Paths read-only in the container; the default set when `None`.
    pub readonly_paths: Option<Vec<String>>,
    /// PID namespace of this container.
    pub pid: NamespaceMode,
    /// Join the PID namespace of this container instead (ephemeral containers with a target).
    pub pid_target: Option<String>,
}

/// What a container is made of.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ContainerConfig {
    /// The container's name in the pod.
    pub name: String,
    /// How often it was restarted.
    pub attempt: u32,
    /// The image, by reference or id; must be present.
    pub image: String,
    /// Entrypoint; the image's when empty.
    pub command: Vec<String>,
    /// Arguments; the image's `Cmd` when this and `command` are empty.
    pub args: Vec<String>,
    /// Working directory; the image's when empty.
    pub working_dir: String,
    /// Environment, after the image's.
    pub env: Vec<(String, String)>,
    /// Mounts.
    pub mounts: Vec<Mount>,
    /// Log file below the sandbox's log directory, as `web/0.log`.
    pub log_path: PathBuf,
    /// Keep stdin open.
    pub stdin: bool,
    /// Close stdin after the first attach.
    pub stdin_once: bool,
    /// Give it a terminal.
    pub tty: bool,
    /// Limits.
    pub resources: Resources,
    /// Rights.
    pub security: SecurityContext,
    /// The signal that stops it, as `SIGTERM`; the image's when empty.
    pub stop_signal: String,
    /// Labels, kept for listing.
    pub labels: BTreeMap<String, String>,
    /// Annotations, kept for listing.
    pub annotations: BTreeMap<String, String>,
}

/// The life of a container.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum ContainerState {
    /// Made, not started.
    Created,
    /// Its process runs.
    Running {
        /// Since when.
        started_at: Timestamp,
    },
    /// Its process has ended.
    Exited {
        /// When it was started; `None` when it never was.
        started_at: Option<Timestamp>,
        /// When it ended.
        finished_at: Timestamp,
        /// Exit code; 128 + signal when a signal ended it.
        exit_code: i32,
        /// `Completed`, `Error`, `OOMKilled`, `StartError`, `ContainerCannotRun`.
        reason: String,
        /// More for people.
        message: String,
    },
}

/// A container as it is.
#[derive(Clone, Debug, PartialEq)]
pub struct ContainerStatus {
    /// Its id.
    pub id: String,
    /// Its sandbox.
    pub sandbox_id: String,
    /// What it was made of.
    pub config: ContainerConfig,
    /// When it was made.
    pub created_at: Timestamp,
    /// Where it is in its life.
    pub state: ContainerState,
    /// The image's id (`sha256:...` of its config).
    pub image_id: String,
    /// The image by digest, where it came from a registry; else its id.
    pub image_ref: String,
    /// Absolute path of the log.
    pub log_path: PathBuf,
    /// PID of its first process in the node's PID namespace, while it runs.
    pub pid: Option<i32>,
}

/// Something happened to a container, reported as it happens.
#[derive(Clone, Debug)]
pub struct ContainerEvent {
    /// Its sandbox.
    pub sandbox_id: String,
    /// UID of its pod.
    pub pod_uid: String,
    /// Its id.
    pub container_id: String,
    /// The new state.
    pub state: ContainerState,
}

/// Use of resources at a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerStats {
    /// CPU time since the start, in ns.
    pub cpu_usage_ns: u64,
    /// Memory in use less inactive page cache, in bytes.
    pub memory_working_set_bytes: u64,
    /// Anonymous memory, in bytes.
    pub memory_rss_bytes: u64,
    /// Writable layer, in bytes.
    pub writable_layer_bytes: u64,
}

/// A program to run in a container, or a stream to attach to.
#[derive(Clone, Debug, Default)]
pub struct ExecRequest {
    /// The container.
    pub container_id: String,
    /// Program and arguments.
    pub command: Vec<String>,
    /// Give it a terminal (stdout and stderr become one).
    pub tty: bool,
    /// Whether it reads stdin.
    pub stdin: bool,
}

/// Columns and rows of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TerminalSize {
    /// Columns.
    pub width: u16,
    /// Rows.
    pub height: u16,
}

/// The streams of an exec or attach session. A missing stream is not wanted.
pub struct ExecIo {
    /// Read and passed to the process.
    pub stdin: Option<Box<dyn AsyncRead + Send + Unpin>>,
    /// What the process writes.
    pub stdout: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    /// What the process writes to stderr.
    pub stderr: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    /// New sizes of the terminal.
    pub resize: Option<mpsc::Receiver<TerminalSize>>,
}

/// Why the runtime did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such sandbox, container or image.
    #[error("{what} {id:?} not found")]
    NotFound {
        /// `sandbox`, `container`, `image`.
        what: &'static str,
        /// Its id or reference.
        id: String,
    },
    /// The container is not in a state that allows it.
    #[error("container {id:?} is {state}")]
    WrongState {
        /// The container.
        id: String,
        /// Its state, in words.
        state: &'static str,
    },
    /// The image reference cannot be read.
    #[error("couldn't parse image reference {reference:?}: {cause}")]
    InvalidImageName {
        /// The reference.
        reference: String,
        /// Why.
        cause: String,
    },
    /// The image could not be pulled.
    #[error("failed to pull image {reference:?}: {cause}")]
    Pull {
        /// The reference.
        reference: String,
        /// Why.
        cause: String,
    },
    /// An archive or layer is damaged or unsafe.
    #[error("image archive: {0}")]
    Archive(String),
    /// The disk is full.
    #[error("no space left on {path}: free some space or remove images with 'kaji image remove'")]
    DiskFull {
        /// The directory.
        path: String,
    },
    /// The container's process could not be started: `StartError` or `ContainerCannotRun`.
    #[error("failed to create containerd task: {0}")]
    Start(String),
    /// The work took longer than it may.
    #[error("timed out after {0} s")]
    Timeout(u64),
    /// A system call or the helper failed.
    #[error("{doing}: {cause}")]
    Failed {
        /// What was being done.
        doing: String,
        /// Why it failed.
        cause: String,
    },
}

impl Error {
    /// [`Error::Failed`], from anything that can be shown.
    pub fn failed(doing: impl Into<String>, cause: impl std::fmt::Display) -> Self {
        Error::Failed { doing: doing.into(), cause: cause.to_string() }
    }
}

/// Sandboxes and containers. All methods are idempotent where the CRI says so.
#[async_trait]
pub trait RuntimeService: Send + Sync + 'static {
    /// Name and version, as node status shows them (`kaji://1.37.0`).
    fn version(&self) -> String;

    /// Makes a pod's sandbox and answers its id.
    async fn run_pod_sandbox(&self, config: SandboxConfig) -> Result<String, Error>;

    /// Kills what still runs in the sandbox. Stopping a stopped or missing sandbox is no error.
    async fn stop_pod_sandbox(&self, sandbox_id: &str) -> Result<(), Error>;

    /// Removes the sandbox with its containers; their logs stay.
    async fn remove_pod_sandbox(&self, sandbox_id: &str) -> Result<(), Error>;

    /// Every sandbox.
    async fn list_pod_sandboxes(&self) -> Result<Vec<SandboxStatus>, Error>;

    /// Makes a container and answers its id.
    async fn create_container(&self, sandbox_id: &str, config: ContainerConfig) -> Result<String, Error>;

    /// Starts a created container.
    async fn start_container(&self, container_id: &str) -> Result<(), Error>;

    /// Sends the stop signal, waits up to `grace_s` seconds, then kills. A stopped or missing container is no error.
    async fn stop_container(&self, container_id: &str, grace_s: u64) -> Result<(), Error>;

    /// Removes a container, killing it when it runs; its log stays.
    async fn remove_container(&self, container_id: &str) -> Result<(), Error>;

    /// Every container.
    async fn list_containers(&self) -> Result<Vec<ContainerStatus>, Error>;

    /// One container.
    async fn container_status(&self, container_id: &str) -> Result<ContainerStatus, Error>;

    /// Changes the limits of a running container.
    async fn update_container_resources(&self, container_id: &str, resources: Resources) -> Result<(), Error>;

    /// Moves the log aside is the caller's work; this makes the writer open `log_path` anew.
    async fn reopen_container_log(&self, container_id: &str) -> Result<(), Error>;

    /// Runs a program in a container to its end: exit code, stdout, stderr (each cut at 16 MiB).
    async fn exec_sync(
        &self,
        container_id: &str,
        command: &[String],
        timeout_s: u64,
    ) -> Result<(i32, Vec<u8>, Vec<u8>), Error>;

    /// Runs a program with streams and answers its exit code.
    async fn exec(&self, request: ExecRequest, io: ExecIo) -> Result<i32, Error>;

    /// Joins the streams of a container's first process, until they or the process end.
    async fn attach(&self, container_id: &str, io: ExecIo) -> Result<(), Error>;

    /// Use of resources by a running container.
    async fn container_stats(&self, container_id: &str) -> Result<ContainerStats, Error>;

    /// Every change from now on. A receiver that lagged lists anew.
    fn events(&self) -> broadcast::Receiver<ContainerEvent>;
}

/// An image in the store.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Image {
    /// `sha256:...` of its config.
    pub id: String,
    /// Names with a tag.
    pub repo_tags: Vec<String>,
    /// Names with a digest.
    pub repo_digests: Vec<String>,
    /// Bytes of its layers, unpacked.
    pub size_bytes: u64,
    /// The user of its config, as `1000`, `nobody` or "".
    pub user: String,
}

/// Credentials for a registry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegistryAuth {
    /// User name.
    pub username: String,
    /// Password.
    pub password: String,
    /// A token that stands for both.
    pub identity_token: String,
}

/// How far a pull is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PullProgress {
    /// Bytes fetched.
    pub done_bytes: u64,
    /// Bytes in all.
    pub total_bytes: u64,
}

/// Images.
#[async_trait]
pub trait ImageService: Send + Sync + 'static {
    /// Every image.
    async fn list_images(&self) -> Result<Vec<Image>, Error>;

    /// The image a reference or id names, if present.
    async fn image_status(&self, reference: &str) -> Result<Option<Image>, Error>;

    /// Fetches an image; tried credentials in order. `progress` takes the latest state.
    async fn pull_image(
        &self,
        reference: &str,
        auth: &[RegistryAuth],
        progress: Option<tokio::sync::watch::Sender<PullProgress>>,
    ) -> Result<Image, Error>;

    /// Takes in every image of an archive (`docker save` or OCI) that lies on this machine. Not part of the CRI: a
    /// runtime reached through it refuses.
    async fn import_archive(&self, path: &std::path::Path) -> Result<Vec<Image>, Error> {
        Err(Error::Archive(format!("this runtime does not import {}", path.display())))
    }

    /// Removes the image that a reference or id names, with layers nobody else uses.
    async fn remove_image(&self, reference: &str) -> Result<(), Error>;

    /// Bytes and inodes that the store uses.
    async fn image_fs_usage(&self) -> Result<(u64, u64), Error>;
}
