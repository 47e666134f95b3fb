//! ImagePolicyWebhook: another server says whether a pod's images may run
//! (upstream: plugin/pkg/admission/imagepolicy/{admission,config}.go). Off by default.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ::webhook::{Client, Endpoint};
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

/// Says on a pod that nobody could be asked about it.
const FAILED_OPEN: &str = "alpha.image-policy.k8s.io/failed-open";

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
    allowed_for: Duration,
    denied_for: Duration,
    default_allow: bool,
    answers: TtlCache<[u8; 32], Value>,
}

/// Upstream: `normalizeConfigDuration`: 0 is the default, what lies outside the limits is refused.
fn ttl(name: &str, seconds: i64, default: i64) -> Result<Duration, String> {
    match seconds {
        -1 => Ok(Duration::ZERO),
        0 => Ok(Duration::from_secs(default.unsigned_abs())),
        1..=1800 => Ok(Duration::from_secs(seconds.unsigned_abs())),
        _ => Err(format!("valid value is between 1s and 30m0s, got {seconds}s for {name}")),
    }
}

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
            allowed_for: ttl("allow cache", config.allow_ttl, 300).map_err(wrong)?,
            denied_for: ttl("deny cache", config.deny_ttl, 30).map_err(wrong)?,
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
        let answer = self.client.post_patiently(&review, TIMEOUT).await.map_err(|error| error.to_string())?;
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
            request
                .annotate(&format!("imagepolicywebhook.image-policy.k8s.io/{key}"), value.as_str().unwrap_or_default());
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
        if request.subresource.is_empty() { &["initContainers", "containers"] } else { &["ephemeralContainers"] };
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
            request.annotate(FAILED_OPEN, "true");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_limits() {
        assert_eq!(ttl("allow cache", -1, 300), Ok(Duration::ZERO));
        assert_eq!(ttl("allow cache", 0, 300), Ok(Duration::from_secs(300)));
        assert_eq!(ttl("allow cache", 60, 300), Ok(Duration::from_secs(60)));
        assert!(ttl("allow cache", 1801, 300).is_err());
    }
}
