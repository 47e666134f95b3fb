//! [`WebhookSink`]: events in batches to another server
//! (upstream: apiserver/plugin/pkg/audit/{buffered,webhook}).
//!
//! The buffer is bounded: when it is full, events are dropped, counted and reported.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use component_base::Scope;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use webhook::Client;

use crate::Sink;
use crate::metrics::AuditMetrics;
use crate::truncate::size_of;

/// The `--audit-webhook-batch-*` flags.
#[derive(Clone, Copy, Debug)]
pub struct BatchConfig {
    /// `--audit-webhook-batch-buffer-size`.
    pub buffer_size: usize,
    /// `--audit-webhook-batch-max-size`.
    pub max_batch_size: usize,
    /// `--audit-webhook-batch-max-wait`.
    pub max_batch_wait: Duration,
    /// The least time between two batches (`--audit-webhook-batch-throttle-qps` as its inverse).
    pub min_interval: Duration,
    /// The largest batch in bytes (`--audit-webhook-truncate-max-batch-size`); nothing means any.
    pub max_batch_bytes: Option<usize>,
}

impl Default for BatchConfig {
    fn default() -> Self {
        Self {
            buffer_size: 10_000,
            max_batch_size: 400,
            max_batch_wait: Duration::from_secs(30),
            min_interval: Duration::from_millis(100),
            max_batch_bytes: None,
        }
    }
}

/// A call's deadline.
const TIMEOUT: Duration = Duration::from_secs(30);

/// See the module.
#[derive(Debug)]
pub struct WebhookSink {
    queue: mpsc::Sender<Arc<Value>>,
    dropped: AtomicU64,
    metrics: AuditMetrics,
}

impl WebhookSink {
    /// Sends through `client` until the scope ends; what is left then is sent in a last batch.
    pub fn start(client: Client, config: BatchConfig, metrics: &AuditMetrics, scope: &Scope) -> Self {
        let (queue, events) = mpsc::channel(config.buffer_size.max(1));
        let (ending, counted) = (scope.clone(), metrics.clone());
        let work = async move { run(client, config, counted, events, &ending).await };
        scope.spawn_draining("audit/webhook", work);
        Self { queue, dropped: AtomicU64::new(0), metrics: metrics.clone() }
    }
}

impl Sink for WebhookSink {
    fn take(&self, event: &Arc<Value>) {
        if self.queue.try_send(event.clone()).is_err() {
            self.metrics.lost("buffered", 1);
            let dropped = self.dropped.fetch_add(1, Ordering::Relaxed) + 1;
            // Every power of two: enough to be seen, not enough to be a flood.
            if dropped.is_power_of_two() {
                tracing::error!(dropped, "audit events are lost: the webhook's buffer is full");
            }
        }
    }
}

async fn run(
    client: Client,
    config: BatchConfig,
    metrics: AuditMetrics,
    mut events: mpsc::Receiver<Arc<Value>>,
    scope: &Scope,
) {
    loop {
        let (batch, is_last) = collect(&config, &mut events, scope).await;
        if !batch.is_empty() {
            let began = Instant::now();
            for part in parts(&batch, config.max_batch_bytes) {
                send(&client, part, &metrics).await;
            }
            if !is_last {
                tokio::select! {
                    () = tokio::time::sleep_until(began + config.min_interval) => {}
                    () = scope.cancelled() => {}
                }
            }
        }
        if is_last {
            return;
        }
    }
}

/// A batch that is full or has waited long enough, and whether it is the last.
async fn collect(
    config: &BatchConfig,
    events: &mut mpsc::Receiver<Arc<Value>>,
    scope: &Scope,
) -> (Vec<Arc<Value>>, bool) {
    let mut batch = Vec::new();
    let first = tokio::select! {
        event = events.recv() => event,
        () = scope.cancelled() => None,
    };
    let Some(first) = first else {
        while batch.len() < config.max_batch_size {
            let Ok(event) = events.try_recv() else { break };
            batch.push(event);
        }
        return (batch, true);
    };
    batch.push(first);
    let until = Instant::now() + config.max_batch_wait;
    while batch.len() < config.max_batch_size {
        tokio::select! {
            () = scope.cancelled() => break,
            event = timeout_at(until, events.recv()) => match event {
                Ok(Some(event)) => batch.push(event),
                Ok(None) | Err(_) => break,
            },
        }
    }
    (batch, false)
}

/// The batch in parts that are no larger than `most` bytes, unless a single event is.
fn parts(batch: &[Arc<Value>], most: Option<usize>) -> Vec<&[Arc<Value>]> {
    let Some(most) = most else { return vec![batch] };
    let (mut parts, mut start, mut bytes) = (Vec::new(), 0, 0_usize);
    for (index, event) in batch.iter().enumerate() {
        let size = size_of(event);
        if index > start && bytes.saturating_add(size) > most {
            parts.push(&batch[start..index]);
            (start, bytes) = (index, 0);
        }
        bytes += size;
    }
    parts.push(&batch[start..]);
    parts
}

async fn send(client: &Client, batch: &[Arc<Value>], metrics: &AuditMetrics) {
    let items: Vec<&Value> = batch.iter().map(|event| &**event).collect();
    let list = json!({ "kind": "EventList", "apiVersion": "audit.k8s.io/v1", "metadata": {}, "items": items });
    if let Err(error) = client.post_patiently(&list, TIMEOUT).await {
        metrics.lost("webhook", batch.len() as u64);
        tracing::error!(%error, lost = batch.len(), "audit events could not be sent");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use parking_lot::Mutex;
    use tokio::sync::Notify;
    use webhook::Endpoint;
    use webhook::testing::TestServer;

    #[test]
    fn batches_are_cut_by_their_size() {
        let event = Arc::new(json!({ "auditID": "1" }));
        let batch = vec![event.clone(), event.clone(), event];
        let lengths = |most| parts(&batch, most).iter().map(|part| part.len()).collect::<Vec<_>>();
        assert_eq!((lengths(None), lengths(Some(32)), lengths(Some(1))), (vec![3], vec![2, 1], vec![1, 1, 1]));
    }

    #[tokio::test]
    async fn events_come_in_batches_and_the_rest_at_the_end() {
        let scope = Scope::root();
        let servers = Scope::root();
        let (batches, arrived) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Notify::new()));
        let (own, told) = (batches.clone(), arrived.clone());
        let server = TestServer::start(&servers, move |_, seen| {
            own.lock().push(seen.body["items"].as_array().map_or(0, Vec::len));
            told.notify_one();
            (200, Value::Null)
        })
        .await;
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), server.kubeconfig("/audit")).expect("written");
        let client = Client::new(&Endpoint::load(file.path()).expect("a kubeconfig")).expect("a client");
        let config = BatchConfig { max_batch_size: 2, min_interval: Duration::ZERO, ..BatchConfig::default() };
        let sink = WebhookSink::start(client, config, &AuditMetrics::default(), &scope);
        for number in 0..3 {
            sink.take(&Arc::new(json!({ "auditID": number.to_string() })));
        }
        arrived.notified().await;
        assert!(scope.shutdown(Duration::from_secs(30)).await);
        assert_eq!(*batches.lock(), [2, 1]);
        servers.cancel();
    }
}
