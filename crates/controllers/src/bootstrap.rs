//! Bootstrap tokens: Secrets with which nodes join (upstream: pkg/controller/bootstrap, cluster-bootstrap/token).

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::Timestamp;

pub mod signer;
pub mod token_cleaner;

/// The type of their Secrets.
pub(crate) const TYPE: &str = "bootstrap.kubernetes.io/token";
/// Where they lie.
pub(crate) const NAMESPACE: &str = "kube-system";

/// A value of a Secret as text; empty where it is not there.
pub(crate) fn text(secret: &Secret, key: &str) -> String {
    let bytes = secret.data.as_ref().and_then(|data| data.get(key));
    bytes.and_then(|bytes| String::from_utf8(bytes.0.clone()).ok()).unwrap_or_default()
}

/// When the token ends; `None` when it never does. A time that does not read is over.
pub(crate) fn expires(secret: &Secret) -> Option<Timestamp> {
    let text = text(secret, "expiration");
    (!text.is_empty()).then(|| text.parse().unwrap_or(Timestamp::MIN))
}
