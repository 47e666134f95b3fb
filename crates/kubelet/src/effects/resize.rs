//! The limits of running pods and containers, also changed while they run (KEP-1287).

use kube::ResourceExt;

use super::{ContainerJob, Job};
use crate::container::resources;

/// Gives pod and container the limits of the spec.
pub async fn container(job: &ContainerJob, id: &str) -> Result<(), cri::Error> {
    let (cx, pod) = (&job.job.cx, &job.job.pod);
    limit_pod(&job.job)?;
    let limits = resources::of_container(pod, &job.spec.container, cx.machine.memory_bytes);
    cx.runtime.update_container_resources(id, limits).await
}

/// Gives the pod's control group the limits of the spec.
pub fn limit_pod(job: &Job) -> Result<(), cri::Error> {
    let (cx, pod) = (&job.cx, &job.pod);
    let cgroup = resources::pod_cgroup(&cx.config.cgroup_root, pod, &pod.uid().unwrap_or_default());
    cx.cgroups.ensure(&cgroup, &resources::of_pod(pod))
}
