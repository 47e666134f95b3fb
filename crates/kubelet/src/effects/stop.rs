//! Stopping one container: preStop, the signal, the grace period, the kill
//! (upstream: kuberuntime_container.go killContainer).

use std::time::Duration;

use kube::ResourceExt;
use tokio::time::Instant;

use super::{ContainerJob, finish, hooks};
use crate::pod::container::Ended;

/// Seconds a container always gets after its signal.
const MIN_GRACE_S: u64 = 2;

/// Stops an instance and answers how it ended, when the runtime still knows.
pub async fn container(job: &ContainerJob, id: &str, grace_s: i64, message: &str) -> Option<Ended> {
    job.event(false, "Killing", message);
    let grace = Duration::from_secs(u64::try_from(grace_s).unwrap_or(0));
    let began = Instant::now();
    // One second is what a forced deletion leaves: no hook then.
    if grace_s > 1 {
        hooks::pre_stop(job, id, grace).await;
    }
    let left = grace.saturating_sub(began.elapsed()).as_secs();
    let left = if grace_s > 1 { left.max(MIN_GRACE_S) } else { left };
    let (cx, pod) = (&job.job.cx, &job.job.pod);
    if let Err(err) = cx.runtime.stop_container(id, left).await {
        tracing::warn!(container = job.name(), error = %err, "stopping a container failed");
    }
    let status = cx.runtime.container_status(id).await.ok()?;
    let pod_dir = cx.config.pod_dir(&pod.uid().unwrap_or_default());
    finish::ended(&status, &pod_dir, Some(&job.spec.container))
}
