//! Events are kept for an hour after their last write (upstream: `--event-ttl`, an etcd lease on each event).
//!
//! One task follows the events and sleeps until the oldest is due; an idle cluster never wakes it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use store::{Entry, Event, Expect, RangeRequest, Store, Write};
use tokio::time::Instant;

use crate::registry::scan;

/// How long an event is kept.
const TIME_TO_LIVE: Duration = Duration::from_secs(60 * 60);

/// The key prefix of events, of both groups.
const PREFIX: &str = "/registry/core/events/";

/// One written event: due at a time, unless it was written again since.
struct Due {
    at: Instant,
    key: Arc<str>,
    modified: u64,
}

/// Follows the events until the store closes.
pub async fn run(store: Arc<dyn Store>) {
    loop {
        match follow(&store).await {
            Ok(()) => return,
            // Cut off or overtaken by compaction: what is there now is read again.
            Err(store::Error::TooSlow | store::Error::Compacted { .. }) => {}
            Err(error) => return tracing::warn!(%error, "events no longer expire"),
        }
    }
}

async fn follow(store: &Arc<dyn Store>) -> Result<(), store::Error> {
    let range = store.range(&RangeRequest { prefix: PREFIX.into(), ..RangeRequest::default() }).await?;
    let mut queue: VecDeque<Due> = range.entries.iter().map(|entry| due(entry, age(entry))).collect();
    queue.make_contiguous().sort_by_key(|due| due.at);
    let mut watch = store.watch(PREFIX, range.revision).await?;
    loop {
        let next = queue.front().map(|due| due.at);
        let timer = async {
            match next {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            event = watch.next() => match event {
                Some(Ok(Event::Put { entry, .. })) => queue.push_back(due(&entry, Duration::ZERO)),
                Some(Ok(Event::Delete { .. } | Event::Progress(_))) => {}
                Some(Err(error)) => return Err(error),
                None => return Ok(()),
            },
            () = timer => if let Some(due) = queue.pop_front() {
                // Refused when the event was written again: that write has its own place in the queue.
                store.write(Write { key: due.key.to_string(), expect: Expect::At(due.modified), value: None }).await?;
            },
        }
    }
}

fn due(entry: &Entry, age: Duration) -> Due {
    Due { at: Instant::now() + TIME_TO_LIVE.saturating_sub(age), key: entry.key.clone(), modified: entry.modified }
}

/// How long ago the event was written, as far as its own times tell.
fn age(entry: &Entry) -> Duration {
    let object = &entry.finished.value;
    let paths: [&[&str]; 3] = [&["lastTimestamp"], &["eventTime"], &["metadata", "creationTimestamp"]];
    let time = |path: &&[&str]| scan::text(scan::at(object, path)?)?.parse::<Timestamp>().ok();
    let Some(written) = paths.iter().filter_map(time).max() else { return Duration::ZERO };
    Duration::try_from(component_base::now().duration_since(written)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Canonical;
    use bytes::Bytes;

    #[tokio::test]
    async fn old_events_go_and_new_ones_stay() {
        let store: Arc<dyn Store> = store::Embedded::in_memory(Arc::new(Canonical::default()));
        let mut watch = store.watch(PREFIX, store.revision()).await.expect("a watch");
        for (name, time) in [("old", "2020-01-01T00:00:00Z"), ("new", "2999-01-01T00:00:00Z")] {
            let value = format!("{{\"lastTimestamp\":\"{time}\",\"metadata\":{{\"name\":\"{name}\"}}}}");
            let key = format!("{PREFIX}default/{name}");
            store.write(Write { key, expect: Expect::Absent, value: Some(Bytes::from(value)) }).await.expect("written");
        }
        let scope = component_base::Scope::root();
        scope.spawn("events", run(store.clone()));
        let deleted = async {
            loop {
                if let Some(Ok(Event::Delete { entry, .. })) = watch.next().await {
                    return entry.key;
                }
            }
        };
        let deleted = tokio::time::timeout(Duration::from_secs(30), deleted).await.expect("in time");
        assert_eq!(&*deleted, "/registry/core/events/default/old");
        assert!(store.get("/registry/core/events/default/new").await.expect("read").is_some());
        scope.shutdown(Duration::from_secs(30)).await;
    }
}
