//! [`Sources`]: groups that a token does not name itself but says where they are (OpenID Connect Core 1.0, section
//! 5.6.2; upstream: oidc.go `claimResolver`).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Map, Value};
use webhook::{Client, Endpoint, Trust};

use super::keys::{KeysError, RemoteKeys};
use super::{OidcError, check_time};
use crate::config::Issuer;
use crate::jose::{JoseError, Token};
use crate::token::BoxError;

/// A call's deadline.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The keys of so many other issuers are kept.
const MOST_ISSUERS: usize = 64;

/// See the module.
#[derive(Debug)]
pub(super) struct Sources {
    claim: String,
    certificate_authority: String,
    client: Client,
    /// Whoever signs what the sources answer, by issuer.
    issuers: Mutex<HashMap<String, Arc<RemoteKeys>>>,
}

/// Why a claim cannot be had from where it is.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The names of sources cannot be read.
    #[error("oidc: error parsing distributed claim {0}")]
    Malformed(&'static str),
    /// The token names a source that it does not describe.
    #[error("oidc: id token _claim_names contained a source {0} missing in _claims_sources")]
    Missing(String),
    /// The source gives no answer.
    #[error("oidc: while getting distributed claim {claim:?}: {cause}")]
    Fetch {
        /// Which claim.
        claim: String,
        /// Why.
        cause: webhook::CallError,
    },
    /// What it answers is not believed.
    #[error("oidc: verify distributed claim token: {0}")]
    Token(#[from] JoseError),
    /// Whoever signed it cannot be asked for keys.
    #[error("oidc: verify distributed claim token: {0}")]
    Keys(#[from] KeysError),
    /// Whoever signed it is not known.
    #[error("oidc: verify distributed claim token: {0}")]
    Issuer(BoxError),
    /// It does not say what it was asked for.
    #[error("oidc: jwt returned by distributed claim endpoint {url:?} did not contain claim: {claim}")]
    Absent {
        /// Where.
        url: String,
        /// Which claim.
        claim: String,
    },
}

#[derive(Debug, Deserialize)]
struct Source {
    #[serde(default)]
    endpoint: String,
    #[serde(default)]
    access_token: String,
}

impl Sources {
    /// For the claim with the groups.
    pub(super) fn new(claim: &str, issuer: &Issuer) -> Result<Self, BoxError> {
        let ca_pem = Some(issuer.certificate_authority.clone()).filter(|pem| !pem.is_empty());
        let trust = Trust { ca_pem, ..Trust::default() };
        let endpoint = Endpoint { server: issuer.url.clone(), trust, server_name: None, authorization: None };
        Ok(Self {
            claim: claim.to_owned(),
            certificate_authority: issuer.certificate_authority.clone(),
            client: Client::new(&endpoint)?,
            issuers: Mutex::default(),
        })
    }

    pub(super) fn claim(&self) -> &str {
        &self.claim
    }

    /// The claim's value from where the token says it is; nothing where the token has it, or says nothing of it.
    pub(super) async fn find(
        &self,
        claims: &Map<String, Value>,
        algorithms: &[String],
        now: Timestamp,
    ) -> Result<Option<Value>, OidcError> {
        if claims.contains_key(&self.claim) {
            return Ok(None);
        }
        let Some(source) = self.source(claims)?.filter(|source| !source.endpoint.is_empty()) else { return Ok(None) };
        let bearer = Some(source.access_token.as_str()).filter(|token| !token.is_empty());
        let answer = self.client.get_as(&source.endpoint, bearer, TIMEOUT).await;
        let answer = answer.map_err(|cause| SourceError::Fetch { claim: self.claim.clone(), cause })?;
        let text = String::from_utf8_lossy(&answer);
        // Some wrap it up as JSON.
        let token = Token::parse(text.trim().trim_matches('"')).map_err(SourceError::Token)?;
        let issuer = token.claims.get("iss").and_then(Value::as_str).unwrap_or_default();
        let keys = self.keys_of(issuer).map_err(SourceError::Issuer)?;
        let keys = keys.for_id(token.key_id()).await.map_err(SourceError::Keys)?;
        token.verify(&keys, algorithms).map_err(SourceError::Token)?;
        check_time(&token.claims, now)?;
        let absent = || SourceError::Absent { url: source.endpoint.clone(), claim: self.claim.clone() };
        Ok(Some(token.claims.get(&self.claim).cloned().ok_or_else(absent)?))
    }

    /// The source that the token names for the claim.
    fn source(&self, claims: &Map<String, Value>) -> Result<Option<Source>, SourceError> {
        let part = |name: &str, what: &'static str| match claims.get(name) {
            None => Ok(None),
            Some(Value::Object(part)) => Ok(Some(part)),
            Some(_) => Err(SourceError::Malformed(what)),
        };
        let Some(names) = part("_claim_names", "names")? else { return Ok(None) };
        let Some(sources) = part("_claim_sources", "sources")? else { return Ok(None) };
        let Some(name) = names.get(&self.claim) else { return Ok(None) };
        let name = name.as_str().ok_or(SourceError::Malformed("names"))?;
        let source = sources.get(name).ok_or_else(|| SourceError::Missing(name.to_owned()))?;
        Source::deserialize(source).map(Some).map_err(|_| SourceError::Malformed("sources"))
    }

    fn keys_of(&self, issuer: &str) -> Result<Arc<RemoteKeys>, BoxError> {
        let mut issuers = self.issuers.lock();
        if let Some(keys) = issuers.get(issuer) {
            return Ok(keys.clone());
        }
        let certificate_authority = self.certificate_authority.clone();
        let config = Issuer { url: issuer.to_owned(), certificate_authority, ..Issuer::default() };
        let keys = Arc::new(RemoteKeys::new(&config)?);
        if issuers.len() >= MOST_ISSUERS {
            issuers.clear();
        }
        issuers.insert(issuer.to_owned(), keys.clone());
        Ok(keys)
    }
}
