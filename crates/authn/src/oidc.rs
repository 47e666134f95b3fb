//! [`Oidc`]: an identity provider's tokens, believed by the keys it publishes
//! (upstream: apiserver/plugin/pkg/authenticator/token/oidc/oidc.go).
//!
//! ```text
//! token > issuer? > keys (discovery, JWK set, kept) > signature, audience, time > claims > user > rules
//! ```
//!
//! The keys are fetched when the first token of the issuer comes, and again when a token names a key that is not
//! among them; no task runs.

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::config::JwtAuthenticator;
use crate::expression::Compiler;
use crate::jose::{ALGORITHMS, JoseError, Token};
use crate::token::{BoxError, Known, TokenAuthenticator};

pub mod claims;
mod distributed;
pub mod keys;

use claims::{ClaimError, Mapper};
pub use distributed::SourceError;
use distributed::Sources;
use keys::{KeysError, RemoteKeys};

/// A token may be ahead of our clock by so many seconds (go-oidc's leeway for `nbf`).
const NOT_BEFORE_LEEWAY: f64 = 300.0;

/// Believes one issuer.
#[derive(Debug)]
pub struct Oidc {
    issuer: String,
    audiences: Vec<String>,
    algorithms: Vec<String>,
    keys: RemoteKeys,
    mapper: Mapper,
    /// Where groups may be that a token does not name; only where a claim has them.
    sources: Option<Sources>,
}

/// Why a token of the issuer is not believed.
#[derive(Debug, thiserror::Error)]
pub enum OidcError {
    /// It is malformed or its signature is wrong.
    #[error("oidc: verify token: {0}")]
    Signature(#[from] JoseError),
    /// The issuer's keys cannot be had.
    #[error("oidc: authenticator for issuer {issuer:?} is not initialized: {cause}")]
    Keys {
        /// The issuer.
        issuer: String,
        /// Why.
        cause: KeysError,
    },
    /// It is meant for others.
    #[error("oidc: verify token: oidc: expected audience in {expected:?} got {got:?}")]
    Audience {
        /// One of these was needed.
        expected: Vec<String>,
        /// These it names.
        got: Vec<String>,
    },
    /// Its time is over.
    #[error("oidc: verify token: oidc: token is expired")]
    Expired,
    /// Its time has not come.
    #[error("oidc: verify token: oidc: current time before the nbf (not before) time")]
    NotYet,
    /// A claim cannot be had from where it is.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// What it claims does not make a user.
    #[error(transparent)]
    Claims(#[from] ClaimError),
}

impl Oidc {
    /// Believes the issuer as the configuration says.
    pub fn new(config: &JwtAuthenticator, compiler: &dyn Compiler) -> Result<Self, BoxError> {
        let groups = &config.claim_mappings.groups;
        let by_claim = groups.expression.is_empty() && !groups.claim.is_empty();
        let sources = by_claim.then(|| Sources::new(&groups.claim, &config.issuer)).transpose()?;
        Ok(Self {
            issuer: config.issuer.url.clone(),
            audiences: config.issuer.audiences.clone(),
            algorithms: ALGORITHMS.map(str::to_owned).to_vec(),
            keys: RemoteKeys::new(&config.issuer)?,
            mapper: Mapper::new(config, compiler)?,
            sources,
        })
    }

    /// Only these algorithms (`--oidc-signing-algs`).
    #[must_use]
    pub fn with_algorithms(mut self, algorithms: Vec<String>) -> Self {
        self.algorithms = algorithms;
        self
    }

    async fn user(&self, token: &Token<'_>, now: Timestamp) -> Result<apimachinery::UserInfo, OidcError> {
        let keys = self.keys.for_id(token.key_id()).await;
        let keys = keys.map_err(|cause| OidcError::Keys { issuer: self.issuer.clone(), cause })?;
        token.verify(&keys, &self.algorithms)?;
        let got = audiences_of(&token.claims);
        if !got.iter().any(|audience| self.audiences.contains(audience)) {
            return Err(OidcError::Audience { expected: self.audiences.clone(), got });
        }
        check_time(&token.claims, now)?;
        let Some(sources) = &self.sources else { return Ok(self.mapper.user(&token.claims)?) };
        match sources.find(&token.claims, &self.algorithms, now).await? {
            None => Ok(self.mapper.user(&token.claims)?),
            Some(groups) => {
                let mut claims = token.claims.clone();
                claims.insert(sources.claim().to_owned(), groups);
                Ok(self.mapper.user(&claims)?)
            }
        }
    }
}

/// `aud`: one audience, or several.
fn audiences_of(claims: &Map<String, Value>) -> Vec<String> {
    match claims.get("aud") {
        Some(Value::String(one)) => vec![one.clone()],
        Some(Value::Array(several)) => several.iter().filter_map(|one| one.as_str().map(str::to_owned)).collect(),
        _ => Vec::new(),
    }
}

fn check_time(claims: &Map<String, Value>, now: Timestamp) -> Result<(), OidcError> {
    let seconds = |name: &str| claims.get(name).and_then(Value::as_f64);
    // Times are small enough to be exact.
    #[allow(clippy::cast_precision_loss)]
    let now = now.as_second() as f64;
    if seconds("exp").is_none_or(|expires| now > expires) {
        return Err(OidcError::Expired);
    }
    if seconds("nbf").is_some_and(|from| now + NOT_BEFORE_LEEWAY < from) {
        return Err(OidcError::NotYet);
    }
    Ok(())
}

#[async_trait]
impl TokenAuthenticator for Oidc {
    async fn authenticate(
        &self,
        token: &str,
        _audiences: &[String],
        now: Timestamp,
    ) -> Result<Option<Known>, BoxError> {
        let Ok(token) = Token::parse(token) else { return Ok(None) };
        if token.claims.get("iss").and_then(Value::as_str) != Some(&self.issuer) {
            return Ok(None);
        }
        let user = self.user(&token, now).await?;
        Ok(Some(Known { user, audiences: Vec::new() }))
    }
}
