//! The token webhook: another server reviews tokens, `--authentication-token-webhook-config-file`
//! (upstream: apiserver/plugin/pkg/authenticator/token/webhook, token/cache).

use std::time::Duration;

use apimachinery::UserInfo;
use async_trait::async_trait;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::token::{BoxError, Known, TokenAuthenticator, TtlCache};

/// A call's deadline (upstream: the webhook's default request timeout).
const TIMEOUT: Duration = Duration::from_secs(10);

/// So many answers are kept.
const CACHED: usize = 4096;

/// Asks a server about tokens.
#[derive(Debug)]
pub struct TokenWebhook {
    client: webhook::Client,
    version: String,
    ttl: Duration,
    /// By a hash of token and audiences; no token is kept.
    cache: TtlCache<[u8; 32], Option<Known>>,
}

/// Why the webhook gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum ReviewError {
    /// It could not be asked.
    #[error("webhook token review: {0}")]
    Call(#[from] webhook::CallError),
    /// It answered nonsense.
    #[error("webhook token review: {0}")]
    Unreadable(#[from] serde_json::Error),
    /// It says why it does not know the token.
    #[error("webhook token review: {0}")]
    Refused(String),
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Status {
    authenticated: bool,
    user: Option<UserInfo>,
    audiences: Vec<String>,
    error: String,
}

impl TokenWebhook {
    /// Asks through `client` in this version of TokenReview, and keeps answers for `ttl`.
    pub fn new(client: webhook::Client, version: &str, ttl: Duration) -> Self {
        Self { client, version: version.to_owned(), ttl, cache: TtlCache::new(CACHED) }
    }

    async fn review(&self, token: &str, audiences: &[String]) -> Result<Option<Known>, ReviewError> {
        let mut review = json!({
            "apiVersion": format!("authentication.k8s.io/{}", self.version), "kind": "TokenReview",
            "metadata": {}, "spec": { "token": token }, "status": { "user": {} },
        });
        if !audiences.is_empty() {
            review["spec"]["audiences"] = json!(audiences);
        }
        let answer = self.client.post_patiently(&review, TIMEOUT).await?;
        let status = answer.get("status").filter(|status| status.is_object()).cloned().unwrap_or_else(|| json!({}));
        let status: Status = serde_json::from_value(normalized(status))?;
        if !status.authenticated {
            return if status.error.is_empty() { Ok(None) } else { Err(ReviewError::Refused(status.error)) };
        }
        // A server that says nothing of audiences knows only the API's own (upstream: `implicitAuds`).
        let told = if status.audiences.is_empty() { audiences.to_vec() } else { status.audiences };
        let common: Vec<String> = audiences.iter().filter(|asked| told.contains(asked)).cloned().collect();
        if common.is_empty() && !audiences.is_empty() {
            return Ok(None);
        }
        Ok(status.user.map(|user| Known { user, audiences: common }))
    }
}

/// `null` lists and maps are empty ones, and a user without a name is one with an empty name.
fn normalized(mut status: Value) -> Value {
    if let Some(fields) = status.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
        if let Some(user) = fields.get_mut("user").and_then(Value::as_object_mut) {
            user.retain(|_, value| !value.is_null());
            user.entry("username").or_insert_with(|| "".into());
        }
    }
    status
}

#[async_trait]
impl TokenAuthenticator for TokenWebhook {
    async fn authenticate(
        &self,
        token: &str,
        audiences: &[String],
        _now: Timestamp,
    ) -> Result<Option<Known>, BoxError> {
        let mut hash = Sha256::new();
        for part in std::iter::once(token).chain(audiences.iter().map(String::as_str)) {
            hash.update(part.len().to_le_bytes());
            hash.update(part);
        }
        let key: [u8; 32] = hash.finalize().into();
        if let Some(known) = self.cache.get(&key) {
            return Ok(known);
        }
        let known = self.review(token, audiences).await?;
        self.cache.put(key, known.clone(), self.ttl);
        Ok(known)
    }
}
