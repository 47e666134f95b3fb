//! What KMS plugins are asked and which keys they name, under upstream's names
//! (upstream: apiserver/pkg/storage/value/encrypt/envelope/metrics/metrics.go).
//!
//! A value that is sealed or opened touches the handles of its key, which were found when the key was.

use std::time::Duration;

use component_base::metrics::{Counter, Family, Gauge, Histogram, Metrics};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::histogram::exponential_buckets;

use crate::grpc::GrpcError;
use crate::identity::{apiserver_id_hash, hash};
use crate::kms::KmsError;
use crate::metrics::Way;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Operation {
    provider_name: String,
    method_name: &'static str,
    grpc_status_code: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Used {
    transformation_type: &'static str,
    provider_name: String,
    key_id_hash: String,
    apiserver_id_hash: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Told {
    provider_name: String,
    key_id_hash: String,
    apiserver_id_hash: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Invalid {
    provider_name: String,
    error: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfProvider {
    provider_name: String,
}

/// The families.
#[derive(Clone, Debug)]
pub(crate) struct EnvelopeMetrics {
    operations: Family<Operation, Histogram, fn() -> Histogram>,
    used: Family<Used, Counter>,
    used_at: Family<Used, Gauge>,
    told_at: Family<Told, Gauge>,
    invalid: Family<Invalid, Counter>,
    seeds: Family<OfProvider, Gauge>,
}

/// The handles of a key that seals or opens.
#[derive(Clone, Debug)]
pub(crate) struct KeyUse {
    count: Counter,
    at: Gauge,
}

impl KeyUse {
    /// A value was sealed or opened.
    pub(crate) fn note(&self) {
        self.count.inc();
        self.at.set(component_base::now().as_second());
    }
}

fn buckets() -> Histogram {
    Histogram::new(exponential_buckets(0.0001, 2.0, 20))
}

impl Default for EnvelopeMetrics {
    fn default() -> Self {
        Self {
            operations: Family::new_with_constructor(buckets),
            used: Family::default(),
            used_at: Family::default(),
            told_at: Family::default(),
            invalid: Family::default(),
            seeds: Family::default(),
        }
    }
}

impl EnvelopeMetrics {
    /// Shows them.
    pub(crate) fn register(&self, metrics: &Metrics) {
        let name = |name: &str| format!("apiserver_envelope_encryption_{name}");
        metrics.register(
            &name("kms_operations_latency_seconds"),
            "KMS operation duration with gRPC error code status total.",
            self.operations.clone(),
        );
        metrics.register(
            &name("key_id_hash"),
            "Number of times a keyID is used split by transformation type, provider, and apiserver identity.",
            self.used.clone(),
        );
        metrics.register(
            &name("key_id_hash_last_timestamp_seconds"),
            "The last time in seconds when a keyID was used.",
            self.used_at.clone(),
        );
        metrics.register(
            &name("key_id_hash_status_last_timestamp_seconds"),
            "The last time in seconds when a keyID was returned by the Status RPC call.",
            self.told_at.clone(),
        );
        metrics.register(
            &name("invalid_key_id_from_status"),
            "Number of times an invalid keyID is returned by the Status RPC call split by error.",
            self.invalid.clone(),
        );
        metrics.register(
            &name("dek_source_cache_size"),
            "Number of records in data encryption key (DEK) source cache. On a restart, this value is an approximation of the number of decrypt RPC calls the server will make to the KMS plugin.",
            self.seeds.clone(),
        );
    }

    /// A call of the plugin came back.
    pub(crate) fn called<T>(
        &self,
        provider: &str,
        method: &'static str,
        outcome: &Result<T, GrpcError>,
        took: Duration,
    ) {
        let method_name = match method {
            "Status" => "/v2.KeyManagementService/Status",
            "Encrypt" => "/v2.KeyManagementService/Encrypt",
            _ => "/v2.KeyManagementService/Decrypt",
        };
        let grpc_status_code = outcome.as_ref().map_or_else(code, |_| "OK");
        let labels = Operation { provider_name: provider.to_owned(), method_name, grpc_status_code };
        self.operations.get_or_create(&labels).observe(took.as_secs_f64());
    }

    /// The handles of a key, one way.
    pub(crate) fn key(&self, provider: &str, way: Way, key_id: &str) -> KeyUse {
        let labels = Used {
            transformation_type: way.name(),
            provider_name: provider.to_owned(),
            key_id_hash: hash(key_id.as_bytes()),
            apiserver_id_hash: apiserver_id_hash(),
        };
        KeyUse { count: self.used.get_or_create_owned(&labels), at: self.used_at.get_or_create_owned(&labels) }
    }

    /// The plugin said which key it uses, or something that is no key.
    pub(crate) fn status(&self, provider: &str, key_id: &Result<String, KmsError>) {
        let provider_name = provider.to_owned();
        let error = match key_id {
            Ok(key_id) => {
                let labels = Told {
                    provider_name,
                    key_id_hash: hash(key_id.as_bytes()),
                    apiserver_id_hash: apiserver_id_hash(),
                };
                self.told_at.get_or_create(&labels).set(component_base::now().as_second());
                return;
            }
            Err(KmsError::NoKeyId) => "empty",
            Err(KmsError::Limits(_)) => "too_long",
            Err(_) => return,
        };
        self.invalid.get_or_create(&Invalid { provider_name, error }).inc();
    }

    /// So many seeds are kept.
    pub(crate) fn seeds(&self, provider: &str, count: usize) {
        let labels = OfProvider { provider_name: provider.to_owned() };
        self.seeds.get_or_create(&labels).set(i64::try_from(count).unwrap_or(i64::MAX));
    }
}

/// The name of a failure's code, as Go's gRPC writes it.
fn code(error: &GrpcError) -> &'static str {
    const NAMES: [&str; 17] = [
        "OK",
        "Canceled",
        "Unknown",
        "InvalidArgument",
        "DeadlineExceeded",
        "NotFound",
        "AlreadyExists",
        "PermissionDenied",
        "ResourceExhausted",
        "FailedPrecondition",
        "Aborted",
        "OutOfRange",
        "Unimplemented",
        "Internal",
        "Unavailable",
        "DataLoss",
        "Unauthenticated",
    ];
    match error {
        GrpcError::Connect { .. } | GrpcError::Transport(_) => "Unavailable",
        GrpcError::Timeout => "DeadlineExceeded",
        GrpcError::Unreadable => "Internal",
        GrpcError::Status { code, .. } => NAMES.get(*code as usize).copied().unwrap_or("Unknown"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_counted_by_its_hash() {
        let (families, shown) = (EnvelopeMetrics::default(), Metrics::default());
        families.register(&shown);
        let key = families.key("p", Way::ToStorage, "one");
        key.note();
        key.note();
        families.status("p", &Ok("one".to_owned()));
        families.status("p", &Err(KmsError::NoKeyId));
        let refused: Result<(), GrpcError> = Err(GrpcError::Status { code: 14, message: String::new() });
        families.called("p", "Decrypt", &refused, Duration::from_millis(1));
        families.seeds("p", 1);
        let text = shown.encode();
        let used = format!(
            "apiserver_envelope_encryption_key_id_hash_total{{transformation_type=\"to_storage\",provider_name=\"p\",key_id_hash=\"{}\",apiserver_id_hash=\"{}\"}} 2",
            hash(b"one"),
            apiserver_id_hash()
        );
        assert!(text.contains(&used), "{used}\n{text}");
        for line in [
            "apiserver_envelope_encryption_invalid_key_id_from_status_total{provider_name=\"p\",error=\"empty\"} 1",
            "apiserver_envelope_encryption_dek_source_cache_size{provider_name=\"p\"} 1",
            "method_name=\"/v2.KeyManagementService/Decrypt\",grpc_status_code=\"Unavailable\"} 1",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }
}
