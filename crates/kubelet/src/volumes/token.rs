//! ServiceAccount tokens for pods: requested bound to the pod, kept, and renewed at 80 % of their life
//! (upstream: pkg/kubelet/token/token_manager.go).

use std::collections::HashMap;

use async_trait::async_trait;
use client::Client;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use kube::api::PostParams;
use kube::{Api, ResourceExt};

use crate::pod::spec::spec;

/// A token and its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// The token.
    pub value: String,
    /// When it was issued.
    pub issued: Timestamp,
    /// When it ends.
    pub expires: Timestamp,
}

impl Token {
    /// When a new one is due: after 80 % of its life, or a day.
    pub fn refresh_at(&self) -> Timestamp {
        let life = self.expires.duration_since(self.issued);
        self.issued + (life * 4 / 5).min(SignedDuration::from_hours(24))
    }
}

/// What a token is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TokenKey {
    /// Whom it is for; the API server itself when empty.
    pub audience: String,
    /// Life asked for, in seconds.
    pub expiration_s: i64,
}

/// Issues tokens.
#[async_trait]
pub trait TokenSource: Send + Sync + 'static {
    /// A token of the pod's service account, bound to the pod.
    async fn token(&self, pod: &Pod, key: &TokenKey, now: Timestamp) -> Result<Token, String>;
}

/// Tokens from the API server.
pub struct ApiTokens(pub Client);

#[async_trait]
impl TokenSource for ApiTokens {
    async fn token(&self, pod: &Pod, key: &TokenKey, now: Timestamp) -> Result<Token, String> {
        let account = spec(pod).service_account_name.clone().filter(|name| !name.is_empty());
        let account = account.unwrap_or_else(|| "default".to_owned());
        let namespace = pod.namespace().unwrap_or_default();
        let api: Api<ServiceAccount> = Api::namespaced(self.0.clone(), &namespace);
        let request = TokenRequest {
            spec: Some(TokenRequestSpec {
                audiences: Some(if key.audience.is_empty() { Vec::new() } else { vec![key.audience.clone()] }),
                expiration_seconds: Some(key.expiration_s),
                bound_object_ref: Some(BoundObjectReference {
                    api_version: Some("v1".to_owned()),
                    kind: Some("Pod".to_owned()),
                    name: Some(pod.name_any()),
                    uid: pod.uid(),
                }),
                ..TokenRequestSpec::default()
            }),
            ..TokenRequest::default()
        };
        let answer: TokenRequest = api
            .create_subresource("token", &account, &PostParams::default(), &request)
            .await
            .map_err(|err| format!("failed to fetch token: {err}"))?;
        let status = answer.status.ok_or_else(|| "failed to fetch token: the answer has no status".to_owned())?;
        let (Some(value), Some(expires)) = (status.token, status.expiration_timestamp) else {
            return Err("failed to fetch token: the answer has no token".to_owned());
        };
        Ok(Token { value, issued: now, expires: expires.0 })
    }
}

/// The tokens of one pod.
#[derive(Debug, Default)]
pub struct TokenCache {
    tokens: HashMap<TokenKey, Token>,
}

impl TokenCache {
    /// A token that is fresh enough; a failing renewal goes on with the old one while it lives.
    pub async fn get(
        &mut self,
        source: &dyn TokenSource,
        pod: &Pod,
        key: &TokenKey,
        now: Timestamp,
    ) -> Result<Token, String> {
        let known = self.tokens.get(key).filter(|token| token.expires > now).cloned();
        if let Some(token) = known.as_ref().filter(|token| token.refresh_at() > now) {
            return Ok(token.clone());
        }
        match (source.token(pod, key, now).await, known) {
            (Ok(token), _) => {
                self.tokens.insert(key.clone(), token.clone());
                Ok(token)
            }
            (Err(err), Some(old)) => {
                tracing::warn!(error = err, "renewing a token failed; the old one stays");
                Ok(old)
            }
            (Err(err), None) => Err(err),
        }
    }

    /// When the first token is due to be renewed.
    pub fn refresh_at(&self) -> Option<Timestamp> {
        self.tokens.values().map(Token::refresh_at).min()
    }
}
