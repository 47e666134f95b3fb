//! The shell's side of a pod's life: each function does one [`Action`](crate::pod::machine::Action) and answers what
//! came of it. Nothing here decides; errors become messages for events and status.

pub mod finish;
pub mod hooks;
pub mod image;
pub mod resize;
pub mod sandbox;
pub mod start;
pub mod stop;

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::pod::spec::ContainerSpec;
use crate::sources::PodSources;
use crate::volumes::PodVolumes;

/// A pod as one effect sees it.
#[derive(Clone)]
pub struct Job {
    /// What all pods share.
    pub cx: Arc<Context>,
    /// The pod when the effect began.
    pub pod: Arc<Pod>,
    /// Its volumes.
    pub volumes: Arc<PodVolumes>,
    /// Its ConfigMaps and Secrets.
    pub sources: Arc<PodSources>,
    /// Its sandbox's id; empty before there is one.
    pub sandbox_id: String,
    /// Its addresses.
    pub pod_ips: Vec<String>,
    /// Cancelled when starts are to be given up.
    pub stop: CancellationToken,
}

/// One container of a [`Job`].
#[derive(Clone)]
pub struct ContainerJob {
    /// The pod.
    pub job: Job,
    /// The container.
    pub spec: Arc<ContainerSpec>,
    /// Its attempt.
    pub attempt: u32,
    /// Where the kernel knows the container whose processes it joins.
    pub target_id: Option<String>,
    /// An instance that is no longer of use once this one runs.
    pub obsolete: Option<String>,
}

impl ContainerJob {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.spec.container.name
    }

    /// Records an event on it.
    pub fn event(&self, warning: bool, reason: &str, text: impl Into<String>) {
        let kind = if warning { client::EventType::Warning } else { client::EventType::Normal };
        let about = Some((self.name(), self.spec.sort));
        self.job.cx.event(&self.job.pod, about, kind, reason, text.into());
    }
}
