//! postStart and preStop (upstream: pkg/kubelet/lifecycle/handlers.go).

use std::time::Duration;

use k8s_openapi::api::core::v1::{HTTPGetAction, LifecycleHandler};

use super::ContainerJob;
use crate::pod::spec::port_number;
use crate::prober::http;

/// Longest a postStart hook over HTTP or a command may take when nothing else limits it.
const LIMIT: Duration = Duration::from_secs(24 * 3600);

/// Runs the container's postStart hook. The error is the message of its event.
pub async fn post_start(job: &ContainerJob, id: &str) -> Result<(), String> {
    let hook = job.spec.container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.post_start.as_ref());
    let Some(hook) = hook else { return Ok(()) };
    let result = run(job, id, hook, LIMIT).await;
    if result.is_err() {
        job.event(true, "FailedPostStartHook", "PostStartHook failed");
    }
    result
}

/// Runs the container's preStop hook for at most `limit`.
pub async fn pre_stop(job: &ContainerJob, id: &str, limit: Duration) {
    let hook = job.spec.container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.pre_stop.as_ref());
    let Some(hook) = hook else { return };
    match tokio::time::timeout(limit, run(job, id, hook, limit)).await {
        Ok(Ok(())) => {}
        Ok(Err(err)) => {
            tracing::debug!(container = job.name(), error = err, "the preStop hook failed");
            job.event(true, "FailedPreStopHook", "PreStopHook failed");
        }
        Err(_) => tracing::debug!(container = job.name(), "the preStop hook did not end within the grace period"),
    }
}

async fn run(job: &ContainerJob, id: &str, hook: &LifecycleHandler, limit: Duration) -> Result<(), String> {
    if let Some(exec) = &hook.exec {
        let command = exec.command.clone().unwrap_or_default();
        let limit_s = limit.as_secs().max(1);
        return match job.job.cx.runtime.exec_sync(id, &command, limit_s).await {
            Ok((0, _, _)) => Ok(()),
            Ok((code, stdout, stderr)) => {
                let output = String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned();
                Err(format!(
                    "Exec lifecycle hook ({command:?}) failed - error: command exited with {code}, message: {output:?}"
                ))
            }
            Err(err) => Err(format!("Exec lifecycle hook ({command:?}) failed - error: {err}")),
        };
    }
    if let Some(get) = &hook.http_get {
        return http_hook(job, get, limit).await;
    }
    if let Some(sleep) = &hook.sleep {
        tokio::time::sleep(Duration::from_secs(u64::try_from(sleep.seconds).unwrap_or(0))).await;
        return Ok(());
    }
    Err("invalid handler: cannot run handler".to_owned())
}

async fn http_hook(job: &ContainerJob, get: &HTTPGetAction, limit: Duration) -> Result<(), String> {
    let port = port_number(&get.port, job.spec.container.ports.as_ref())
        .ok_or_else(|| "couldn't find the port of the hook".to_owned())?;
    let pod_ip = job.job.pod_ips.first().map(String::as_str).unwrap_or_default();
    let request = http::Request::new(get, pod_ip, port);
    match http::send(&request, limit).await {
        Ok(answer) if (200..400).contains(&answer.status) => Ok(()),
        Ok(answer) => Err(format!("HTTP lifecycle hook ({}) failed with status {}", request.path, answer.status)),
        Err(err) => Err(format!("HTTP lifecycle hook ({}) failed - error: {err}", request.path)),
    }
}
