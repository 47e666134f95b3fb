//! [`Tokens`]: every way to know a bearer token, in upstream's order
//! (upstream: pkg/kubeapiserver/authenticator/config.go).

use std::sync::Arc;

use arc_swap::ArcSwap;
use authn::oidc::Oidc;
use authn::token::{ForTheApi, Known, TokenAuthenticator};
use authn::token_file::TokenFile;
use authn::token_webhook::TokenWebhook;
use jiff::Timestamp;

use super::bootstrap_token::BootstrapTokens;
use super::service_account::{ServiceAccountTokens, TokenError};

/// Identity providers, replaced when their configuration changes.
pub type Providers = ArcSwap<Vec<ForTheApi<Oidc>>>;

/// See the module.
pub struct Tokens {
    /// Tokens of service accounts.
    pub service_accounts: Arc<ServiceAccountTokens>,
    /// `--token-auth-file`.
    pub file: Option<ForTheApi<TokenFile>>,
    /// `--enable-bootstrap-token-auth`.
    pub bootstrap: Option<ForTheApi<BootstrapTokens>>,
    /// Identity providers.
    pub providers: Providers,
    /// `--authentication-token-webhook-config-file`.
    pub webhook: Option<TokenWebhook>,
}

/// Nobody knows the token.
#[derive(Debug, thiserror::Error)]
#[error("invalid bearer token{}", .causes.iter().map(|cause| format!(", {cause}")).collect::<String>())]
pub struct UnknownToken {
    causes: Vec<String>,
}

impl Tokens {
    /// Tokens of service accounts alone.
    pub fn new(service_accounts: Arc<ServiceAccountTokens>) -> Self {
        Self { service_accounts, file: None, bootstrap: None, providers: Providers::default(), webhook: None }
    }

    /// The audiences under which the API itself takes tokens.
    pub fn api_audiences(&self) -> &[String] {
        self.service_accounts.api_audiences()
    }

    /// Whom the token speaks for, when it is meant for one of `audiences`: the first that knows it says so.
    pub async fn authenticate(&self, token: &str, audiences: &[String], now: Timestamp) -> Result<Known, UnknownToken> {
        let mut causes = Vec::new();
        if let Some(known) = ask(self.file.as_ref(), token, audiences, now, &mut causes).await {
            return Ok(known);
        }
        match self.service_accounts.authenticate(token, audiences, now) {
            Ok(known) => return Ok(Known { user: known.user, audiences: known.audiences }),
            // Somebody else's token.
            Err(TokenError::Jwt(_) | TokenError::UnknownIssuer) => {}
            Err(error) => causes.push(error.to_string()),
        }
        if let Some(known) = ask(self.bootstrap.as_ref(), token, audiences, now, &mut causes).await {
            return Ok(known);
        }
        for provider in self.providers.load().iter() {
            if let Some(known) = ask(Some(provider), token, audiences, now, &mut causes).await {
                return Ok(known);
            }
        }
        if let Some(known) = ask(self.webhook.as_ref(), token, audiences, now, &mut causes).await {
            return Ok(known);
        }
        Err(UnknownToken { causes })
    }
}

async fn ask<T: TokenAuthenticator>(
    who: Option<&T>,
    token: &str,
    audiences: &[String],
    now: Timestamp,
    causes: &mut Vec<String>,
) -> Option<Known> {
    who?.authenticate(token, audiences, now).await.unwrap_or_else(|error| {
        causes.push(error.to_string());
        None
    })
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens").field("service_accounts", &self.service_accounts).finish_non_exhaustive()
    }
}
