//! Starting one container: image, configuration, create, start (upstream: kuberuntime_container.go startContainer).

use client::ObjectKey;
use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt;

use super::{ContainerJob, finish, image, resize, sandbox};
use crate::container::{config, env, mounts, security, services};
use crate::pod::PodRef;
use crate::pod::container::{Ended, Instance, Life, SetupFailure};
use crate::pod::spec::spec;

fn failure(reason: &str, message: impl Into<String>) -> SetupFailure {
    SetupFailure { reason: reason.to_owned(), message: message.into() }
}

/// Brings one container up and answers its instance, or why there is none.
pub async fn container(job: &ContainerJob) -> Result<Instance, SetupFailure> {
    let image = image::ensure(job).await?;
    let config_error = |message: String| {
        job.event(true, "Failed", format!("Error: {message}"));
        failure("CreateContainerConfigError", message)
    };
    security::verify_non_root(&job.job.pod, &job.spec.container, &image.user).map_err(config_error)?;
    let env = environment(job).await.map_err(config_error)?;
    let mounts = prepare_mounts(job, env.clone()).await.map_err(config_error)?;
    let (cx, pod) = (&job.job.cx, &job.job.pod);
    let mut config =
        config::container(pod, &job.spec.container, job.attempt, image.id, env, mounts, cx.machine.memory_bytes);
    config.security.pid_target = job.target_id.clone();
    // Nothing starts once the end has begun (INV-14).
    if job.job.stop.is_cancelled() {
        return Err(failure("CreateContainerError", "the pod is being terminated"));
    }
    let id = match cx.runtime.create_container(&job.job.sandbox_id, config).await {
        Ok(id) => id,
        Err(err) => {
            job.event(true, "Failed", format!("Error: {err}"));
            return Err(failure("CreateContainerError", err.to_string()));
        }
    };
    job.event(false, "Created", "Container created");
    if let Err(err) = cx.runtime.start_container(&id).await {
        job.event(true, "Failed", format!("Error: {err}"));
        return Ok(never_started(job, id, &err.to_string()));
    }
    if let Err(err) = resize::limit_pod(&job.job) {
        tracing::warn!(pod = %PodRef::of(pod), %err, "the pod runs without its limits");
    }
    job.event(false, "Started", "Container started");
    if let Some(obsolete) = &job.obsolete
        && let Err(err) = cx.runtime.remove_container(obsolete).await
    {
        tracing::debug!(container = job.name(), error = %err, "removing an old instance failed");
    }
    let status = cx.runtime.container_status(&id).await.map_err(|err| failure("RunContainerError", err.to_string()))?;
    let pod_dir = cx.config.pod_dir(&pod.uid().unwrap_or_default());
    let instance = finish::instance(&status, &pod_dir, Some(&job.spec.container));
    instance.ok_or_else(|| failure("RunContainerError", "the container did not start"))
}

/// A container whose process could not be started counts as one that ended with 128.
fn never_started(job: &ContainerJob, id: String, message: &str) -> Instance {
    let now = component_base::now();
    Instance {
        id,
        attempt: job.attempt,
        image: job.spec.container.image.clone().unwrap_or_default(),
        image_id: String::new(),
        life: Life::Ended(Ended {
            exit_code: 128,
            reason: "StartError".to_owned(),
            message: message.to_owned(),
            started_at: None,
            finished_at: now,
        }),
    }
}

async fn environment(job: &ContainerJob) -> Result<Vec<(String, String)>, String> {
    let (cx, pod) = (&job.job.cx, &job.job.pod);
    job.job.sources.ready().await?;
    cx.services.synced().await;
    let lister = cx.service_lister();
    let mut visible: Vec<std::sync::Arc<Service>> = Vec::new();
    if spec(pod).enable_service_links != Some(false) {
        visible = lister.list_in(&pod.namespace().unwrap_or_default());
    }
    let kubernetes = lister.get(&ObjectKey::new("default", "kubernetes"));
    let known = visible
        .iter()
        .any(|service| service.name_any() == "kubernetes" && service.namespace().as_deref() == Some("default"));
    let mut variables = services::variables(&visible);
    if !known {
        let of_cluster = match kubernetes {
            Some(service) => services::variables(&[service]),
            None => cx.config.kubernetes_service.map_or_else(Vec::new, |(ip, port)| {
                vec![
                    ("KUBERNETES_SERVICE_HOST".to_owned(), ip.to_string()),
                    ("KUBERNETES_SERVICE_PORT".to_owned(), port.to_string()),
                ]
            }),
        };
        let unset: Vec<_> =
            of_cluster.into_iter().filter(|(name, _)| !variables.iter().any(|(known, _)| known == name)).collect();
        variables.extend(unset);
    }
    let facts = cx.facts(job.job.pod_ips.clone());
    env::environment(pod, &job.spec.container, variables, &*job.job.sources, &facts).map_err(|err| err.to_string())
}

async fn prepare_mounts(job: &ContainerJob, env: Vec<(String, String)>) -> Result<Vec<cri::Mount>, String> {
    let files = sandbox::files(&job.job, &job.job.pod_ips);
    let work = job.clone();
    let preparing = job.job.cx.scope.spawn_blocking(move || {
        let (job, container) = (&work.job, &work.spec.container);
        mounts::prepare(&job.pod, container, work.attempt, &env, &job.volumes, &files)
    });
    preparing.await.unwrap_or_else(|err| Err(err.to_string()))
}
