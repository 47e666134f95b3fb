//! [`WebhookAuthorizer`]: another server says whether somebody may
//! (upstream: apiserver/plugin/pkg/authorizer/webhook/webhook.go).

use std::time::Duration;

use authn::expression::Program;
use authn::token::TtlCache;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use webhook::Client;

use crate::authorizer::{Attributes, Decision, Selectors, Verdict};

/// So many answers are kept.
const CACHED: usize = 8192;

/// Longer attributes are asked about each time (upstream: `maxControlledAttrCacheSize`).
const MAX_CACHED_BYTES: usize = 10_000;

/// What holds when the server cannot be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailurePolicy {
    /// Others decide.
    NoOpinion,
    /// It must not happen.
    Deny,
}

/// How a webhook is asked.
#[derive(Debug)]
pub struct Settings {
    /// The version of SubjectAccessReview.
    pub version: String,
    /// A call's deadline.
    pub timeout: Duration,
    /// How long a yes holds.
    pub authorized_ttl: Duration,
    /// How long a no holds.
    pub unauthorized_ttl: Duration,
    /// What holds when it cannot be asked.
    pub failure_policy: FailurePolicy,
    /// Which requests it is asked about: each expression and its program.
    pub conditions: Vec<(String, Box<dyn Program>)>,
}

/// See the module.
#[derive(Debug)]
pub struct WebhookAuthorizer {
    client: Client,
    settings: Settings,
    cache: TtlCache<[u8; 32], Verdict>,
}

/// What nobody has asked lately.
struct Question {
    spec: Value,
    /// The length of its text.
    length: usize,
    key: [u8; 32],
}

impl WebhookAuthorizer {
    /// Asks through `client`.
    pub fn new(client: Client, settings: Settings) -> Self {
        Self { client, settings, cache: TtlCache::new(CACHED) }
    }

    /// What need not be asked: the answer to the same question before, and what is none of the server's concern.
    pub fn known(&self, request: &Attributes<'_>) -> Option<Verdict> {
        self.look_up(request).ok()
    }

    /// The verdict, or the question that must be put.
    fn look_up(&self, request: &Attributes<'_>) -> Result<Verdict, Question> {
        let spec = spec_of(request);
        if !self.settings.conditions.is_empty() {
            match self.concerns(&spec) {
                Ok(true) => {}
                Ok(false) => return Ok(no_opinion("")),
                Err(cause) => return Ok(self.failed(&cause)),
            }
        }
        let text = spec.to_string();
        let key = key_of(&text);
        self.cache.get(&key).ok_or(Question { spec, length: text.len(), key })
    }

    /// The server's judgement.
    pub async fn judge(&self, request: &Attributes<'_>) -> Verdict {
        let Question { spec, length, key } = match self.look_up(request) {
            Ok(verdict) => return verdict,
            Err(question) => question,
        };
        let review = json!({
            "apiVersion": format!("authorization.k8s.io/{}", self.settings.version), "kind": "SubjectAccessReview",
            "metadata": {}, "spec": spec_in(spec, &self.settings.version), "status": { "allowed": false },
        });
        let answer = match self.client.post_patiently(&review, self.settings.timeout).await {
            Ok(answer) => answer,
            Err(error) => return self.failed(&error.to_string()),
        };
        let status = &answer["status"];
        let is = |name: &str| status[name].as_bool().unwrap_or(false);
        let reason = status["reason"].as_str().unwrap_or_default();
        let verdict = match (is("allowed"), is("denied")) {
            (true, true) => return self.failed("webhook subject access review returned both allow and deny response"),
            (true, false) => Verdict { decision: Decision::Allow, reason: reason.to_owned() },
            (false, true) => Verdict { decision: Decision::Deny(reason.to_owned()), reason: reason.to_owned() },
            (false, false) => no_opinion(reason),
        };
        if length <= MAX_CACHED_BYTES {
            let allowed = verdict.decision == Decision::Allow;
            let ttl = if allowed { self.settings.authorized_ttl } else { self.settings.unauthorized_ttl };
            self.cache.put(key, verdict.clone(), ttl);
        }
        verdict
    }

    /// Whether every condition holds: one that is false decides, whatever fails beside it.
    fn concerns(&self, spec: &Value) -> Result<bool, String> {
        let mut failures = Vec::new();
        for (expression, program) in &self.settings.conditions {
            match program.evaluate(spec) {
                Ok(Value::Bool(true)) => {}
                Ok(Value::Bool(false)) => return Ok(false),
                Ok(_) => failures
                    .push(format!("cel evaluation error: expression '{expression}' eval result type should be bool")),
                Err(cause) => {
                    failures.push(format!("cel evaluation error: expression '{expression}' resulted in error: {cause}"))
                }
            }
        }
        if failures.is_empty() { Ok(true) } else { Err(failures.join(", ")) }
    }

    fn failed(&self, cause: &str) -> Verdict {
        tracing::warn!(url = self.client.url(), cause, "the authorization webhook gave no answer");
        match self.settings.failure_policy {
            FailurePolicy::NoOpinion => no_opinion(""),
            FailurePolicy::Deny => Verdict { decision: Decision::Deny(cause.to_owned()), reason: cause.to_owned() },
        }
    }
}

fn no_opinion(reason: &str) -> Verdict {
    Verdict { decision: Decision::NoOpinion(reason.to_owned()), reason: reason.to_owned() }
}

fn key_of(text: &str) -> [u8; 32] {
    Sha256::digest(text).into()
}

/// The spec of a SubjectAccessReview in v1: what the server is asked, and what conditions see as `request`.
fn spec_of(request: &Attributes<'_>) -> Value {
    let mut spec = Map::new();
    let texts = |pairs: &[(&str, &str)]| -> Map<String, Value> {
        let there = pairs.iter().filter(|(_, value)| !value.is_empty());
        there.map(|(key, value)| ((*key).to_owned(), Value::from(*value))).collect()
    };
    if request.is_resource {
        let mut attributes = texts(&[
            ("namespace", request.namespace),
            ("verb", request.verb),
            ("group", request.group),
            ("version", request.version),
            ("resource", request.resource),
            ("subresource", request.subresource),
            ("name", request.name),
        ]);
        if let Some(selectors) = request.selectors {
            add_selectors(&mut attributes, selectors);
        }
        spec.insert("resourceAttributes".into(), attributes.into());
    } else {
        let attributes = texts(&[("path", request.path), ("verb", request.verb)]);
        spec.insert("nonResourceAttributes".into(), attributes.into());
    }
    spec.extend(texts(&[("user", &request.user.username), ("uid", &request.user.uid)]));
    if !request.user.groups.is_empty() {
        spec.insert("groups".into(), json!(request.user.groups));
    }
    if !request.user.extra.is_empty() {
        spec.insert("extra".into(), json!(request.user.extra));
    }
    spec.into()
}

fn add_selectors(attributes: &mut Map<String, Value>, selectors: &Selectors) {
    use apimachinery::labels::Operator;
    let fields: Vec<Value> = selectors
        .fields
        .requirements()
        .iter()
        .map(|one| json!({ "key": one.field, "operator": if one.negated { "NotIn" } else { "In" }, "values": [one.value] }))
        .collect();
    let label = |one: &apimachinery::labels::Requirement| {
        let operator = match one.operator() {
            Operator::In | Operator::Equals | Operator::DoubleEquals => "In",
            Operator::NotIn | Operator::NotEquals => "NotIn",
            Operator::Exists => "Exists",
            Operator::DoesNotExist => "DoesNotExist",
            // Nothing else can be told: the request is then judged as if it were not limited.
            _ => return None,
        };
        let mut told = json!({ "key": one.key(), "operator": operator });
        let values: Vec<&str> = one.values().collect();
        if !values.is_empty() {
            told["values"] = json!(values);
        }
        Some(told)
    };
    let labels: Vec<Value> = selectors.labels.requirements().iter().filter_map(label).collect();
    for (name, requirements) in [("fieldSelector", fields), ("labelSelector", labels)] {
        if !requirements.is_empty() {
            attributes.insert(name.into(), json!({ "requirements": requirements }));
        }
    }
}

/// The spec in another version: v1beta1 calls the groups `group`.
fn spec_in(mut spec: Value, version: &str) -> Value {
    if version == "v1beta1"
        && let Some(fields) = spec.as_object_mut()
        && let Some(groups) = fields.remove("groups")
    {
        fields.insert("group".into(), groups);
    }
    spec
}
