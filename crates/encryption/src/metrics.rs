//! What sealing and opening came to, under upstream's names
//! (upstream: apiserver/pkg/storage/value/metrics.go, server/options/encryptionconfig/metrics).

use component_base::metrics::{Counter, Family, Gauge, Histogram, Metrics};
use jiff::Timestamp;
use prometheus_client::encoding::EncodeLabelSet;

use crate::envelope_metrics::EnvelopeMetrics;
use crate::identity::{apiserver_id_hash, hash};
use crate::provider::SealError;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Operation {
    resource: String,
    transformation_type: &'static str,
    transformer_prefix: String,
    status: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Duration {
    resource: String,
    transformation_type: &'static str,
    transformer_prefix: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Reload {
    status: &'static str,
    apiserver_id_hash: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Applied {
    apiserver_id_hash: &'static str,
    hash: String,
}

fn buckets() -> Histogram {
    Histogram::new(prometheus_client::metrics::histogram::exponential_buckets(5e-6, 2.0, 25))
}

/// Which way a value went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    FromStorage,
    ToStorage,
}

impl Way {
    /// Upstream's `transformation_type`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::FromStorage => "from_storage",
            Self::ToStorage => "to_storage",
        }
    }
}

/// Counters; made before there is a page to show them on.
#[derive(Clone, Debug)]
pub struct EncryptionMetrics {
    operations: Family<Operation, Counter>,
    seconds: Family<Duration, Histogram, fn() -> Histogram>,
    reloads: Family<Reload, Counter>,
    reloaded_at: Family<Reload, Gauge>,
    applied: Family<Applied, Gauge>,
    /// Those of KMS plugins.
    pub(crate) envelope: EnvelopeMetrics,
}

impl Default for EncryptionMetrics {
    fn default() -> Self {
        Self {
            operations: Family::default(),
            seconds: Family::new_with_constructor(buckets),
            reloads: Family::default(),
            reloaded_at: Family::default(),
            applied: Family::default(),
            envelope: EnvelopeMetrics::default(),
        }
    }
}

impl EncryptionMetrics {
    /// Shows them.
    pub fn register(&self, metrics: &Metrics) {
        self.envelope.register(metrics);
        metrics.register(
            "apiserver_storage_transformation_operations",
            "Total number of transformations. Successful transformation will have a status 'OK' and a varied status string when the transformation fails",
            self.operations.clone(),
        );
        metrics.register(
            "apiserver_storage_transformation_duration_seconds",
            "Latencies in seconds of value transformation operations",
            self.seconds.clone(),
        );
        metrics.register(
            "apiserver_encryption_config_controller_automatic_reloads",
            "Total number of reload successes and failures of encryption configuration split by apiserver identity",
            self.reloads.clone(),
        );
        metrics.register(
            "apiserver_encryption_config_controller_automatic_reload_last_timestamp_seconds",
            "Timestamp of the last successful or failed automatic reload of encryption configuration split by apiserver identity",
            self.reloaded_at.clone(),
        );
        metrics.register(
            "apiserver_encryption_config_controller_last_config_info",
            "Information about the last applied encryption configuration with hash as label, split by apiserver identity",
            self.applied.clone(),
        );
    }

    /// This configuration is used from now on.
    pub fn applied(&self, config: &[u8]) {
        self.applied.clear();
        let labels = Applied { apiserver_id_hash: apiserver_id_hash(), hash: hash(config) };
        self.applied.get_or_create(&labels).set(1);
    }

    /// The configuration was read again.
    pub fn reloaded(&self, taken: bool) {
        let status = if taken { "success" } else { "failure" };
        let status = Reload { status, apiserver_id_hash: apiserver_id_hash() };
        self.reloads.get_or_create(&status).inc();
        self.reloaded_at.get_or_create(&status).set(component_base::now().as_second());
    }

    /// A value went one way or the other, since `began`; `prefix` says by which provider.
    pub(crate) fn observe(
        &self,
        way: Way,
        (group, resource): (&str, &str),
        prefix: &[u8],
        outcome: Result<(), &SealError>,
        began: Timestamp,
    ) {
        let resource = if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") };
        let transformation_type = way.name();
        let transformer_prefix = match prefix {
            b"" => "identity".to_owned(),
            prefix => String::from_utf8_lossy(prefix).into_owned(),
        };
        if outcome.is_ok() {
            let labels = Duration {
                resource: resource.clone(),
                transformation_type,
                transformer_prefix: transformer_prefix.clone(),
            };
            let took = component_base::now().duration_since(began).as_secs_f64();
            self.seconds.get_or_create(&labels).observe(took);
        }
        let status = match outcome {
            Ok(()) => "OK",
            Err(SealError::Kms(_)) => "Unavailable",
            Err(_) => "Unknown",
        };
        self.operations.get_or_create(&Operation { resource, transformation_type, transformer_prefix, status }).inc();
    }
}
