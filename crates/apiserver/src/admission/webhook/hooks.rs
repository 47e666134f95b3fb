//! [`Hooks`]: the webhooks of all configurations, parsed once when they change
//! (upstream: apiserver/pkg/admission/configuration).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use api::custom::ServiceReference;
use apimachinery::Object;
use apimachinery::json::Read;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use store::Entry;

use crate::admission::matching::Criteria;
use crate::admission::metrics::Holder;
use crate::admission::policy::conditions::MatchConditions;
use crate::authorization::follow::Projection;
use crate::webhook_client::{HookClient, Target};

/// What happens when a webhook cannot be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailurePolicy {
    /// The request goes on.
    Ignore,
    /// The request fails.
    Fail,
}

/// One webhook.
#[derive(Debug)]
pub struct Hook {
    /// Its name.
    pub name: String,
    /// The configuration it is from.
    pub configuration: String,
    /// What tells it from all others, over changes of its configuration.
    pub uid: String,
    /// Which requests, or why that cannot be told.
    pub(super) criteria: Result<Criteria, String>,
    pub(super) conditions: MatchConditions,
    pub(super) side_effects: bool,
    pub(super) failure_policy: FailurePolicy,
    pub(super) reinvoked: bool,
    pub(super) timeout: Duration,
    pub(super) versions: Vec<String>,
    pub(super) client: HookClient,
}

/// The webhooks in the order in which they are called: by the name of their configuration, then as listed.
#[derive(Default)]
pub struct Hooks {
    by_configuration: BTreeMap<String, Vec<Arc<Hook>>>,
    all: Arc<[Arc<Hook>]>,
}

impl Hooks {
    /// All webhooks.
    pub fn all(&self) -> Arc<[Arc<Hook>]> {
        self.all.clone()
    }

    fn renew(&mut self) {
        self.all = self.by_configuration.values().flatten().cloned().collect();
    }
}

fn name_of(key: &str) -> &str {
    key.rsplit_once('/').map_or(key, |(_, name)| name)
}

impl Projection for Hooks {
    fn put(&mut self, entry: &Entry) {
        let configuration: Object = serde_json::from_slice(&entry.finished.value).unwrap_or_default();
        let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
        let kind = if configuration.kind() == "MutatingWebhookConfiguration" { "admit" } else { "validating" };
        let hooks = configuration.list("webhooks").iter().map(|webhook| {
            let number = seen.entry(webhook.text("name")).or_default();
            *number += 1;
            Arc::new(Hook::parse((configuration.name(), kind), *number - 1, webhook))
        });
        let hooks = hooks.collect();
        self.by_configuration.insert(name_of(&entry.key).to_owned(), hooks);
        self.renew();
    }

    fn delete(&mut self, key: &str) {
        self.by_configuration.remove(name_of(key));
        self.renew();
    }
}

fn texts(value: &Value, field: &str) -> Vec<String> {
    value.texts(field).map(str::to_owned).collect()
}

impl Hook {
    /// Reads a webhook of a configuration of a kind; the number tells those of the same name apart.
    fn parse((configuration, kind): (&str, &'static str), number: usize, webhook: &Value) -> Self {
        let name = webhook.text("name").to_owned();
        let failure_policy =
            if webhook.text("failurePolicy") == "Ignore" { FailurePolicy::Ignore } else { FailurePolicy::Fail };
        let seconds = webhook.int("timeoutSeconds").and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(10);
        Self {
            uid: format!("{configuration}/{name}/{number}"),
            configuration: configuration.to_owned(),
            criteria: Criteria::of_webhook(webhook).map_err(|error| error.to_string()),
            conditions: MatchConditions::compile(
                webhook.value("matchConditions"),
                failure_policy == FailurePolicy::Fail,
                Holder::webhook(&name, kind),
            ),
            side_effects: !matches!(webhook.text("sideEffects"), "None" | "NoneOnDryRun"),
            failure_policy,
            reinvoked: webhook.text("reinvocationPolicy") == "IfNeeded",
            timeout: Duration::from_secs(seconds.clamp(1, 30)),
            versions: texts(webhook, "admissionReviewVersions"),
            client: client(webhook.value("clientConfig").unwrap_or(&Value::Null)),
            name,
        }
    }
}

fn client(config: &Value) -> HookClient {
    let target = match config.value("service") {
        Some(service) => Target::Service(ServiceReference {
            namespace: service.text("namespace").to_owned(),
            name: service.text("name").to_owned(),
            path: service.text("path").to_owned(),
            port: service.int("port").and_then(|port| u16::try_from(port).ok()).unwrap_or(443),
        }),
        None => Target::Url(config.text("url").to_owned()),
    };
    HookClient::new(&target, &STANDARD.decode(config.text("caBundle")).unwrap_or_default())
}
