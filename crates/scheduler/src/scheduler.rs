//! The shell: events in, one decision at a time, bindings out.
//!
//! A decided pod is assumed on its node at once, so the next decision does not wait for the API; the binding itself runs
//! beside the loop. upstream: pkg/scheduler/{scheduler,schedule_one,eventhandlers}.go

mod bind;
mod core;
mod events;

use std::sync::Arc;
use std::time::Duration;

use client::{Client, Informers, Lister, Recorder};
use component_base::Scope;
use k8s_openapi::api::core::v1::{Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use self::bind::Binder;
use self::core::Core;
use crate::cache::Snapshot;
use crate::decide::{Decision, Diagnosis, decide};
use crate::framework::{Cycle, Framework};
use crate::plugins::default_framework;
use crate::preemption::{self, Preemption};
use crate::queue::{Delays, QueuedPod, Setback};

/// How this scheduler works.
#[derive(Clone, Debug)]
pub struct Config {
    /// It places the pods that name it.
    pub scheduler_name: String,
    /// How long pods wait.
    pub delays: Delays,
}

impl Default for Config {
    fn default() -> Self {
        Self { scheduler_name: "default-scheduler".into(), delays: Delays::default() }
    }
}

/// Places pods on nodes.
pub struct Scheduler {
    config: Config,
    client: Client,
    informers: Informers,
    recorder: Recorder,
}

/// What the event handlers, the loop and the bindings share.
struct Shared {
    scheduler_name: String,
    framework: Framework,
    core: Mutex<Core>,
    /// Something may have become active.
    wake: Notify,
    pods: Lister<Pod>,
    budgets: Lister<PodDisruptionBudget>,
}

/// What a configuration got wrong.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Pods find their scheduler by its name.
    #[error("the scheduler's name is empty")]
    NoName,
    /// The first delay is the shortest.
    #[error("the initial back-off ({initial:?}) is longer than the longest ({max:?})")]
    Backoff {
        /// As configured.
        initial: Duration,
        /// As configured.
        max: Duration,
    },
}

impl Scheduler {
    /// A scheduler that acts through `client`.
    pub fn build(
        config: Config,
        client: Client,
        informers: &Informers,
        recorder: Recorder,
    ) -> Result<Self, ConfigError> {
        if config.scheduler_name.is_empty() {
            return Err(ConfigError::NoName);
        }
        let Delays { initial_backoff: initial, max_backoff: max, .. } = config.delays;
        if initial > max {
            return Err(ConfigError::Backoff { initial, max });
        }
        Ok(Self { config, client, informers: informers.clone(), recorder })
    }

    /// Schedules until the scope ends.
    pub fn run(self, scope: &Scope) {
        scope.spawn("scheduler", self.schedule(scope.clone()));
    }

    async fn schedule(self, scope: Scope) {
        let (pods, nodes) = (self.informers.informer::<Pod>(), self.informers.informer::<Node>());
        let namespaces = self.informers.informer::<Namespace>();
        let claims = self.informers.informer::<PersistentVolumeClaim>();
        let volumes = self.informers.informer::<PersistentVolume>();
        let budgets = self.informers.informer::<PodDisruptionBudget>();
        let shared = Arc::new(Shared {
            framework: default_framework(Box::new((claims.lister(), volumes.lister()))),
            core: Mutex::new(Core::new(self.config.delays)),
            scheduler_name: self.config.scheduler_name,
            wake: Notify::new(),
            pods: pods.lister(),
            budgets: budgets.lister(),
        });
        events::watch(&shared, &pods, &nodes, &namespaces, &claims, &volumes);
        tokio::join!(pods.synced(), nodes.synced(), namespaces.synced());
        tokio::join!(claims.synced(), volumes.synced(), budgets.synced());
        let binder = Binder::new(self.client, self.recorder, shared.clone(), scope);
        let mut cycles = Cycles { shared, binder, snapshot: Snapshot::default(), start: 0 };
        cycles.run().await;
    }
}

/// The loop over decisions.
struct Cycles {
    shared: Arc<Shared>,
    binder: Binder,
    snapshot: Snapshot,
    start: usize,
}

impl Cycles {
    async fn run(&mut self) {
        loop {
            let pod = self.shared.next_pod().await;
            self.schedule(pod);
            tokio::task::yield_now().await;
        }
    }

    fn schedule(&mut self, pod: QueuedPod) {
        let nominated = {
            let mut core = self.shared.core.lock();
            if pod.info.pod.metadata.deletion_timestamp.is_some() || core.cache.is_placed(&pod.info.uid) {
                return core.queue.done(&pod.info.uid);
            }
            core.cache.update_snapshot(&mut self.snapshot);
            core.nominated.by_node().clone()
        };
        let cycle = Cycle { pod: &pod.info, snapshot: &self.snapshot };
        match decide(&self.shared.framework, &cycle, &nominated, &mut self.start) {
            Decision::Node(node) => {
                self.shared.core.lock().cache.assume(&pod.info, &node);
                self.binder.bind(pod, node);
            }
            Decision::Unschedulable(diagnosis) => self.turn_away(pod, &diagnosis),
        }
    }

    fn turn_away(&self, pod: QueuedPod, diagnosis: &Diagnosis) {
        if diagnosis.nodes == 0 {
            let message = "no nodes available to schedule pods".to_owned();
            return self.binder.set_back(pod, Setback::RejectedBy(Vec::new()), "SchedulerError", message, None);
        }
        let mut message = diagnosis.message();
        let mut nomination = None;
        if diagnosis.all.is_none() {
            let budgets = self.shared.budgets.list();
            match preemption::plan(&self.shared.framework, &pod.info, &self.snapshot, diagnosis, &budgets) {
                Preemption::NotHelpful(reason) => message = format!("{message} preemption: {reason}"),
                Preemption::Victims { node, victims } => {
                    self.shared.core.lock().nominated.set(&pod.info, Some(&node));
                    self.binder.preempt(&pod, &node, victims);
                    nomination = Some(node);
                }
            }
        }
        self.binder.set_back(pod, Setback::RejectedBy(diagnosis.rejected_by()), "Unschedulable", message, nomination);
    }
}

impl Shared {
    async fn next_pod(&self) -> QueuedPod {
        loop {
            let woken = self.wake.notified();
            let due = {
                let mut core = self.core.lock();
                if let Some(pod) = core.queue.pop(Instant::now()) {
                    return pod;
                }
                core.queue.next_due()
            };
            match due {
                None => woken.await,
                Some(at) => tokio::select! {
                    () = woken => {}
                    () = tokio::time::sleep_until(at) => {}
                },
            }
        }
    }

    /// Puts a pod back that could not be placed, in its newest form; one that is gone or bound is done.
    fn give_back(&self, mut pod: QueuedPod, setback: Setback) {
        let newest = self.pods.get(&pod.info.key).filter(|newest| newest.metadata.uid == pod.info.pod.metadata.uid);
        let mut core = self.core.lock();
        match newest {
            Some(newest) if client::corev1::pod::node_name(&newest).is_none() => {
                pod.info = Arc::new(crate::pod_info::PodInfo::new(newest));
                let hint = |event: &_, pod: &_, by: &[&'static str]| self.framework.helps(event, pod, by);
                core.queue.give_back(pod, setback, Instant::now(), &hint);
            }
            _ => core.queue.done(&pod.info.uid),
        }
        drop(core);
        self.wake.notify_one();
    }
}
