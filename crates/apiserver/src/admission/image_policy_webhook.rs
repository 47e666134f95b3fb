//! ImagePolicyWebhook: another server says whether a pod's images may run
//! (upstream: plugin/pkg/admission/imagepolicy/{admission,config}.go). Off by default.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ::webhook::{Client, Endpoint};
use apimachinery::duration::GoDuration;
use apimachinery::json::Read;
use apimachinery::{Object, StatusError};
use async_trait::async_trait;
use authn::token::TtlCache;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::{ConfigError, Handles, Operation, Plugin, Request};

const NAME: &str = "ImagePolicyWebhook";

/// So many answers are kept.
const CACHED: usize = 1024;

/// A call's deadline.
const TIMEOUT: Duration = Duration::from_secs(30);

/// What the audit log is told begins so.
const AUDIT: &str = "imagepolicywebhook.image-policy.k8s.io/";

/// Annotations that the server gets to see contain this.
const SHOWN: &str = ".image-policy.k8s.io/";

/// What `imagePolicy` says. Times are seconds; -1 is never.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
struct Configuration {
    kube_config_file: PathBuf,
    #[serde(rename = "allowTTL")]
    allow_ttl: i64,
    #[serde(rename = "denyTTL")]
    deny_ttl: i64,
    /// Milliseconds before the first retry.
    retry_backoff: i64,
    default_allow: bool,
}

impl Default for Configuration {
    fn default() -> Self {
        Self {
            kube_config_file: PathBuf::new(),
            allow_ttl: 300,
            deny_ttl: 30,
            retry_backoff: 500,
            default_allow: false,
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct ImagePolicyWebhook {
    client: Client,
    retry_after: Duration,
    allowed_for: Duration,
    denied_for: Duration,
    default_allow: bool,
    answers: TtlCache<[u8; 32], Value>,
}

/// A time in seconds or milliseconds and its limits (upstream: config.go `normalizeConfigDuration`).
struct Span {
    name: &'static str,
    unit: GoDuration,
    default: i64,
    most: GoDuration,
}

impl Span {
    const fn new(name: &'static str, unit: Duration, default: i64, most: Duration) -> Self {
        let (unit, most) = (unit.as_nanos() as i64, most.as_nanos() as i64);
        Self { name, unit: GoDuration::from_nanos(unit), default, most: GoDuration::from_nanos(most) }
    }

    /// -1 is never, 0 the default; what lies outside the limits is refused.
    fn read(&self, given: i64) -> Result<Duration, String> {
        let count = match given {
            -1 => return Ok(Duration::ZERO),
            0 => self.default,
            given => given,
        };
        let span = GoDuration::from_nanos(count.saturating_mul(self.unit.as_nanos()));
        if self.unit <= span && span <= self.most {
            return Ok(span.to_std().unwrap_or_default());
        }
        let Self { name, unit: least, most, .. } = self;
        Err(format!("{name}: valid value is between {least} and {most}, got {span}"))
    }
}

const RETRY: Span = Span::new("backoff", Duration::from_millis(1), 500, Duration::from_secs(5 * 60));
const ALLOWED: Span = Span::new("allow cache", Duration::from_secs(1), 300, Duration::from_secs(30 * 60));
const DENIED: Span = Span::new("deny cache", Duration::from_secs(1), 30, Duration::from_secs(30 * 60));

impl ImagePolicyWebhook {
    /// As configured: it cannot do without a kubeconfig.
    pub fn new(given: Option<&Value>) -> Result<Self, ConfigError> {
        let wrong = |cause: String| ConfigError::Plugin { plugin: NAME, cause };
        let config = given.and_then(|given| given.value("imagePolicy")).cloned().unwrap_or_else(|| json!({}));
        let config: Configuration = serde_json::from_value(config).map_err(|error| wrong(error.to_string()))?;
        let path: &Path = &config.kube_config_file;
        let endpoint = Endpoint::load(path).map_err(|error| wrong(error.to_string()))?;
        Ok(Self {
            client: Client::new(&endpoint).map_err(|error| wrong(error.to_string()))?,
            retry_after: RETRY.read(config.retry_backoff).map_err(wrong)?,
            allowed_for: ALLOWED.read(config.allow_ttl).map_err(wrong)?,
            denied_for: DENIED.read(config.deny_ttl).map_err(wrong)?,
            default_allow: config.default_allow,
            answers: TtlCache::new(CACHED),
        })
    }

    /// The server's `status` about these images.
    async fn ask(&self, spec: &Value) -> Result<Value, String> {
        let key: [u8; 32] = Sha256::digest(spec.to_string()).into();
        if let Some(status) = self.answers.get(&key) {
            return Ok(status);
        }
        let review = json!({
            "apiVersion": "imagepolicy.k8s.io/v1alpha1", "kind": "ImageReview", "metadata": {}, "spec": spec, "status": {},
        });
        let answer = self
            .client
            .post_patiently_from(&review, TIMEOUT, self.retry_after)
            .await
            .map_err(|error| error.to_string())?;
        let status = answer.get("status").cloned().unwrap_or_else(|| json!({}));
        self.answers.put(key, status.clone(), if status.flag("allowed") { self.allowed_for } else { self.denied_for });
        Ok(status)
    }

    async fn judge(&self, request: &Request<'_>) -> Result<Judged, StatusError> {
        let Some(spec) = request.object.as_ref().and_then(|pod| concerning(request, pod)) else {
            return Ok(Judged::Allowed);
        };
        let status = match self.ask(&spec).await {
            Ok(status) => status,
            Err(cause) if !self.default_allow => return Err(request.forbidden(cause)),
            Err(cause) => {
                tracing::warn!(cause, "the image policy webhook gave no answer");
                return Ok(Judged::FailedOpen);
            }
        };
        for (key, value) in status.object("auditAnnotations") {
            request.annotate(&format!("{AUDIT}{key}"), value.as_str().unwrap_or_default());
        }
        if status.flag("allowed") {
            return Ok(Judged::Allowed);
        }
        let cause = match status.text("reason") {
            "" => "one or more images rejected by webhook backend".to_owned(),
            reason => format!("image policy webhook backend denied one or more images: {reason}"),
        };
        Err(request.forbidden(cause))
    }
}

/// How a request ended that was not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Judged {
    Allowed,
    /// The server could not be asked.
    FailedOpen,
}

/// What the server is asked; nothing where the request brings no new images.
fn concerning(request: &Request<'_>, pod: &Object) -> Option<Value> {
    let is_pod = request.is_resource("", "pods") && request.writes();
    if !is_pod || !matches!(request.subresource, "" | "ephemeralcontainers") {
        return None;
    }
    // Upstream asks about those of a whole pod, or those that a subresource adds.
    let lists: &[&str] =
        if request.subresource.is_empty() { &["containers", "initContainers"] } else { &["ephemeralContainers"] };
    let images = |pod: &Object| -> Vec<String> {
        let containers = lists.iter().flat_map(|list| pod.object("spec").list(list));
        containers.map(|container| container.text("image").to_owned()).collect()
    };
    let wanted = images(pod);
    let is_update = request.operation == Operation::Update;
    if is_update && request.old.as_ref().is_some_and(|old| images(old) == wanted) {
        return None;
    }
    let annotations = pod.metadata().map(|metadata| metadata.object("annotations").clone()).unwrap_or_default();
    let shown: Map<String, Value> = annotations.into_iter().filter(|(key, _)| key.contains(SHOWN)).collect();
    let containers: Vec<Value> = wanted.into_iter().map(|image| json!({"image": image})).collect();
    let mut spec = json!({"containers": containers, "namespace": request.namespace});
    if !shown.is_empty() {
        spec["annotations"] = shown.into();
    }
    Some(spec)
}

#[async_trait]
impl Plugin for ImagePolicyWebhook {
    fn name(&self) -> &'static str {
        NAME
    }

    fn handles(&self) -> Handles {
        Handles::NOTHING.validates(Handles::WRITES)
    }

    async fn validate(&self, request: &Request<'_>) -> Result<(), StatusError> {
        if self.judge(request).await? == Judged::FailedOpen {
            request.annotate(&format!("{AUDIT}failed-open"), "true");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_limits() {
        assert_eq!(ALLOWED.read(-1), Ok(Duration::ZERO));
        assert_eq!(ALLOWED.read(0), Ok(Duration::from_secs(300)));
        assert_eq!(DENIED.read(60), Ok(Duration::from_secs(60)));
        assert_eq!(RETRY.read(0), Ok(Duration::from_millis(500)));
        let refused = |span: &Span, given| span.read(given).expect_err("out of range");
        assert_eq!(refused(&ALLOWED, 1801), "allow cache: valid value is between 1s and 30m0s, got 30m1s");
        assert_eq!(refused(&DENIED, -2), "deny cache: valid value is between 1s and 30m0s, got -2s");
        assert_eq!(refused(&RETRY, 300_001), "backoff: valid value is between 1ms and 5m0s, got 5m0.001s");
    }
}
