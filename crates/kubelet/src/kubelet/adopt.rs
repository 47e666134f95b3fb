//! After a restart: what runs is taken over, what belongs to nobody is removed.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;

use super::Workers;
use crate::container::resources;
use crate::context::Context;
use crate::effects::finish;
use crate::pod::machine::{Adopted, Sandbox};
use crate::volumes::manager::remove_pod_dir;

/// Everything the runtime has, by pod UID.
pub(super) async fn what_runs(cx: &Arc<Context>) -> Result<HashMap<String, Adopted>, cri::Error> {
    let mut adopted: HashMap<String, Adopted> = HashMap::new();
    let mut sandboxes = cx.runtime.list_pod_sandboxes().await?;
    sandboxes.sort_by_key(|sandbox| sandbox.config.attempt);
    for sandbox in &sandboxes {
        let uid = &sandbox.config.uid;
        let entry = adopted.entry(uid.clone()).or_default();
        entry.sandbox_attempts = sandbox.config.attempt + 1;
        let ips = match &sandbox.config.netns {
            None => Some(vec![cx.config.node_ip]),
            Some(_) => cx.network.attachment(uid).await.ok().flatten().map(|attachment| attachment.ips),
        };
        // A sandbox without an address is of no use: the pod gets a new one.
        entry.sandbox = ips.filter(|_| sandbox.ready).map(|ips| Sandbox {
            id: sandbox.id.clone(),
            attempt: sandbox.config.attempt,
            ips,
        });
    }
    let mut containers = cx.runtime.list_containers().await?;
    containers.sort_by_key(|container| container.config.attempt);
    for container in containers {
        let Some(sandbox) = sandboxes.iter().find(|sandbox| sandbox.id == container.sandbox_id) else { continue };
        let uid = &sandbox.config.uid;
        if let Some(instance) = finish::instance(&container, &cx.config.pod_dir(uid), None) {
            adopted.entry(uid.clone()).or_default().containers.push((container.config.name.clone(), instance));
        }
    }
    Ok(adopted)
}

/// What belongs to pods that were removed while nobody looked.
pub(super) struct LeftOver {
    uids: BTreeSet<String>,
    dirs: Vec<PathBuf>,
}

/// Finds what belongs to none of `live`, and frees its addresses at once.
pub(super) async fn left_over(workers: &Workers, live: BTreeSet<String>) -> LeftOver {
    let cx = &workers.cx;
    let uids: BTreeSet<String> = {
        let mut adopted = workers.adopted.lock();
        let gone = adopted.keys().filter(|uid| !live.contains(*uid)).cloned().collect();
        adopted.retain(|uid, _| live.contains(uid));
        gone
    };
    let dirs = stale_dirs(cx, &live);
    if let Err(err) = cx.network.retain(live).await {
        tracing::warn!(error = %err, "freeing the network of gone pods failed");
    }
    LeftOver { uids, dirs }
}

impl LeftOver {
    /// Tears it down.
    pub(super) async fn remove(self, cx: &Arc<Context>) {
        if let Ok(sandboxes) = cx.runtime.list_pod_sandboxes().await {
            for sandbox in sandboxes.iter().filter(|sandbox| self.uids.contains(&sandbox.config.uid)) {
                tracing::info!(pod = sandbox.config.name, uid = sandbox.config.uid, "removing a pod that is gone");
                if let Err(err) = remove_sandbox(cx, &sandbox.id).await {
                    tracing::warn!(uid = sandbox.config.uid, error = %err, "removing an orphaned sandbox failed");
                }
            }
        }
        let cgroups = cx.cgroups.clone();
        let groups: Vec<String> = self.uids.iter().flat_map(|uid| cgroup_candidates(cx, uid)).collect();
        let removing = cx.scope.spawn_blocking(move || {
            for group in groups {
                if let Err(err) = cgroups.remove(&group) {
                    tracing::warn!(group, error = %err, "removing the control group of a gone pod failed");
                }
            }
            for dir in self.dirs {
                if let Err(err) = remove_pod_dir(&dir) {
                    tracing::warn!(dir = %dir.display(), error = %err, "removing the directory of a gone pod failed");
                }
            }
        });
        // It only fails when the process ends.
        let _ = removing.await;
    }
}

async fn remove_sandbox(cx: &Context, id: &str) -> Result<(), cri::Error> {
    cx.runtime.stop_pod_sandbox(id).await?;
    cx.runtime.remove_pod_sandbox(id).await
}

/// A gone pod's class of service is not known any more.
fn cgroup_candidates(cx: &Context, uid: &str) -> Vec<String> {
    let of_class = |class: &str| {
        let status = serde_json::json!({"status": {"qosClass": class}});
        let pod: Pod = serde_json::from_value(status).unwrap_or_default();
        resources::pod_cgroup(&cx.config.cgroup_root, &pod, uid)
    };
    ["Guaranteed", "Burstable", "BestEffort"].map(of_class).into()
}

/// Directories of volumes and logs of pods that are gone.
fn stale_dirs(cx: &Context, live: &BTreeSet<String>) -> Vec<PathBuf> {
    let entries = |dir: &PathBuf| std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let last = |path: &PathBuf, separator: char| {
        let name = path.file_name()?.to_str()?;
        name.rsplit(separator).next().map(str::to_owned)
    };
    let pods = entries(&cx.config.pods_dir()).filter(|path| last(path, '/').is_some_and(|uid| !live.contains(&uid)));
    let logs = entries(&cx.config.pod_log_dir).filter(|path| last(path, '_').is_some_and(|uid| !live.contains(&uid)));
    pods.chain(logs).collect()
}
