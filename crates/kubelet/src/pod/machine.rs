//! The life of a pod as a pure state machine: events in, actions out, no clock and no I/O.
//!
//! ```text
//! volumes -> sandbox -> init containers, in order -> app containers, together -> ... -> stop -> tear down -> remove
//! ```
//!
//! [`Machine::step`] first notes what happened, then plans: the plan looks only at the state, so it may run after any
//! event and asks for nothing twice. Guarantees: an action that is under way is not asked for again; once termination
//! has begun no container starts (INV-14); a container has at most one running instance.
//! (upstream: pkg/kubelet/kuberuntime/kuberuntime_manager.go computePodActions, pkg/kubelet/pod_workers.go)

mod plan;
mod probes;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodStatus};

use super::backoff::Backoff;
use super::container::{Busy, Ended, Instance, Life, ProbeSort, Record, SetupFailure, Waiting};
use super::spec::{self, Sort};
use super::{PodRef, admission};

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// The pod as the API has it now.
    Spec(Arc<Pod>),
    /// The pod is gone from the API.
    Gone,
    /// A timer fired.
    Tick,
    /// A ConfigMap or Secret that the pod may wait for changed.
    SourceChanged,
    /// The image store changed.
    ImagesChanged,
    /// The volumes are there, or why not.
    Volumes(Result<(), String>),
    /// The sandbox is there, or why not.
    Sandbox(Result<Sandbox, String>),
    /// A start came to its end.
    Started {
        /// The container.
        name: String,
        /// The instance (which may have ended already), or why there is none.
        result: Result<Instance, SetupFailure>,
    },
    /// The postStart hook ended.
    PostStart {
        /// The container.
        name: String,
        /// The instance it ran in.
        id: String,
        /// Why it failed.
        result: Result<(), String>,
    },
    /// An instance ended.
    Exited {
        /// Its id.
        id: String,
        /// How.
        ended: Ended,
    },
    /// A stop came to its end.
    Stopped {
        /// The container.
        name: String,
        /// The instance.
        id: String,
        /// How it ended, when the runtime still knew.
        ended: Option<Ended>,
    },
    /// A probe has a result.
    Probed {
        /// The container.
        name: String,
        /// The instance that was probed.
        id: String,
        /// Which probe.
        sort: ProbeSort,
        /// The result.
        outcome: ProbeOutcome,
    },
    /// Tearing down came to its end.
    TornDown(Result<(), String>),
    /// The API has the status as it is now.
    StatusWritten,
    /// The object was removed from the API.
    Removed,
}

/// The result of one probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeOutcome {
    /// It passed.
    Success,
    /// It failed.
    Failure {
        /// What was wrong.
        message: String,
        /// Nobody listens on the port (yet).
        refused: bool,
    },
    /// It could not be made; counts for nothing.
    Unknown(String),
}

/// A sandbox that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sandbox {
    /// The runtime's id.
    pub id: String,
    /// Which attempt it is, from 0.
    pub attempt: u32,
    /// The pod's addresses.
    pub ips: Vec<IpAddr>,
}

/// Something to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Set up the volumes.
    MountVolumes,
    /// Make the sandbox.
    CreateSandbox {
        /// Its attempt.
        attempt: u32,
    },
    /// Pull the image if need be, create and start a container.
    Start {
        /// The container.
        name: String,
        /// Its attempt.
        attempt: u32,
    },
    /// Run the postStart hook.
    PostStart {
        /// The container.
        name: String,
        /// The instance.
        id: String,
    },
    /// Run the preStop hook, then stop.
    Stop {
        /// The container.
        name: String,
        /// The instance.
        id: String,
        /// Seconds it may take.
        grace_s: i64,
        /// Text of the Killing event.
        message: String,
    },
    /// Give up starts that are under way (pulls).
    CancelStarts,
    /// Probe a container once, after a delay.
    Probe {
        /// The container.
        name: String,
        /// The instance.
        id: String,
        /// Which probe.
        sort: ProbeSort,
        /// How long to wait first.
        delay: SignedDuration,
    },
    /// Give a running container the limits it has now.
    Resize {
        /// The container.
        name: String,
        /// The instance.
        id: String,
    },
    /// Stop the sandbox and free network and volumes.
    TearDown {
        /// Also remove containers, logs and directories.
        remove: bool,
    },
    /// Remove the object from the API.
    Remove,
    /// Record an event on the pod, or on one of its containers.
    Emit {
        /// Whether it is a warning.
        warning: bool,
        /// Its reason.
        reason: &'static str,
        /// Its text.
        message: String,
        /// The container it is about.
        container: Option<String>,
    },
}

/// Why the pod ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Its containers have ended for good.
    Finished,
    /// The kubelet ends it: reason and message of the status.
    Failed(Waiting),
    /// It was deleted.
    Deleted,
    /// It is gone from the API.
    Gone,
}

/// How far the end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Containers are being stopped.
    Stopping,
    /// The sandbox is being torn down.
    TearingDown,
    /// The last status is being written.
    Settled,
    /// The object is being removed.
    Removing,
    /// Nothing is left to do.
    Done,
}

/// The end of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Termination {
    /// Why.
    pub cause: Cause,
    /// When it must be over.
    pub deadline: Timestamp,
    /// How far it is.
    pub stage: Stage,
}

/// A step towards a running pod: to do, being done, done, or to do again later.
#[derive(Clone, Debug, PartialEq)]
pub enum Progress<T> {
    /// To do.
    Wanted,
    /// Being done.
    Busy,
    /// Done.
    Done(T),
    /// Failed; tried again at the given time.
    Failed(Timestamp),
}

/// What the runtime had of the pod when the kubelet started.
#[derive(Clone, Debug, Default)]
pub struct Adopted {
    /// Its sandbox, while ready.
    pub sandbox: Option<Sandbox>,
    /// How many sandboxes it had.
    pub sandbox_attempts: u32,
    /// Its containers by name, oldest first.
    pub containers: Vec<(String, Instance)>,
}

/// A pod's life.
#[derive(Clone, Debug)]
pub struct Machine {
    pub(super) pod: Arc<Pod>,
    pub(super) id: PodRef,
    pub(super) containers: Vec<Record>,
    pub(super) volumes: Progress<()>,
    pub(super) volume_backoff: Backoff,
    pub(super) sandbox: Progress<Sandbox>,
    pub(super) sandbox_backoff: Backoff,
    pub(super) next_sandbox: u32,
    pub(super) initialized: bool,
    pub(super) started_at: Timestamp,
    pub(super) termination: Option<Termination>,
    /// The pod was over before this kubelet saw it: its status stays as it is.
    pub(super) frozen: bool,
    /// The status as it was last generated.
    shown: PodStatus,
    status_written: bool,
    /// The time of the last step.
    seen: Timestamp,
    teardown_backoff: Backoff,
    pub(super) teardown_at: Option<Timestamp>,
    /// Ends that came before the start they belong to.
    early_exits: Vec<(String, Ended)>,
}

impl Machine {
    /// A pod that this kubelet sees for the first time.
    pub fn new(pod: Arc<Pod>, adopted: Adopted, now: Timestamp) -> Self {
        let status = pod.status.clone().unwrap_or_default();
        let mut machine = Self {
            id: PodRef::of(&pod),
            containers: spec::containers(&pod).into_iter().map(Record::new).collect(),
            volumes: Progress::Wanted,
            volume_backoff: Backoff::default(),
            next_sandbox: adopted.sandbox_attempts,
            sandbox: adopted.sandbox.map_or(Progress::Wanted, Progress::Done),
            sandbox_backoff: Backoff::default(),
            initialized: false,
            started_at: status.start_time.as_ref().map_or(now, |time| time.0),
            termination: None,
            frozen: false,
            shown: status.clone(),
            status_written: false,
            seen: now,
            teardown_backoff: Backoff::default(),
            teardown_at: None,
            early_exits: Vec::new(),
            pod,
        };
        for (name, instance) in adopted.containers {
            machine.adopt(&name, instance);
        }
        machine.recall(&status);
        let in_sandbox = matches!(machine.sandbox, Progress::Done(_));
        machine.initialized =
            in_sandbox && machine.containers.iter().any(|c| c.sort() == Sort::App && c.current.is_some());
        if machine.is_new()
            && let Some(why) = admission::refusal(&machine.pod)
        {
            machine.terminate(Cause::Failed(why), 0, now);
        }
        if matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")) {
            machine.frozen = true;
            machine.terminate(Cause::Finished, 0, now);
        }
        machine
    }

    /// Nothing of the pod has been made yet.
    pub(super) fn is_new(&self) -> bool {
        self.next_sandbox == 0 && self.containers.iter().all(|record| record.current.is_none())
    }

    fn adopt(&mut self, name: &str, instance: Instance) {
        let Some(record) = self.containers.iter_mut().find(|record| record.name() == name) else { return };
        if let Some(older) = record.current.take()
            && let Life::Ended(ended) = older.life
        {
            record.previous = Some((older.id, ended));
        }
        if let Some(ended) = &record.previous {
            record.crashes = Backoff::after(instance.attempt, ended.1.finished_at);
        }
        record.current = Some(instance);
    }

    /// Takes from the status what the runtime does not remember: readiness and counts.
    fn recall(&mut self, status: &PodStatus) {
        let known: Vec<&ContainerStatus> = [&status.init_container_statuses, &status.container_statuses]
            .into_iter()
            .flat_map(|list| list.iter().flatten())
            .collect();
        for record in &mut self.containers {
            let Some(known) = known.iter().find(|known| known.name == record.name()) else { continue };
            let id = known.container_id.as_deref().and_then(|id| id.split_once("://")).map(|(_, id)| id);
            match &record.current {
                Some(instance) if id == Some(instance.id.as_str()) => {
                    if known.started == Some(true) {
                        record.probe_mut(ProbeSort::Startup).passed = Some(true);
                    }
                    record.probe_mut(ProbeSort::Readiness).passed = Some(known.ready);
                }
                None if id.is_some() => {
                    record.next_attempt = u32::try_from(known.restart_count).unwrap_or(0).saturating_add(1);
                }
                _ => {}
            }
        }
    }

    /// The pod as last seen.
    pub fn pod(&self) -> &Arc<Pod> {
        &self.pod
    }

    /// Who the pod is.
    pub fn id(&self) -> &PodRef {
        &self.id
    }

    /// Its containers.
    pub fn containers(&self) -> &[Record] {
        &self.containers
    }

    /// The container of a name.
    pub fn container(&self, name: &str) -> Option<&Record> {
        self.containers.iter().find(|record| record.name() == name)
    }

    /// Its sandbox, once there.
    pub fn sandbox(&self) -> Option<&Sandbox> {
        match &self.sandbox {
            Progress::Done(sandbox) => Some(sandbox),
            _ => None,
        }
    }

    /// The status as it was last generated.
    pub fn shown(&self) -> &PodStatus {
        &self.shown
    }

    /// Notes the status that was generated.
    pub fn set_shown(&mut self, status: PodStatus) {
        self.shown = status;
    }

    /// Whether the end waits for the API to have the last status.
    pub fn awaits_write(&self) -> bool {
        let settled = |end: &Termination| end.stage == Stage::Settled && end.cause == Cause::Deleted;
        !self.status_written && self.termination.as_ref().is_some_and(settled)
    }

    /// How its end goes, if it has begun.
    pub fn termination(&self) -> Option<&Termination> {
        self.termination.as_ref()
    }

    /// Whether the worker may end.
    pub fn is_done(&self) -> bool {
        self.termination
            .as_ref()
            .is_some_and(|end| end.stage == Stage::Done && matches!(end.cause, Cause::Deleted | Cause::Gone))
    }

    /// Notes `event` and answers what to do now.
    pub fn step(&mut self, event: Event, now: Timestamp) -> Vec<Action> {
        let mut actions = Vec::new();
        self.seen = now;
        self.note(event, now, &mut actions);
        self.plan(now, &mut actions);
        actions
    }

    /// The next time at which a [`Event::Tick`] makes a difference.
    pub fn wake_at(&self) -> Option<Timestamp> {
        let mut times: Vec<Timestamp> = Vec::new();
        if let Progress::Failed(at) = self.volumes {
            times.push(at);
        }
        if let Progress::Failed(at) = self.sandbox {
            times.push(at);
        }
        match &self.termination {
            None => {
                times.extend(self.containers.iter().filter(|c| c.busy.is_none()).filter_map(|c| c.retry_at));
                times.extend(self.active_deadline());
            }
            Some(end) if end.stage == Stage::Stopping => {
                let stopping = self.containers.iter().any(|c| c.running().is_some() && c.busy.is_none());
                times.extend(stopping.then_some(end.deadline));
                times.extend(self.teardown_at);
            }
            Some(_) => {}
        }
        // What was due at the last step was considered there.
        times.into_iter().filter(|at| *at > self.seen).min()
    }

    fn active_deadline(&self) -> Option<Timestamp> {
        let seconds = spec::spec(&self.pod).active_deadline_seconds?;
        self.started_at.checked_add(SignedDuration::from_secs(seconds)).ok()
    }

    fn note(&mut self, event: Event, now: Timestamp, actions: &mut Vec<Action>) {
        match event {
            Event::Spec(pod) => self.note_spec(pod, now, actions),
            Event::Gone => {
                let grace = self.deletion_grace_s();
                self.terminate(Cause::Gone, grace, now);
            }
            Event::Tick => {}
            Event::SourceChanged => {
                if matches!(self.volumes, Progress::Failed(_)) {
                    self.volumes = Progress::Wanted;
                }
                self.retry_setups(now, |failure| !failure.waits_for_image());
            }
            Event::ImagesChanged => self.retry_setups(now, SetupFailure::waits_for_image),
            Event::Volumes(Ok(())) => self.volumes = Progress::Done(()),
            Event::Volumes(Err(message)) => {
                self.volumes = Progress::Failed(retry_at(&mut self.volume_backoff, now));
                actions.push(warning("FailedMount", message));
            }
            Event::Sandbox(Ok(sandbox)) => {
                self.next_sandbox = sandbox.attempt + 1;
                self.sandbox = Progress::Done(sandbox);
            }
            Event::Sandbox(Err(message)) => {
                self.next_sandbox += 1;
                self.sandbox = Progress::Failed(retry_at(&mut self.sandbox_backoff, now));
                actions.push(warning("FailedCreatePodSandBox", format!("Failed to create pod sandbox: {message}")));
            }
            Event::Started { name, result } => self.note_started(&name, result, now, actions),
            Event::PostStart { name, id, result } => self.note_post_start(&name, &id, result, actions),
            Event::Exited { id, ended } => self.note_exited(&id, ended),
            Event::Stopped { name, id, ended } => {
                if let Some(ended) = ended {
                    self.note_exited(&id, ended);
                }
                if let Some(record) = self.record_mut(&name) {
                    record.busy = None;
                    // The runtime knows nothing of it any more: it ended, nobody saw how.
                    if let Some(instance) = record.current.as_mut().filter(|instance| instance.id == id)
                        && let Life::Running { since } = instance.life
                    {
                        instance.life = Life::Ended(Ended::unseen(since, now));
                    }
                }
            }
            Event::Probed { name, id, sort, outcome } => self.note_probed(&name, &id, sort, outcome, now, actions),
            Event::TornDown(result) => self.note_torn_down(result, now),
            Event::StatusWritten => self.status_written = true,
            Event::Removed => self.set_stage(Stage::Done),
        }
    }

    fn note_spec(&mut self, pod: Arc<Pod>, now: Timestamp, actions: &mut Vec<Action>) {
        for wanted in spec::containers(&pod) {
            match self.containers.iter_mut().find(|record| record.name() == wanted.container.name) {
                None => self.containers.push(Record::new(wanted)),
                Some(record) if *record.spec != wanted => {
                    let new_image = record.spec.container.image != wanted.container.image;
                    let new_limits = record.spec.container.resources != wanted.container.resources;
                    if let Some(instance) = record.running().filter(|_| new_limits && !new_image) {
                        actions.push(Action::Resize { name: record.name().to_owned(), id: instance.id.clone() });
                    }
                    record.spec = Arc::new(wanted);
                    if new_image {
                        record.retry_at = None;
                        record.setup_failed = None;
                        record.setups = Backoff::default();
                        record.replace = record.current.is_some();
                    }
                }
                Some(_) => {}
            }
        }
        self.pod = pod;
        if self.pod.metadata.deletion_timestamp.is_some() {
            let grace = self.deletion_grace_s();
            if self.termination.is_none() {
                actions.push(Action::CancelStarts);
            }
            self.terminate(Cause::Deleted, grace, now);
        }
    }

    /// upstream: pod_workers.go calculateEffectiveGracePeriod.
    fn deletion_grace_s(&self) -> i64 {
        let deletion = &self.pod.metadata;
        let given = deletion.deletion_timestamp.as_ref().and(deletion.deletion_grace_period_seconds);
        given.unwrap_or_else(|| spec::grace_period_s(&self.pod)).max(1)
    }

    /// Begins the end, or sharpens it: a later cause outranks, a deadline only comes nearer.
    pub(super) fn terminate(&mut self, cause: Cause, grace_s: i64, now: Timestamp) {
        let deadline = now.checked_add(SignedDuration::from_secs(grace_s)).unwrap_or(now);
        match &mut self.termination {
            None => self.termination = Some(Termination { cause, deadline, stage: Stage::Stopping }),
            Some(end) => {
                end.deadline = end.deadline.min(deadline);
                let removal = |cause: &Cause| matches!(cause, Cause::Deleted | Cause::Gone);
                if removal(&cause) && !removal(&end.cause) {
                    end.cause = cause;
                    // What was only stopped is now removed as well.
                    if matches!(end.stage, Stage::Settled | Stage::Done) {
                        end.stage = Stage::Stopping;
                    }
                } else if cause == Cause::Gone {
                    end.cause = cause;
                }
            }
        }
    }

    /// What failed for want of something that may be there now is tried again.
    fn retry_setups(&mut self, now: Timestamp, concerned: impl Fn(&SetupFailure) -> bool) {
        for record in &mut self.containers {
            if record.setup_failed.as_ref().is_some_and(|(_, failure)| concerned(failure)) {
                record.retry_at = Some(now);
                record.setup_failed = None;
                record.setups = Backoff::default();
            }
        }
    }

    fn note_started(
        &mut self,
        name: &str,
        result: Result<Instance, SetupFailure>,
        now: Timestamp,
        actions: &mut Vec<Action>,
    ) {
        let early = match &result {
            Ok(instance) => self.take_early_exit(&instance.id),
            Err(_) => None,
        };
        let ending = self.termination.is_some();
        let Some(record) = self.record_mut(name) else { return };
        record.busy = None;
        match result {
            Ok(mut instance) => {
                if let (Life::Running { .. }, Some(ended)) = (&instance.life, early) {
                    instance.life = Life::Ended(ended);
                }
                if let Some(Instance { id, life: Life::Ended(ended), .. }) = record.current.take() {
                    record.previous = Some((id, ended));
                }
                let has_hook = record.spec.container.lifecycle.as_ref().is_some_and(|l| l.post_start.is_some());
                record.hook_pending = has_hook && instance.ended().is_none();
                if record.hook_pending {
                    actions.push(Action::PostStart { name: name.to_owned(), id: instance.id.clone() });
                }
                record.waiting = None;
                record.setup_failed = None;
                record.replace = false;
                record.probes = Default::default();
                record.current = Some(instance);
            }
            Err(_) if ending => {}
            Err(failure) => {
                record.waiting = Some(Waiting { reason: failure.reason.clone(), message: failure.message.clone() });
                let at = retry_at(&mut record.setups, now);
                // Upstream shows the failure itself until its next sync, then the back-off.
                record.retry_at = Some(if failure.is_pull() { now + SignedDuration::from_secs(1) } else { at });
                record.setup_failed = Some((now, failure));
            }
        }
    }

    fn note_post_start(&mut self, name: &str, id: &str, result: Result<(), String>, actions: &mut Vec<Action>) {
        let grace = spec::grace_period_s(&self.pod);
        let Some(record) = self.record_mut(name) else { return };
        if record.current.as_ref().is_none_or(|instance| instance.id != id) {
            return;
        }
        record.hook_pending = false;
        if let Err(message) = result {
            record.waiting = Some(Waiting { reason: "PostStartHookError".to_owned(), message });
            if record.running().is_some() && record.busy.is_none() {
                record.busy = Some(Busy::Stopping);
                let message = "FailedPostStartHook".to_owned();
                actions.push(Action::Stop { name: name.to_owned(), id: id.to_owned(), grace_s: grace, message });
            }
        }
    }

    fn note_exited(&mut self, id: &str, ended: Ended) {
        let known = self.containers.iter_mut().find_map(|record| {
            record.current.as_mut().filter(|instance| instance.id == id).map(|instance| &mut instance.life)
        });
        match known {
            Some(life @ Life::Running { .. }) => *life = Life::Ended(ended),
            Some(Life::Ended(_)) => {}
            None => {
                // At most one start a container is under way, so more than that many are not of use.
                if self.early_exits.len() > self.containers.len() {
                    self.early_exits.remove(0);
                }
                self.early_exits.push((id.to_owned(), ended));
            }
        }
    }

    fn take_early_exit(&mut self, id: &str) -> Option<Ended> {
        let at = self.early_exits.iter().position(|(known, _)| known == id)?;
        Some(self.early_exits.remove(at).1)
    }

    fn note_torn_down(&mut self, result: Result<(), String>, now: Timestamp) {
        match result {
            Ok(()) => {
                self.status_written = false;
                self.sandbox = Progress::Wanted;
                self.set_stage(Stage::Settled);
            }
            Err(message) => {
                tracing::warn!(pod = %self.id, error = %message, "tearing the pod down failed; trying again");
                self.teardown_at = Some(retry_at(&mut self.teardown_backoff, now));
                self.set_stage(Stage::Stopping);
            }
        }
    }

    fn set_stage(&mut self, stage: Stage) {
        if let Some(end) = &mut self.termination {
            end.stage = stage;
        }
    }

    pub(super) fn record_mut(&mut self, name: &str) -> Option<&mut Record> {
        self.containers.iter_mut().find(|record| record.name() == name)
    }
}

impl Ended {
    /// An end that nobody saw (upstream: status/generate.go, `ContainerStatusUnknown`).
    pub fn unseen(since: Timestamp, now: Timestamp) -> Self {
        Self {
            exit_code: 137,
            reason: "ContainerStatusUnknown".to_owned(),
            message: "The container could not be located when the pod was terminated".to_owned(),
            started_at: Some(since),
            finished_at: now,
        }
    }
}

/// Notes a failure now and answers when to try again.
fn retry_at(backoff: &mut Backoff, now: Timestamp) -> Timestamp {
    backoff.next(now, now);
    backoff.held_until(now, now).map_or(now, |(until, _)| until)
}

fn warning(reason: &'static str, message: String) -> Action {
    Action::Emit { warning: true, reason, message, container: None }
}
