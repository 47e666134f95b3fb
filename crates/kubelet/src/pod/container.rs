//! What the pod's worker knows of one container.

use std::sync::Arc;

use jiff::Timestamp;

use super::backoff::Backoff;
use super::spec::{ContainerSpec, Sort};

/// How a container's process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Exit code; 128 + signal when a signal ended it.
    pub exit_code: i32,
    /// `Completed`, `Error`, `OOMKilled`, ...
    pub reason: String,
    /// The termination message.
    pub message: String,
    /// When it was started; `None` when it never was.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Timestamp,
}

/// The life of one instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Life {
    /// It runs.
    Running {
        /// Since when.
        since: Timestamp,
    },
    /// It ran, or never came to.
    Ended(Ended),
}

/// One container of the runtime: the spec's container in its nth attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// The runtime's id, without `kaji://`.
    pub id: String,
    /// Which attempt it is, from 0.
    pub attempt: u32,
    /// The image's name as status shows it.
    pub image: String,
    /// The image's id as status shows it.
    pub image_id: String,
    /// Where it is in its life.
    pub life: Life,
}

impl Instance {
    /// How it ended, if it did.
    pub fn ended(&self) -> Option<&Ended> {
        match &self.life {
            Life::Ended(ended) => Some(ended),
            Life::Running { .. } => None,
        }
    }
}

/// Why a container does not run now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// A word, as `ImagePullBackOff`.
    pub reason: String,
    /// A sentence.
    pub message: String,
}

/// Work under way on a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Busy {
    /// It is being started.
    Starting,
    /// It is being stopped.
    Stopping,
}

/// The three sorts of probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProbeSort {
    /// Holds the others back until the container is up.
    Startup,
    /// Decides whether Services send traffic.
    Readiness,
    /// Restarts the container when it fails.
    Liveness,
}

impl ProbeSort {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Startup, Self::Readiness, Self::Liveness];

    /// As events write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Readiness => "Readiness",
            Self::Liveness => "Liveness",
        }
    }
}

/// What the results of one probe add up to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProbeRecord {
    /// The verdict in force; `None` before the first.
    pub passed: Option<bool>,
    /// Equal results in a row.
    pub run: u32,
    /// The result those were.
    pub last: Option<bool>,
    /// A probe is planned or under way.
    pub armed: bool,
    /// How often an early refusal was looked at again.
    pub early: u32,
}

/// One container of the pod with all that happened to it.
#[derive(Clone, Debug)]
pub struct Record {
    /// What is asked for.
    pub spec: Arc<ContainerSpec>,
    /// The latest instance.
    pub current: Option<Instance>,
    /// The instance before.
    pub previous: Option<(String, Ended)>,
    /// The attempt that comes next when there is no instance.
    pub next_attempt: u32,
    /// Why it does not run, when that is known better than "being created".
    pub waiting: Option<Waiting>,
    /// Work under way.
    pub busy: Option<Busy>,
    /// No new try before this.
    pub retry_at: Option<Timestamp>,
    /// Back-off after crashes.
    pub crashes: Backoff,
    /// Back-off after failures to get ready (image, configuration), with the time of the last.
    pub setups: Backoff,
    /// The last failure to get ready.
    pub setup_failed: Option<(Timestamp, SetupFailure)>,
    /// The postStart hook has not ended yet.
    pub hook_pending: bool,
    /// The next end is followed by a start whatever the policy says.
    pub replace: bool,
    /// Startup, readiness, liveness.
    pub probes: [ProbeRecord; 3],
}

/// A try to start a container that came to nothing before the runtime had it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetupFailure {
    /// As status shows it: `ErrImagePull`, `CreateContainerConfigError`, ...
    pub reason: String,
    /// For people.
    pub message: String,
}

impl SetupFailure {
    /// Whether a pull failed.
    pub fn is_pull(&self) -> bool {
        self.reason == "ErrImagePull"
    }

    /// Whether the image is what is missing.
    pub fn waits_for_image(&self) -> bool {
        self.is_pull() || self.reason == "ErrImageNeverPull"
    }
}

impl Record {
    /// A container that nothing happened to yet.
    pub fn new(spec: ContainerSpec) -> Self {
        Self {
            spec: Arc::new(spec),
            current: None,
            previous: None,
            next_attempt: 0,
            waiting: None,
            busy: None,
            retry_at: None,
            crashes: Backoff::default(),
            setups: Backoff::default(),
            setup_failed: None,
            hook_pending: false,
            replace: false,
            probes: Default::default(),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.spec.container.name
    }

    /// Its sort.
    pub fn sort(&self) -> Sort {
        self.spec.sort
    }

    /// The running instance.
    pub fn running(&self) -> Option<&Instance> {
        self.current.as_ref().filter(|instance| instance.ended().is_none())
    }

    /// How the latest instance ended, if it did.
    pub fn ended(&self) -> Option<&Ended> {
        self.current.as_ref().and_then(Instance::ended)
    }

    /// Whether the latest instance ended well.
    pub fn succeeded(&self) -> bool {
        self.ended().is_some_and(|ended| ended.exit_code == 0)
    }

    /// How often it was started again.
    pub fn restart_count(&self) -> u32 {
        self.current.as_ref().map_or(self.next_attempt, |instance| instance.attempt)
    }

    /// The state of one probe.
    pub fn probe(&self, sort: ProbeSort) -> &ProbeRecord {
        &self.probes[sort as usize]
    }

    /// The state of one probe, to change.
    pub fn probe_mut(&mut self, sort: ProbeSort) -> &mut ProbeRecord {
        &mut self.probes[sort as usize]
    }

    /// The spec of one probe.
    pub fn probe_spec(&self, sort: ProbeSort) -> Option<&k8s_openapi::api::core::v1::Probe> {
        let container = &self.spec.container;
        match sort {
            ProbeSort::Startup => container.startup_probe.as_ref(),
            ProbeSort::Readiness => container.readiness_probe.as_ref(),
            ProbeSort::Liveness => container.liveness_probe.as_ref(),
        }
    }

    /// Running, its postStart hook over and its startup probe passed.
    pub fn started(&self) -> bool {
        self.running().is_some()
            && !self.hook_pending
            && (self.probe_spec(ProbeSort::Startup).is_none() || self.probe(ProbeSort::Startup).passed == Some(true))
    }

    /// As `containerStatuses[].ready`.
    pub fn ready(&self) -> bool {
        match self.sort() {
            Sort::Init => self.succeeded(),
            Sort::Ephemeral => false,
            Sort::Sidecar | Sort::App => {
                self.started()
                    && (self.probe_spec(ProbeSort::Readiness).is_none()
                        || self.probe(ProbeSort::Readiness).passed == Some(true))
            }
        }
    }
}
