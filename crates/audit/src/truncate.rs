//! [`Truncating`]: events that are too large lose what they carry, and if that is not enough they are lost
//! (upstream: apiserver/plugin/pkg/audit/truncate/truncate.go).

use std::io::{self, Write};
use std::sync::Arc;

use serde_json::Value;

use crate::Sink;
use crate::metrics::AuditMetrics;

/// Says on an event that something is missing.
const ANNOTATION: &str = "audit.k8s.io/truncated";

/// The `--audit-log-truncate-*` and `--audit-webhook-truncate-*` flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TruncateConfig {
    /// The largest batch in bytes: for sinks that send batches.
    pub max_batch_size: usize,
    /// The largest event in bytes.
    pub max_event_size: usize,
}

impl Default for TruncateConfig {
    fn default() -> Self {
        Self { max_batch_size: 10 * 1024 * 1024, max_event_size: 100 * 1024 }
    }
}

/// See the module.
pub struct Truncating {
    inner: Box<dyn Sink>,
    max_event_size: usize,
    metrics: AuditMetrics,
}

impl Truncating {
    /// What `inner` gets to see is no larger than this.
    pub fn new(inner: Box<dyn Sink>, config: TruncateConfig, metrics: AuditMetrics) -> Self {
        Self { inner, max_event_size: config.max_event_size, metrics }
    }
}

impl Sink for Truncating {
    fn take(&self, event: &Arc<Value>) {
        if size_of(event) <= self.max_event_size {
            return self.inner.take(event);
        }
        let mut smaller = Value::clone(event);
        if let Some(fields) = smaller.as_object_mut() {
            fields.remove("requestObject");
            fields.remove("responseObject");
            fields.entry("annotations").or_insert_with(|| serde_json::json!({}))[ANNOTATION] = "true".into();
        }
        if size_of(&smaller) <= self.max_event_size {
            return self.inner.take(&Arc::new(smaller));
        }
        tracing::error!("an audit event is lost: event is too large even after truncating");
        self.metrics.lost("truncate", 1);
    }
}

/// Bytes of an event in JSON.
pub(crate) fn size_of(event: &Value) -> usize {
    struct Count(usize);
    impl Write for Count {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    // Counting does not fail, nor does a tree of JSON.
    let _ = serde_json::to_writer(&mut count, event);
    count.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use parking_lot::Mutex;
    use serde_json::json;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<Value>>>);

    impl Sink for Kept {
        fn take(&self, event: &Arc<Value>) {
            self.0.lock().push(Value::clone(event));
        }
    }

    #[test]
    fn large_events_lose_what_they_carry() {
        let kept = Kept::default();
        let config = TruncateConfig { max_event_size: 100, ..TruncateConfig::default() };
        let sink = Truncating::new(Box::new(kept.clone()), config, AuditMetrics::default());
        let long = "x".repeat(200);
        sink.take(&Arc::new(json!({"auditID": "1", "requestObject": {"a": 1}})));
        sink.take(&Arc::new(json!({"auditID": "2", "requestObject": {"a": long}, "responseObject": {}})));
        sink.take(&Arc::new(json!({"auditID": long})));
        assert_eq!(
            *kept.0.lock(),
            [
                json!({"auditID": "1", "requestObject": {"a": 1}}),
                json!({"auditID": "2", "annotations": {ANNOTATION: "true"}}),
            ]
        );
    }
}
