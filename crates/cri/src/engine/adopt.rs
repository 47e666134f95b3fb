//! Taking up what an earlier server left running. Nothing is restarted.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::future::join_all;
use tokio::sync::watch;

use super::Inner;
use super::records::{Container, ContainerRecord, Sandbox, file_name, read_json};
use super::sandboxes::clear_directory;
use super::shim_client;
use crate::runtime::{ContainerState, Error};
use crate::shim::protocol::{STATUS_FILE, Status};

impl Inner {
    pub(super) async fn adopt(self: &Arc<Self>) -> Result<(), Error> {
        for dir in [&self.config.run_dir, &self.config.data_dir.join("containers")] {
            fs::create_dir_all(dir).map_err(|err| Error::failed(format!("making {}", dir.display()), err))?;
        }
        join_all(subdirectories(&self.config.run_dir).into_iter().map(|dir| self.adopt_sandbox(dir))).await;
        let known: HashSet<String> = self.containers.read().keys().cloned().collect();
        let data = self.config.data_dir.join("containers");
        self.blocking(move || {
            let orphans = subdirectories(&data).into_iter().filter(|dir| !known.contains(&file_name(dir)));
            orphans.for_each(|dir| warn_of(clear_directory(&dir)));
            Ok(())
        })
        .await
    }

    async fn adopt_sandbox(self: &Arc<Self>, directory: PathBuf) {
        let Ok(sandbox) = Sandbox::load(&directory) else {
            // It was being made when the server ended: nobody was told of it.
            shim_client::shut_down(&directory).await;
            warn_of(self.blocking(move || clear_directory(&directory)).await);
            return;
        };
        let sandbox = Arc::new(sandbox);
        self.sandboxes.write().insert(sandbox.id.clone(), sandbox.clone());
        for directory in subdirectories(&directory) {
            self.adopt_container(&sandbox, directory).await;
        }
        // News from here on reach us; what happened before is on disk.
        if sandbox.is_ready() && self.watch(&sandbox).await.is_ok() {
            for container in self.containers_of(&sandbox.id) {
                if let Ok(status) = read_json::<Status>(&container.directory.join(STATUS_FILE)) {
                    self.learn(&container.id, status);
                }
                if matches!(container.state(), ContainerState::Running { .. }) {
                    warn_of(self.limit(container).await);
                }
            }
            return;
        }
        // A helper that was started but not entered, or one that died.
        shim_client::shut_down(&sandbox.directory).await;
        warn_of(sandbox.update(|record| record.ready = false));
        self.settle(&sandbox).await;
    }

    async fn adopt_container(&self, sandbox: &Arc<Sandbox>, directory: PathBuf) {
        let id = file_name(&directory);
        // Not a container's: where /dev/shm is, and where youki's library keeps its own.
        if id == "shm" || id == "oci" {
            return;
        }
        let (Ok(record), Ok(status)) =
            (ContainerRecord::load(&directory), read_json::<Status>(&directory.join(STATUS_FILE)))
        else {
            // It was being made when the server ended: nobody was told of it.
            let cgroups = self.cgroups.clone();
            let cgroup = format!("{}/{id}", sandbox.record().config.cgroup_parent.trim_end_matches('/'));
            let cleared = self.blocking(move || cgroups.remove(&cgroup).and_then(|()| clear_directory(&directory)));
            return warn_of(cleared.await);
        };
        let container = Container {
            id: id.clone(),
            sandbox: sandbox.clone(),
            directory,
            life: watch::Sender::new(status),
            _hold: self.images.hold(&record.layers),
            record: record.into(),
            turn: tokio::sync::Mutex::new(()),
        };
        self.containers.write().insert(id, Arc::new(container));
    }
}

fn subdirectories(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()).collect()
}

/// What cannot be cleared away now is met again at the next start.
fn warn_of(result: Result<(), Error>) {
    if let Err(err) = result {
        tracing::warn!(%err, "left behind by an earlier run");
    }
}
