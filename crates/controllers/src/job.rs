//! Job: pods that run to their end, so many times.
//!
//! Every pod carries a finalizer until its end was counted, so that none is counted twice or lost: its uid is noted in
//! `uncountedTerminatedPods`, then the finalizer goes, then the number moves. [`plan`] decides, [`sync`] does.
//! Not here yet: pod failure policy, success policy, back-off limit per index.
//! upstream: pkg/controller/job/job_controller.go

pub mod indexes;
pub mod plan;
pub mod pods;
mod sync;

use std::collections::HashMap;
use std::sync::Arc;

use client::controller::run_workers;
use client::corev1::pod::phase;
use client::{Event, Lister, ObjectKey, WorkQueue};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::context::Context;
use crate::expectations::Expectations;
use crate::owners::controller_of;

const WORKERS: usize = 2;

/// Failures in a row, and when the last was seen: new pods wait longer each time.
#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    last: Instant,
}

struct Controller {
    cx: Context,
    jobs: Lister<Job>,
    pods: Lister<Pod>,
    expectations: Expectations,
    failures: Mutex<HashMap<ObjectKey, Failures>>,
    queue: WorkQueue<ObjectKey>,
}

/// Starts the controller.
pub async fn run(cx: Context) {
    let (jobs, pods) = (cx.informer::<Job>(), cx.pods());
    let controller = Arc::new(Controller {
        jobs: jobs.lister(),
        pods: pods.lister(),
        expectations: Expectations::default(),
        failures: Mutex::default(),
        queue: WorkQueue::new(),
        cx,
    });
    jobs.synced().await;
    let this = controller.clone();
    jobs.on_event(move |event| {
        let key = ObjectKey::of(&**event.object());
        if matches!(event, Event::Deleted(_)) {
            this.expectations.forget(&key);
            this.failures.lock().remove(&key);
        }
        this.queue.add(key);
    });
    let this = controller.clone();
    pods.on_event(move |event| this.on_pod(event));
    pods.synced().await;
    let (scope, queue) = (controller.cx.scope.clone(), controller.queue.clone());
    run_workers("job", &scope, &queue, WORKERS, move |key| {
        let this = controller.clone();
        async move { this.sync(key).await }
    });
}

impl Controller {
    fn on_pod(&self, event: &Event<Pod>) {
        let pod = event.object();
        let Some(key) = self.controller_key(pod) else { return };
        match event {
            Event::Added(_) => self.expectations.creation_observed(&key),
            Event::Updated { old, new } if phase(old) != phase(new) => self.note_end(&key, new),
            _ => {}
        }
        if matches!(event, Event::Deleted(_)) || pod.metadata.deletion_timestamp.is_some() {
            self.expectations.deletion_observed(&key, pod.metadata.uid.as_deref().unwrap_or_default());
        }
        self.queue.add(key);
    }

    fn note_end(&self, key: &ObjectKey, pod: &Pod) {
        let mut failures = self.failures.lock();
        match phase(pod) {
            "Succeeded" => drop(failures.remove(key)),
            "Failed" => {
                let entry = failures.entry(key.clone()).or_insert(Failures { count: 0, last: Instant::now() });
                *entry = Failures { count: entry.count.saturating_add(1), last: Instant::now() };
            }
            _ => {}
        }
    }

    fn controller_key(&self, pod: &Pod) -> Option<ObjectKey> {
        let owner = controller_of(&pod.metadata).filter(|owner| owner.kind == "Job")?;
        let key = ObjectKey::new(pod.metadata.namespace.clone()?, owner.name.clone());
        let known = self.jobs.get(&key)?;
        (known.metadata.uid.as_ref() == Some(&owner.uid)).then_some(key)
    }
}
