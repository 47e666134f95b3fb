//! Finished Jobs go when their time is over (upstream: pkg/controller/ttlafterfinished).

use std::time::Duration;

use client::controller::{Requeue, run_workers};
use client::{ApiError, Event, ObjectKey, WorkQueue};
use component_base::now;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{DeleteParams, Preconditions};

use crate::context::Context;

/// Why a pass did not complete.
#[derive(Debug, thiserror::Error)]
#[error("delete finished job {key}: {err}")]
struct SyncError {
    key: ObjectKey,
    err: kube::Error,
}

/// How long a Job has yet to stay; `None` while it runs, or when it may stay for ever.
fn time_left(job: &Job, now: Timestamp) -> Option<Duration> {
    let seconds = job.spec.as_ref()?.ttl_seconds_after_finished?;
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    let finished =
        conditions.iter().find(|one| one.status == "True" && matches!(one.type_.as_str(), "Complete" | "Failed"))?;
    let since = now.duration_since(finished.last_transition_time.as_ref()?.0);
    let stays = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    Some(stays.saturating_sub(Duration::try_from(since).unwrap_or_default()))
}

/// Starts the controller.
pub async fn run(cx: Context) {
    let jobs = cx.informer::<Job>();
    let queue: WorkQueue<ObjectKey> = WorkQueue::new();
    let waiting = queue.clone();
    jobs.on_event(move |event| {
        if !matches!(event, Event::Deleted(_)) && time_left(event.object(), now()).is_some() {
            waiting.add(ObjectKey::of(&**event.object()));
        }
    });
    jobs.synced().await;
    let lister = jobs.lister();
    let client = cx.client.clone();
    run_workers("ttl-after-finished", &cx.scope, &queue, 1, move |key: ObjectKey| {
        let (job, client) = (lister.get(&key), client.clone());
        async move {
            let Some(job) = job.filter(|job| job.metadata.deletion_timestamp.is_none()) else { return Ok(Requeue::No) };
            match time_left(&job, now()) {
                None => Ok(Requeue::No),
                Some(left) if !left.is_zero() => Ok(Requeue::After(left)),
                Some(_) => {
                    // The version too: its time may have been prolonged just now.
                    let same = Preconditions {
                        uid: job.metadata.uid.clone(),
                        resource_version: job.metadata.resource_version.clone(),
                    };
                    let api: Api<Job> = Api::namespaced(client, &key.namespace);
                    match api.delete(&key.name, &DeleteParams::foreground().preconditions(same)).await {
                        Err(err) if !err.is_not_found() => Err(SyncError { key, err }),
                        _ => Ok(Requeue::No),
                    }
                }
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_time_counts_from_the_end() {
        let job = |ttl: serde_json::Value, done: &str| -> Job {
            let condition = json!({"type": "Complete", "status": done, "lastTransitionTime": "1970-01-01T00:00:10Z"});
            serde_json::from_value(json!({"spec": {"ttlSecondsAfterFinished": ttl, "template": {}}, "status": {"conditions": [condition]}}))
                .expect("a job")
        };
        let at = |second| Timestamp::from_second(second).expect("a time");
        assert_eq!(time_left(&job(json!(30), "True"), at(20)), Some(Duration::from_secs(20)));
        assert_eq!(time_left(&job(json!(30), "True"), at(50)), Some(Duration::ZERO));
        assert_eq!(time_left(&job(json!(30), "False"), at(50)), None);
        assert_eq!(time_left(&job(json!(null), "True"), at(50)), None);
    }
}
