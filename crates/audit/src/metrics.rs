//! What became of events, under upstream's names (upstream: apiserver/pkg/audit/metrics.go).

use component_base::metrics::{Counter, Family, Metrics};
use prometheus_client::encoding::EncodeLabelSet;

use crate::policy::Level;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfPlugin {
    plugin: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfLevel {
    level: &'static str,
}

/// Counters; clones count together. They are made before there is a page to show them on.
#[derive(Clone, Debug, Default)]
pub struct AuditMetrics {
    events: Counter,
    errors: Family<OfPlugin, Counter>,
    levels: Family<OfLevel, Counter>,
    rejected: Counter,
}

impl AuditMetrics {
    /// Shows them.
    pub fn register(&self, metrics: &Metrics) {
        let name = |name: &str| format!("apiserver_audit_{name}");
        metrics.register(
            &name("event"),
            "Counter of audit events generated and sent to the audit backend",
            self.events.clone(),
        );
        metrics.register(
            &name("error"),
            "Counter of audit events that failed to be audited properly. Plugin identifies the plugin affected by the error",
            self.errors.clone(),
        );
        metrics.register(
            &name("level"),
            "Counter of policy levels for audit events (1 per request)",
            self.levels.clone(),
        );
        metrics.register(
            &name("requests_rejected"),
            "Counter of apiserver requests rejected due to an error in audit logging backend",
            self.rejected.clone(),
        );
    }

    /// An event goes to the sinks.
    pub(crate) fn event(&self) {
        self.events.inc();
    }

    /// So many events were lost by a plugin.
    pub(crate) fn lost(&self, plugin: &'static str, count: u64) {
        self.errors.get_or_create(&OfPlugin { plugin }).inc_by(count);
    }

    /// A request is written down at this level, or not at all.
    pub(crate) fn level(&self, level: Level) {
        let level = match level {
            Level::None => "None",
            Level::Metadata => "Metadata",
            Level::Request => "Request",
            Level::RequestResponse => "RequestResponse",
        };
        self.levels.get_or_create(&OfLevel { level }).inc();
    }
}
