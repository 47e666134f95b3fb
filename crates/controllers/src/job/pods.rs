//! A Job's pods: how they are made and what became of them. Pure.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{EnvVar, EnvVarSource, ObjectFieldSelector, Pod};
use kube::ResourceExt;
use kube::api::ObjectMeta;

use client::corev1::pod::phase;

use crate::owners::controller_ref;

/// Holds a pod until its end was counted.
pub const TRACKING: &str = "batch.kubernetes.io/job-tracking";
const INDEX: &str = "batch.kubernetes.io/job-completion-index";

/// Whether each pod of the Job has an index of its own.
pub fn is_indexed(job: &Job) -> bool {
    job.spec.as_ref().and_then(|spec| spec.completion_mode.as_deref()) == Some("Indexed")
}

/// The completion index of a pod.
pub fn index_of(pod: &Pod) -> Option<i32> {
    pod.annotations().get(INDEX)?.parse().ok()
}

/// Whether a pod's end has yet to be counted.
pub fn is_tracked(pod: &Pod) -> bool {
    pod.finalizers().iter().any(|one| one == TRACKING)
}

/// Whether a pod did what it should.
pub fn has_succeeded(pod: &Pod) -> bool {
    phase(pod) == "Succeeded"
}

/// Whether a pod failed, or goes without having ended.
pub fn has_failed(pod: &Pod) -> bool {
    phase(pod) == "Failed" || (pod.metadata.deletion_timestamp.is_some() && !has_succeeded(pod))
}

/// The pod of a Job; `index` where the Job is indexed.
pub fn new_pod(job: &Job, index: Option<i32>) -> Option<Pod> {
    let template = &job.spec.as_ref()?.template;
    let meta = template.metadata.clone().unwrap_or_default();
    let mut finalizers = meta.finalizers.unwrap_or_default();
    finalizers.push(TRACKING.into());
    let mut pod = Pod {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", job.name_any())),
            namespace: job.namespace(),
            labels: meta.labels,
            annotations: meta.annotations,
            finalizers: Some(finalizers),
            owner_references: Some(vec![controller_ref(job)]),
            ..ObjectMeta::default()
        },
        spec: template.spec.clone(),
        status: None,
    };
    if let Some(index) = index {
        add_index(job, &mut pod, index);
    }
    Some(pod)
}

fn add_index(job: &Job, pod: &mut Pod, index: i32) {
    pod.metadata.generate_name = Some(format!("{}-{index}-", job.name_any()));
    pod.metadata.annotations.get_or_insert_default().insert(INDEX.into(), index.to_string());
    pod.metadata.labels.get_or_insert_default().insert(INDEX.into(), index.to_string());
    let Some(spec) = &mut pod.spec else { return };
    spec.hostname = Some(format!("{}-{index}", job.name_any()));
    let field_ref =
        ObjectFieldSelector { field_path: format!("metadata.labels['{INDEX}']"), ..ObjectFieldSelector::default() };
    let variable = EnvVar {
        name: "JOB_COMPLETION_INDEX".into(),
        value: None,
        value_from: Some(EnvVarSource { field_ref: Some(field_ref), ..EnvVarSource::default() }),
    };
    let containers = spec.init_containers.iter_mut().flatten().chain(&mut spec.containers);
    for container in containers {
        let env = container.env.get_or_insert_default();
        if !env.iter().any(|one| one.name == variable.name) {
            env.push(variable.clone());
        }
    }
}
