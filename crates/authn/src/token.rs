//! [`TokenAuthenticator`]: whom a bearer token speaks for (upstream: apiserver/pkg/authentication/authenticator).

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use apimachinery::UserInfo;
use async_trait::async_trait;
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::time::Instant;

/// Why a token is not believed; for the log only.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The extra fact that names the credential (upstream: `user.CredentialIDKey`).
pub const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";

/// Whom a token speaks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The user; `system:authenticated` is added by whoever asks.
    pub user: UserInfo,
    /// Those of the asked audiences that the token is meant for.
    pub audiences: Vec<String>,
}

/// One way to know tokens.
#[async_trait]
pub trait TokenAuthenticator: Send + Sync + 'static {
    /// Whom the token speaks for when it is meant for one of `audiences`; `None` when it is none of this kind.
    async fn authenticate(&self, token: &str, audiences: &[String], now: Timestamp) -> Result<Option<Known>, BoxError>;
}

/// A way that knows nothing of audiences: its tokens are meant for the API itself
/// (upstream: `WrapAudienceAgnosticToken`).
pub struct ForTheApi<T> {
    inner: T,
    api_audiences: Arc<[String]>,
}

impl<T: TokenAuthenticator> ForTheApi<T> {
    /// Tokens of `inner`, for these audiences.
    pub fn new(inner: T, api_audiences: impl Into<Arc<[String]>>) -> Self {
        Self { inner, api_audiences: api_audiences.into() }
    }
}

#[async_trait]
impl<T: TokenAuthenticator> TokenAuthenticator for ForTheApi<T> {
    async fn authenticate(&self, token: &str, audiences: &[String], now: Timestamp) -> Result<Option<Known>, BoxError> {
        let common: Vec<String> =
            audiences.iter().filter(|asked| self.api_audiences.contains(asked)).cloned().collect();
        if common.is_empty() {
            return Ok(None);
        }
        let known = self.inner.authenticate(token, &common, now).await?;
        Ok(known.map(|known| Known { audiences: common, ..known }))
    }
}

/// Answers that hold for a while; bounded: when it is full, what has expired goes, then everything.
#[derive(Debug)]
pub struct TtlCache<K, V> {
    entries: Mutex<HashMap<K, (Instant, V)>>,
    capacity: usize,
}

impl<K: Eq + Hash, V: Clone> TtlCache<K, V> {
    /// A cache of so many answers.
    pub fn new(capacity: usize) -> Self {
        Self { entries: Mutex::default(), capacity }
    }

    /// The answer, while it holds.
    pub fn get(&self, key: &K) -> Option<V> {
        let entries = self.entries.lock();
        entries.get(key).filter(|(until, _)| Instant::now() < *until).map(|(_, value)| value.clone())
    }

    /// Keeps an answer for `ttl`.
    pub fn put(&self, key: K, value: V, ttl: Duration) {
        if ttl.is_zero() {
            return;
        }
        let now = Instant::now();
        let mut entries = self.entries.lock();
        if entries.len() >= self.capacity {
            entries.retain(|_, (until, _)| now < *until);
        }
        if entries.len() >= self.capacity {
            entries.clear();
        }
        entries.insert(key, (now + ttl, value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn answers_hold_for_their_time_and_no_more_than_fit() {
        let cache = TtlCache::new(2);
        cache.put("a", 1, Duration::from_secs(10));
        cache.put("none", 1, Duration::ZERO);
        assert_eq!((cache.get(&"a"), cache.get(&"none")), (Some(1), None));
        tokio::time::advance(Duration::from_secs(11)).await;
        assert_eq!(cache.get(&"a"), None);
        for key in ["b", "c", "d"] {
            cache.put(key, 2, Duration::from_secs(10));
        }
        assert!(cache.entries.lock().len() <= 2);
        assert_eq!(cache.get(&"d"), Some(2));
    }
}
