//! EventRateLimit: so many events a second and no more, of the server, a namespace, a user, or a source and its
//! object (upstream: plugin/pkg/admission/eventratelimit). Off by default.

use std::collections::HashMap;

use apimachinery::json::Read;
use apimachinery::{Object, StatusError};
use async_trait::async_trait;
use jiff::Timestamp;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::Value;

use super::{ConfigError, Handles, Plugin, Request, config};

const NAME: &str = "EventRateLimit";

/// So many buckets are kept of a limit (upstream: `defaultCacheSize`).
const DEFAULT_CACHE_SIZE: usize = 4096;

/// The plugin's configuration, `eventratelimit.admission.k8s.io/v1alpha1 Configuration`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Configuration {
    #[serde(default)]
    limits: Vec<Limit>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Limit {
    r#type: LimitType,
    qps: i64,
    burst: i64,
    #[serde(default)]
    cache_size: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
enum LimitType {
    Server,
    Namespace,
    User,
    SourceAndObject,
}

/// See the module.
#[derive(Debug)]
pub struct EventRateLimit {
    limits: Vec<(Limit, Mutex<Buckets>)>,
}

/// Token buckets by key; of too many the one that rested longest goes.
#[derive(Debug, Default)]
struct Buckets(HashMap<String, Bucket>);

#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    at: Timestamp,
}

impl EventRateLimit {
    /// Limits as configured; without a configuration there is nothing to limit by.
    pub fn new(given: Option<&Value>) -> Result<Self, ConfigError> {
        let versions = ["eventratelimit.admission.k8s.io/v1alpha1"];
        let configuration: Configuration = config::own(NAME, given, "Configuration", &versions)?;
        let wrong = |cause: &str| Err(ConfigError::Plugin { plugin: NAME, cause: cause.to_owned() });
        if configuration.limits.is_empty() {
            return wrong("limits: Invalid value: []: must not be empty");
        }
        if configuration.limits.iter().any(|limit| limit.qps <= 0 || limit.burst <= 0) {
            return wrong("limits: Invalid value: qps and burst must be positive");
        }
        if configuration.limits.iter().any(|limit| limit.cache_size < 0) {
            return wrong("limits: Invalid value: cacheSize must not be negative");
        }
        Ok(Self { limits: configuration.limits.into_iter().map(|limit| (limit, Mutex::default())).collect() })
    }

    fn refusal(&self, namespace: &str, user: &str, event: &Object, now: Timestamp) -> Option<StatusError> {
        let mut refused = None;
        // Every limit takes its token, even when another one refuses.
        for (limit, buckets) in &self.limits {
            let key = key_of(limit.r#type, namespace, user, event);
            if !buckets.lock().take(limit, &key, now) {
                let text = format!("limit reached on type {:?} for key {key}", limit.r#type);
                refused = refused.or(Some(StatusError::too_many_requests(text, 1)));
            }
        }
        refused
    }
}

impl Buckets {
    fn take(&mut self, limit: &Limit, key: &str, now: Timestamp) -> bool {
        let size = usize::try_from(limit.cache_size).ok().filter(|size| *size > 0).unwrap_or(DEFAULT_CACHE_SIZE);
        if self.0.len() >= size && !self.0.contains_key(key) {
            let oldest = self.0.iter().min_by_key(|(_, bucket)| bucket.at).map(|(key, _)| key.clone());
            oldest.map(|oldest| self.0.remove(&oldest));
        }
        let (burst, qps) = (limit.burst as f64, limit.qps as f64);
        let bucket = self.0.entry(key.to_owned()).or_insert(Bucket { tokens: burst, at: now });
        let rested = now.duration_since(bucket.at).as_secs_f64().max(0.0);
        bucket.tokens = (bucket.tokens + rested * qps).min(burst);
        bucket.at = bucket.at.max(now);
        let has_one = bucket.tokens >= 1.0;
        if has_one {
            bucket.tokens -= 1.0;
        }
        has_one
    }
}

fn key_of(kind: LimitType, namespace: &str, user: &str, event: &Object) -> String {
    match kind {
        LimitType::Server => String::new(),
        LimitType::Namespace => namespace.to_owned(),
        LimitType::User => user.to_owned(),
        LimitType::SourceAndObject => {
            let (source, object) = (event.object("source"), event.object("involvedObject"));
            let parts = [
                source.text("component"),
                source.text("host"),
                object.text("kind"),
                object.text("namespace"),
                object.text("name"),
                object.text("uid"),
                object.text("apiVersion"),
            ];
            parts.concat()
        }
    }
}

#[async_trait]
impl Plugin for EventRateLimit {
    fn name(&self) -> &'static str {
        NAME
    }

    fn handles(&self) -> Handles {
        Handles::NOTHING.validates(Handles::WRITES)
    }

    async fn validate(&self, request: &Request<'_>) -> Result<(), StatusError> {
        if request.row.gvk.kind != "Event" || !request.writes() || request.dry_run {
            return Ok(());
        }
        let Some(event) = &request.object else { return Ok(()) };
        let (user, now) = (&request.cx.user.username, request.cx.now);
        self.refusal(request.namespace, user, event, now).map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn plugin(limits: Value) -> Result<EventRateLimit, ConfigError> {
        let given = json!({
            "apiVersion": "eventratelimit.admission.k8s.io/v1alpha1", "kind": "Configuration", "limits": limits,
        });
        EventRateLimit::new(Some(&given))
    }

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let plugin = plugin(json!([{"type": "Namespace", "qps": 1, "burst": 2, "cacheSize": 2}])).expect("valid");
        let at = |seconds: i64| Timestamp::from_second(seconds).expect("a time");
        let event = Object::default();
        let passes = |namespace: &str, seconds| plugin.refusal(namespace, "u", &event, at(seconds)).is_none();
        assert_eq!([0, 0, 0, 1, 1].map(|second| passes("a", second)), [true, true, false, true, false]);
        assert!(passes("b", 1) && passes("c", 2), "others have their own");
        let refused = [0, 1, 2].map(|_| plugin.refusal("d", "u", &event, at(3))).into_iter().flatten().next();
        let error = refused.expect("a third is too much");
        assert_eq!((error.code, error.message.as_str()), (429, "limit reached on type Namespace for key d"));
    }

    #[test]
    fn it_must_know_its_limits() {
        for (limits, expected) in [
            (json!([]), "must not be empty"),
            (json!([{"type": "Server", "qps": 0, "burst": 1}]), "must be positive"),
            (json!([{"type": "Planet", "qps": 1, "burst": 1}]), "unknown variant"),
        ] {
            let error = plugin(limits).expect_err("refused").to_string();
            assert!(error.contains(expected), "{error}");
        }
        assert!(EventRateLimit::new(None).is_err());
    }
}
