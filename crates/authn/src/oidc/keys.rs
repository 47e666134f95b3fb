//! [`RemoteKeys`]: the keys an issuer publishes, fetched when they are needed and kept.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::Instant;
use webhook::{Client, Endpoint, Trust};

use crate::config::Issuer;
use crate::jose::KeySet;
use crate::token::BoxError;

/// A fetch's deadline.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Tokens with keys that nobody knows make us ask again, but not more often than this.
const REFRESH_INTERVAL: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub struct RemoteKeys {
    issuer: String,
    discovery_url: String,
    client: Client,
    keys: ArcSwapOption<KeySet>,
    fetch: Mutex<Fetch>,
}

#[derive(Debug, Default)]
struct Fetch {
    jwks_uri: Option<String>,
    tried_at: Option<Instant>,
}

/// Why the keys cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// A document cannot be fetched.
    #[error(transparent)]
    Fetch(#[from] webhook::CallError),
    /// A document cannot be read.
    #[error("read {url}: {cause}")]
    Unreadable {
        /// Which.
        url: String,
        /// What is wrong with it.
        cause: serde_json::Error,
    },
    /// The discovery document is somebody else's.
    #[error("oidc: issuer did not match the issuer returned by provider, expected {expected:?} got {got:?}")]
    Issuer {
        /// As configured.
        expected: String,
        /// As it says.
        got: String,
    },
    /// It was tried a moment ago.
    #[error("its keys could not be fetched a moment ago")]
    Lately,
}

#[derive(Debug, Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

impl RemoteKeys {
    /// The keys of this issuer.
    pub fn new(issuer: &Issuer) -> Result<Self, BoxError> {
        let own = format!("{}/.well-known/openid-configuration", issuer.url.trim_end_matches('/'));
        let discovery_url = issuer.discovery_url.clone().filter(|url| !url.is_empty()).unwrap_or(own);
        let ca_pem = Some(issuer.certificate_authority.clone()).filter(|pem| !pem.is_empty());
        let endpoint = Endpoint {
            server: discovery_url.clone(),
            trust: Trust { ca_pem, ..Trust::default() },
            server_name: None,
            authorization: None,
        };
        let client = Client::new(&endpoint)?;
        Ok(Self {
            issuer: issuer.url.clone(),
            discovery_url,
            client,
            keys: ArcSwapOption::empty(),
            fetch: Mutex::default(),
        })
    }

    /// The keys, with the one of this id among them if the issuer has it.
    pub async fn for_id(&self, id: &str) -> Result<Arc<KeySet>, KeysError> {
        if let Some(keys) = self.known(id) {
            return Ok(keys);
        }
        let mut fetch = self.fetch.lock().await;
        // Another request may have fetched them while this one waited.
        if let Some(keys) = self.known(id) {
            return Ok(keys);
        }
        if fetch.tried_at.is_some_and(|at| at.elapsed() < REFRESH_INTERVAL) {
            return self.keys.load_full().ok_or(KeysError::Lately);
        }
        fetch.tried_at = Some(Instant::now());
        let keys = Arc::new(self.fetch(&mut fetch).await?);
        self.keys.store(Some(keys.clone()));
        Ok(keys)
    }

    fn known(&self, id: &str) -> Option<Arc<KeySet>> {
        self.keys.load_full().filter(|keys| id.is_empty() || keys.has(id))
    }

    async fn fetch(&self, fetch: &mut Fetch) -> Result<KeySet, KeysError> {
        let unreadable = |url: &str, cause| KeysError::Unreadable { url: url.to_owned(), cause };
        let uri = match fetch.jwks_uri.clone() {
            Some(uri) => uri,
            None => {
                let text = self.client.get(&self.discovery_url, TIMEOUT).await?;
                let discovery: Discovery =
                    serde_json::from_slice(&text).map_err(|cause| unreadable(&self.discovery_url, cause))?;
                if discovery.issuer != self.issuer {
                    return Err(KeysError::Issuer { expected: self.issuer.clone(), got: discovery.issuer });
                }
                fetch.jwks_uri.insert(discovery.jwks_uri).clone()
            }
        };
        let text = self.client.get(&uri, TIMEOUT).await?;
        KeySet::parse(&text).map_err(|cause| unreadable(&uri, cause))
    }
}
