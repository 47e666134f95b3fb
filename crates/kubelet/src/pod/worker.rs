//! The task that runs one pod: events in, [`Machine::step`], effects out.
//!
//! All effects of a pod are futures of its one task; they end with it. Nothing here waits while holding anything, so
//! events are taken as they come.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use client::{ApiError, EventType};
use component_base::now;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use parking_lot::RwLock;
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::machine::{Action, Adopted, Cause, Event, Machine, Progress, Sandbox, Stage};
use super::{status, status_patch};
use crate::context::Context;
use crate::effects::{ContainerJob, Job, finish, hooks, resize, sandbox, start, stop};
use crate::prober;
use crate::sources::PodSources;
use crate::volumes::PodVolumes;

/// The pod as the API has it.
#[derive(Clone, Debug)]
pub enum Latest {
    /// It is there.
    Present(Arc<Pod>),
    /// It was removed; its last state.
    Gone(Arc<Pod>),
}

/// What the outside tells a worker.
#[derive(Clone, Debug)]
pub enum Message {
    /// A container of the pod ended.
    ContainerExited(String),
    /// The image store changed.
    ImagesChanged,
    /// Events were missed: look at every container anew.
    Relist,
}

/// A view of a pod for the kubelet's endpoint.
#[derive(Clone, Debug)]
pub struct PodView {
    /// The pod with the status that this kubelet gives it.
    pub pod: Arc<Pod>,
    /// Names and ids of its containers, latest instances first.
    pub containers: Vec<ContainerView>,
    /// Its sandbox.
    pub sandbox: Option<Sandbox>,
}

/// A view of one container.
#[derive(Clone, Debug)]
pub struct ContainerView {
    /// Its name.
    pub name: String,
    /// Id of the latest instance.
    pub id: Option<String>,
    /// Which attempt that is.
    pub attempt: u32,
    /// Whether it runs.
    pub running: bool,
}

/// What comes back from an effect.
enum Outcome {
    Event(Event),
    /// Volumes were set up, and when tokens are to be renewed.
    Mounted(Result<(), String>, Option<Timestamp>),
    /// Volumes were brought up to date; a message when that failed.
    Refreshed(Result<(), String>, Option<Timestamp>),
    /// The API took this status, or the write is to be tried again, or the pod is not there.
    Written(PodStatus),
    WriteFailed,
    NotThere,
}

type Effect = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// Runs one pod.
pub struct Worker {
    cx: Arc<Context>,
    machine: Machine,
    volumes: Arc<PodVolumes>,
    sources: Arc<PodSources>,
    changed: Arc<Notify>,
    stop: CancellationToken,
    effects: FuturesUnordered<Effect>,
    published: PodStatus,
    writing: bool,
    failed_writes: u32,
    refreshing: bool,
    refresh_at: Option<Timestamp>,
    view: Arc<RwLock<PodView>>,
}

impl Worker {
    /// A worker for `pod`, taking over what the runtime already has of it.
    pub fn new(cx: Arc<Context>, pod: Arc<Pod>, adopted: Adopted) -> Self {
        let changed = Arc::new(Notify::new());
        let sources = Arc::new(cx.sources.hold(&pod, &changed));
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let machine = Machine::new(pod.clone(), adopted, now());
        if let Some(Cause::Failed(why)) = machine.termination().map(|end| &end.cause) {
            cx.event(&pod, None, EventType::Warning, &why.reason, why.message.clone());
        }
        let view = PodView { pod: pod.clone(), containers: Vec::new(), sandbox: None };
        Self {
            volumes: PodVolumes::new(cx.config.pod_dir(&uid)),
            published: pod.status.clone().unwrap_or_default(),
            view: Arc::new(RwLock::new(view)),
            cx,
            machine,
            sources,
            changed,
            stop: CancellationToken::new(),
            effects: FuturesUnordered::new(),
            writing: false,
            failed_writes: 0,
            refreshing: false,
            refresh_at: None,
        }
    }

    /// The view that is kept current while the worker runs.
    pub fn view(&self) -> Arc<RwLock<PodView>> {
        self.view.clone()
    }

    /// Runs until the pod is gone.
    pub async fn run(mut self, mut latest: watch::Receiver<Latest>, mut inbox: mpsc::Receiver<Message>) {
        self.step(Event::Tick);
        let mut api_open = true;
        while !self.machine.is_done() {
            let wake = sleep_until(self.wake_at());
            tokio::select! {
                changed = latest.changed(), if api_open => {
                    api_open = changed.is_ok();
                    let state = latest.borrow_and_update().clone();
                    self.note_latest(state);
                }
                Some(message) = inbox.recv() => self.note_message(message),
                Some(outcome) = self.effects.next(), if !self.effects.is_empty() => self.note_outcome(outcome),
                () = self.changed.notified() => self.note_sources(),
                () = wake => self.note_time(),
            }
        }
    }

    fn wake_at(&self) -> Option<Timestamp> {
        let refresh = self.refresh_at.filter(|_| !self.refreshing);
        self.machine.wake_at().into_iter().chain(refresh).min()
    }

    fn note_time(&mut self) {
        if self.refresh_at.is_some_and(|at| at <= now()) {
            self.refresh();
        }
        self.step(Event::Tick);
    }

    fn note_latest(&mut self, latest: Latest) {
        match latest {
            Latest::Present(pod) => {
                let before = self.machine.pod().clone();
                if before.spec != pod.spec {
                    self.sources = Arc::new(self.cx.sources.hold(&pod, &self.changed));
                }
                let shown = |pod: &Pod| (pod.metadata.labels.clone(), pod.metadata.annotations.clone());
                let downward = shown(&before) != shown(&pod);
                self.step(Event::Spec(pod));
                if downward {
                    self.refresh();
                }
            }
            Latest::Gone(pod) => {
                self.step(Event::Spec(pod));
                self.step(Event::Gone);
            }
        }
    }

    fn note_message(&mut self, message: Message) {
        match message {
            Message::ContainerExited(id) => self.look_at(id),
            Message::ImagesChanged => self.step(Event::ImagesChanged),
            Message::Relist => {
                let running = self.machine.containers().iter().filter_map(|record| record.running());
                let ids: Vec<String> = running.map(|instance| instance.id.clone()).collect();
                ids.into_iter().for_each(|id| self.look_at(id));
            }
        }
    }

    /// Asks the runtime how an instance is, and notes its end.
    fn look_at(&mut self, id: String) {
        let job = self.job();
        self.push(async move {
            let status = match job.cx.runtime.container_status(&id).await {
                Ok(status) => status,
                Err(err) => {
                    tracing::debug!(id, error = %err, "an ended container cannot be looked at");
                    return Outcome::Event(Event::Tick);
                }
            };
            let containers = super::spec::containers(&job.pod);
            let spec = containers.iter().find(|c| c.container.name == status.config.name).map(|c| &c.container);
            let pod_dir = job.cx.config.pod_dir(&job.pod.metadata.uid.clone().unwrap_or_default());
            match finish::ended(&status, &pod_dir, spec) {
                Some(ended) => Outcome::Event(Event::Exited { id, ended }),
                None => Outcome::Event(Event::Tick),
            }
        });
    }

    fn note_sources(&mut self) {
        self.step(Event::SourceChanged);
        self.refresh();
    }

    /// Brings the files of volumes up to date.
    fn refresh(&mut self) {
        let mounted = self.machine.volumes == Progress::Done(()) && self.machine.termination().is_none();
        if !mounted || self.refreshing {
            return;
        }
        self.refreshing = true;
        self.refresh_at = None;
        let job = self.job();
        self.push(async move {
            let result = sandbox::volumes(&job).await;
            Outcome::Refreshed(result, job.volumes.refresh_at().await)
        });
    }

    fn note_outcome(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Event(event) => self.step(event),
            Outcome::Mounted(result, at) => {
                self.refresh_at = at;
                self.step(Event::Volumes(result));
            }
            Outcome::Refreshed(result, at) => {
                self.refreshing = false;
                self.refresh_at = at.map(|at| at.max(now() + jiff::SignedDuration::from_secs(10)));
                if let Err(message) = result {
                    self.cx.event(self.machine.pod(), None, EventType::Warning, "FailedMount", message);
                }
                self.step(Event::Tick);
            }
            Outcome::Written(status) => {
                self.writing = false;
                self.failed_writes = 0;
                self.published = status;
                self.publish();
            }
            Outcome::WriteFailed => {
                self.writing = false;
                self.publish();
            }
            Outcome::NotThere => {
                self.writing = false;
                self.published = self.machine.shown().clone();
                // The informer tells the same in a moment; the end needs no acknowledged status any more.
                self.step(Event::StatusWritten);
            }
        }
    }

    fn step(&mut self, event: Event) {
        for action in self.machine.step(event, now()) {
            self.perform(action);
        }
        self.publish();
    }

    fn job(&self) -> Job {
        let sandbox = self.machine.sandbox();
        Job {
            cx: self.cx.clone(),
            pod: self.machine.pod().clone(),
            volumes: self.volumes.clone(),
            sources: self.sources.clone(),
            sandbox_id: sandbox.map(|sandbox| sandbox.id.clone()).unwrap_or_default(),
            pod_ips: sandbox.iter().flat_map(|sandbox| sandbox.ips.iter().map(ToString::to_string)).collect(),
            stop: self.stop.clone(),
        }
    }

    fn container_job(&self, name: &str, attempt: u32) -> Option<ContainerJob> {
        let record = self.machine.container(name)?;
        let target = record.spec.target.as_deref().and_then(|target| self.machine.container(target));
        Some(ContainerJob {
            job: self.job(),
            spec: record.spec.clone(),
            attempt,
            target_id: target.and_then(|target| target.running()).map(|instance| instance.id.clone()),
            obsolete: record.previous.as_ref().map(|(id, _)| id.clone()),
        })
    }

    fn push(&mut self, effect: impl Future<Output = Outcome> + Send + 'static) {
        self.effects.push(Box::pin(effect));
    }

    fn perform(&mut self, action: Action) {
        let job = self.job();
        match action {
            Action::MountVolumes => {
                self.push(async move {
                    let result = sandbox::volumes(&job).await;
                    Outcome::Mounted(result, job.volumes.refresh_at().await)
                });
            }
            Action::CreateSandbox { attempt } => {
                self.push(async move { Outcome::Event(Event::Sandbox(sandbox::create(&job, attempt).await)) });
            }
            Action::Start { name, attempt } => {
                let Some(job) = self.container_job(&name, attempt) else { return };
                self.push(async move {
                    let result = start::container(&job).await;
                    Outcome::Event(Event::Started { name, result })
                });
            }
            Action::PostStart { name, id } => {
                let Some(job) = self.container_job(&name, 0) else { return };
                self.push(async move {
                    let result = hooks::post_start(&job, &id).await;
                    Outcome::Event(Event::PostStart { name, id, result })
                });
            }
            Action::Stop { name, id, grace_s, message } => {
                let Some(job) = self.container_job(&name, 0) else { return };
                self.push(async move {
                    let ended = stop::container(&job, &id, grace_s, &message).await;
                    Outcome::Event(Event::Stopped { name, id, ended })
                });
            }
            Action::CancelStarts => self.stop.cancel(),
            Action::Probe { name, id, sort, delay } => {
                let Some(job) = self.container_job(&name, 0) else { return };
                let delay = Duration::try_from(delay).unwrap_or_default();
                self.push(async move {
                    tokio::time::sleep(delay).await;
                    let outcome = prober::probe(&job, &id, sort).await;
                    Outcome::Event(Event::Probed { name, id, sort, outcome })
                });
            }
            Action::Resize { name, id } => {
                let Some(job) = self.container_job(&name, 0) else { return };
                self.push(async move {
                    if let Err(err) = resize::container(&job, &id).await {
                        job.event(true, "FailedResize", format!("Error resizing container: {err}"));
                    }
                    Outcome::Event(Event::Tick)
                });
            }
            Action::TearDown { remove } => {
                self.push(async move { Outcome::Event(Event::TornDown(sandbox::tear_down(&job, remove).await)) });
            }
            Action::Remove => self.push(async move { Outcome::Event(remove(&job).await) }),
            Action::Emit { warning, reason, message, container } => {
                let kind = if warning { EventType::Warning } else { EventType::Normal };
                let sort = container.as_deref().and_then(|name| Some((name, self.machine.container(name)?.sort())));
                self.cx.event(self.machine.pod(), sort, kind, reason, message);
            }
        }
    }

    /// Sends the status to the API when it differs from what the API has; one write at a time.
    fn publish(&mut self) {
        let status = status::generate(&self.machine, &self.cx.host_ips(), now());
        self.machine.set_shown(status.clone());
        self.update_view(&status);
        if self.writing || matches!(self.machine.termination(), Some(end) if end.stage >= Stage::Removing) {
            return;
        }
        let id = self.machine.id().clone();
        let Some(patch) = status_patch::status_patch(&id.uid, &self.published, &status) else {
            if self.machine.awaits_write() {
                self.step(Event::StatusWritten);
            }
            return;
        };
        self.writing = true;
        let delay = Duration::from_millis(100) * 2_u32.saturating_pow(self.failed_writes.min(8));
        let delay = if self.failed_writes == 0 { Duration::ZERO } else { delay };
        self.failed_writes = self.failed_writes.saturating_add(1);
        let api: Api<Pod> = Api::namespaced(self.cx.client.clone(), &id.namespace);
        self.push(async move {
            tokio::time::sleep(delay).await;
            match api.patch_status(&id.name, &PatchParams::default(), &Patch::Strategic(patch)).await {
                Ok(_) => Outcome::Written(status),
                Err(err) if err.is_not_found() || err.is_conflict() => Outcome::NotThere,
                Err(err) => {
                    tracing::warn!(pod = %id, error = %err, "writing the status failed; trying again");
                    Outcome::WriteFailed
                }
            }
        });
    }

    fn update_view(&self, status: &PodStatus) {
        let containers = self.machine.containers().iter().map(|record| ContainerView {
            name: record.name().to_owned(),
            id: record.current.as_ref().map(|instance| instance.id.clone()),
            attempt: record.restart_count(),
            running: record.running().is_some(),
        });
        let mut view = self.view.write();
        if view.pod.status.as_ref() != Some(status) || !Arc::ptr_eq(&view.pod, self.machine.pod()) {
            let mut pod = (**self.machine.pod()).clone();
            pod.status = Some(status.clone());
            view.pod = Arc::new(pod);
        }
        view.containers = containers.collect();
        view.sandbox = self.machine.sandbox().cloned();
    }
}

/// Completes at a time of the wall clock; never without one.
async fn sleep_until(at: Option<Timestamp>) {
    match at {
        Some(at) => {
            let left = Duration::try_from(at.duration_since(now())).unwrap_or_default();
            tokio::time::sleep(left + Duration::from_millis(1)).await;
        }
        None => std::future::pending().await,
    }
}

/// Removes the object, if it is still this one.
async fn remove(job: &Job) -> Event {
    let id = super::PodRef::of(&job.pod);
    let api: Api<Pod> = Api::namespaced(job.cx.client.clone(), &id.namespace);
    let params = DeleteParams {
        grace_period_seconds: Some(0),
        preconditions: Some(Preconditions { uid: Some(id.uid.clone()), resource_version: None }),
        ..DeleteParams::default()
    };
    let mut delay = Duration::from_millis(100);
    loop {
        match api.delete(&id.name, &params).await {
            Ok(_) => return Event::Removed,
            Err(err) if err.is_not_found() || err.is_conflict() => return Event::Removed,
            Err(err) => tracing::warn!(pod = %id, error = %err, "removing the pod from the API failed; trying again"),
        }
        tokio::time::sleep(delay).await;
        delay = (delay * 2).min(Duration::from_secs(30));
    }
}
