//! One pod: who it is ([`PodRef`]), its life as a pure state machine ([`machine`]), what of it the API shows
//! ([`status`]), and the task that runs it ([`worker`]).

pub mod admission;
pub mod backoff;
pub mod container;
pub mod machine;
pub mod qos;
pub mod spec;
pub mod status;
pub mod status_patch;
pub mod worker;

use std::fmt;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

/// Namespace, name and UID of a pod; prints as upstream's `format.Pod`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct PodRef {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// UID.
    pub uid: String,
}

impl PodRef {
    /// Who `pod` is.
    pub fn of(pod: &Pod) -> Self {
        Self {
            namespace: pod.namespace().unwrap_or_default(),
            name: pod.name_any(),
            uid: pod.uid().unwrap_or_default(),
        }
    }

    /// Name of the directory of its logs (upstream: kuberuntime/helpers.go BuildPodLogsDirectory).
    pub fn log_directory(&self) -> String {
        format!("{}_{}_{}", self.namespace, self.name, self.uid)
    }
}

impl fmt::Display for PodRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}({})", self.name, self.namespace, self.uid)
    }
}
