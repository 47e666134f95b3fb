//! Setting up, refreshing and taking down the volumes of one pod.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use client::quantity;
use component_base::Scope;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{EmptyDirVolumeSource, Pod, ProjectedVolumeSource, Volume};
use tokio::sync::Mutex;

use super::atomic_writer::{self, Payload};
use super::payload::{self, Builder, PayloadError};
use super::token::{TokenCache, TokenKey, TokenSource};
use super::{host_path, mount};
use crate::container::env::Objects;
use crate::container::fields::NodeFacts;
use crate::pod::spec::spec;

/// Why a volume could not be set up; the text of the FailedMount event.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// A volume's own trouble.
    #[error("MountVolume.SetUp failed for volume {volume:?} : {cause}")]
    SetUp {
        /// Its name.
        volume: String,
        /// Why.
        cause: String,
    },
    /// The objects it needs are not known.
    #[error("MountVolume.SetUp failed : {0}")]
    Sources(String),
}

/// What setting up needs to know beside the pod.
pub struct Cx<'a> {
    /// ConfigMaps and Secrets.
    pub objects: &'a dyn Objects,
    /// For the downward API.
    pub facts: &'a NodeFacts,
    /// Tokens.
    pub tokens: &'a dyn TokenSource,
    /// The time.
    pub now: Timestamp,
    /// Where blocking work runs.
    pub scope: &'a Scope,
}

/// One thing to do on disk.
enum Task {
    EmptyDir { dir: PathBuf, memory: bool, size_bytes: Option<i64>, mode: u32 },
    HostPath { path: PathBuf, kind: String },
    Files { dir: PathBuf, memory: bool, payload: Payload },
}

/// The volumes of one pod.
pub struct PodVolumes {
    pod_dir: PathBuf,
    tokens: Mutex<TokenCache>,
}

impl PodVolumes {
    /// Volumes below `pod_dir`.
    pub fn new(pod_dir: PathBuf) -> Arc<Self> {
        Arc::new(Self { pod_dir, tokens: Mutex::default() })
    }

    /// Sets up every volume; run again, it brings files up to date and leaves the rest alone.
    pub async fn set_up(&self, pod: &Pod, cx: &Cx<'_>) -> Result<(), VolumeError> {
        let group = spec(pod).security_context.as_ref().and_then(|context| context.fs_group);
        let group = group.and_then(|group| u32::try_from(group).ok());
        let mut tasks = Vec::new();
        for volume in spec(pod).volumes.iter().flatten() {
            let task = self.task(pod, volume, cx).await;
            tasks.push((
                volume.name.clone(),
                task.map_err(|cause| VolumeError::SetUp { volume: volume.name.clone(), cause })?,
            ));
        }
        let now = cx.now;
        let work = move || {
            for (volume, task) in tasks {
                task.run(group, now).map_err(|cause| VolumeError::SetUp { volume, cause })?;
            }
            Ok(())
        };
        cx.scope.spawn_blocking(work).await.unwrap_or_else(|err| Err(VolumeError::Sources(err.to_string())))
    }

    /// When the first token is due to be renewed.
    pub async fn refresh_at(&self) -> Option<Timestamp> {
        self.tokens.lock().await.refresh_at()
    }

    /// Where a volume is on the node.
    pub fn path(&self, volume: &Volume) -> Option<PathBuf> {
        if let Some(source) = &volume.host_path {
            return Some(PathBuf::from(&source.path));
        }
        let plugin = if volume.empty_dir.is_some() {
            "kubernetes.io~empty-dir"
        } else if volume.config_map.is_some() {
            "kubernetes.io~configmap"
        } else if volume.secret.is_some() {
            "kubernetes.io~secret"
        } else if volume.downward_api.is_some() {
            "kubernetes.io~downward-api"
        } else if volume.projected.is_some() {
            "kubernetes.io~projected"
        } else {
            return None;
        };
        Some(self.pod_dir.join("volumes").join(plugin).join(&volume.name))
    }

    async fn task(&self, pod: &Pod, volume: &Volume, cx: &Cx<'_>) -> Result<Task, String> {
        if let Some(source) = &volume.host_path {
            let kind = source.type_.clone().unwrap_or_default();
            return Ok(Task::HostPath { path: PathBuf::from(&source.path), kind });
        }
        let dir = self.path(volume).ok_or_else(|| format!("no volume plugin matched: {}", unsupported(volume)))?;
        if let Some(source) = &volume.empty_dir {
            return Ok(empty_dir(dir, source));
        }
        let builder =
            Builder { pod, objects: cx.objects, facts: cx.facts, mode: 0o644, user: None, files: Payload::new() };
        let text = |err: PayloadError| err.to_string();
        if let Some(source) = &volume.config_map {
            let payload = payload::of_config_map(source, builder).map_err(text)?;
            return Ok(Task::Files { dir, memory: false, payload });
        }
        if let Some(source) = &volume.secret {
            let payload = payload::of_secret(source, builder).map_err(text)?;
            return Ok(Task::Files { dir, memory: true, payload });
        }
        if let Some(source) = &volume.downward_api {
            let payload = payload::of_downward(source, builder).map_err(text)?;
            return Ok(Task::Files { dir, memory: true, payload });
        }
        let source = volume.projected.clone().unwrap_or_default();
        let payload = self.projected(pod, &source, builder, cx).await?;
        Ok(Task::Files { dir, memory: true, payload })
    }

    async fn projected(
        &self,
        pod: &Pod,
        source: &ProjectedVolumeSource,
        mut builder: Builder<'_>,
        cx: &Cx<'_>,
    ) -> Result<Payload, String> {
        builder.mode = source.default_mode.unwrap_or(0o644);
        builder.user = source.default_user;
        let text = |err: PayloadError| err.to_string();
        for part in source.sources.iter().flatten() {
            if let Some(part) = &part.config_map {
                builder.config_map(&part.name, part.items.as_deref(), part.optional == Some(true)).map_err(text)?;
            } else if let Some(part) = &part.secret {
                builder.secret(&part.name, part.items.as_deref(), part.optional == Some(true)).map_err(text)?;
            } else if let Some(part) = &part.downward_api {
                builder.downward(part.items.as_deref()).map_err(text)?;
            } else if let Some(part) = &part.service_account_token {
                let key = TokenKey {
                    audience: part.audience.clone().unwrap_or_default(),
                    expiration_s: part.expiration_seconds.unwrap_or(3600),
                };
                let token = self.tokens.lock().await.get(cx.tokens, pod, &key, cx.now).await?;
                builder.add(&part.path, token.value.into_bytes(), Some(token_mode(pod, builder.mode)), part.user);
            } else {
                return Err("this source of projected volumes is not supported".to_owned());
            }
        }
        Ok(builder.files)
    }
}

/// A token is readable by whom the pod runs as (upstream: projected.go collectData).
fn token_mode(pod: &Pod, default: i32) -> i32 {
    let grouped = spec(pod).security_context.as_ref().is_some_and(|context| context.fs_group.is_some());
    if grouped { 0o600 } else { default }
}

fn empty_dir(dir: PathBuf, source: &EmptyDirVolumeSource) -> Task {
    Task::EmptyDir {
        dir,
        memory: source.medium.as_deref() == Some("Memory"),
        size_bytes: source.size_limit.as_ref().map(quantity::value),
        mode: source.mode.and_then(|mode| u32::try_from(mode).ok()).unwrap_or(0o777),
    }
}

/// The name of the first source of a volume that has one, for the message.
fn unsupported(volume: &Volume) -> String {
    let value = serde_json::to_value(volume).unwrap_or_default();
    let source = value.as_object().and_then(|fields| fields.keys().find(|key| *key != "name").cloned());
    format!("volumes of type {:?} are not supported on this node", source.unwrap_or_default())
}

impl Task {
    fn run(self, group: Option<u32>, now: Timestamp) -> Result<(), String> {
        let result = match self {
            Self::HostPath { path, kind } => return host_path::prepare(&path, &kind),
            Self::EmptyDir { dir, memory, size_bytes, mode } => make_empty_dir(&dir, memory, size_bytes, mode, group),
            Self::Files { dir, memory, payload } => {
                make_dir(&dir, memory).and_then(|()| atomic_writer::write(&dir, &payload, group, now)).map(drop)
            }
        };
        result.map_err(|err| err.to_string())
    }
}

fn make_dir(dir: &Path, memory: bool) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    if memory { mount::tmpfs(dir, None, 0o777) } else { Ok(()) }
}

fn make_empty_dir(dir: &Path, memory: bool, size_bytes: Option<i64>, mode: u32, group: Option<u32>) -> io::Result<()> {
    if dir.exists() && (!memory || mount::is_mounted(dir)?) {
        return Ok(());
    }
    fs::create_dir_all(dir)?;
    if memory {
        mount::tmpfs(dir, size_bytes, mode)?;
    }
    let setgid = if group.is_some() { 0o2070 } else { 0 };
    if let Some(group) = group {
        atomic_writer::chown(dir, None, Some(group))?;
    }
    fs::set_permissions(dir, fs::Permissions::from_mode(mode | setgid))
}

/// Unmounts what is mounted for a pod and removes its directory.
pub fn remove_pod_dir(pod_dir: &Path) -> io::Result<()> {
    mount::unmount_below(pod_dir)?;
    match fs::remove_dir_all(pod_dir) {
        Err(err) if err.kind() != io::ErrorKind::NotFound => Err(err),
        _ => Ok(()),
    }
}
