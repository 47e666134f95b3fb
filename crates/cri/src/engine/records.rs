//! What is known of sandboxes and containers, in memory and on disk.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::images::LayerHold;
use crate::runtime::{
    ContainerConfig, ContainerEvent, ContainerState, ContainerStatus, Error, SandboxConfig, SandboxStatus,
};
use crate::shim::protocol::Status;

const SANDBOX_FILE: &str = "sandbox.json";
const CONTAINER_FILE: &str = "container.json";

/// `sandbox.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct SandboxRecord {
    pub(super) config: SandboxConfig,
    pub(super) created_at: Timestamp,
    pub(super) ready: bool,
    /// The init of a shared PID namespace.
    pub(super) init_pid: Option<i32>,
    /// Its control group.
    pub(super) init_cgroup: Option<String>,
}

/// A pod's sandbox.
pub(super) struct Sandbox {
    pub(super) id: String,
    pub(super) directory: PathBuf,
    record: Mutex<SandboxRecord>,
    /// One life-cycle step at a time.
    pub(super) turn: tokio::sync::Mutex<()>,
}

impl Sandbox {
    pub(super) fn new(id: String, directory: PathBuf, record: SandboxRecord) -> Self {
        Self { id, directory, record: Mutex::new(record), turn: tokio::sync::Mutex::new(()) }
    }

    pub(super) fn load(directory: &Path) -> io::Result<Self> {
        let record = read_json(&directory.join(SANDBOX_FILE))?;
        Ok(Self::new(file_name(directory), directory.to_owned(), record))
    }

    pub(super) fn record(&self) -> SandboxRecord {
        self.record.lock().clone()
    }

    pub(super) fn is_ready(&self) -> bool {
        self.record.lock().ready
    }

    /// Changes the record, on disk first.
    pub(super) fn update(&self, change: impl FnOnce(&mut SandboxRecord)) -> Result<(), Error> {
        let mut record = self.record.lock();
        let mut changed = record.clone();
        change(&mut changed);
        write_json(&self.directory.join(SANDBOX_FILE), &changed)?;
        *record = changed;
        Ok(())
    }

    pub(super) fn status(&self) -> SandboxStatus {
        let record = self.record();
        SandboxStatus { id: self.id.clone(), config: record.config, ready: record.ready, created_at: record.created_at }
    }
}

/// `container.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ContainerRecord {
    pub(super) config: ContainerConfig,
    pub(super) created_at: Timestamp,
    pub(super) image_id: String,
    pub(super) image_ref: String,
    pub(super) log_path: PathBuf,
    /// Directory names of the image's layers.
    pub(super) layers: Vec<String>,
    pub(super) cgroup: String,
    pub(super) stop_signal: i32,
}

/// A container.
pub(super) struct Container {
    pub(super) id: String,
    pub(super) sandbox: Arc<Sandbox>,
    /// Its place below the sandbox's directory.
    pub(super) directory: PathBuf,
    pub(super) record: Mutex<ContainerRecord>,
    pub(super) life: watch::Sender<Status>,
    /// Keeps the image's layers on disk.
    pub(super) _hold: Arc<LayerHold>,
    /// One life-cycle step at a time.
    pub(super) turn: tokio::sync::Mutex<()>,
}

impl Container {
    pub(super) fn state(&self) -> ContainerState {
        self.life.borrow().state.clone()
    }

    pub(super) fn pid(&self) -> Option<i32> {
        self.life.borrow().pid
    }

    pub(super) fn cgroup(&self) -> String {
        self.record.lock().cgroup.clone()
    }

    /// A container's life goes one way: news that are older than what is known are none.
    pub(super) fn advance(&self, status: Status) -> Option<ContainerEvent> {
        let rank = |state: &ContainerState| match state {
            ContainerState::Created => 0,
            ContainerState::Running { .. } => 1,
            ContainerState::Exited { .. } => 2,
        };
        let newer = self.life.send_if_modified(|known| {
            let newer = rank(&status.state) > rank(&known.state);
            if newer {
                *known = status.clone();
            }
            newer
        });
        newer.then(|| ContainerEvent {
            sandbox_id: self.sandbox.id.clone(),
            pod_uid: self.sandbox.record.lock().config.uid.clone(),
            container_id: self.id.clone(),
            state: status.state,
        })
    }

    pub(super) fn status(&self) -> ContainerStatus {
        let record = self.record.lock().clone();
        let life = self.life.borrow().clone();
        ContainerStatus {
            id: self.id.clone(),
            sandbox_id: self.sandbox.id.clone(),
            config: record.config,
            created_at: record.created_at,
            state: life.state,
            image_id: record.image_id,
            image_ref: record.image_ref,
            log_path: record.log_path,
            pid: life.pid,
        }
    }
}

impl ContainerRecord {
    pub(super) fn load(directory: &Path) -> io::Result<Self> {
        read_json(&directory.join(CONTAINER_FILE))
    }

    pub(super) fn save(&self, directory: &Path) -> Result<(), Error> {
        write_json(&directory.join(CONTAINER_FILE), self)
    }
}

pub(super) fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

pub(super) fn read_json<T: for<'de> Deserialize<'de>>(path: &Path) -> io::Result<T> {
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}

/// Writes beside and renames, so that a reader sees the old or the new.
pub(super) fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<(), Error> {
    let temporary = path.with_extension("new");
    let write = || -> io::Result<()> {
        fs::write(&temporary, serde_json::to_vec(value)?)?;
        fs::rename(&temporary, path)
    };
    write().map_err(|err| match err.kind() {
        io::ErrorKind::StorageFull => Error::DiskFull { path: path.display().to_string() },
        _ => Error::failed(format!("writing {}", path.display()), err),
    })
}
